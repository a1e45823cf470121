// SPDX-License-Identifier: MIT
// SVG to PNG by librsvg and cairo, where this build has them.
#ifndef SW2_TRAINER_REPORT_RASTER_H
#define SW2_TRAINER_REPORT_RASTER_H

#include <stddef.h>
#include <stdio.h>

#include "comm/error.h"

enum status raster_check(void); // STATUS_USAGE: this build cannot
// svg: n bytes with a size; scale: pixels for each of its units. STATUS_ERROR names the problem.
enum status raster_png(const char *svg, size_t n, double scale, FILE *out);

#endif

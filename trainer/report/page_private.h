// SPDX-License-Identifier: MIT
// What the page's parts share. page.c writes the frame, summary and curves; page_run.c what is
// said of one run; page_picture.c pictures.
#ifndef SW2_TRAINER_REPORT_PAGE_PRIVATE_H
#define SW2_TRAINER_REPORT_PAGE_PRIVATE_H

#include "trainer/report/report.h"

enum status page_run_write(FILE *file, struct report *report, size_t run);
enum status page_figure(FILE *file, const struct report *report, enum figure figure, size_t run);

// The samples of the worst mistakes, as pictures where they are (1, 3 or any channels: the first).
enum status page_mistakes_write(FILE *file, struct report_run *run);
// The filters of the first convolution.
enum status page_filters_write(FILE *file, struct report_run *run);

#endif

// SPDX-License-Identifier: MIT
// Files that people name for results. Local; any thread.
#ifndef SW2_COMM_OUTPUTS_H
#define SW2_COMM_OUTPUTS_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/error.h"

// Where writing to `asked` must go: behind links that lead to a file. *is_special: what is there is
// no regular file (a device, a pipe, a folder): it can only be written in place, never replaced.
// *path is malloc'ed.
enum status outputs_find(const char *asked, char **path, bool *is_special);
// Is one of the (n) inputs, which may be NULL or name an object in a file ("x.h5:/test"), the file
// that the output would replace? STATUS_USAGE, naming both. output "-" or NULL: no.
enum status outputs_check(const char *output, const char *const *inputs, size_t n);

#endif

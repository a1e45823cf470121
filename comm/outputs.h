// SPDX-License-Identifier: MIT
// Files that people name for results. Local; any thread.
#ifndef SW2_COMM_OUTPUTS_H
#define SW2_COMM_OUTPUTS_H

#include <stddef.h>
#include <sys/types.h>

#include "comm/error.h"

// Where writing to `asked` must go: behind links that lead to a file; and the name beside it under
// which process pid writes until all is there. *fresh NULL: what is there is no regular file (a
// device, a pipe, a folder): it can only be written in place, never replaced. Both malloc'ed.
enum status outputs_find(const char *asked, pid_t pid, char **path, char **fresh);
// Is one of the (n) inputs, which may be NULL or name an object in a file ("x.h5:/test"), the file
// that the output would replace? STATUS_USAGE, naming both. output "-" or NULL: no.
enum status outputs_check(const char *output, const char *const *inputs, size_t n);

#endif

// SPDX-License-Identifier: MIT
// What a person reads: one write() a line, so that ranks never interleave.
// Rank 0 speaks; other ranks only report errors and rank-local warnings, prefixed "[rank r host]".
#ifndef SW2_COMM_LOG_H
#define SW2_COMM_LOG_H

#include <stdbool.h>

#include "comm/error.h"

enum log_level { LOG_QUIET, LOG_NORMAL, LOG_VERBOSE };

// Tells the log who speaks. `program` ("sw2-train") prefixes errors. Borrowed texts, kept.
void log_open(const char *program, int rank, int size, const char *host);
const char *log_program(void);
void log_set_level(enum log_level level);

// Descriptor of the terminal a person looks at (for its width), -1: stdout is none, also behind
// mpirun.
int log_terminal_fd(void);
bool log_is_terminal(void); // stdout is a terminal and TERM is not "dumb"
bool log_has_colour(void);  // the same, and NO_COLOR is not set

// A line on rank 0's stdout (a newline is added). Silent on other ranks, and at LOG_QUIET.
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
// STATUS_ERROR: something that rank 0 said on stdout was lost (a full disk, closed), but for a pipe
// whose reader has seen enough. For programs whose result it is.
enum status log_output_check(void);
// "sw2-train: warning: ..." on rank 0's stderr.
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
// "sw2-train: error: ..." on stderr of the rank that calls; with more than one rank and
// is_local the prefix "[rank r host] " is added.
void log_error(bool is_local, const char *text);
// Replaces the current terminal line (progress bar) on rank 0 without a newline; "" clears it.
// log_line and friends clear it first.
void log_transient(const char *text);

#endif

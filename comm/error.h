// SPDX-License-Identifier: MIT
// Status codes, the error record of a thread, and the macros that hand errors up.
// Owns: the text of the last error of each thread. Does not print: that is log.h, called by main.
// Used by every file. Outside causes (file, option, shape, memory) return a status;
// bugs hit ASSERT, which stays on in release builds.
#ifndef SW2_COMM_ERROR_H
#define SW2_COMM_ERROR_H

// The values are the exit codes of the programs.
enum status {
    STATUS_OK = 0,
    STATUS_ERROR = 1,      // run-time error: I/O, memory, MPI
    STATUS_USAGE = 2,      // arguments or recipe
    STATUS_DATA = 3,       // data file or checkpoint is bad
    STATUS_NOT_FINITE = 4, // loss or gradient is NaN or Inf
    STATUS_VERIFY = 5,     // a digest differs
    STATUS_STOPPED = 75    // stopped by a signal or limit, checkpoint saved: run again
};

// Records the error of this thread (replacing an older one) and returns `status`. printf-like.
enum status error_set(enum status status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Appends ", " and the formatted text to the recorded error: context or a hint. Returns `status`.
enum status error_add(enum status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Text of this thread's last error; "" if none. Borrowed, valid until the next error_set here.
const char *error_text(void);
const char *error_place(void); // "file.c:123" of where it was recorded

// Prints place and condition to stderr and aborts the process (the launcher ends the job).
_Noreturn void assert_failed(const char *file, int line, const char *condition);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_status_ = (call);                                                          \
        if (try_status_ != STATUS_OK)                                                              \
            return try_status_;                                                                    \
    } while (0)

#define FAIL(status, ...) return error_set((status), __FILE__, __LINE__, __VA_ARGS__)

#define CHECK(condition, status, ...)                                                              \
    do {                                                                                           \
        if (!(condition))                                                                          \
            FAIL(status, __VA_ARGS__);                                                             \
    } while (0)

#define ASSERT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            assert_failed(__FILE__, __LINE__, #condition);                                         \
    } while (0)

#endif

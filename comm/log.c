// SPDX-License-Identifier: MIT
// Formats whole lines and writes each with one write(). Owns who speaks (set by group_init) and
// whether a progress line stands on the terminal. Any thread may call it.
#include "comm/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/events.h"

static const char *program_name = "sw2";
static const char *host_name = "";
static int own_rank, n_ranks = 1;
static enum log_level current_level = LOG_NORMAL;
static bool is_transient; // a progress line stands on the terminal
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int output_error; // errno of the first write to standard output that failed

#define CLEAR_LINE "\r\033[K"

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

// Where 0, 1 or 2 are closed, files opened later would get their numbers, and our lines.
static void standard_files_hold(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
            return;
}

void log_open(const char *program, int rank, int size, const char *host)
{
    static bool is_known;
    if (!is_known) { // a child may speak, whatever the other threads did at that moment
        is_known = pthread_atfork(before_fork, after_fork, after_fork) == 0;
        standard_files_hold();
    }
    program_name = program;
    own_rank = rank;
    n_ranks = size;
    host_name = host;
}

const char *log_program(void)
{
    return program_name;
}

void log_set_level(enum log_level level)
{
    current_level = level;
}

// mpirun gives its ranks a pseudo-terminal even where its own output goes to a file. So under Open
// MPI the launcher's stdout decides: that of the parent process (on other hosts a daemon: none).
int log_terminal_fd(void)
{
    static int fd = -2; // not asked yet
    if (fd != -2)
        return fd;
    fd = isatty(STDOUT_FILENO) ? STDOUT_FILENO : -1;
    if (fd >= 0 && getenv("OMPI_COMM_WORLD_SIZE")) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%ld/fd/1", (long)getppid());
        fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0 && !isatty(fd)) {
            close(fd);
            fd = -1;
        }
    }
    return fd;
}

bool log_is_terminal(void)
{
    const char *term = getenv("TERM");
    return log_terminal_fd() >= 0 && !(term && strcmp(term, "dumb") == 0);
}

bool log_has_colour(void)
{
    const char *no_colour = getenv("NO_COLOR");
    return log_is_terminal() && !(no_colour && no_colour[0]);
}

static void write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, text, n);
        if (done < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (done <= 0) {
            if (fd == STDOUT_FILENO && !output_error)
                output_error = errno;
            return; // nobody listens: there is nowhere to say so
        }
        text += done;
        n -= (size_t)done;
    }
}

// Writes prefix, formatted text and a newline as one piece; the progress line is cleared first.
static void write_line(int fd, const char *prefix, const char *format, va_list args)
{
    char small[1024];
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(small, sizeof small, format, args);
    size_t prefix_n = strlen(prefix), text_n = length > 0 ? (size_t)length : 0;
    char *line = malloc(prefix_n + text_n + 2);
    events_begin(EVENTS_IDLE, "writes a line", 0); // for as long as a paused terminal likes
    fflush(stdout);
    pthread_mutex_lock(&lock);
    if (is_transient)
        write_all(STDOUT_FILENO, CLEAR_LINE, strlen(CLEAR_LINE));
    is_transient = false;
    if (line) {
        memcpy(line, prefix, prefix_n);
        vsnprintf(line + prefix_n, text_n + 1, format, again);
        line[prefix_n + text_n] = '\n';
        write_all(fd, line, prefix_n + text_n + 1);
    } else { // no memory: the start of the text, in pieces
        write_all(fd, prefix, prefix_n);
        write_all(fd, small, strlen(small));
        write_all(fd, "\n", 1);
    }
    pthread_mutex_unlock(&lock);
    events_end();
    free(line);
    va_end(again);
}

static void write_format(int fd, const char *prefix, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void write_format(int fd, const char *prefix, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(fd, prefix, format, args);
    va_end(args);
}

void log_line(const char *format, ...)
{
    if (own_rank != 0 || current_level == LOG_QUIET)
        return;
    va_list args;
    va_start(args, format);
    write_line(STDOUT_FILENO, "", format, args);
    va_end(args);
}

void log_warn(const char *format, ...)
{
    if (own_rank != 0)
        return;
    char prefix[128];
    snprintf(prefix, sizeof prefix, "%s: warning: ", program_name);
    va_list args;
    va_start(args, format);
    write_line(STDERR_FILENO, prefix, format, args);
    va_end(args);
}

void log_error(bool is_local, const char *text)
{
    char prefix[256];
    if (is_local && n_ranks > 1)
        snprintf(prefix, sizeof prefix, "[rank %d %s] %s: error: ", own_rank, host_name,
                 program_name);
    else
        snprintf(prefix, sizeof prefix, "%s: error: ", program_name);
    write_format(STDERR_FILENO, prefix, "%s", text);
}

void log_transient(const char *text)
{
    if (own_rank != 0 || current_level == LOG_QUIET || !log_is_terminal())
        return;
    char line[1024];
    int length = snprintf(line, sizeof line, CLEAR_LINE "%s", text);
    size_t n = length < (int)sizeof line ? (size_t)length : sizeof line - 1;
    events_begin(EVENTS_IDLE, "writes a line", 0);
    pthread_mutex_lock(&lock);
    if (text[0] || is_transient)
        write_all(STDOUT_FILENO, line, n);
    is_transient = text[0] != '\0';
    pthread_mutex_unlock(&lock);
    events_end();
}

enum status log_output_check(void)
{
    if (fflush(stdout) != 0 && !output_error)
        output_error = errno;
    bool is_lost = own_rank == 0 && (output_error || ferror(stdout)) && output_error != EPIPE;
    CHECK(!is_lost, STATUS_ERROR, "cannot write to standard output: %s",
          output_error ? strerror(output_error) : "its end is lost");
    return STATUS_OK;
}

// SPDX-License-Identifier: MIT
#include "comm/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char text[4096];
static _Thread_local char place[256];

// A message is one line: names and values from outside may hold anything.
static void make_plain(char *at)
{
    for (; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
}

enum status error_set(enum status status, const char *file, int line, const char *format, ...)
{
    // Formatted aside first: an argument may be the old text itself.
    char fresh[sizeof text];
    va_list args;
    va_start(args, format);
    vsnprintf(fresh, sizeof fresh, format, args);
    va_end(args);
    make_plain(fresh);
    memcpy(text, fresh, sizeof text);
    const char *base = strrchr(file, '/');
    snprintf(place, sizeof place, "%s:%d", base ? base + 1 : file, line);
    return status;
}

enum status error_add(enum status status, const char *format, ...)
{
    size_t used = strlen(text);
    if (used + 3 >= sizeof text)
        return status;
    memcpy(text + used, ", ", 3);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used + 2, sizeof text - used - 2, format, args);
    va_end(args);
    make_plain(text);
    return status;
}

const char *error_text(void)
{
    return text;
}

const char *error_place(void)
{
    return place;
}

void assert_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "sw2: bug at %s:%d: '%s' does not hold; please report it\n", file, line,
            condition);
    abort();
}

// SPDX-License-Identifier: MIT
#include "comm/memory.h"
#include "tests/support/expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <ftw.h>

void expect_ok(enum status status, const char *what)
{
    if (status != STATUS_OK)
        fail_msg("%s: status %d: %s", what, (int)status, error_text());
}

void expect_error(enum status status, enum status wanted, const char *parts, const char *what)
{
    if (status != wanted)
        fail_msg("%s: status %d, expected %d: %s", what, (int)status, (int)wanted,
                 status == STATUS_OK ? "no error" : error_text());
    const char *text = error_text();
    if (text[0] == '\0' || strchr(text, '\n'))
        fail_msg("%s: not one line: '%s'", what, text);
    while (*parts) {
        char part[256];
        size_t n = strcspn(parts, "|");
        snprintf(part, sizeof part, "%.*s", (int)n, parts);
        if (!strstr(text, part))
            fail_msg("%s: '%s' lacks '%s'", what, text, part);
        parts += n + (parts[n] == '|');
    }
}

static int real_stdout = -1;
static FILE *captured;

void capture_begin(void)
{
    fflush(stdout);
    captured = tmpfile();
    assert_non_null(captured);
    real_stdout = dup(STDOUT_FILENO);
    assert_true(dup2(fileno(captured), STDOUT_FILENO) >= 0);
}

char *capture_end(void)
{
    fflush(stdout);
    dup2(real_stdout, STDOUT_FILENO);
    close(real_stdout);
    long n = lseek(fileno(captured), 0, SEEK_END);
    char *text = calloc(1, (size_t)n + 1);
    assert_non_null(text);
    assert_int_equal(pread(fileno(captured), text, (size_t)n, 0), n);
    fclose(captured);
    return text;
}

char *folder_make(void)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;
    assert_true(asprintf(&path, "%s/sw2-test-XXXXXX", base ? base : "/tmp") > 0);
    assert_non_null(mkdtemp(path));
    return path;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

void folder_remove(char *folder)
{
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

char *file_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s is not there", path);
    char *text = NULL;
    size_t n = 0, room = 0;
    for (size_t got = 1; got > 0; n += got) {
        room = n + 4096;
        text = realloc(text, room + 1);
        assert_non_null(text);
        got = fread(text + n, 1, room - n, file);
    }
    text[n] = '\0';
    fclose(file);
    return text;
}

void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

float *floats_make(size_t n, uint32_t start)
{
    float *v;
    expect_ok(memory_alloc(&v, n, sizeof *v, "test"), "memory");
    for (size_t i = 0; i < n; i++) {
        start = start * 1664525 + 1013904223;
        v[i] = (float)(start >> 8) * 0x1p-23f - 1;
    }
    return v;
}

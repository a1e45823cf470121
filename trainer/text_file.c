// SPDX-License-Identifier: MIT
#include "trainer/text_file.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum status text_file_open(struct text_file *out, const char *path)
{
    *out = (struct text_file){.path = path};
    if (strcmp(path, "-") == 0) {
        out->file = stdout;
        return STATUS_OK;
    }
    if (asprintf(&out->fresh, "%s.tmp.%ld", path, (long)getpid()) < 0)
        out->fresh = NULL;
    CHECK(out->fresh, STATUS_ERROR, "out of memory: name of '%s'", path);
    out->file = fopen(out->fresh, "w");
    int why = errno;
    if (!out->file) {
        free(out->fresh);
        out->fresh = NULL;
        FAIL(STATUS_ERROR, "cannot write '%s': %s", path, strerror(why));
    }
    return STATUS_OK;
}

enum status text_file_commit(struct text_file *out)
{
    if (!out->fresh) {
        CHECK(fflush(out->file) == 0 && !ferror(out->file), STATUS_ERROR,
              "cannot write to standard output: %s", strerror(errno));
        return STATUS_OK;
    }
    bool is_bad = ferror(out->file) != 0;
    is_bad = fclose(out->file) != 0 || is_bad || rename(out->fresh, out->path) != 0;
    int why = errno;
    out->file = NULL;
    if (is_bad)
        unlink(out->fresh);
    free(out->fresh);
    out->fresh = NULL;
    CHECK(!is_bad, STATUS_ERROR, "cannot write '%s': %s", out->path, strerror(why));
    return STATUS_OK;
}

void text_file_discard(struct text_file *out)
{
    if (!out->fresh)
        return;
    fclose(out->file);
    unlink(out->fresh);
    free(out->fresh);
    *out = (struct text_file){0};
}

void json_text(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(file, "\\%c", c);
        else if (c < 0x20)
            fprintf(file, "\\u%04x", c);
        else
            fputc(c, file);
    }
    fputc('"', file);
}

void json_number(FILE *file, double value)
{
    if (isfinite(value))
        fprintf(file, "%.17g", value);
    else
        fputs("null", file);
}

void csv_text(FILE *file, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, file);
        return;
    }
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', file);
        fputc(*text, file);
    }
    fputc('"', file);
}

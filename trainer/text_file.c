// SPDX-License-Identifier: MIT
#include "trainer/text_file.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/outputs.h"

enum status text_file_open(struct text_file *out, const char *path)
{
    *out = (struct text_file){.path = path};
    if (strcmp(path, "-") == 0) {
        out->file = stdout;
        return STATUS_OK;
    }
    TRY(outputs_find(path, getpid(), &out->real, &out->fresh));
    out->file = fopen(out->fresh ? out->fresh : out->real, "w");
    int why = errno;
    if (!out->file) {
        text_file_discard(out);
        FAIL(STATUS_ERROR, "cannot write '%s': %s", path, strerror(why));
    }
    return STATUS_OK;
}

enum status text_file_commit(struct text_file *out)
{
    if (!out->real) {
        CHECK(fflush(out->file) == 0 && !ferror(out->file), STATUS_ERROR,
              "cannot write to standard output: %s", strerror(errno));
        return STATUS_OK;
    }
    bool is_bad = ferror(out->file) != 0;
    is_bad = fclose(out->file) != 0 || is_bad;
    is_bad = is_bad || (out->fresh && rename(out->fresh, out->real) != 0);
    int why = errno;
    out->file = NULL;
    if (is_bad && out->fresh)
        unlink(out->fresh);
    free(out->fresh);
    free(out->real);
    out->fresh = out->real = NULL;
    CHECK(!is_bad, STATUS_ERROR, "cannot write '%s': %s", out->path, strerror(why));
    return STATUS_OK;
}

void text_file_discard(struct text_file *out)
{
    if (out->real && out->file)
        fclose(out->file);
    if (out->fresh && out->file)
        unlink(out->fresh);
    free(out->fresh);
    free(out->real);
    *out = (struct text_file){0};
}

// Bytes of the character of UTF-8 (RFC 3629) that begins here; 0: it is none.
static size_t utf8_length(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] < 0x80)
        return 1;
    size_t n = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    if (c[0] < 0xc2 || c[0] > 0xf4)
        return 0;
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
        (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
        return 0; // too long a form, a surrogate, beyond Unicode
    for (size_t i = 1; i < n; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

void json_text(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        size_t n = utf8_length(text);
        if (n == 0)
            fprintf(file, "\\u%04x", c); // JSON has no bytes: as if it were Latin-1
        else if (n > 1) {
            fwrite(text, 1, n, file);
            text += n - 1;
        } else if (c == '"' || c == '\\')
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

// SPDX-License-Identifier: MIT
#include "comm/names.h"

#include <stdbool.h>
#include <string.h>

#define NAME_MAX_BYTES 64 // longer texts are not misspelt names

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; // ASCII, whatever the locale
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

// Optimal string alignment distance (Boytsov 2011, "restricted edit distance"), three rows.
static size_t names_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t rows[3][NAME_MAX_BYTES + 1];
    size_t *older = rows[0], *old = rows[1], *now = rows[2];
    for (size_t j = 0; j <= n_b; j++)
        old[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        now[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t replace = old[j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
            now[j] = min3(old[j] + 1, now[j - 1] + 1, replace);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]) && older[j - 2] + 1 < now[j])
                now[j] = older[j - 2] + 1;
        }
        size_t *spare = older;
        older = old;
        old = now;
        now = spare;
    }
    return old[n_b];
}

static bool starts_with(const char *text, const char *start, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (lower(text[i]) != lower(start[i])) // the end of text differs too
            return false;
    return true;
}

const char *names_nearest(const char *name, const char *const *known, size_t n)
{
    size_t n_name = strlen(name);
    if (n_name == 0 || n_name > NAME_MAX_BYTES)
        return NULL;
    const char *best = NULL;
    size_t limit = (n_name + 1) / 2; // "nearer than half its length, rounded up"
    for (size_t i = 0; i < n; i++) {
        size_t n_known = strlen(known[i]);
        if (n_known > NAME_MAX_BYTES)
            continue;
        size_t distance = names_distance(name, n_name, known[i], n_known);
        bool is_start = starts_with(known[i], name, n_name);
        if (is_start && distance > 1)
            distance = 1; // an abbreviation counts as one slip
        if (distance < limit || (is_start && !best)) {
            best = known[i];
            limit = distance;
        }
    }
    return best;
}

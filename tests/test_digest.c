// SPDX-License-Identifier: MIT
// Digests of a flat vector do not depend on how it is sliced, and see every bit.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "comm/digest.h"
#include "comm/span.h"

#define N (5 * SPAN_BLOCK)

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 2654435761u) % 1000) * 0.01f - 5;
}

static void slices_add_up(void **state)
{
    (void)state;
    float x[N];
    fill(x, N);
    uint64_t whole = digest_span(x, 0, N, 7);
    for (size_t cut = 0; cut <= N; cut += SPAN_BLOCK)
        for (size_t next = cut; next <= N; next += SPAN_BLOCK)
            assert_true(digest_span(x, 0, cut, 7) + digest_span(x + cut, cut, next - cut, 7) +
                            digest_span(x + next, next, N - next, 7) ==
                        whole);
    assert_true(digest_span(x, 0, 0, 7) == 0);
}

static void every_bit_counts(void **state)
{
    (void)state;
    float x[N];
    fill(x, N);
    uint64_t whole = digest_span(x, 0, N, 0);
    unsigned char *bytes = (unsigned char *)x;
    for (size_t bit = 0; bit < N * 32; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_true(digest_span(x, 0, N, 0) != whole);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_true(digest_span(x, 0, N, 0) == whole);
}

static void places_and_salt_count(void **state)
{
    (void)state;
    float x[N], y[N];
    fill(x, N);
    memcpy(y, x + SPAN_BLOCK, SPAN_BLOCK * sizeof *y); // blocks 0 and 1 change places
    memcpy(y + SPAN_BLOCK, x, SPAN_BLOCK * sizeof *y);
    memcpy(y + 2 * SPAN_BLOCK, x + 2 * SPAN_BLOCK, (N - 2 * SPAN_BLOCK) * sizeof *y);
    assert_true(digest_span(x, 0, N, 1) != digest_span(y, 0, N, 1));
    assert_true(digest_span(x, 0, N, 1) != digest_span(x, 0, N, 2));
    assert_true(digest_span(x, 0, N, 1) != digest_span(x, SPAN_BLOCK, N, 1));
    float zeros[N] = {0}; // equal blocks do not cancel, length counts
    assert_true(digest_span(zeros, 0, N, 1) != digest_span(zeros, 0, N - SPAN_BLOCK, 1));
    assert_true(digest_span(x, 0, N, 1) != digest_span(x, 0, N - 1, 1));
}

static void text_of(const char *const *pieces, size_t n, int is_text, char hex[33])
{
    struct digest *digest = digest_begin();
    assert_non_null(digest);
    for (size_t i = 0; i < n; i++) {
        if (is_text)
            digest_add_text(digest, pieces[i]);
        else
            digest_add(digest, pieces[i], strlen(pieces[i]));
    }
    digest_end(digest, hex);
    assert_int_equal(strlen(hex), 32);
}

static void running_digest_is_xxh3(void **state)
{
    (void)state;
    char a[33], b[33];
    // The published value of XXH3 128 bit of nothing, seed 0, and of 64 bit.
    text_of(NULL, 0, 0, a);
    assert_string_equal(a, "99aa06d3014798d86001c324468d497f");
    assert_true(digest_bytes("", 0, 0) == 0x2d06800538d394c2u);
    const char *const one[] = {"weights and biases"}, *const parts[] = {"weights", " and ",
                                                                        "biases"};
    text_of(one, 1, 0, a);
    text_of(parts, 3, 0, b);
    assert_string_equal(a, b);
    text_of(parts, 3, 1, b); // texts keep their bounds
    assert_string_not_equal(a, b);
    const char *const left[] = {"ab", "c"}, *const right[] = {"a", "bc"};
    text_of(left, 2, 1, a);
    text_of(right, 2, 1, b);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_add_up),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(places_and_salt_count),
        cmocka_unit_test(running_digest_is_xxh3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
#include "comm/number.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/error.h"

#define DIGITS "0123456789"

// [+-] digits [. digits] [e [+-] digits], at least one digit before the exponent: no hexadecimal,
// no "nan", no "inf". Says whether a digit of the mantissa is not zero.
static bool is_decimal(const char *text, bool *is_nonzero)
{
    text += *text == '+' || *text == '-';
    const char *mantissa = text;
    size_t n = strspn(text, DIGITS);
    text += n;
    if (*text == '.') {
        size_t fraction = strspn(text + 1, DIGITS);
        text += 1 + fraction;
        n += fraction;
    }
    size_t first = strspn(mantissa, "0.");
    *is_nonzero = mantissa + first < text;
    if (n == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        n = strspn(text, DIGITS);
        text += n;
    }
    return n > 0 && *text == '\0';
}

bool number_double(const char *text, double *out, const char **problem)
{
    bool is_nonzero = false;
    *out = 0;
    if (!is_decimal(text, &is_nonzero)) {
        const char *name = text + (*text == '+' || *text == '-' || *text == '.');
        name += *name == '.';
        bool is_special = strncasecmp(name, "nan", 3) == 0 || strncasecmp(name, "inf", 3) == 0;
        *problem = is_special ? "expected a finite number" : "expected a number";
        return false;
    }
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    ASSERT(plain != (locale_t)0);
    *out = strtod_l(text, NULL, plain);
    freelocale(plain);
    if (!isfinite(*out)) {
        *problem = "which is more than a double can hold";
        return false;
    }
    if (*out == 0 && is_nonzero) {
        *problem = "which is nearer to zero than a double can hold";
        return false;
    }
    return true;
}

bool number_int(const char *text, int64_t *out, const char **problem)
{
    bool is_negative = *text == '-';
    const char *at = text + (*text == '+' || *text == '-');
    *problem = "expected an integer";
    *out = 0;
    if (*at == '\0' || at[strspn(at, DIGITS)] != '\0')
        return false;
    int64_t value = 0;
    for (; *at; at++) {
        int digit = is_negative ? '0' - *at : *at - '0'; // downward, for INT64_MIN
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            *problem = "which is more than 64 bits can hold";
            return false;
        }
    }
    *out = value;
    return true;
}

void number_text(double value, char out[NUMBER_BYTES])
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    ASSERT(plain != (locale_t)0);
    locale_t old = uselocale(plain);
    char text[NUMBER_BYTES];
    bool is_whole = fabs(value) < 1e15 && value == trunc(value); // 1000, not 1e+03
    for (int digits = 1; digits <= 17; digits++) {
        if (is_whole)
            snprintf(text, sizeof text, "%.0f", value);
        else
            snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (memcmp(&back, &value, sizeof back) == 0)
            break;
    }
    memcpy(out, text, sizeof text);
    uselocale(old);
    freelocale(plain);
}

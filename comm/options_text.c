// SPDX-License-Identifier: MIT
// Numbers, choices and bounds as text; and what is written from a table: help and resolved values.
#include "comm/options.h"
#include "comm/options_private.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

bool option_double(const char *text, double *out, const char **problem)
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

bool option_int(const char *text, int64_t *out, const char **problem)
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

void option_double_text(double value, char out[OPTION_DOUBLE_BYTES])
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    ASSERT(plain != (locale_t)0);
    locale_t old = uselocale(plain);
    bool is_whole = fabs(value) < 1e15 && value == trunc(value); // 1000, not 1e+03
    for (int digits = 1; digits <= 17; digits++) {
        if (is_whole)
            snprintf(out, OPTION_DOUBLE_BYTES, "%.0f", value);
        else
            snprintf(out, OPTION_DOUBLE_BYTES, "%.*g", digits, value);
        double back = strtod(out, NULL);
        if (memcmp(&back, &value, sizeof back) == 0)
            break;
    }
    uselocale(old);
    freelocale(plain);
}

char **option_choices(const char *choices, size_t *n)
{
    *n = 1;
    for (const char *c = choices; *c; c++)
        *n += *c == '|';
    size_t bytes = strlen(choices) + 1;
    char **out = malloc(*n * sizeof *out + bytes);
    if (!out)
        return NULL;
    char *copy = memcpy(out + *n, choices, bytes);
    for (size_t i = 0; i < *n; i++)
        out[i] = strsep(&copy, "|");
    return out;
}

void option_bounds(const struct option *option, char out[OPTION_BOUNDS_BYTES])
{
    char low[OPTION_DOUBLE_BYTES], high[OPTION_DOUBLE_BYTES];
    out[0] = '\0';
    bool is_number = option->type == OPTION_INT || option->type == OPTION_FLOAT ||
                     option->type == OPTION_INTS || option->type == OPTION_FLOATS;
    if (!is_number || (option->min == 0 && option->max == 0))
        return;
    option_double_text(option->min, low);
    option_double_text(option->max, high);
    if (option->max >= 1e15) // as good as none
        snprintf(out, OPTION_BOUNDS_BYTES, "at least %s", low);
    else
        snprintf(out, OPTION_BOUNDS_BYTES, "%s to %s", low, high);
}

static void help_values(FILE *out, const struct option *option)
{
    char bounds[OPTION_BOUNDS_BYTES];
    option_bounds(option, bounds);
    if (option->choices)
        fprintf(out, "; %s", option->choices);
    else if (option->type == OPTION_BOOL)
        fputs("; true|false", out);
    else if (bounds[0])
        fprintf(out, "; %s", bounds);
}

char *options_help(const struct option *table, size_t n, const char *indent)
{
    char *text = NULL;
    size_t bytes = 0, width = 0;
    for (size_t i = 0; i < n; i++)
        width = strlen(table[i].name) > width ? strlen(table[i].name) : width;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const struct option *option = &table[i];
        fprintf(out, "%s%-*s  %s (", indent, (int)width, option->name, option->help);
        if (option->fallback)
            fprintf(out, "default %s", option->fallback[0] ? option->fallback : "none");
        else
            fputs(option->type == OPTION_NODE ? "optional" : "required", out);
        help_values(out, option);
        fputs(")\n", out);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static struct yaml_node *write_double(struct yaml *yaml, const char *key, double value)
{
    char text[OPTION_DOUBLE_BYTES];
    option_double_text(value, text);
    return yaml_new(yaml, YAML_SCALAR, key, text);
}

static struct yaml_node *write_int(struct yaml *yaml, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return yaml_new(yaml, YAML_SCALAR, key, text);
}

static struct yaml_node *write_choice(struct yaml *yaml, const struct option *option, int value)
{
    size_t n = 0;
    char **names = option_choices(option->choices, &n);
    ASSERT(names && value >= 0 && (size_t)value < n);
    struct yaml_node *node = yaml_new(yaml, YAML_SCALAR, option->name, names[value]);
    free(names);
    return node;
}

static struct yaml_node *write_node(struct yaml *yaml, const char *key,
                                    const struct yaml_node *value)
{
    if (!value)
        return NULL;
    struct yaml_node *node = yaml_copy(yaml, value);
    node->key = key;
    return node;
}

static struct yaml_node *write_list(struct yaml *yaml, const struct option *option, const void *at)
{
    struct yaml_node *list = yaml_new(yaml, YAML_LIST, option->name, NULL);
    if (option->type == OPTION_INTS) {
        const struct option_ints *ints = at;
        for (size_t i = 0; i < ints->n; i++)
            yaml_add(list, write_int(yaml, NULL, ints->v[i]));
    } else if (option->type == OPTION_FLOATS) {
        const struct option_floats *floats = at;
        for (size_t i = 0; i < floats->n; i++)
            yaml_add(list, write_double(yaml, NULL, floats->v[i]));
    } else {
        const struct option_strings *strings = at;
        for (size_t i = 0; i < strings->n; i++)
            yaml_add(list, yaml_new(yaml, YAML_SCALAR, NULL, strings->v[i]));
    }
    return list;
}

static struct yaml_node *write_row(struct yaml *yaml, const struct option *option, const void *in)
{
    const void *at = (const char *)in + option->offset;
    const char *key = option->name;
    switch (option->type) {
    case OPTION_BOOL:
        return yaml_new(yaml, YAML_SCALAR, key, *(const bool *)at ? "true" : "false");
    case OPTION_INT:
        return write_int(yaml, key, *(const int64_t *)at);
    case OPTION_FLOAT:
        return write_double(yaml, key, *(const double *)at);
    case OPTION_STRING: {
        const char *text = *(const char *const *)at;
        return text ? yaml_new(yaml, YAML_SCALAR, key, text) : NULL;
    }
    case OPTION_CHOICE:
        return write_choice(yaml, option, *(const int *)at);
    case OPTION_NODE:
        return write_node(yaml, key, *(const struct yaml_node *const *)at);
    case OPTION_INTS:
    case OPTION_FLOATS:
    case OPTION_STRINGS:
        return write_list(yaml, option, at);
    }
    ASSERT(false);
}

struct yaml_node *options_write(struct yaml *yaml, const struct option *table, size_t n,
                                const void *in)
{
    struct yaml_node *map = yaml_new(yaml, YAML_MAP, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        struct yaml_node *node = write_row(yaml, &table[i], in);
        if (node)
            yaml_add(map, node);
    }
    return map;
}

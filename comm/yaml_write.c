// SPDX-License-Identifier: MIT
// Tree to text. Blocks of two spaces; a list without maps in it stands on one line.
#include "comm/yaml.h"
#include "comm/yaml_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Texts that mean themselves without quotes, wherever they stand: paths, numbers, names.
static bool is_plain(const char *text)
{
    size_t n = strlen(text);
    size_t start = strspn(text, "./-+");
    if (start > 3 || !is_word(text[start]) || text[n - 1] == ':')
        return false;
    for (size_t i = start; i < n; i++)
        if (!is_word(text[i]) && !strchr("./-+:", text[i]))
            return false;
    return !strchr(text, ':') || strstr(text, ":/"); // 12:30 is a number to YAML 1.1
}

size_t yaml_utf8(const char *text, uint32_t *code)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t n = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (n == 0 || at[0] > 0xf4)
        return 0;
    *code = n == 1 ? at[0] : at[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80) // the end of the text too
            return 0;
        *code = *code << 6 | (at[i] & 0x3f);
    }
    bool is_long = (n == 3 && *code < 0x800) || (n == 4 && *code < 0x10000);
    bool is_surrogate = *code >= 0xd800 && *code < 0xe000;
    return is_long || is_surrogate || *code > 0x10ffff ? 0 : n;
}

// What may stand in YAML text as itself (YAML 1.1, c-printable), less its line breaks.
static bool is_printable(uint32_t code)
{
    return (code >= 0x20 && code < 0x7f) || (code >= 0xa0 && code < 0x2028) ||
           (code > 0x2029 && code < 0xd800) || (code >= 0xe000 && code < 0xfeff) ||
           (code > 0xfeff && code < 0xfffe) || code >= 0x10000;
}

// Double quotes: every text has such a form. Texts are valid UTF-8 (the parser and yaml_value see
// to it).
static void write_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    while (*text) {
        uint32_t code = 0;
        size_t n = yaml_utf8(text, &code);
        ASSERT(n > 0);
        if (code == '"' || code == '\\')
            fprintf(out, "\\%c", (int)code);
        else if (code == '\n')
            fputs("\\n", out);
        else if (is_printable(code))
            fwrite(text, 1, n, out);
        else
            fprintf(out, code < 0x100 ? "\\x%02X" : "\\u%04X", code);
        text += n;
    }
    fputc('"', out);
}

static void write_text(FILE *out, const char *text, bool is_flow)
{
    if (is_plain(text) && !(is_flow && strchr(text, ':')))
        fputs(text, out);
    else
        write_quoted(out, text);
}

static bool has_map(const struct yaml_node *node)
{
    if (node->kind == YAML_MAP && node->first)
        return true;
    for (const struct yaml_node *child = node->first; child; child = child->next)
        if (has_map(child))
            return true;
    return false;
}

static void write_flow(FILE *out, const struct yaml_node *node)
{
    if (node->kind == YAML_SCALAR) {
        write_text(out, node->text, true);
    } else if (node->kind == YAML_MAP) {
        fputs("{}", out);
    } else {
        fputc('[', out);
        for (const struct yaml_node *child = node->first; child; child = child->next) {
            write_flow(out, child);
            fputs(child->next ? ", " : "", out);
        }
        fputc(']', out);
    }
}

// Starts where the first line of the block may stand; every line ends with a newline.
static void write_block(FILE *out, const struct yaml_node *node, int indent)
{
    bool is_first = true;
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        fprintf(out, "%*s", is_first ? 0 : indent, "");
        is_first = false;
        if (node->kind == YAML_LIST) {
            fputs("- ", out);
        } else {
            write_text(out, child->key, false);
            fputc(':', out);
        }
        bool is_block = child->kind != YAML_SCALAR && has_map(child);
        if (is_block && node->kind == YAML_MAP)
            fprintf(out, "\n%*s", indent + 2, "");
        else if (node->kind == YAML_MAP)
            fputc(' ', out);
        if (is_block) {
            write_block(out, child, indent + 2);
            continue;
        }
        if (child->kind == YAML_SCALAR)
            write_text(out, child->text, false);
        else
            write_flow(out, child);
        fputc('\n', out);
    }
}

enum status yaml_write(const struct yaml_node *root, char **text)
{
    size_t n = 0;
    *text = NULL;
    FILE *out = open_memstream(text, &n);
    CHECK(out, STATUS_ERROR, "out of memory while writing YAML");
    if (root->kind != YAML_SCALAR && has_map(root)) {
        write_block(out, root, 0);
    } else {
        write_flow(out, root);
        fputc('\n', out);
    }
    bool is_bad = ferror(out) != 0;
    is_bad = fclose(out) != 0 || is_bad;
    if (is_bad) {
        free(*text);
        *text = NULL;
        FAIL(STATUS_ERROR, "out of memory while writing YAML");
    }
    return STATUS_OK;
}

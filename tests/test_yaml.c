// SPDX-License-Identifier: MIT
// The YAML tree: what is read, what is refused and where, overrides, and that writing and reading
// again gives the same tree.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/yaml.h"
#include "tests/support/expect.h"

static struct yaml *parse(const char *text)
{
    struct yaml *yaml;
    expect_ok(yaml_parse(&yaml, "r.yaml", text, strlen(text)), text);
    return yaml;
}

static void check_same(const struct yaml_node *a, const struct yaml_node *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->n, b->n);
    assert_true(!a->key == !b->key);
    if (a->key)
        assert_string_equal(a->key, b->key);
    if (a->kind == YAML_SCALAR)
        assert_string_equal(a->text, b->text);
    const struct yaml_node *x = a->first, *y = b->first;
    for (; x && y; x = x->next, y = y->next)
        check_same(x, y);
    assert_true(!x && !y);
}

static void check_written(struct yaml *yaml, const char *wanted)
{
    char *text;
    expect_ok(yaml_write(yaml->root, &text), "write");
    if (wanted)
        assert_string_equal(text, wanted);
    struct yaml *again = parse(text);
    check_same(yaml->root, again->root);
    yaml_free(again);
    free(text);
}

static const struct {
    const char *text, *written;
} good[] = {
    {"", "{}\n"},
    {"# nothing\n", "{}\n"},
    {"---\n", "{}\n"},
    {"a: 1\n", "a: 1\n"},
    {"a: 1\n...\n", "a: 1\n"},
    {"\xef\xbb\xbf"
     "a: 1",
     "a: 1\n"},
    {"a:\n", "a: \"\"\n"},
    {"{a: 1, b: [2, 3], c: {d: e}}", "a: 1\nb: [2, 3]\nc:\n  d: e\n"},
    {"a: 'b:/c:'\n", "a: \"b:/c:\"\n"},
    {"a: []\nb: {}\n", "a: []\nb: {}\n"},
    {"train: data/x.h5:/train\n", "train: data/x.h5:/train\n"},
    {"l: [data/x.h5:/train]\n", "l: [\"data/x.h5:/train\"]\n"},
    {"f:\n- conv: {out: 3}\n- relu\n- - a: b\n    c: d\n  - [1, [2]]\n",
     "f:\n  - conv:\n      out: 3\n  - relu\n  - - a: b\n      c: d\n    - [1, [2]]\n"},
    {"a: &x {k: [1, 2]}\nb: *x\nc: [*x]\n",
     "a:\n  k: [1, 2]\nb:\n  k: [1, 2]\nc:\n  - k: [1, 2]\n"},
    {"a: &x 1\nb: &x 2\nc: *x\n", "a: 1\nb: 2\nc: 2\n"},
    {"a: -1.5e-3\nb: +.5\nc: ../x-y_z\n", "a: -1.5e-3\nb: +.5\nc: ../x-y_z\n"},
    {"a: 'it''s'\nb: \"x\\ty\\n\\x01\"\n", "a: \"it's\"\nb: \"x\\x09y\\n\\x01\"\n"},
    {"a: '- b'\nb: '#c'\nc: 'd: e'\n'f g': ''\n", "a: \"- b\"\nb: \"#c\"\nc: \"d: e\"\n"
                                                  "\"f g\": \"\"\n"},
    {"a: |\n  two\n  lines\n", "a: \"two\\nlines\\n\"\n"},
    {"a: gr\xc3\xbc\xc3\x9f \xe2\x82\xac\n", "a: \"gr\xc3\xbc\xc3\x9f \xe2\x82\xac\"\n"},
    {"a: \"\\u2028\\uFEFF\\x85\\uFFFF\\U0001F600\"\n",
     "a: \"\\u2028\\uFEFF\\x85\\uFFFF\xf0\x9f\x98\x80\"\n"},
    {"a: 12:30\nb: '...'\nc: x:\\y\n", "a: \"12:30\"\nb: \"...\"\nc: \"x:\\\\y\"\n"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct yaml *yaml = parse(good[i].text);
        check_written(yaml, good[i].written);
        yaml_free(yaml);
    }
}

static const struct {
    const char *text, *message;
} bad[] = {
    {"a: 1\nb: 2\na: 3\n", "r.yaml:3: key 'a' is given twice, first in line 1"},
    {"a:\n  b: 1\n  b: 1\n", "r.yaml:3: key 'b' is given twice, first in line 2"},
    {"a: [1, 2\n", "r.yaml:2: not YAML|expected ',' or ']'"},
    {"a: {b: 1\nc", "not YAML"},
    {"a: 1\n b: 2\n", "r.yaml:2: not YAML"},
    {"a: 'x\n", "not YAML|quoted scalar"},
    {"\ta: 1\n", "r.yaml:1: not YAML"},
    {"a: 1\n---\nb: 2\n", "r.yaml:2: a second document"},
    {"- a\n- b\n", "r.yaml:1: expected keys and values|list"},
    {"just text", "r.yaml:1: expected keys and values|text"},
    {"a: *x\n", "r.yaml:1: alias '*x' names no anchor"},
    {"a: &x [*x]\n", "r.yaml:1: alias '*x' stands inside"},
    {"a: &x {b: {c: *x}}\n", "alias '*x' stands inside"},
    {"a: !!float 1\n", "r.yaml:1: the tag|float|leave it out"},
    {"a: !x [1]\n", "the tag '!x'"},
    {"a: !x {}\n", "the tag '!x'"},
    {"[1, 2]: 3\n", "r.yaml:1: a key must be a single text"},
    {"? {a: b}\n: 3\n", "a key must be a single text"},
    {"'': 3\n", "an empty key"},
    {"&k a: 3\n", "an anchor on a key"},
    {"x: &x {a: 1}\ny:\n  <<: *x\n", "r.yaml:3: merge keys"},
    {"a: \"x\\0y\"\n", "r.yaml:1: a text with a zero byte"},
    {"a: \xff\xfe\n", "r.yaml: not UTF-8|byte 3"},
    {"a: \x01\n", "r.yaml: not UTF-8|control characters"},
    {"a: @x\n", "not YAML"},
    {"%YAML 9.9\n---\na: 1\n", "not YAML"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct yaml *yaml = (struct yaml *)1;
        expect_error(yaml_parse(&yaml, "r.yaml", bad[i].text, strlen(bad[i].text)), STATUS_USAGE,
                     bad[i].message, bad[i].text);
        assert_null(yaml);
    }
    struct yaml *yaml;
    expect_error(yaml_parse(&yaml, "r.yaml", "a: 1\0b", 6), STATUS_USAGE, "not UTF-8", "zero");
}

static void expect_parse_error(const char *text, const char *parts)
{
    struct yaml *yaml;
    expect_error(yaml_parse(&yaml, "r.yaml", text, strlen(text)), STATUS_USAGE, parts, parts);
}

// n times before, the middle, n times after; malloc'ed.
static char *nest(const char *before, const char *middle, const char *after, size_t n)
{
    char *text = calloc(1, n * (strlen(before) + strlen(after)) + strlen(middle) + 1);
    char *at = text;
    for (size_t i = 0; i < n; i++)
        at = stpcpy(at, before);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < n; i++)
        at = stpcpy(at, after);
    return text;
}

static void test_limits(void **state)
{
    (void)state;
    char *text = nest("{a: ", "1", "}", 63);
    struct yaml *yaml = parse(text);
    check_written(yaml, NULL);
    yaml_free(yaml);
    free(text);
    text = nest("{a: ", "1", "}", 64);
    expect_parse_error(text, "r.yaml:1: nested deeper than 64 levels");
    free(text);
    text = nest("[", "", "", 100000);
    expect_parse_error(text, "r.yaml:1: nested deeper than 64 levels");
    free(text);
    text = nest("k", "", "", 129);
    char *pair = calloc(1, 200);
    snprintf(pair, 200, "%s: 1", text);
    expect_parse_error(pair, "a key of 129 bytes|at most 128");
    free(pair);
    free(text);
}

static void test_bombs(void **state)
{
    (void)state;
    // 9^7 nodes from seven lines; a chain that doubles its depth; many keys.
    expect_parse_error("a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                       "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                       "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
                       "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
                       "r.yaml:7: more than 1000000 values (aliases copy what they name)");
    char text[16384] = "a0: &a0 [1]\n", *at = text + strlen(text);
    for (int i = 1; i < 80; i++)
        at += sprintf(at, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    expect_parse_error(text, "r.yaml:63: nested deeper than 64 levels");
    at = text;
    for (int i = 0; i < 1025; i++)
        at += sprintf(at, "k%d: 1\n", i);
    expect_parse_error(text, "r.yaml:1025: more than 1024 keys");
    at = text;
    for (int i = 0; i < 1025; i++)
        at += sprintf(at, "%s&a%d 1", i ? ", " : "a: [", i);
    sprintf(at, "]");
    expect_parse_error(text, "r.yaml:1: more than 1024 anchors");
}

static void test_lines(void **state)
{
    (void)state;
    struct yaml *yaml = parse("# first\na: 1\nb:\n  c: 2\n  d:\n    - x\n    - y: 3\n");
    const struct yaml_node *b = yaml_find(yaml->root, "b"), *d = yaml_find(b, "d");
    assert_int_equal(yaml_find(yaml->root, "a")->line, 2);
    assert_int_equal(b->line, 3);
    assert_int_equal(yaml_find(b, "c")->line, 4);
    assert_int_equal(d->line, 5);
    assert_int_equal(d->first->line, 6);
    assert_int_equal(d->first->next->line, 7);
    assert_string_equal(yaml_place(yaml, d), "r.yaml:5");
    assert_string_equal(yaml_place(yaml, NULL), "r.yaml");
    expect_ok(yaml_override(yaml, "b.c=3"), "override");
    assert_string_equal(yaml_place(yaml, yaml_find(b, "c")), "r.yaml (override)");
    assert_null(yaml_find(b, "x"));
    assert_null(yaml_find(d, "x"));
    assert_null(yaml_find(NULL, "x"));
    yaml_free(yaml);
    yaml_free(NULL);
}

#define BASE "train: {lr: 0.1, empty: }\nfeatures:\n- conv: {out: 32, pad: 1}\n- relu\n"

static const struct {
    const char *assignment, *path; // keys and numbers of the path, divided by '/'
    const char *text;              // of the scalar there; NULL: a list or map
} overrides[] = {
    {"train.lr=0.2", "train/lr", "0.2"},
    {"train.momentum = 0.9 ", "train/momentum ", "0.9"},
    {"train.lr=", "train/lr", ""},
    {"features.0.conv.out=64", "features/0/conv/out", "64"},
    {"features.0.conv.bias=no", "features/0/conv/bias", "no"},
    {"features.1=gelu", "features/1", "gelu"},
    {"features.1={dropout: {p: 0.5}}", "features/1/dropout/p", "0.5"},
    {"train.milestones=[1, 2.5]", "train/milestones/1", "2.5"},
    {"a.b.c=1", "a/b/c", "1"},
    {"train.empty.x=1", "train/empty/x", "1"},
    {"data.train=data/x.h5:/train", "data/train", "data/x.h5:/train"},
    {"name=a: b, #c = d", "name", "a: b, #c = d"},
    {"name=\"[x]\"", "name", "[x]"},
    {"name='it''s'", "name", "it's"},
    {"name=~", "name", "~"},
    {"train={lr: 1}", "train/lr", "1"},
};

static void test_overrides(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof overrides / sizeof *overrides; i++) {
        struct yaml *yaml = parse(BASE);
        expect_ok(yaml_override(yaml, overrides[i].assignment), overrides[i].assignment);
        const struct yaml_node *node = yaml->root;
        char path[128];
        snprintf(path, sizeof path, "%s", overrides[i].path);
        for (char *key = strtok(path, "/"); key; key = strtok(NULL, "/")) {
            if (node->kind == YAML_LIST) {
                node = node->first;
                for (int skipped = atoi(key); skipped > 0; skipped--)
                    node = node->next;
            } else {
                node = yaml_find(node, key);
            }
            if (!node)
                fail_msg("%s: no %s", overrides[i].assignment, overrides[i].path);
        }
        assert_string_equal(node->text, overrides[i].text);
        assert_int_equal(node->line, 0);
        check_written(yaml, NULL);
        yaml_free(yaml);
    }
}

static const struct {
    const char *assignment, *message;
} wrong_overrides[] = {
    {"train.lr", "override 'train.lr' has no '=', expected path.to.key=value"},
    {"=1", "empty name"},
    {".a=1", "empty name"},
    {"a.=1", "empty name"},
    {"train..lr=1", "empty name"},
    {"train.lr.x=1", "'x' is looked for in '0.1', which is a value"},
    {"features.2=1", "the list has no element 2, expected 0 to 1"},
    {"features.-1=1", "'-1' stands for an element of a list, expected 0 to 1"},
    {"features.conv=1", "'conv' stands for an element of a list"},
    {"features.99999999999999999999=1", "stands for an element"},
    {"features.1.x=1", "'x' is looked for in 'relu'"},
    {"train.lr=[1", "override 'train.lr=[1': not YAML"},
    {"train.lr=[1] x", "not YAML"},
    {"train.lr=[a]: 1", "a key must be"},
    {"train.lr={a: 1}: 2", "a key must be"},
    {"train.lr=\"a\": 2", "not one value"},
    {"train.lr={a: 1, a: 2}", "given twice"},
    {"train.lr=\xff", "not UTF-8"},
    {"tr\xffin=1", "not UTF-8"},
    {"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t."
     "u.v.w.x.y.z.a.b.c.d.e.f.g.h.i.j.k.l=1",
     "deeper than 64 levels"},
};

static void test_wrong_overrides(void **state)
{
    (void)state;
    struct yaml *yaml = parse(BASE), *before = parse(BASE);
    for (size_t i = 0; i < sizeof wrong_overrides / sizeof *wrong_overrides; i++) {
        expect_error(yaml_override(yaml, wrong_overrides[i].assignment), STATUS_USAGE,
                     wrong_overrides[i].message, wrong_overrides[i].assignment);
        check_same(yaml->root, before->root); // a failed override changes nothing
    }
    yaml_free(yaml);
    yaml_free(before);
}

static void test_building(void **state)
{
    (void)state;
    struct yaml *yaml = parse("a: [1]"), *other = parse("x: {y: [z]}");
    struct yaml_node *list = yaml_new(yaml, YAML_LIST, "list", NULL);
    yaml_add(list, yaml_new(yaml, YAML_SCALAR, NULL, "one"));
    yaml_add(list, yaml_new(yaml, YAML_SCALAR, NULL, NULL));
    yaml_add(yaml->root, list);
    yaml_add(yaml->root, yaml_copy(yaml, other->root->first));
    check_written(yaml, "a: [1]\nlist: [one, \"\"]\nx:\n  y: [z]\n");
    expect_ok(yaml_override(yaml, "list.1=two"), "replace the last"); // and append after it
    yaml_add(list, yaml_new(yaml, YAML_SCALAR, NULL, "three"));
    yaml_add(yaml_copy(yaml, list), yaml_new(yaml, YAML_SCALAR, NULL, "elsewhere"));
    check_written(yaml, "a: [1]\nlist: [one, two, three]\nx:\n  y: [z]\n");
    for (int i = 0; i < 200000; i++) // appending must not walk the list
        yaml_add(list, yaml_new(yaml, YAML_SCALAR, NULL, "x"));
    assert_int_equal(list->n, 200003);
    for (size_t bytes = 0; bytes < 70000; bytes += 4999) { // small, and larger than a chunk
        unsigned char *memory = yaml_memory_get(yaml, bytes);
        assert_true((uintptr_t)memory % 16 == 0);
        for (size_t i = 0; i < bytes; i++)
            assert_true(memory[i] == 0);
        memset(memory, 0xff, bytes);
    }
    yaml_free(yaml);
    yaml_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),     cmocka_unit_test(test_bad),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_lines),    cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_building), cmocka_unit_test(test_wrong_overrides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
// data/importers/csv*.c: records and quotes, header or not, target columns, classes or numbers,
// shapes, damaged files.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/importers/csv_reader.h"
#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/import_files.h"

static const char *put_text(const char *text)
{
    const char *path = path_in(folder, "t.csv");
    put_file(path, text, strlen(text));
    return path;
}

// ---- records

// All records as "field|field;record;...".
static void test_records(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text, *expected;
    } cases[] = {
        {"plain", "a,b\nc,d\n", "a|b;c|d;"},
        {"no last line end", "a,b\nc,d", "a|b;c|d;"},
        {"carriage returns", "a,b\r\nc,d\r\n", "a|b;c|d;"},
        {"blank lines", "\n\na,b\n\r\n  \nc,d\n\n", "a|b;c|d;"},
        {"empty fields", ",\na,\n,b\n", "|;a|;|b;"},
        {"spaces", " a , b\t\n", "a|b;"},
        {"quotes", "\"a\",\"b\"\n", "a|b;"},
        {"comma inside", "\"a,x\",b\n", "a,x|b;"},
        {"line end inside", "\"a\nx\",b\nc,d\n", "a\nx|b;c|d;"},
        {"doubled quotes", "\"a\"\"x\"\"\",b\n", "a\"x\"|b;"},
        {"spaces inside quotes", "\" a \",b\n", " a |b;"},
        {"empty quotes", "\"\",b\n", "|b;"},
        {"quote in the middle", "a\"x,b\n", "a\"x|b;"},
        {"semicolons", "a;b,x;c\n", "a|b,x|c;"},
        {"tabs", "a\tb\tc\n", "a|b|c;"},
        {"byte order mark",
         "\xef\xbb\xbf"
         "a,b\n",
         "a|b;"},
        {"one column", "a\nb\n", "a;b;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct csv_reader reader;
        char got[256] = "";
        expect_ok(csv_open(&reader, put_text(cases[i].text)), cases[i].what);
        for (int again = 0; again < 2; again++) { // and once more after rewinding
            got[0] = 0;
            for (;;) {
                expect_ok(csv_next(&reader), cases[i].what);
                if (reader.n_fields == 0)
                    break;
                for (size_t k = 0; k < reader.n_fields; k++)
                    sprintf(got + strlen(got), "%s%s", k ? "|" : "", reader.fields[k]);
                strcat(got, ";");
            }
            if (strcmp(got, cases[i].expected) != 0)
                fail_msg("%s: '%s', expected '%s'", cases[i].what, got, cases[i].expected);
            expect_ok(csv_rewind(&reader), "rewind");
        }
        csv_close(&reader);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const good[] = {"0", "-1", "+2.5", ".5", "5.", "1e3", "1E-3", "nan", "-inf"};
    static const char *const bad[] = {"",      " 1", "1 ", "0x10", "1,5",      "1e",
                                      "1.2.3", "-",  "e5", "abc",  "infinity", "nan(1)"};
    double value = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!csv_number(good[i], &value))
            fail_msg("'%s' is a number", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (csv_number(bad[i], &value))
            fail_msg("'%s' is no number", bad[i]);
}

// ---- tables

// The source as text: "classes: row -> target; ..." to compare with what is expected.
static void describe(struct import_source *source, char *out)
{
    size_t n = source->shape.h * source->shape.w * source->shape.c;
    float row[64], target[8];
    uint8_t bytes[64];
    out[0] = 0;
    assert_true(n <= 64 && source->target.count <= 8);
    for (size_t k = 0; source->classes && k < source->target.n_classes; k++)
        sprintf(out + strlen(out), "%s%s", k ? "," : "", source->classes[k]);
    strcat(out, ":");
    for (uint64_t r = 0; r < source->n_rows; r++) {
        expect_ok(source->read(source, r, source->is_u8 ? (void *)bytes : row,
                               source->labels ? NULL : target),
                  "row");
        for (size_t i = 0; i < n; i++)
            sprintf(out + strlen(out), " %g", source->is_u8 ? (double)bytes[i] : (double)row[i]);
        strcat(out, " ->");
        for (size_t i = 0; i < source->target.count; i++)
            sprintf(out + strlen(out), " %g",
                    source->labels ? (double)source->labels[r] : (double)target[i]);
        strcat(out, ";");
    }
}

static void test_tables(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
        struct import_options options;
        const char *expected;
    } cases[] = {
        {"no header, last", "1,2,0\n3,4,1\n", {0}, "0,1: 1 2 -> 0; 3 4 -> 1;"},
        {"header", "a,b,c\n1,2,0\n3,4,1\n", {0}, "0,1: 1 2 -> 0; 3 4 -> 1;"},
        {"header with a number", "a,2020,c\n1,2,x\n3,4,y\n", {0}, "x,y: 1 2 -> 0; 3 4 -> 1;"},
        {"usual name", "label,b,c\n0,1,2\n1,3,4\n", {0}, "0,1: 1 2 -> 0; 3 4 -> 1;"},
        {"by name", "a,b,c\n1,0,2\n3,1,4\n", {.target_column = "b"}, "0,1: 1 2 -> 0; 3 4 -> 1;"},
        {"by number", "0,1,2\n1,3,4\n", {.target_column = "1"}, "0,1: 1 2 -> 0; 3 4 -> 1;"},
        {"from the end", "1,0,2\n3,1,4\n", {.target_column = "-2"}, "0,1: 1 2 -> 0; 3 4 -> 1;"},
        {"texts",
         "1,cat\n2,dog\n3,ant\n4,cat\n",
         {0},
         "ant,cat,dog: 1 -> 1; 2 -> 2; 3 -> 0; 4 -> 1;"},
        {"by value", "1,10\n2,9\n3,-1\n", {0}, "-1,9,10: 1 -> 2; 2 -> 1; 3 -> 0;"},
        {"one spelling", "1,5.0\n2,5\n3,05\n4,-0\n", {0}, "0,5: 1 -> 1; 2 -> 1; 3 -> 1; 4 -> 0;"},
        {"text header", "x,y\na,b\n", {.target = IMPORT_TARGET_CLASS}, NULL},
        {"fractions", "1,0.5\n2,1\n", {0}, ": 1 -> 0.5; 2 -> 1;"},
        {"asked for", "1,3\n2,1\n", {.target = IMPORT_TARGET_FLOAT}, ": 1 -> 3; 2 -> 1;"},
        {"fractions as classes",
         "1,0.5\n2,1\n",
         {.target = IMPORT_TARGET_CLASS},
         "0.5,1: 1 -> 0; 2 -> 1;"},
        {"two targets", "a,b,c\n1,2,3\n4,5,6\n", {.target_column = "c,a"}, ": 2 -> 3 1; 5 -> 6 4;"},
        {"dropped", "id,a,c\nq,2,0\nr,4,1\n", {.drop = "id"}, "0,1: 2 -> 0; 4 -> 1;"},
        {"last dropped", "1,0,x\n3,1,y\n", {.drop = "-1"}, "0,1: 1 -> 0; 3 -> 1;"},
        {"header said", "1,2\n3,4\n5,6\n", {.header = IMPORT_HEADER_YES}, "4,6: 3 -> 0; 5 -> 1;"},
        {"scaled", "0,1,8,16,7\n", {.max = 16}, "7: 0 16 128 255 -> 0;"},
        {"scaled fractions", "0,0.5,1,7\n", {.max = 1}, "7: 0 128 255 -> 0;"},
        {"sizes line", "2,2,bad,good\n1,2,0\n3,4,1\n", {0}, "bad,good: 1 2 -> 0; 3 4 -> 1;"},
        {"not a number", "nan,inf,0\n1,-inf,1\n", {0}, "0,1: nan inf -> 0; 1 -inf -> 1;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[1024];
        struct import_source source;
        const char *path = put_text(cases[i].text);
        if (!cases[i].expected) {
            assert_true(source_try("csv", &path, 1, &cases[i].options) == STATUS_DATA);
            continue;
        }
        source_open(&source, "csv", path, IMPORT_TRAIN, &cases[i].options);
        describe(&source, got);
        if (strcmp(got, cases[i].expected) != 0)
            fail_msg("%s: '%s', expected '%s'", cases[i].what, got, cases[i].expected);
        describe(&source, got); // again from the start
        assert_string_equal(got, cases[i].expected);
        import_source_close(&source);
        put_gz(path, cases[i].text, strlen(cases[i].text)); // the same through gzip
        source_open(&source, "csv", path, IMPORT_TRAIN, &cases[i].options);
        describe(&source, got);
        assert_string_equal(got, cases[i].expected);
        import_source_close(&source);
    }
}

static void test_shape(void **state)
{
    (void)state;
    struct import_options options = {.shape = {2, 3, 2}, .max = 255};
    struct import_source source;
    const char *path = put_text("1,2,3,4,5,6,7,8,9,10,11,12,0\n");
    source_open(&source, "csv", path, IMPORT_TRAIN, &options);
    assert_int_equal(source.shape.h, 2);
    assert_int_equal(source.shape.w, 3);
    assert_int_equal(source.shape.c, 2);
    import_source_close(&source);
    options.max = 0;
    source_open(&source, "csv", path, IMPORT_TRAIN, &options);
    assert_non_null(strstr(source.note, "--max 255"));
    import_source_close(&source);
    options.shape.c = 1;
    expect_error(source_try("csv", &path, 1, &options), STATUS_USAGE,
                 "2x3x1|12 input columns|t.csv", "shape");
    options.shape = (struct sample_shape){1ul << 40, 1ul << 40, 1};
    expect_error(source_try("csv", &path, 1, &options), STATUS_USAGE, "does not fit", "huge shape");
}

static void test_many_classes(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    char line[32];
    for (int i = 0; i < 70000; i++)
        bytes_add(&bytes, line, (size_t)sprintf(line, "1,c%d\n", i));
    const char *path = path_in(folder, "t.csv");
    put_file(path, bytes.at, bytes.n);
    expect_error(source_try("csv", &path, 1, NULL), STATUS_DATA, "more than 65536 different",
                 "classes");
    file_bytes_free(&bytes);
    for (int i = 0; i < 1001; i++)
        bytes_add(&bytes, line, (size_t)sprintf(line, "1,%d\n", i));
    put_file(path, bytes.at, bytes.n);
    struct import_source source;
    source_open(&source, "csv", path, IMPORT_TRAIN, NULL);
    assert_int_equal(source.target.type, TARGET_FLOAT); // numbers rather than 1,001 classes
    import_source_close(&source);
    file_bytes_free(&bytes);
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
        struct import_options options;
        enum status status;
        const char *message;
    } cases[] = {
        {"empty", "", {0}, STATUS_DATA, "is empty"},
        {"blank", "\n\n", {0}, STATUS_DATA, "is empty"},
        {"header only", "a,b\n", {0}, STATUS_DATA, "no rows after its header"},
        {"short line", "1,2,3\n1,2\n", {0}, STATUS_DATA, "line 2 has 2 fields, expected 3"},
        {"line after quotes", "1,2,\"a\nb\"\n1,2,x,3\n", {0}, STATUS_DATA, "line 3 has 4"},
        {"text", "a,b\n1,0\nx,1\n", {0}, STATUS_DATA, "line 3|column 1 (a)|'x' is not a number"},
        {"empty field", "1,0\n,1\n", {0}, STATUS_DATA, "line 2|column 1|empty"},
        {"empty target", "1,0\n2,\n", {0}, STATUS_DATA, "line 2|column 2|target is empty"},
        {"too large", "1e39,0\n", {0}, STATUS_DATA, "1e39|float32"},
        {"open quote", "1,\"2\n3,4\n", {0}, STATUS_DATA, "line 1|never closed"},
        {"after quote", "\"1\"x,2\n", {0}, STATUS_DATA, "line 1|'x' follows a closing quote"},
        {"no such name",
         "width,b\n1,2\n",
         {.target_column = "widht"},
         STATUS_USAGE,
         "'widht'|did you mean 'width'"},
        {"no header", "1,2\n3,4\n", {.target_column = "x"}, STATUS_USAGE, "'x'|has no header"},
        {"no such number", "1,2\n", {.target_column = "3"}, STATUS_USAGE, "column 3|1 to 2"},
        {"number 0", "1,2\n", {.target_column = "0"}, STATUS_USAGE, "column 0|1 to 2"},
        {"twice", "1,2\n", {.target_column = "1,1"}, STATUS_USAGE, "taken already"},
        {"nothing left", "1,2\n", {.target_column = "1,2"}, STATUS_DATA, "no columns besides"},
        {"target dropped",
         "1,2\n",
         {.target_column = "1", .drop = "1"},
         STATUS_USAGE,
         "--drop|taken already"},
        {"all dropped", "1,2\n", {.drop = "1,2"}, STATUS_USAGE, "no column"},
        {"not within", "17,0\n", {.max = 16}, STATUS_DATA, "17 is not within 0 and --max 16"},
        {"nan with max", "nan,0\n", {.max = 16}, STATUS_DATA, "nan is not within"},
        {"text as float", "1,x\n", {.target = IMPORT_TARGET_FLOAT}, STATUS_DATA, "holds texts"},
        {"second is text", "1,2,x\n", {.target_column = "2,3"}, STATUS_DATA, "column 3|'x'"},
        {"two classes",
         "1,2,3\n",
         {.target_column = "2,3", .target = IMPORT_TARGET_CLASS},
         STATUS_USAGE,
         "several"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = put_text(cases[i].text);
        expect_error(source_try("csv", &path, 1, &cases[i].options), cases[i].status,
                     cases[i].message, cases[i].what);
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    const char *path = path_in(folder, "t.csv");
    put_file(path, "1,2\n\0,3\n", 8);
    expect_error(source_try("csv", &path, 1, NULL), STATUS_DATA, "line 2|zero byte", "zero byte");
    assert_false(importer_named("csv")->accepts(path));
    assert_true(importer_named("csv")->accepts(put_text("a;b\n")));
    path = path_in(folder, "missing.csv");
    expect_error(source_try("csv", &path, 1, NULL), STATUS_DATA, "missing.csv|No such", "missing");
    path = folder;
    expect_error(source_try("csv", &path, 1, NULL), STATUS_DATA, "is a folder", "folder");
}

static void try_damaged(const uint8_t *bytes, size_t n, void *context)
{
    size_t *n_bad = context;
    const char *path = path_in(folder, "t.csv");
    put_file(path, bytes, n);
    enum status status = source_try("csv", &path, 1, NULL);
    *n_bad += status != STATUS_OK;
    if (status != STATUS_OK)
        expect_error(status, STATUS_DATA, "t.csv", "damaged file");
}

static void test_damage(void **state)
{
    (void)state;
    static const char text[] =
        "\"first, second\",b,label\n1,2.5,cat\n-3,4e2,\"d\"\"og\"\n5,6,\"a\nb\"\n7,8,cat\n9,1,x\n";
    for (int is_gz = 0; is_gz < 2; is_gz++) {
        size_t n_bad = 0;
        struct bytes bytes = {0};
        if (is_gz) {
            char raw[512];
            put_gz(path_in(folder, "t.csv"), text, sizeof text - 1);
            FILE *file = fopen(path_in(folder, "t.csv"), "rb");
            size_t n = fread(raw, 1, sizeof raw, file);
            bytes_add(&bytes, raw, n);
            fclose(file);
        } else {
            bytes_add(&bytes, text, sizeof text - 1);
        }
        damage(&bytes, 500, try_damaged, &n_bad);
        assert_true(n_bad > 100);
        file_bytes_free(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records, folder_begin, folder_end),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test_setup_teardown(test_tables, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_shape, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_many_classes, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_bad, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_bad_files, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_damage, folder_begin, folder_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

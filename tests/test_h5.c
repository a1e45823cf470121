// SPDX-License-Identifier: MIT
// data/h5: what is written is read back, in every type; foreign and bad files; full disk.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/h5.h"

static char folder[] = "/tmp/sw2_test_h5_XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void assert_ok(enum status status)
{
    if (status != STATUS_OK)
        fail_msg("status %d: %s (%s)", (int)status, error_text(), error_place());
}

static void assert_fails(enum status status, enum status expected, const char *part)
{
    if (status != expected || !strstr(error_text(), part))
        fail_msg("status %d, expected %d; text '%s', expected '%s' in it", (int)status,
                 (int)expected, error_text(), part);
}

// ---- numbers

static void test_types(void **state)
{
    (void)state;
    struct h5 *file = NULL;
    double values[6] = {0, 1, 2, 100, 7, 127};
    static const uint64_t dim[2] = {3, 2};
    assert_ok(h5_create(&file, in_folder("types.h5")));
    for (int t = 0; t < H5_OTHER; t++) {
        char name[32];
        snprintf(name, sizeof name, "group/of/%s", h5_type_name((enum h5_type)t));
        struct h5_set *set = NULL;
        assert_ok(h5_create_set(file, name, (enum h5_type)t, 2, dim, &set));
        assert_ok(h5_set_write(set, 1, 2, H5_F64, values + 2));
        assert_ok(h5_set_write(set, 0, 1, H5_F64, values));
        h5_set_close(set);
    }
    assert_ok(h5_commit(file));
    assert_ok(h5_open(&file, in_folder("types.h5")));
    for (int t = 0; t < H5_OTHER; t++) {
        char name[32];
        snprintf(name, sizeof name, "/group/of/%s", h5_type_name((enum h5_type)t));
        struct h5_info info;
        assert_ok(h5_info(file, name, &info));
        assert_int_equal(info.type, t);
        assert_int_equal(info.rank, 2);
        assert_int_equal(info.dim[0], 3);
        assert_int_equal(info.dim[1], 2);
        assert_int_equal(info.chunk[0], 0);
        assert_int_equal(info.stored_bytes, 6 * h5_type_bytes((enum h5_type)t));
        for (int as = 0; as < H5_OTHER; as++) {
            unsigned char raw[4 * 8] = {0};
            assert_ok(h5_read_rows(file, name, 1, 2, (enum h5_type)as, raw));
            for (int i = 0; i < 4; i++) {
                const void *at = raw + (size_t)i * h5_type_bytes((enum h5_type)as);
                // Small whole numbers: the first byte of an integer is its value.
                double got = *(const unsigned char *)at;
                if (as == H5_F32)
                    got = (double)*(const float *)at;
                else if (as == H5_F64)
                    got = *(const double *)at;
                assert_true(got == values[2 + i]);
            }
        }
    }
    assert_fails(h5_read_rows(file, "group/of/uint8", 2, 2, H5_U8, values), STATUS_DATA, "has 3");
    assert_fails(h5_read_rows(file, "group/none", 0, 1, H5_U8, values), STATUS_DATA,
                 "there is no 'group/none'");
    assert_fails(h5_read_rows(file, "group", 0, 1, H5_U8, values), STATUS_DATA, "is a group");
    h5_close(file);
}

// What reading may still take: the bands of a chunked set until they are there, never for others.
static void test_cache_bytes(void **state)
{
    (void)state;
    static const uint64_t dim[2] = {3, 2};
    struct h5 *file = NULL;
    struct h5_set *set = NULL;
    unsigned char rows[64 * 30];
    assert_ok(h5_open(&file, SW2_GOLDEN "/foreign/chunked.h5"));
    assert_ok(h5_set_open(file, "x", &set));
    const struct h5_info *info = h5_set_info(set);
    const size_t row = 6 * 5, chunk = 4 * 3 * 5; // chunks of 4 rows and half an image
    const size_t bands = (info->dim[0] + 3) / 4;
    assert_true(info->dim[0] <= 64 && bands > 2);
    assert_int_equal(h5_set_cache_bytes(set), bands * 4 * row + 3 * chunk);
    assert_ok(h5_set_read(set, 3, 2, H5_U8, rows)); // two bands
    assert_int_equal(h5_set_cache_bytes(set), (bands - 2) * 4 * row);
    assert_ok(h5_set_read(set, 0, info->dim[0], H5_U8, rows));
    assert_int_equal(h5_set_cache_bytes(set), 0);
    h5_set_close(set);
    h5_close(file);
    assert_ok(h5_create(&file, in_folder("plain.h5")));
    assert_ok(h5_write(file, "x", H5_U8, 2, dim, "abcdef"));
    assert_ok(h5_commit(file));
    assert_ok(h5_open(&file, in_folder("plain.h5")));
    assert_ok(h5_set_open(file, "x", &set));
    assert_int_equal(h5_set_cache_bytes(set), 0);
    h5_set_close(set);
    h5_close(file);
}

static enum status name_add(void *context, const char *name, bool is_dataset)
{
    strcat(context, name);
    strcat(context, is_dataset ? "=" : "/");
    return STATUS_OK;
}

static void test_names(void **state)
{
    (void)state;
    struct h5 *file = NULL;
    static const uint64_t dim[1] = {1};
    static const uint64_t empty[3] = {0, 4, 4};
    assert_ok(h5_create(&file, in_folder("names.h5")));
    assert_ok(h5_write(file, "b", H5_U8, 1, dim, "x"));
    assert_ok(h5_write(file, "a/z", H5_U8, 3, empty, ""));
    assert_ok(h5_write(file, "c", H5_U8, 0, NULL, "y"));
    assert_ok(h5_commit(file));
    assert_ok(h5_open(&file, in_folder("names.h5")));
    char names[64] = "";
    assert_ok(h5_list(file, "/", name_add, names));
    assert_string_equal(names, "a/b=c=");
    assert_true(h5_exists(file, "/") && h5_exists(file, "a") && h5_exists(file, "/a/z"));
    assert_false(h5_exists(file, "d") || h5_exists(file, "a/b/c") || h5_exists(file, "b/c"));
    char value = 0;
    assert_ok(h5_read_rows(file, "c", 0, 1, H5_U8, &value));
    assert_int_equal(value, 'y');
    struct h5_info info;
    assert_ok(h5_info(file, "a/z", &info));
    assert_int_equal(info.dim[0], 0);
    assert_fails(h5_list(file, "b", name_add, names), STATUS_DATA, "not a group");
    h5_close(file);
}

// ---- attributes

static void test_attributes(void **state)
{
    (void)state;
    struct h5 *file = NULL;
    static const char *const classes[3] = {"T-shirt", "", "B\xc3\xa4r"};
    const double mean[3] = {0.25, -1, 1e300};
    assert_ok(h5_create(&file, in_folder("attr.h5")));
    assert_ok(h5_write(file, "g/x", H5_F64, 0, NULL, mean));
    assert_ok(h5_attr_write_text(file, "g", "source", "first"));
    assert_ok(h5_attr_write_text(file, "g", "source", "second"));
    assert_ok(h5_attr_write_texts(file, "g", "classes", 3, classes));
    assert_ok(h5_attr_write_texts(file, "g", "none", 0, NULL));
    char *lengthy = malloc(100001); // more than an attribute of fixed length can be
    memset(lengthy, 'w', 100000);
    lengthy[100000] = 0;
    assert_ok(h5_attr_write_text(file, "g", "lengthy", lengthy));
    assert_ok(h5_attr_write_text(file, "g", "nothing", ""));
    assert_ok(h5_attr_write(file, "/", "mean", H5_F64, 3, mean));
    assert_ok(h5_attr_write(file, "g/x", "one", H5_F64, 1, mean));
    assert_ok(h5_commit(file));
    assert_ok(h5_open(&file, in_folder("attr.h5")));
    char *text = NULL, **texts = NULL;
    assert_ok(h5_attr_read_text(file, "g", "source", &text));
    assert_string_equal(text, "second");
    free(text);
    assert_ok(h5_attr_read_text(file, "g", "lengthy", &text));
    assert_string_equal(text, lengthy);
    free(text);
    free(lengthy);
    assert_ok(h5_attr_read_text(file, "g", "nothing", &text));
    assert_string_equal(text, "");
    free(text);
    size_t n = 0;
    assert_ok(h5_attr_read_texts(file, "g", "classes", &n, &texts));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(texts[i], classes[i]);
    h5_texts_free(n, texts);
    assert_ok(h5_attr_read_texts(file, "g", "none", &n, &texts));
    assert_int_equal(n, 0);
    h5_texts_free(n, texts);
    double got[3];
    assert_ok(h5_attr_read(file, "/", "mean", H5_F64, 3, got));
    assert_memory_equal(got, mean, sizeof got);
    assert_ok(h5_attr_count(file, "g/x", "one", &n));
    assert_int_equal(n, 1);
    assert_true(h5_attr_exists(file, "/", "mean"));
    assert_false(h5_attr_exists(file, "/", "std") || h5_attr_exists(file, "no", "std"));
    assert_fails(h5_attr_read(file, "/", "mean", H5_F64, 2, got), STATUS_DATA, "expected 2");
    assert_fails(h5_attr_read(file, "g", "classes", H5_F64, 3, got), STATUS_DATA, "classes");
    assert_fails(h5_attr_read(file, "g", "std", H5_F64, 3, got), STATUS_DATA, "no attribute 'std'");
    assert_fails(h5_attr_read_text(file, "/", "mean", &text), STATUS_DATA, "not text");
    assert_fails(h5_attr_read_text(file, "g", "classes", &text), STATUS_DATA, "3 texts");
    h5_close(file);
}

// ---- bad files

static void file_write(const char *path, const void *bytes, size_t n)
{
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, n, out), n);
    fclose(out);
}

static void test_bad_files(void **state)
{
    (void)state;
    struct h5 *file = NULL;
    assert_fails(h5_open(&file, in_folder("missing.h5")), STATUS_DATA, "No such file");
    assert_fails(h5_open(&file, folder), STATUS_DATA, "not a regular file");
    file_write(in_folder("empty.h5"), "", 0);
    assert_fails(h5_open(&file, in_folder("empty.h5")), STATUS_DATA, "is empty");
    char text[3000];
    memset(text, 'x', sizeof text);
    file_write(in_folder("text.h5"), text, sizeof text);
    assert_fails(h5_open(&file, in_folder("text.h5")), STATUS_DATA, "text.h5 is not an HDF5 file");
    assert_null(file);

    static unsigned char rows[100 * 64];
    static const uint64_t dim[2] = {100, 64};
    assert_ok(h5_create(&file, in_folder("whole.h5")));
    assert_ok(h5_write(file, "x", H5_U8, 2, dim, rows));
    assert_ok(h5_commit(file));
    struct stat stat_of;
    assert_int_equal(stat(in_folder("whole.h5"), &stat_of), 0);
    assert_int_equal(truncate(in_folder("whole.h5"), stat_of.st_size - 1), 0);
    assert_fails(h5_open(&file, in_folder("whole.h5")), STATUS_DATA, "truncated");
    assert_null(file);
}

// What the root group's header claims is looked at before HDF5 allocates it: of both versions of
// headers, behind a user block, and of a continuation.
static void test_root_claims(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t at; // of the root's header
        unsigned char bytes[32];
        size_t n;
    } claims[] = {
        {SW2_GOLDEN "/foreign/chunked.h5", 0x60 + 8, {0xff, 0xff, 0xff, 0x7f}, 4},
        {SW2_GOLDEN "/foreign/chunked.h5",
         0x60 + 16,
         {0x10, 0, 16, 0, [16] = 0x50, [20 - 1] = 1},
         20},
        {SW2_GOLDEN "/foreign/userblock.h5", 512 + 0x60 + 8, {0xff, 0xff, 0xff, 0x7f}, 4},
        // flags: 8 bytes of size, which follow the times
        {SW2_GOLDEN "/foreign/latest.h5", 0x30 + 5, {0x23, [17] = 0x50, [21] = 5}, 25},
    };
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        static unsigned char bytes[16384];
        FILE *in = fopen(claims[i].file, "rb");
        assert_non_null(in);
        size_t n = fread(bytes, 1, sizeof bytes, in);
        fclose(in);
        assert_in_range(n, claims[i].at + claims[i].n, sizeof bytes - 1);
        memcpy(bytes + claims[i].at, claims[i].bytes, claims[i].n);
        file_write(in_folder("claims.h5"), bytes, n);
        struct h5 *file = NULL;
        assert_fails(h5_open(&file, in_folder("claims.h5")), STATUS_DATA,
                     "claims.h5: its root group is damaged: its header claims more bytes than");
        assert_null(file);
    }
}

// A file that becomes shorter while it is open is named, too.
static void test_shrinks_while_open(void **state)
{
    (void)state;
    struct h5 *file = NULL;
    static unsigned char rows[100 * 64];
    static const uint64_t dim[2] = {100, 64};
    assert_ok(h5_create(&file, in_folder("shrink.h5")));
    assert_ok(h5_write(file, "x", H5_U8, 2, dim, rows));
    assert_ok(h5_commit(file));
    assert_ok(h5_open(&file, in_folder("shrink.h5")));
    struct h5_set *set = NULL;
    assert_ok(h5_set_open(file, "x", &set));
    assert_int_equal(truncate(in_folder("shrink.h5"), 4000), 0);
    assert_fails(h5_set_read(set, 0, 100, H5_U8, rows), STATUS_DATA, "the file ends at byte");
    h5_set_close(set);
    h5_close(file);
}

// ---- outputs

static int n_files(void)
{
    char command[300];
    snprintf(command, sizeof command, "ls -A %s | wc -l", folder);
    FILE *pipe = popen(command, "r");
    int n = -1;
    assert_int_equal(fscanf(pipe, "%d", &n), 1);
    pclose(pipe);
    return n;
}

static void test_discard(void **state)
{
    (void)state;
    int before = n_files();
    struct h5 *file = NULL;
    assert_ok(h5_create(&file, in_folder("discard.h5")));
    assert_ok(h5_write(file, "x", H5_U8, 0, NULL, "x"));
    assert_int_not_equal(access(in_folder("discard.h5"), F_OK), 0);
    assert_int_equal(n_files(), before + 1);
    h5_close(file);
    assert_int_equal(n_files(), before);
    assert_fails(h5_create(&file, in_folder("no/such/folder.h5")), STATUS_ERROR, "No such file");
    assert_null(file);
}

// The limit on file sizes stands for a full disk. In a child: the limit cannot be taken back.
static enum status full_write(void)
{
    static unsigned char rows[100 * 1024];
    static const uint64_t dim[2] = {100, 1024};
    struct h5 *file = NULL;
    enum status status = h5_create(&file, in_folder("full.h5"));
    if (status == STATUS_OK) {
        status = h5_write(file, "x", H5_U8, 2, dim, rows);
        if (status == STATUS_OK)
            status = h5_attr_write_text(file, "x", "a", "b");
        if (status == STATUS_OK)
            status = h5_write(file, "y", H5_U8, 0, NULL, rows); // written as it closes
        if (status == STATUS_OK)
            status = h5_commit(file);
        else
            h5_close(file);
    }
    return status;
}

static int full_disk(size_t limit)
{
    struct rlimit most = {limit, limit};
    signal(SIGXFSZ, SIG_IGN);
    for (int s = 0; s < 3; s++) // cmocka's handlers would go on with the tests
        signal((int[]){SIGABRT, SIGSEGV, SIGFPE}[s], SIG_DFL);
    setrlimit(RLIMIT_FSIZE, &most);
    enum status status = full_write();
    return status == STATUS_ERROR && strstr(error_text(), "full.h5") ? 0 : 1 + (int)status;
}

static void test_full_disk(void **state)
{
    (void)state;
    int before = n_files();
    struct stat whole;
    assert_ok(full_write());
    assert_int_equal(stat(in_folder("full.h5"), &whole), 0);
    unlink(in_folder("full.h5"));
    const size_t end = (size_t)whole.st_size;
    const size_t limits[] = {0,     100,        1000,       2048,      4096,
                             50000, 100 * 1024, end - 2000, end - 100, end - 1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            int result = full_disk(limits[i]);
            if (result != 0)
                fprintf(stderr, "limit %zu: %d '%s'\n", limits[i], result, error_text());
            exit(result); // with HDF5's own clean-up
        }
        int result = -1;
        waitpid(child, &result, 0);
        if (result != 0)
            fail_msg("limit %zu: wait status %d", limits[i], result);
        assert_int_equal(n_files(), before);
    }
}

// The same content gives the same bytes: no times, nothing uninitialised.
static void test_same_bytes(void **state)
{
    (void)state;
    static char bytes[2][20000];
    size_t n[2];
    for (int k = 0; k < 2; k++) {
        struct h5 *file = NULL;
        static const uint64_t dim[1] = {4};
        assert_ok(h5_create(&file, in_folder("same.h5")));
        assert_ok(h5_write(file, "g/x", H5_U8, 1, dim, "abcd"));
        assert_ok(h5_attr_write_text(file, "g", "t", "text"));
        assert_ok(h5_commit(file));
        FILE *in = fopen(in_folder("same.h5"), "rb");
        n[k] = fread(bytes[k], 1, sizeof bytes[k], in);
        fclose(in);
        if (k == 0)
            usleep(1100000); // HDF5's times are in seconds
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_root_claims),
        cmocka_unit_test(test_shrinks_while_open),
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_cache_bytes),
        cmocka_unit_test(test_same_bytes),
    };
    assert_string_not_equal(h5_version(), "");
    return cmocka_run_group_tests(tests, setup, teardown);
}

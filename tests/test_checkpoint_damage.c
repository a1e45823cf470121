// SPDX-License-Identifier: MIT
// Damaged checkpoints: every single flipped bit and every truncation of a small file is an error,
// never silence, never a crash; the one before is used. And disks that fill up at any byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/h5.h"
#include "tests/support/expect.h"
#include "tests/support/fake_run.h"
#include "trainer/checkpoint_private.h"

static struct group alone;
static char *folder;

static const struct fake_tensor tiny[] = {
    {"a", "weight", PARAM_WEIGHT, 2, {2, 3}, 0},
    {"a", "bias", PARAM_BIAS, 1, {3}, 0},
};

static int setup(void **state)
{
    (void)state;
    alone = fake_alone();
    folder = folder_make();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    umount2(folder, MNT_DETACH); // of a failed test_full_tmpfs
    folder_remove(folder);
    return 0;
}

static void tiny_begin(struct fake_run *run)
{
    expect_ok(fake_run_init_with(run, &alone, &fake_configs[0], 4096, tiny, 2), "tiny network");
    expect_ok(fake_run_step(run, 0), "step");
}

static char *step_path(uint64_t step)
{
    char *path = folder_step_path(folder, step);
    assert_non_null(path);
    return path;
}

static unsigned char *file_bytes(const char *path, size_t *n)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    *n = (size_t)info.st_size;
    unsigned char *bytes = malloc(*n);
    FILE *file = fopen(path, "rb");
    assert_true(file && bytes && fread(bytes, 1, *n, file) == *n);
    fclose(file);
    return bytes;
}

static void put_byte(int fd, size_t at, unsigned char byte)
{
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

// One line about a damaged file, and STATUS_DATA.
static void must_refuse(const char *path, const char *damage, size_t at)
{
    struct checkpoint *checkpoint;
    enum status status = checkpoint_open(&checkpoint, &alone, path);
    if (status != STATUS_DATA || checkpoint)
        fail_msg("%s %zu: status %d, expected %d (%s)", damage, at, (int)status, STATUS_DATA,
                 status == STATUS_OK ? "silent" : error_text());
    if (!strstr(error_text(), path))
        fail_msg("%s %zu: the message does not name the file: %s", damage, at, error_text());
}

static void test_flips(void **state)
{
    (void)state;
    struct fake_run run;
    tiny_begin(&run);
    expect_ok(fake_save(&run, folder, 0, false, 1), "save");
    char *path = step_path(1);
    size_t n;
    unsigned char *bytes = file_bytes(path, &n);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && n > 1000);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        put_byte(fd, bit / 8, (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8));
        must_refuse(path, "bit", bit);
        put_byte(fd, bit / 8, bytes[bit / 8]);
    }
    expect_ok(fake_load(&run, path), "whole again");
    print_message("damage: %zu flipped bits of %zu bytes: all refused and named\n", 8 * n, n);
    close(fd);
    free(bytes);
    free(path);
    fake_run_free(&run);
}

// In a folder the file before the damaged one is taken, and it is said.
static void must_fall_back(const char *damage, size_t at)
{
    struct checkpoint *checkpoint;
    enum status status = checkpoint_open(&checkpoint, &alone, folder);
    if (status != STATUS_OK || !checkpoint)
        fail_msg("%s %zu: status %d, %s", damage, at, (int)status, error_text());
    assert_int_equal(checkpoint_meta(checkpoint)->global_step, 1);
    checkpoint_close(checkpoint);
}

static void test_flips_fall_back(void **state)
{
    (void)state;
    struct fake_run run;
    tiny_begin(&run);
    expect_ok(fake_save(&run, folder, 0, false, 1), "save");
    expect_ok(fake_save(&run, folder, 0, false, 2), "save");
    char *path = step_path(2), *said_path = NULL;
    size_t n, opened = 0, lines = 0, stride = getenv("SW2_TEST_FULL") ? 1 : 7;
    unsigned char *bytes = file_bytes(path, &n);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && asprintf(&said_path, "%s/said", folder) > 0);
    int old = dup(STDERR_FILENO), said_fd = open(said_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(said_fd, STDERR_FILENO);
    for (size_t at = 0; at < n; at += stride, opened++) { // another bit each time
        put_byte(fd, at, (unsigned char)(bytes[at] ^ 1u << at % 8));
        must_fall_back("byte", at);
        put_byte(fd, at, bytes[at]);
    }
    for (size_t length = n - 1; length >= stride; length -= stride, opened++) {
        assert_int_equal(ftruncate(fd, (off_t)length), 0);
        must_fall_back("length", length);
    }
    dup2(old, STDERR_FILENO);
    close(old);
    close(said_fd);
    close(fd);
    char *said = file_text(said_path);
    for (const char *at = said; (at = strstr(at, "trying the one before")); at++)
        lines++;
    assert_int_equal(lines, opened);
    print_message("damage: %zu damaged files in a folder: the one before was used\n", opened);
    free(said);
    free(said_path);
    free(bytes);
    free(path);
    fake_run_free(&run);
}

static void test_truncations(void **state)
{
    (void)state;
    struct fake_run run;
    tiny_begin(&run);
    expect_ok(fake_save(&run, folder, 0, false, 1), "save");
    char *path = step_path(1);
    size_t n;
    unsigned char *bytes = file_bytes(path, &n);
    for (size_t length = n; length-- > 0;) {
        assert_int_equal(truncate(path, (off_t)length), 0);
        must_refuse(path, "length", length);
    }
    print_message("damage: %zu truncations: all refused and named\n", n);
    free(bytes);
    free(path);
    fake_run_free(&run);
}

static size_t bytes_find(const unsigned char *bytes, size_t n, const void *what, size_t length)
{
    const unsigned char *at = memmem(bytes, n, what, length);
    assert_non_null(at);
    return (size_t)(at - bytes);
}

// Damage that carries a fresh seal (a bug while writing, another tool): the digest over names,
// shapes, data and attributes is the second guard. Metadata is left alone: HDF5 may crash on it.
static void test_inner_digest(void **state)
{
    (void)state;
    struct fake_run run;
    tiny_begin(&run);
    expect_ok(fake_save(&run, folder, 0, false, 1), "save");
    char *path = step_path(1);
    size_t n;
    unsigned char *bytes = file_bytes(path, &n);
    const struct {
        const char *name;
        const void *what;
        size_t length;
    } places[] = {
        {"weights", run.params, 6 * sizeof(float)},
        {"bias", run.params + SPAN_BLOCK, 3 * sizeof(float)},
        {"momentum", update_state_gather(run.update, 0), 6 * sizeof(float)},
        {"recipe", "name: fake", 10},
        {"fingerprint", "0123456789abcdef", 16},
        {"metrics", (double[]){1.5}, sizeof(double)},
    };
    for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
        size_t at = bytes_find(bytes, n, places[p].what, places[p].length);
        for (size_t bit = 0; bit < 8 * places[p].length; bit++) {
            int fd = open(path, O_RDWR);
            put_byte(fd, at + bit / 8, (unsigned char)(bytes[at + bit / 8] ^ 1u << bit % 8));
            assert_int_equal(ftruncate(fd, (off_t)n - 48), 0);
            expect_ok(seal_write(path), "seal");
            must_refuse(path, places[p].name, bit);
            put_byte(fd, at + bit / 8, bytes[at + bit / 8]);
            close(fd);
        }
    }
    free(bytes);
    free(path);
    fake_run_free(&run);
}

static void test_not_ours(void **state)
{
    (void)state;
    char *path = step_path(1);
    struct h5 *file;
    file_write(path, "");
    must_refuse(path, "empty", 0);
    file_write(path, "This text is longer than the seal of a checkpoint, but it is no checkpoint.");
    must_refuse(path, "text", 0);
    expect_ok(seal_write(path), "seal");
    must_refuse(path, "sealed text", 0);
    unlink(path);
    expect_ok(h5_create(&file, path), "create");
    expect_ok(h5_attr_write_text(file, "/", "format", "another"), "attribute");
    expect_ok(h5_commit(file), "commit");
    must_refuse(path, "unsealed HDF5", 0);
    expect_ok(seal_write(path), "seal");
    must_refuse(path, "sealed HDF5 of another format", 0);
    unlink(path);
    uint32_t future = 2;
    expect_ok(h5_create(&file, path), "create");
    expect_ok(h5_attr_write_text(file, "/", "format", "sw2 checkpoint"), "attribute");
    expect_ok(h5_attr_write(file, "/", "format_version", H5_U32, 1, &future), "attribute");
    expect_ok(h5_commit(file), "commit");
    expect_ok(seal_write(path), "seal");
    must_refuse(path, "a later format", 2);
    assert_non_null(strstr(error_text(), "format 2, this program reads format 1"));
    free(path);
}

// stderr into a file while the newest of three files are damaged.
static char *open_saying(struct checkpoint **checkpoint, enum status *status)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/said", folder) > 0);
    int old = dup(STDERR_FILENO), fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDERR_FILENO);
    *status = checkpoint_open(checkpoint, &alone, folder);
    dup2(old, STDERR_FILENO);
    close(fd);
    close(old);
    char *said = file_text(path);
    free(path);
    return said;
}

static void test_fall_back(void **state)
{
    (void)state;
    struct fake_run run;
    tiny_begin(&run);
    for (uint64_t step = 1; step <= 3; step++)
        expect_ok(fake_save(&run, folder, 0, false, step), "save");
    // Damaging 3, then 2, then 1: loads 2 with one warning, 1 with two, then nothing.
    for (uint64_t bad = 3; bad >= 1; bad--) {
        char *path = step_path(bad);
        assert_int_equal(truncate(path, bad == 2 ? 0 : 5000), 0);
        struct checkpoint *checkpoint;
        enum status status;
        char *said = open_saying(&checkpoint, &status);
        size_t lines = 0;
        for (const char *at = said; (at = strstr(at, "trying the one before")); at++)
            lines++;
        assert_int_equal(lines, bad > 1 ? 4 - bad : 2);
        if (bad > 1) {
            expect_ok(status, "the one before");
            assert_int_equal(checkpoint_meta(checkpoint)->global_step, bad - 1);
            assert_non_null(strstr(said, path));
        } else {
            expect_error(status, STATUS_DATA, "step-0000000001.h5|2 newer ones|damaged too",
                         "nothing is left");
            assert_null(checkpoint);
        }
        checkpoint_close(checkpoint);
        free(said);
        free(path);
    }
    fake_run_free(&run);
}

// ---- full disks

// The folder holds this file alone, unchanged.
static void only_file(const char *name, const char *when, size_t at)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, name) != 0)
            fail_msg("%s %zu left %s behind", when, at, entry->d_name);
    closedir(dir);
}

// No file may grow beyond `limit`: the write at that byte fails, as on a full disk.
static void limit_set(size_t limit)
{
    struct rlimit rlimit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &rlimit), 0);
    rlimit.rlim_cur = limit ? limit : rlimit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &rlimit), 0);
}

static void test_full_anywhere(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct fake_run run;
    tiny_begin(&run);
    expect_ok(fake_save(&run, folder, 1, false, 1), "save");
    char *path = step_path(1);
    size_t n;
    free(file_bytes(path, &n));
    for (size_t limit = 1; limit<n; limit += n - limit> 64 && limit > 64 ? 61 : 1) {
        limit_set(limit);
        enum status status = fake_save(&run, folder, 1, false, 2);
        limit_set(0);
        if (status != STATUS_ERROR || !strstr(error_text(), "File too large"))
            fail_msg("limit %zu of %zu: status %d, %s", limit, n, (int)status, error_text());
        only_file("step-0000000001.h5", "limit", limit);
    }
    limit_set(n);
    enum status status = fake_save(&run, folder, 1, false, 2);
    limit_set(0);
    expect_ok(status, "just enough");
    only_file("step-0000000002.h5", "limit", n);
    expect_ok(fake_load(&run, folder), "load");
    free(path);
    fake_run_free(&run);
}

// A real full disk, where we may mount one: each number of free pages up to what a file takes.
static void test_full_tmpfs(void **state)
{
    (void)state;
    if (mount("tmpfs", folder, "tmpfs", 0, "size=128k") != 0) {
        print_message("skipped: only root may mount a small file system\n");
        skip();
    }
    struct fake_run run;
    tiny_begin(&run);
    expect_ok(fake_save(&run, folder, 1, false, 1), "save");
    char *fill = NULL;
    static const char page[4096];
    assert_true(asprintf(&fill, "%s/fill", folder) > 0);
    size_t failed = 0, saved = 0;
    for (size_t pages = 32; pages-- > 0 && saved == 0;) {
        int fd = open(fill, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        for (size_t i = 0; i < pages && write(fd, page, sizeof page) == (ssize_t)sizeof page; i++)
            ;
        close(fd);
        enum status status = fake_save(&run, folder, 1, false, 2);
        unlink(fill);
        if (status == STATUS_OK) {
            saved = pages;
            break;
        }
        failed++;
        expect_error(status, STATUS_ERROR, "No space left on device", "tmpfs");
        only_file("step-0000000001.h5", "pages", pages);
    }
    assert_true(failed > 3 && saved > 3);
    only_file("step-0000000002.h5", "pages", saved);
    expect_ok(fake_load(&run, folder), "load");
    fake_run_free(&run);
    free(fill);
    assert_int_equal(umount(folder), 0);
}

static void save_for_ever(struct fake_run *run)
{
    uint64_t step = 2;
    while (fake_save(run, folder, 2, false, step) == STATUS_OK)
        step++;
    _exit(1);
}

// Killed at any instant: what stands in the folder is whole, and what does not is removed.
static void test_killed(void **state)
{
    (void)state;
    struct fake_run run;
    tiny_begin(&run);
    expect_ok(fake_save(&run, folder, 2, false, 1), "save");
    struct update_digest want = update_digest(run.update, run.params);
    for (unsigned kills = 0; kills < 30; kills++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            save_for_ever(&run);
        usleep(500 + 337 * kills);
        kill(child, SIGKILL);
        int how = 0;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how));
        capture_begin();
        expect_ok(checkpoint_folder_open(&alone, folder), "folder");
        free(capture_end());
        uint64_t *steps;
        size_t n;
        expect_ok(folder_steps(folder, &steps, &n), "steps");
        assert_true(n >= 1);
        for (size_t i = 0; i < n; i++) {
            char *path = step_path(steps[i]);
            expect_ok(fake_load(&run, path), "a file in place is whole");
            free(path);
        }
        free(steps);
        struct update_digest got = update_digest(run.update, run.params);
        assert_memory_equal(&got, &want, sizeof want);
    }
    fake_run_free(&run);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_flips),         TEST(test_flips_fall_back), TEST(test_truncations),
        TEST(test_inner_digest),  TEST(test_not_ours),        TEST(test_fall_back),
        TEST(test_full_anywhere), TEST(test_full_tmpfs),      TEST(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

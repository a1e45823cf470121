// SPDX-License-Identifier: MIT
// Damaged HDF5 files: cut anywhere, or with one bit flipped, a data file is refused or read, but
// nothing crashes, hangs or asks for absurd memory. In children, so that a fault is one case's.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "tests/support/expect.h"
#include "tests/support/rows_file.h"

#define SECONDS_MOST 20 // of one case, also under sanitizers on a busy machine

// HDF5 asks for as much memory as a damaged size says, and copes with not getting it.
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static char *folder;

// Seen by parent and children.
struct progress {
    size_t at;
    size_t n_fine, n_refused, n_wrong;
    char text[256]; // of an error without a text or with another status
};

static unsigned char *image;
static size_t image_bytes;

static void image_read(const char *path)
{
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    free(image);
    image = malloc(1 << 20);
    image_bytes = fread(image, 1, 1 << 20, in);
    fclose(in);
    assert_in_range(image_bytes, 500, (1 << 20) - 1);
}

static void damaged_write(const char *path, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, image, bytes) != (ssize_t)bytes)
        _exit(3);
    close(fd);
}

static enum status damaged_read(const char *path)
{
    struct data_config config = dataset_defaults();
    struct dataset *dataset = NULL;
    TRY(dataset_open(&dataset, path, DATASET_TRAIN, &config));
    enum status status = STATUS_OK;
    uint64_t rows = dataset_rows(dataset), step = rows / 50 + 7;
    void *out = malloc(7 * dataset_row_bytes(dataset));
    for (uint64_t first = 0; first < rows && status == STATUS_OK; first += step)
        status = dataset_read(dataset, first, rows - first < 7 ? rows - first : 7, out);
    free(out);
    dataset_close(dataset);
    return status;
}

// What to do to the file: first all cuts, then all flips.
struct plan {
    const char *name;
    size_t cut_step;                      // bytes; 0: no cuts
    size_t flip_from, flip_to, flip_step; // bits; flip_to 0: to the end
};

static size_t n_cuts(const struct plan *plan)
{
    return plan->cut_step ? (image_bytes - 1) / plan->cut_step + 1 : 0;
}

static size_t flip_bit(const struct plan *plan, size_t i)
{
    return plan->flip_from + (i - n_cuts(plan)) * plan->flip_step;
}

static void case_run(const struct plan *plan, struct progress *progress, const char *path)
{
    size_t i = progress->at;
    if (i < n_cuts(plan)) {
        damaged_write(path, i * plan->cut_step);
    } else {
        size_t bit = flip_bit(plan, i);
        image[bit / 8] ^= (unsigned char)(1 << bit % 8);
        damaged_write(path, image_bytes);
        image[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    alarm(SECONDS_MOST);
    enum status status = damaged_read(path);
    if (status == STATUS_OK)
        progress->n_fine++;
    else if (status == STATUS_DATA && error_text()[0] && !strchr(error_text(), '\n'))
        progress->n_refused++;
    else if (progress->n_wrong++ == 0)
        snprintf(progress->text, sizeof progress->text, "case %zu: status %d: %s", i, (int)status,
                 error_text());
}

// Goes on behind the case that a child died of. Returns how many did.
static size_t fuzz_run(const struct plan *plan, struct progress *progress, size_t n)
{
    size_t n_faults = 0;
    char path[300];
    snprintf(path, sizeof path, "%s/damaged.h5", folder);
    while (progress->at < n && n_faults < 10) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            for (int s = 0; s < 4; s++) // cmocka's handlers would go on with the tests
                signal((int[]){SIGABRT, SIGSEGV, SIGFPE, SIGBUS}[s], SIG_DFL);
            for (; progress->at < n; progress->at++)
                case_run(plan, progress, path);
            _exit(0); // no look for leaks: HDF5 leaks what it refuses
        }
        int result = -1;
        assert_int_equal(waitpid(child, &result, 0), child);
        if (result == 0)
            break;
        size_t i = progress->at++;
        bool is_cut = i < n_cuts(plan);
        print_error("%s: %s %zu: wait status %#x\n", plan->name, is_cut ? "cut at" : "bit",
                    is_cut ? i * plan->cut_step : flip_bit(plan, i), (unsigned)result);
        n_faults++;
    }
    return n_faults;
}

static void fuzz(const struct plan *plan)
{
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(progress, MAP_FAILED);
    size_t end = plan->flip_to ? plan->flip_to : image_bytes * 8;
    size_t n = n_cuts(plan) + (end - plan->flip_from - 1) / plan->flip_step + 1;
    size_t n_faults = fuzz_run(plan, progress, n);
    print_message("%s: %zu refused, %zu read\n", plan->name, progress->n_refused, progress->n_fine);
    if (n_faults > 0 || progress->n_wrong > 0)
        fail_msg("%s: %zu faults, %zu wrong ones (%s)", plan->name, n_faults, progress->n_wrong,
                 progress->text);
    assert_int_equal(progress->n_refused + progress->n_fine, n);
    assert_true(progress->n_refused >= n_cuts(plan)); // no cut goes unseen
    assert_true(progress->n_fine > 0);
    munmap(progress, sizeof *progress);
}

static void test_own_file(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/own.h5", folder);
    rows_file_images(path, 24, 3, 3, 1, H5_U8);
    image_read(path);
    fuzz(&(struct plan){"own", 97, 0, 0, 29});
}

// Chunked and compressed, by h5py: in the old and in the newest format. Then the places at which
// HDF5 1.10 itself goes wrong unless it is kept from them, bit by bit: chunk dimensions, filters,
// layout and attributes in the object headers.
static void test_chunked_files(void **state)
{
    (void)state;
    image_read(SW2_GOLDEN "/foreign/latest.h5");
    fuzz(&(struct plan){"latest", 211, 0, 0, 41});
    image_read(SW2_GOLDEN "/foreign/gzip.h5");
    fuzz(&(struct plan){"gzip", 211, 0, 0, 101});
    fuzz(&(struct plan){"chunks of x", 0, 1024 * 8, 1072 * 8, 1});
    fuzz(&(struct plan){"header of y", 0, 7160 * 8, 7280 * 8, 1});
    image_read(SW2_GOLDEN "/foreign/classes.h5");
    fuzz(&(struct plan){"attribute", 0, 1690 * 8, 1750 * 8, 1});
}

static int setup(void **state)
{
    (void)state;
    folder = folder_make();
    return folder ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    free(image);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_file),
        cmocka_unit_test(test_chunked_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

// SPDX-License-Identifier: MIT
#include "tests/support/damaged.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECONDS_MOST 20 // of one case, also under sanitizers on a busy machine

// Seen by parent and children.
struct progress {
    enum status (*read)(const char *path);
    size_t at;
    size_t n_fine, n_refused, n_wrong;
    char text[256]; // of an error without a text or with another status
};

static unsigned char *image;
static size_t image_bytes;

void damaged_image(const char *path)
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

static size_t n_cuts(const struct damage_plan *plan)
{
    return plan->cut_step ? (image_bytes - 1) / plan->cut_step + 1 : 0;
}

static size_t flip_bit(const struct damage_plan *plan, size_t i)
{
    return plan->flip_from + (i - n_cuts(plan)) * plan->flip_step;
}

static void case_run(const struct damage_plan *plan, struct progress *progress, const char *path)
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
    enum status status = progress->read(path);
    if (status == STATUS_OK)
        progress->n_fine++;
    else if (status == STATUS_DATA && error_text()[0] && !strchr(error_text(), '\n'))
        progress->n_refused++;
    else if (progress->n_wrong++ == 0)
        snprintf(progress->text, sizeof progress->text, "case %zu: status %d: %s", i, (int)status,
                 error_text());
}

// Goes on behind the case that a child died of. Returns how many did.
static size_t fuzz_run(const struct damage_plan *plan, const char *folder,
                       struct progress *progress, size_t n)
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

void damaged_run(const struct damage_plan *plan, const char *folder,
                 enum status (*read)(const char *path))
{
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(progress, MAP_FAILED);
    progress->read = read;
    size_t end = plan->flip_to ? plan->flip_to : image_bytes * 8;
    size_t n = n_cuts(plan) + (end - plan->flip_from - 1) / plan->flip_step + 1;
    size_t n_faults = fuzz_run(plan, folder, progress, n);
    print_message("%s: %zu refused, %zu read\n", plan->name, progress->n_refused, progress->n_fine);
    if (n_faults > 0 || progress->n_wrong > 0)
        fail_msg("%s: %zu faults, %zu wrong ones (%s)", plan->name, n_faults, progress->n_wrong,
                 progress->text);
    assert_int_equal(progress->n_refused + progress->n_fine, n);
    assert_true(progress->n_refused >= n_cuts(plan)); // no cut goes unseen
    assert_true(progress->n_fine > 0);
    munmap(progress, sizeof *progress);
}

void damaged_free(void)
{
    free(image);
    image = NULL;
}

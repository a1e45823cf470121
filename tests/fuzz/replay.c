// SPDX-License-Identifier: MIT
// main of the fuzz_*.c programs without libFuzzer: every file named, or in a folder named, is an
// input, as it is, cut in half and with a few bits flipped.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

#define FILE_BYTES_MAX ((size_t)1 << 24)
#define N_FLIPS 40

// libFuzzer's; harnesses that need a start have it.
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static size_t n_inputs;

static void run(const uint8_t *data, size_t n)
{
    uint8_t *copy = fuzz_copy(data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    n_inputs++;
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(FILE_BYTES_MAX);
    if (!file || !bytes) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    size_t n = fread(bytes, 1, FILE_BYTES_MAX, file);
    fclose(file);
    run(bytes, n);
    run(bytes, n / 2);
    for (size_t i = 0; i < N_FLIPS && n > 0; i++) {
        size_t bit = (i * 8 * n / N_FLIPS + 37 * i) % (8 * n);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        run(bytes, n);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(bytes);
    return 0;
}

static int run_path(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return run_file(path);
    struct dirent **list;
    int n = scandir(path, &list, NULL, alphasort), failed = n < 0;
    for (int i = 0; i < n; i++) {
        char inner[4096];
        snprintf(inner, sizeof inner, "%s/%s", path, list[i]->d_name);
        if (list[i]->d_name[0] != '.')
            failed |= run_file(inner);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        failed |= run_path(argv[i]);
    printf("%zu inputs\n", n_inputs);
    return failed || n_inputs == 0;
}

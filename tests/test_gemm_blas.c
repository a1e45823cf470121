// SPDX-License-Identifier: MIT
// OpenBLAS is loaded only when needed, with the kernels of the instruction set in force and without
// threads of its own. It can be loaded once a process: each case is a child.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/isa.h"
#include "models/kernels/gemm.h"

struct blas_case {
    enum isa isa;
    const char *users_own; // OPENBLAS_CORETYPE, or NULL
    const char *core;
};

static bool is_mapped(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    char line[512];
    bool found = false;
    while (file && fgets(line, sizeof line, file))
        found = found || strstr(line, "openblas");
    if (file)
        fclose(file);
    return found;
}

static int threads_count(void)
{
    DIR *folder = opendir("/proc/self/task");
    int n = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        n += entry->d_name[0] != '.';
    if (folder)
        closedir(folder);
    return n;
}

// c = a b of 64 x 64, with a the identity.
static bool product_is_right(void)
{
    static float a[64 * 64], b[64 * 64], c[64 * 64];
    struct gemm gemm;
    const struct gemm_shape shape = {.m = 64, .n = 64, .k = 64, .lda = 64, .ldb = 64, .ldc = 64};
    const gemm_offset zero = 0;
    for (size_t i = 0; i < 64 * 64; i++) {
        a[i] = i % 65 == 0;
        b[i] = (float)i;
    }
    if (gemm_plan(&gemm, &shape) != STATUS_OK)
        return false;
    gemm_run(&gemm, a, &zero, b, &zero, c, 1);
    return memcmp(b, c, sizeof b) == 0;
}

// In a child: 0 if all is as it should be, else which check was not.
static int child(const struct blas_case *c)
{
    if (c->users_own)
        setenv("OPENBLAS_CORETYPE", c->users_own, 1);
    else
        unsetenv("OPENBLAS_CORETYPE");
    setenv("OPENBLAS_NUM_THREADS", "2", 1); // ranks are the parallelism, whatever a site sets
    isa_set(c->isa);
    gemm_select(GEMM_BLAS);
    if (is_mapped())
        return 1;
    if (!product_is_right())
        return 2;
    if (!is_mapped())
        return 3;
    if (threads_count() != 1)
        return 4;
    return strstr(gemm_backend_name(), c->core) ? 0 : 5;
}

static void test_loading(void **state)
{
    (void)state;
    static const char *const checks[] = {"passes",
                                         "not loaded before it is needed",
                                         "computes the product",
                                         "is loaded when it is needed",
                                         "starts no thread",
                                         "has the kernels asked for"};
    static const struct blas_case cases[] = {
        {ISA_AVX512, NULL, "(SkylakeX)"},
        {ISA_AVX2, NULL, "(Haswell)"},
        {ISA_BASE, NULL, "(Nehalem)"},
        {ISA_AVX2, "Nehalem", "(Nehalem)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].isa > isa_detect())
            continue;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(child(&cases[i]));
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("%s, OPENBLAS_CORETYPE %s: '%s' fails (wait status %d)",
                     isa_name(cases[i].isa), cases[i].users_own ? cases[i].users_own : "unset",
                     checks[WIFEXITED(status) && WEXITSTATUS(status) < 6 ? WEXITSTATUS(status) : 0],
                     status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loading)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: MIT
// The inner kernel by OpenBLAS: one sgemm a batch element. For machines LIBXSMM does not know.
//
// The library is loaded when it is first needed, not when the program starts: it reads its settings
// only while it loads, so this is how they can follow the program's. Its own choice of kernels
// knows CPUs by name and falls back to Haswell's on newer ones, at half the speed; here they follow
// the instruction set all ranks agreed on. It would start a thread per core in every rank; here it
// starts none. A user's own OPENBLAS_CORETYPE is left alone. Programs that never need it do not
// pay for loading it.
#include <cblas.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "models/kernels/gemm_backends.h"

static struct {
    __typeof__(&cblas_sgemm) sgemm;
    __typeof__(&openblas_set_num_threads) set_num_threads;
    __typeof__(&openblas_get_config) get_config;
    __typeof__(&openblas_get_corename) get_corename;
    char failure[256]; // why it could not be loaded, or empty
} blas;

static void settings_make(void)
{
#if defined(__x86_64__)
    const char *core = isa_current() == ISA_AVX512 ? "SkylakeX"
                       : isa_current() == ISA_AVX2 ? "Haswell"
                                                   : "Nehalem";
    setenv("OPENBLAS_CORETYPE", core, 0);
#endif
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
}

static void symbol_find(void *library, const char *name, void *to)
{
    void *symbol = dlsym(library, name);
    if (!symbol && !blas.failure[0])
        snprintf(blas.failure, sizeof blas.failure, "%s has no %s", SW2_OPENBLAS, name);
    memcpy(to, &symbol, sizeof symbol);
}

static void library_load(void)
{
    settings_make();
    void *library = dlopen(SW2_OPENBLAS, RTLD_NOW | RTLD_LOCAL);
    if (!library) // not where the loader looks: where it was at build time
        library = dlopen(SW2_OPENBLAS_DIR "/" SW2_OPENBLAS, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(blas.failure, sizeof blas.failure, "%s", dlerror());
        return;
    }
    symbol_find(library, "cblas_sgemm", &blas.sgemm);
    symbol_find(library, "openblas_set_num_threads", &blas.set_num_threads);
    symbol_find(library, "openblas_get_config", &blas.get_config);
    symbol_find(library, "openblas_get_corename", &blas.get_corename);
    if (!blas.failure[0])
        blas.set_num_threads(1);
}

static bool is_loaded(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_load);
    return !blas.failure[0];
}

static void run(const struct gemm *gemm, const float *a, const gemm_offset *a_offset,
                const float *b, const gemm_offset *b_offset, float *c, size_t count)
{
    const struct gemm_shape *s = &gemm->shape;
    for (size_t i = 0; i < count; i++)
        blas.sgemm(CblasColMajor, CblasNoTrans, s->trans_b ? CblasTrans : CblasNoTrans, s->m, s->n,
                   s->k, 1.0f, a + a_offset[i] / sizeof *a, s->lda, b + b_offset[i] / sizeof *b,
                   s->ldb, i == 0 ? (float)s->beta : 1.0f, c, s->ldc);
}

enum status gemm_blas_plan(struct gemm *gemm)
{
    CHECK(is_loaded(), STATUS_ERROR,
          "OpenBLAS cannot be loaded: %s; install it (Debian: libopenblas0) or name its folder in "
          "LD_LIBRARY_PATH",
          blas.failure);
    gemm->run = run;
    return STATUS_OK;
}

const char *gemm_blas_version(void)
{
    static char text[128];
    if (!is_loaded())
        return "no OpenBLAS";
    // openblas_get_config() reads "OpenBLAS 0.3.21 ... SkylakeX MAX_THREADS=64".
    char version[32] = "?";
    sscanf(blas.get_config(), "OpenBLAS %31s", version);
    snprintf(text, sizeof text, "OpenBLAS %s (%s)", version, blas.get_corename());
    return text;
}

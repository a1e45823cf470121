// SPDX-License-Identifier: MIT
// Chooses the backend of the inner kernel. Knows no library itself: gemm_xsmm.c, gemm_blas.c and
// gemm_ref.c do. Called at plan time by kernels/conv.c.
#include "models/kernels/gemm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels/gemm_backends.h"

static enum gemm_backend selected = GEMM_AUTO;

static enum gemm_backend backend_from_environment(void)
{
    const char *name = getenv("SW2_GEMM");
    if (!name)
        return GEMM_AUTO;
    return strcmp(name, "xsmm") == 0   ? GEMM_XSMM
           : strcmp(name, "blas") == 0 ? GEMM_BLAS
           : strcmp(name, "ref") == 0  ? GEMM_REF
                                       : GEMM_AUTO;
}

static enum status environment_check(void)
{
    const char *name = getenv("SW2_GEMM");
    CHECK(!name || backend_from_environment() != GEMM_AUTO || strcmp(name, "auto") == 0,
          STATUS_USAGE, "environment variable SW2_GEMM is '%s', expected auto, xsmm, blas or ref",
          name);
    CHECK(backend_from_environment() != GEMM_XSMM || gemm_xsmm_is_usable(), STATUS_USAGE,
          "environment variable SW2_GEMM is 'xsmm', but LIBXSMM is not built in or has no kernels "
          "for this machine");
    return STATUS_OK;
}

static enum gemm_backend backend_in_force(void)
{
    enum gemm_backend backend = selected != GEMM_AUTO ? selected : backend_from_environment();
    if (backend == GEMM_AUTO)
        backend = gemm_xsmm_is_usable() ? GEMM_XSMM : GEMM_BLAS;
    return backend;
}

void gemm_select(enum gemm_backend backend)
{
    selected = backend;
}

enum status gemm_plan(struct gemm *gemm, const struct gemm_shape *shape)
{
    ASSERT(shape->m > 0 && shape->n > 0 && shape->k > 0 && (shape->beta == 0 || shape->beta == 1));
    TRY(environment_check());
    gemm->shape = *shape;
    gemm->kernel = NULL;
    switch (backend_in_force()) {
    case GEMM_XSMM:
        if (gemm_xsmm_plan(gemm))
            return STATUS_OK;
        return gemm_blas_plan(gemm); // a shape its JIT refuses
    case GEMM_REF:
        gemm_ref_plan(gemm);
        return STATUS_OK;
    default:
        return gemm_blas_plan(gemm);
    }
}

void gemm_start(void)
{
    if (backend_in_force() == GEMM_XSMM)
        gemm_xsmm_start();
    else if (backend_in_force() == GEMM_BLAS)
        gemm_blas_version();
}

const char *gemm_backend_name(void)
{
    switch (backend_in_force()) {
    case GEMM_XSMM:
        return gemm_xsmm_version();
    case GEMM_REF:
        return "plain C reference";
    default:
        return gemm_blas_version();
    }
}

const char *gemm_versions(void)
{
    static char text[256];
    snprintf(text, sizeof text, "%s, %s", gemm_xsmm_version(), gemm_blas_version());
    return text;
}

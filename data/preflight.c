// SPDX-License-Identifier: MIT
#include "data/preflight.h"

#include <string.h>

#include "data/guard.h"

#define SECONDS 30 // of processor time: labels of any size are read in less

struct work {
    const char *path[2]; // by side
    struct data_config config;
};

// All that can be wrong but a crash is found again, and said, by who asked.
static enum status look(void *context)
{
    const struct work *work = context;
    for (int side = 0; side < 2; side++) {
        struct dataset *dataset = NULL;
        if (!work->path[side] || !work->path[side][0])
            continue;
        guard_name(work->path[side]);
        guard_alive();
        (void)dataset_open(&dataset, work->path[side], (enum dataset_side)side, &work->config);
        dataset_close(dataset);
    }
    return STATUS_OK;
}

static enum status look_from_arguments(void *arguments)
{
    char *const *argument = arguments;
    struct work work = {{NULL}, dataset_defaults()};
    if (!argument[1] || !argument[2] || !argument[3])
        return STATUS_OK;
    work.path[DATASET_TRAIN] = argument[0];
    work.path[DATASET_TEST] = argument[1];
    work.config.input = argument[2];
    work.config.target = argument[3];
    work.config.is_probe = true;
    return look(&work);
}

// The C library's memory may be used after a fork although other threads ran; a sanitizer's has
// locks that the child may find held by a thread it does not have.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_UNSAFE_HEAP true
#else
#define HAS_UNSAFE_HEAP false
#endif

enum status preflight(const char *train, const char *test, const struct data_config *config,
                      bool may_fork)
{
#ifdef SW2_SMPI
    return STATUS_OK; // simulated ranks are parts of one process
#endif
    struct work work = {{train, test}, *config};
    const char *name = train && *train ? train : test ? test : "";
    struct guard guard = {.name = name, .work = look, .context = &work, .seconds = SECONDS};
    work.config.is_probe = true;
    if (may_fork && !HAS_UNSAFE_HEAP) {
        h5_version(); // starts HDF5 once for both processes
        return guard_run(&guard, NULL);
    }
    const char *const arguments[] = {GUARD_PROGRAM, train ? train : "", test ? test : "",
                                     config->input, config->target,     NULL};
    return guard_spawn(&guard, arguments);
}

// Before main of every program that calls preflight: glibc hands the arguments to constructors.
__attribute__((constructor)) static void start(int argc, char **argv, char **environment)
{
    (void)environment;
    guard_main(argc, argv, look_from_arguments);
}

// SPDX-License-Identifier: MIT
// What a checkpoint in the background costs: the loop's own time (the snapshot), and the processor
// time of the thread that writes, which the loop loses where it has no core to spare.
//   bench_checkpoint [FOLDER [MILLIONS [SAVES]]]      weights, 25 million by default (ResNet-50)
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/fake_run.h"

#define TENSORS 160
#define EVERY 30.0 // seconds between saves, for the share

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static enum status measure(struct fake_run *run, const char *folder, uint64_t saves)
{
    struct checkpoint_writer *writer;
    double snapshot = 0, all = 0, wall = 0;
    TRY(checkpoint_writer_init(&writer, run->group, folder, 1, run->update, run->model.list,
                               run->model.n_list));
    for (uint64_t step = 0; step <= saves; step++) { // the first one warms up
        struct checkpoint_meta meta = fake_meta(step);
        enum checkpoint_taken taken;
        double begin = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
        double mine = seconds_of(CLOCK_THREAD_CPUTIME_ID);
        TRY(checkpoint_writer_save(writer, CHECKPOINT_STEP, false, &meta, run->update, run->params,
                                   &taken));
        mine = seconds_of(CLOCK_THREAD_CPUTIME_ID) - mine;
        while (checkpoint_writer_is_busy(writer))
            usleep(5000);
        if (step == 0)
            continue;
        snapshot += mine / (double)saves;
        all += (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)saves;
        wall += (seconds_of(CLOCK_MONOTONIC) - begin) / (double)saves;
    }
    double bytes = (double)checkpoint_bytes(run->update, run->model.list, run->model.n_list);
    printf("%.1f MB: snapshot %.1f ms, thread %.1f ms of processor time, on disk after %.0f ms\n",
           bytes / 1e6, 1e3 * snapshot, 1e3 * (all - snapshot), 1e3 * wall);
    printf("one every %.0f s: %.3f %% of a core in the loop, %.3f %% with the thread\n", EVERY,
           100 * snapshot / EVERY, 100 * all / EVERY);
    checkpoint_writer_free(writer);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : ".";
    double millions = argc > 2 ? strtod(argv[2], NULL) : 25;
    uint64_t saves = argc > 3 ? strtoull(argv[3], NULL, 10) : 5;
    struct group alone = fake_alone();
    struct fake_run run;
    static struct fake_tensor tensors[TENSORS];
    static char names[TENSORS][16];
    for (size_t t = 0; t < TENSORS; t++) {
        snprintf(names[t], sizeof names[t], "conv%zu", t + 1);
        tensors[t] = (struct fake_tensor){
            names[t], "weight", PARAM_WEIGHT, 2, {64, (size_t)(millions * 1e6) / TENSORS / 64}, 0};
    }
    enum status status =
        fake_run_init_with(&run, &alone, &fake_configs[0], 1 << 20, tensors, TENSORS);
    if (status == STATUS_OK)
        status = checkpoint_folder_open(&alone, folder);
    if (status == STATUS_OK)
        status = measure(&run, folder, saves);
    if (status != STATUS_OK)
        fprintf(stderr, "%s\n", error_text());
    fake_run_free(&run);
    return (int)status;
}

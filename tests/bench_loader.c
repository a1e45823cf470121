// SPDX-License-Identifier: MIT
// Images a second through the loader, on one core, from page cache: file, order, transforms.
//   bench_loader [rows]
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/loader.h"
#include "tests/support/rows_file.h"

struct bench_case {
    uint64_t h, w, c;
    enum h5_type type;
    size_t batch;
    int grains;
    const char *transforms;
};

static const struct bench_case cases[] = {
    {28, 28, 1, H5_U8, 128, 8, "[normalize]"},
    {28, 28, 1, H5_U8, 128, 8, "[{crop: {pad: 2}}, flip, normalize]"},
    {28, 28, 1, H5_F32, 128, 8, "[normalize]"},
    {32, 32, 3, H5_U8, 128, 8, "[normalize, crop, flip]"},
    {32, 32, 3, H5_U8, 128, 8,
     "[{colour: {brightness: 0.2, contrast: 0.2, saturation: 0.2}}, normalize, crop, flip, "
     "cutout]"},
};

static void must(enum status status)
{
    if (status != STATUS_OK) {
        fprintf(stderr, "bench_loader: error: %s\n", error_text());
        exit((int)status);
    }
}

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

// This process and the thread it starts, on the first core it may use.
static void pin(void)
{
    cpu_set_t may, one;
    CPU_ZERO(&one);
    sched_getaffinity(0, sizeof may, &may);
    for (size_t i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &may)) {
            CPU_SET(i, &one);
            break;
        }
    sched_setaffinity(0, sizeof one, &one);
}

// Seconds of the best of five epochs after the first, by that clock.
static double epoch_time(struct loader *loader, const struct order *order, clockid_t clock)
{
    double best = 1e30;
    must(loader_seek(loader, 0, 0));
    for (int epoch = 0; epoch < 6; epoch++) {
        double begin = now(clock);
        struct batch batch;
        for (uint64_t i = 0; i < order->steps * (uint64_t)order->grains; i++)
            must(loader_next(loader, 0, &batch));
        double time = now(clock) - begin;
        best = epoch > 0 && time < best ? time : best;
    }
    return best;
}

static void case_run(const struct bench_case *c, const char *path, uint64_t rows)
{
    struct data_config data = dataset_defaults();
    struct dataset *dataset = NULL;
    struct yaml *yaml = NULL;
    struct transforms *transforms = NULL;
    struct loader *loader = NULL;
    struct order order;
    char text[512];
    rows_file_images(path, rows, c->h, c->w, c->c, c->type);
    must(dataset_open(&dataset, path, DATASET_TRAIN, &data));
    snprintf(text, sizeof text, "list: %s\n", c->transforms);
    must(yaml_parse(&yaml, "bench", text, strlen(text)));
    must(transforms_plan(&transforms, yaml, yaml_find(yaml->root, "list"), dataset));
    must(order_init(&order, 1, rows, dataset_chunk_rows(dataset), 0, 0, c->batch, c->grains));
    struct loader_config config = {.dataset = dataset,
                                   .transforms = transforms,
                                   .order = &order,
                                   .n_grains = c->grains,
                                   .seed = 1};
    must(loader_init(&loader, &config));
    // The second figure does not count what other programs take of the core meanwhile.
    double images = (double)(order.steps * order.batch);
    printf("%9.0f images/s (%9.0f by processor time)  %llux%llux%llu %s  %s\n",
           images / epoch_time(loader, &order, CLOCK_MONOTONIC),
           images / epoch_time(loader, &order, CLOCK_PROCESS_CPUTIME_ID), (unsigned long long)c->h,
           (unsigned long long)c->w, (unsigned long long)c->c, h5_type_name(c->type),
           c->transforms);
    fflush(stdout);
    loader_free(loader);
    transforms_free(transforms);
    yaml_free(yaml);
    dataset_close(dataset);
    remove(path);
}

int main(int argc, char **argv)
{
    uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    const char *folder = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char path[512];
    snprintf(path, sizeof path, "%s/bench_loader.%ld.h5", folder, (long)getpid());
    pin();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        case_run(&cases[i], path, rows);
    return 0;
}

// SPDX-License-Identifier: MIT
// The whole canonical sum (one grain a rank, the last of it pushed at once, then reduce_wait and
// the all-gather of the sum) beside MPI_Allreduce(MPI_SUM, in place) of the same floats, in turns:
// medians over rounds of the slowest rank's time. With other than 2, 4, 8 ... ranks the first ones
// have a second grain, which they must fold meanwhile.
// usage: mpirun -np N bench_reduce [--messages] [--bucket KIB] [--json FILE]
//   --messages: as between hosts, although the ranks may share memory
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/group.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "comm/reduce.h"
#include "comm/tree.h"

#define ROUNDS_MAX 201

struct size_case {
    size_t bytes;
    int rounds;
};

static const struct size_case cases[] = {
    {64 << 10, 201}, {256 << 10, 101}, {1 << 20, 61},
    {4 << 20, 31},   {16 << 20, 15},   {(size_t)100 << 20, 7},
};

struct args {
    const char *json;
    size_t bucket_bytes;
};

struct bench {
    struct group *group;
    struct reduce *reduce;
    float *vector; // MPI's side
    size_t n;
    struct tree_run run;
    double times[2][ROUNDS_MAX];
};

// Whole numbers: their sums are exact in any order, so both sides can be checked.
static void fill(float *x, size_t n, int rank)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 7 + (size_t)rank * 3) % 1000);
}

static void check(const struct bench *b, const float *x, int n_parts, const char *what)
{
    for (size_t i = 0; i < b->n; i += 997) {
        float expected = 0;
        for (int r = 0; r < n_parts; r++)
            expected += (float)((i * 7 + (size_t)r * 3) % 1000);
        if (x[i] == expected)
            continue;
        error_set(STATUS_VERIFY, __FILE__, __LINE__, "%s: element %zu is %g, expected %g", what, i,
                  (double)x[i], (double)expected);
        group_abort(b->group, STATUS_VERIFY);
    }
}

// Seconds of the slowest rank.
static double slowest(double seconds)
{
    double most = 0;
    MPI_Allreduce(&seconds, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return most;
}

static double time_canonical(struct bench *b, int grains)
{
    for (int g = 0; g < b->run.count; g++) {
        fill(reduce_grain(b->reduce, 0), b->n, b->run.first + g);
        if (g + 1 < b->run.count)
            reduce_push(b->reduce, 0, 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    double begin = MPI_Wtime();
    reduce_push(b->reduce, 0, 0);
    reduce_wait(b->reduce);
    reduce_allgather(b->reduce, reduce_sum(b->reduce));
    double seconds = slowest(MPI_Wtime() - begin);
    check(b, reduce_sum(b->reduce), grains, "canonical sum");
    return seconds;
}

static double time_mpi(struct bench *b)
{
    fill(b->vector, b->n, b->group->rank);
    MPI_Barrier(MPI_COMM_WORLD);
    double begin = MPI_Wtime();
    MPI_Allreduce(MPI_IN_PLACE, b->vector, (int)b->n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    double seconds = slowest(MPI_Wtime() - begin);
    check(b, b->vector, b->group->size, "MPI_Allreduce");
    return seconds;
}

static int compare(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, compare);
    return x[n / 2];
}

static enum status measure(struct bench *b, const struct args *args, const struct size_case *c,
                           FILE *json)
{
    int grains = 1;
    while (grains < b->group->size)
        grains *= 2;
    b->n = span_round(c->bytes / sizeof(float));
    b->run = tree_run_of(grains, b->group->size, b->group->rank);
    TRY(reduce_init(&b->reduce, b->group, b->n, grains, 1, args->bucket_bytes));
    TRY(memory_alloc(&b->vector, b->n, sizeof *b->vector, "vector"));
    time_canonical(b, grains); // warm-up
    time_mpi(b);
    for (int round = 0; round < c->rounds; round++) {
        b->times[0][round] = time_canonical(b, grains);
        b->times[1][round] = time_mpi(b);
    }
    double ours = median(b->times[0], c->rounds), theirs = median(b->times[1], c->rounds);
    log_line("%8zu KiB  %10.1f us  %10.1f us  %6.2f", c->bytes >> 10, ours * 1e6, theirs * 1e6,
             ours / theirs);
    if (json)
        fprintf(json,
                "%s{\"bytes\": %zu, \"canonical_s\": %.9f, \"allreduce_s\": %.9f, "
                "\"ratio\": %.4f}",
                c == cases ? "" : ", ", c->bytes, ours, theirs, ours / theirs);
    free(b->vector);
    reduce_free(b->reduce);
    return STATUS_OK;
}

static enum status measure_all(struct group *group, const struct args *args)
{
    static struct bench b;
    b.group = group;
    FILE *json = args->json && group->rank == 0 ? fopen(args->json, "w") : NULL;
    CHECK(json || !args->json || group->rank > 0, STATUS_ERROR, "cannot write '%s'", args->json);
    if (json)
        fprintf(json, "{\"ranks\": %d, \"sizes\": [", group->size);
    log_line("%d ranks\n    floats     canonical   MPI_Allreduce   ratio", group->size);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        TRY(measure(&b, args, &cases[i], json));
    if (json) {
        fprintf(json, "]}\n");
        fclose(json);
    }
    return STATUS_OK;
}

static enum status args_read(struct args *args, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--messages") == 0)
            setenv("SW2_SHARED", "off", 1);
        else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
            args->json = argv[++i];
        else if (strcmp(argv[i], "--bucket") == 0 && i + 1 < argc)
            args->bucket_bytes = strtoul(argv[++i], NULL, 10) << 10;
        else
            FAIL(STATUS_USAGE, "unknown option '%s'", argv[i]);
    }
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct group *group;
    struct args args = {.bucket_bytes = 1 << 20};
    enum status status = group_init(&group, "bench_reduce", &argc, &argv);
    if (status == STATUS_OK)
        status = args_read(&args, argc, argv);
    if (status == STATUS_OK && group->size == 1)
        status = error_set(STATUS_USAGE, __FILE__, __LINE__, "start it with mpirun -np 2 or more");
    if (status == STATUS_OK)
        status = measure_all(group, &args);
    return group_finish(group, status);
}

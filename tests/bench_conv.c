// SPDX-License-Identifier: MIT
// Convolution kernels beside oneDNN's, in one process, on one core, in turns: every round runs all
// of them and the peak probe once, and what is printed are medians over rounds. CPU time of the
// thread. GFLOP/s are those of direct convolution, also for Winograd.
//   bench_conv [--shapes table|resnet20|resnet18|resnet50] [--grain N] [--rounds N] [--json FILE]
//              [--only TEXT]
//   bench_conv --probe       the peak only
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/kernels/gemm.h"
#include "tests/bench/conv_sides.h"

#define ROUNDS_MAX 51
enum { OURS, PEER, SIDES };

struct row {
    const char *set;
    struct bench_shape shape;
};

static const struct row rows[] = {
    {"table", {64, 64, 64, 32, 3, 1, 1}},      {"table", {64, 64, 256, 16, 3, 1, 1}},
    {"table", {64, 256, 256, 8, 3, 1, 1}},     {"table", {64, 256, 256, 8, 1, 1, 0}},
    {"table", {128, 32, 64, 14, 3, 1, 1}},     {"table", {128, 1, 32, 28, 3, 1, 1}},
    {"table", {16, 64, 64, 56, 3, 1, 1}},      {"table", {16, 256, 64, 56, 1, 1, 0}},
    {"table", {16, 512, 512, 7, 3, 1, 1}},     {"resnet20", {16, 3, 16, 32, 3, 1, 1}},
    {"resnet20", {16, 16, 16, 32, 3, 1, 1}},   {"resnet20", {16, 16, 32, 32, 3, 2, 1}},
    {"resnet20", {16, 32, 32, 16, 3, 1, 1}},   {"resnet20", {16, 32, 64, 16, 3, 2, 1}},
    {"resnet20", {16, 64, 64, 8, 3, 1, 1}},    {"resnet20", {16, 16, 32, 32, 1, 2, 0}},
    {"resnet18", {2, 3, 64, 224, 7, 2, 3}},    {"resnet18", {2, 64, 64, 56, 3, 1, 1}},
    {"resnet18", {2, 64, 128, 56, 3, 2, 1}},   {"resnet18", {2, 64, 128, 56, 1, 2, 0}},
    {"resnet18", {2, 128, 128, 28, 3, 1, 1}},  {"resnet18", {2, 128, 256, 28, 3, 2, 1}},
    {"resnet18", {2, 256, 256, 14, 3, 1, 1}},  {"resnet18", {2, 256, 512, 14, 3, 2, 1}},
    {"resnet18", {2, 512, 512, 7, 3, 1, 1}},   {"resnet50", {4, 64, 256, 56, 1, 1, 0}},
    {"resnet50", {4, 256, 64, 56, 1, 1, 0}},   {"resnet50", {4, 256, 512, 56, 1, 2, 0}},
    {"resnet50", {4, 128, 512, 28, 1, 1, 0}},  {"resnet50", {4, 512, 128, 28, 1, 1, 0}},
    {"resnet50", {4, 256, 1024, 14, 1, 1, 0}}, {"resnet50", {4, 1024, 256, 14, 1, 1, 0}},
    {"resnet50", {4, 512, 2048, 7, 1, 1, 0}},  {"resnet50", {4, 2048, 512, 7, 1, 1, 0}},
};
static const char *const pass_names[] = {"forward", "backward data", "backward weights"};
static const char *const method_names[] = {"direct", "winograd", "bf16"};

struct cell {                            // one shape and pass
    double gflops[SIDES][BENCH_METHODS]; // medians; 0: not done
    double ratio;                        // of direct, ours to theirs: median of the rounds' ratios
    double peak;                         // median
};

struct bench {
    const char *set, *only, *json;
    size_t grain;
    int rounds;
    FILE *file;
    double log_ratio, least;
    int n_cells;
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, compare);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double seconds(const struct bench_side *side, enum bench_pass pass, int times)
{
    double start = bench_now();
    for (int i = 0; i < times; i++)
        side->run(side->self, pass);
    return (bench_now() - start) / times;
}

static struct cell cell_run(struct bench_side side[SIDES][BENCH_METHODS], enum bench_pass pass,
                            double flops, int rounds)
{
    static double rate[SIDES][BENCH_METHODS][ROUNDS_MAX], ratio[ROUNDS_MAX], peak[ROUNDS_MAX];
    const double least = 8e-3; // seconds of a measurement
    int times[SIDES][BENCH_METHODS] = {0};
    struct cell cell = {0};
    for (int s = 0; s < SIDES; s++)
        for (int m = 0; m < BENCH_METHODS; m++)
            if (side[s][m].self && side[s][m].can[pass]) {
                seconds(&side[s][m], pass, 1);
                times[s][m] = 1 + (int)(least / (seconds(&side[s][m], pass, 1) + 1e-9));
            }
    for (int i = 0; i < rounds; i++) {
        peak[i] = bench_peak(least / 4);
        for (int m = 0; m < BENCH_METHODS; m++)
            for (int s = 0; s < SIDES; s++)
                if (times[s][m])
                    rate[s][m][i] = flops / seconds(&side[s][m], pass, times[s][m]) / 1e9;
        ratio[i] = times[PEER][0] ? rate[OURS][0][i] / rate[PEER][0][i] : 0;
    }
    for (int s = 0; s < SIDES; s++)
        for (int m = 0; m < BENCH_METHODS; m++)
            cell.gflops[s][m] = times[s][m] ? median(rate[s][m], rounds) : 0;
    cell.ratio = median(ratio, rounds);
    cell.peak = median(peak, rounds);
    return cell;
}

static void number_show(double value)
{
    if (value > 0)
        printf(" %6.0f", value);
    else
        printf("      -");
}

static void cell_show(struct bench *b, const char *name, enum bench_pass pass,
                      const struct cell *cell)
{
    printf("%-26s %-17s", name, pass_names[pass]);
    for (int s = 0; s < SIDES; s++) {
        for (int m = 0; m < BENCH_METHODS; m++)
            number_show(cell->gflops[s][m]);
        printf(" |");
    }
    printf(" %5.2f", cell->ratio);
    if (cell->peak > 0)
        printf("  %4.0f  %4.0f %%", cell->peak, 100 * cell->gflops[OURS][0] / cell->peak);
    printf("\n");
    fflush(stdout);
    if (!b->file)
        return;
    fprintf(b->file, "%s\n  {\"name\": \"%s %s\", \"peak\": %.1f, \"ratio\": %.4f",
            b->n_cells > 1 ? "," : "", name, pass_names[pass], cell->peak, cell->ratio);
    for (int s = 0; s < SIDES; s++)
        for (int m = 0; m < BENCH_METHODS; m++)
            if (cell->gflops[s][m] > 0)
                fprintf(b->file, ", \"%s_%s\": %.1f", s == OURS ? "sw2" : "onednn", method_names[m],
                        cell->gflops[s][m]);
    fprintf(b->file, "}");
}

static void row_run(struct bench *b, const struct row *row)
{
    struct bench_side side[SIDES][BENCH_METHODS];
    struct bench_shape s = row->shape;
    char name[64];
    s.n = b->grain ? b->grain : s.n;
    snprintf(name, sizeof name, "%zu, %zu->%zu, %zu, %zux%zu%s", s.n, s.c, s.k, s.size, s.kernel,
             s.kernel, s.stride > 1 ? " s2" : "");
    if (strcmp(b->set, row->set) != 0 || (b->only && !strstr(name, b->only)))
        return;
    for (int m = 0; m < BENCH_METHODS; m++) {
        side[OURS][m] = bench_side_ours(&s, (enum bench_method)m);
        side[PEER][m] = bench_side_dnnl(&s, (enum bench_method)m);
    }
    double out = (double)((s.size + 2 * s.pad - s.kernel) / s.stride + 1);
    double flops = 2.0 * (double)(s.n * s.c * s.k * s.kernel * s.kernel) * out * out;
    for (int pass = 0; pass < BENCH_PASSES; pass++) {
        struct cell cell = cell_run(side, (enum bench_pass)pass, flops, b->rounds);
        b->n_cells++;
        b->log_ratio += log(cell.ratio);
        b->least = cell.ratio < b->least ? cell.ratio : b->least;
        cell_show(b, name, (enum bench_pass)pass, &cell);
    }
    for (int m = 0; m < BENCH_METHODS; m++)
        for (int i = 0; i < SIDES; i++)
            if (side[i][m].self)
                side[i][m].close(side[i][m].self);
}

static void usage(void)
{
    fprintf(stderr, "usage: bench_conv [--shapes table|resnet20|resnet18|resnet50] [--grain N] "
                    "[--rounds 1..51] [--only TEXT] [--json FILE] | --probe\n");
    exit(2);
}

static struct bench arguments(int argc, char **argv)
{
    struct bench b = {.set = "table", .rounds = 9, .least = INFINITY};
    if (argc == 2 && strcmp(argv[1], "--probe") == 0) {
        printf("%.1f GFLOP/s\n", bench_peak(0.2));
        exit(0);
    }
    for (int i = 1; i < argc; i += 2) {
        const char *value = argv[i + 1];
        if (!value)
            usage();
        if (strcmp(argv[i], "--shapes") == 0)
            b.set = value;
        else if (strcmp(argv[i], "--json") == 0)
            b.json = value;
        else if (strcmp(argv[i], "--only") == 0)
            b.only = value;
        else if (strcmp(argv[i], "--grain") == 0)
            b.grain = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            b.rounds = atoi(value);
        else
            usage();
    }
    if (b.rounds < 1 || b.rounds > ROUNDS_MAX)
        usage();
    return b;
}

int main(int argc, char **argv)
{
    struct bench b = arguments(argc, argv);
    const char *threads = getenv("OMP_NUM_THREADS");
    if (!threads || strcmp(threads, "1") != 0) { // read when the OpenMP library is loaded
        setenv("OMP_NUM_THREADS", "1", 1);
        execv("/proc/self/exe", argv);
    }
    b.file = b.json ? fopen(b.json, "w") : NULL;
    if (b.json && !b.file) {
        fprintf(stderr, "bench_conv: error: cannot write '%s'\n", b.json);
        return 1;
    }
    if (b.file)
        fprintf(b.file, "{\"cells\": [");
    printf("%s (left) and %s (right), GFLOP/s, medians of %d rounds\n", gemm_backend_name(),
           bench_dnnl_version(), b.rounds);
    printf("%-26s %-17s %20s | %20s | ratio  peak  share\n", "N, C->K, H, kernel", "",
           "direct   wino   bf16", "direct   wino   bf16");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        row_run(&b, &rows[i]);
    if (b.n_cells)
        printf("direct to direct: geometric mean %.3f, least %.3f\n", exp(b.log_ratio / b.n_cells),
               b.least);
    if (b.file)
        fprintf(b.file, "\n]}\n");
    return b.file && fclose(b.file) ? 1 : 0;
}

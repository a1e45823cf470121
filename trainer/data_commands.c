// SPDX-License-Identifier: MIT
// Owns: options and reports of sw2-data's commands that write; data_inspect.c has those that read.
// The work is data/'s.
#include "trainer/data_commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/log.h"
#include "comm/number.h"
#include "data/generate.h"
#include "data/import.h"
#include "trainer/data_inspect.h"
#include "trainer/data_progress.h"

// ---- small texts

// "32x32", "32x32x3" or "10": up to three whole numbers. `label` stands in messages.
static enum status read_sizes(const char *label, const char *text, size_t least, size_t most,
                              size_t out[3], size_t *n)
{
    *n = 0;
    for (const char *at = text; *at;) {
        char *end = NULL;
        unsigned long value = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : 0;
        bool is_end = end && (*end == 0 || ((*end == 'x' || *end == 'X') && end[1]));
        CHECK(is_end && value >= 1 && value <= 1000000 && *n < 3, STATUS_USAGE,
              "%s %s: expected sizes like %s", label, text, most == 2 ? "32x32" : "28x28x1");
        out[(*n)++] = value;
        at = *end ? end + 1 : end;
    }
    CHECK(*n >= least && *n <= most, STATUS_USAGE, "%s %s: expected sizes like %s", label, text,
          most == 2 ? "32x32" : "28x28x1");
    return STATUS_OK;
}

static enum status read_number(const char *label, const char *text, double *out)
{
    const char *problem = "";
    CHECK(number_double(text, out, &problem), STATUS_USAGE, "%s '%s': %s", label, text, problem);
    CHECK(*out >= 0, STATUS_USAGE, "%s %s: must not be negative", label, text);
    return STATUS_OK;
}

static enum status check_name(const char *path)
{
    size_t n = strlen(path);
    bool is_h5 = (n > 3 && strcmp(path + n - 3, ".h5") == 0) ||
                 (n > 5 && strcmp(path + n - 5, ".hdf5") == 0);
    CHECK(is_h5, STATUS_USAGE, "the last argument is the file to write and ends in .h5, got '%s'",
          path);
    return STATUS_OK;
}

static void show_report(const char *out, const struct import_report *report, double seconds)
{
    char test[64] = "", target[64];
    if (report->n_test > 0)
        snprintf(test, sizeof test, " and %" PRIu64 " test", report->n_test);
    if (report->target.type == TARGET_CLASS)
        snprintf(target, sizeof target, "%zu classes", report->target.n_classes);
    else
        snprintf(target, sizeof target, "%zu float target%s", report->target.count,
                 report->target.count == 1 ? "" : "s");
    struct stat info = {0};
    stat(out, &info);
    log_line("%s: %" PRIu64 " training%s rows of %zux%zux%zu %s, %s; %.1f MB in %.1f s", out,
             report->n_train, test, report->shape.h, report->shape.w, report->shape.c,
             report->is_u8 ? "uint8" : "float32", target, (double)info.st_size / 1e6, seconds);
    log_line("digest of /train: %s", report->digest);
}

static void show_notes(const char *notes)
{
    for (const char *at = notes; at && *at;) {
        size_t n = strcspn(at, "\n");
        log_line("note: %.*s", (int)n, at);
        at += n + (at[n] == '\n');
    }
}

// ---- import

struct import_args {
    int format, targets, header, filter;
    const char *test, *split, *resize, *shape, *target, *drop, *max, *classes, *source, *licence;
    bool is_shuffled;
    int64_t seed, channels;
};

#define ROW(name, kind, member, fallback, help)                                                    \
    {                                                                                              \
        name, kind, offsetof(struct import_args, member), fallback, 0, 0, NULL, help               \
    }
#define CHOICE(name, member, choices, help)                                                        \
    {                                                                                              \
        name, OPTION_CHOICE, offsetof(struct import_args, member), "auto", 0, 0, choices, help     \
    }

static const struct cli_option import_options[] = {
    {CHOICE("format", format, "auto|idx|cifar|folder|csv", "format of SOURCE"), 0, NULL},
    {ROW("test", OPTION_STRING, test, NULL, "a second source, for the test part"), 0, "SOURCE"},
    {ROW("split", OPTION_STRING, split, NULL,
         "cut a test part off, by class: 0.2 is a fifth, 500 are 500 rows"),
     0, "PART"},
    {ROW("shuffle", OPTION_BOOL, is_shuffled, "false", "write the rows in random order"), 0, NULL},
    {{"seed", OPTION_INT, offsetof(struct import_args, seed), "1", 0, 9e15, NULL,
      "of --shuffle and --split"},
     0,
     NULL},
    {ROW("resize", OPTION_STRING, resize, NULL, "resample pictures to height x width"), 0, "HxW"},
    {{"filter", OPTION_CHOICE, offsetof(struct import_args, filter), "bilinear", 0, 0,
      "bilinear|nearest", "how --resize resamples"},
     0,
     NULL},
    {{"channels", OPTION_INT, offsetof(struct import_args, channels), "0", 0, 3, NULL,
      "folder: 1 makes all grey, 3 all colour, 0 colour if any is"},
     0,
     NULL},
    {ROW("target", OPTION_STRING, target, NULL,
         "csv: name or number (-1 is the last) of the target column, several with commas;"
         " cifar-100: fine or coarse"),
     0, "COLUMN"},
    {ROW("drop", OPTION_STRING, drop, NULL, "csv: columns to leave out"), 0, "COLUMNS"},
    {CHOICE("targets", targets, "auto|class|float", "csv: what the target is"), 0, NULL},
    {CHOICE("header", header, "auto|yes|no", "csv: is the first line a header"), 0, NULL},
    {ROW("shape", OPTION_STRING, shape, NULL, "csv: a row is a picture of this shape"), 0, "HxWxC"},
    {ROW("max", OPTION_STRING, max, NULL, "csv: store 0..MAX as uint8 0..255, rounded"), 0, "MAX"},
    {ROW("classes", OPTION_STRING, classes, NULL, "names of the classes, with commas"), 0,
     "A,B,..."},
    {ROW("source", OPTION_STRING, source, NULL, "text for the attribute source"), 0, NULL},
    {ROW("licence", OPTION_STRING, licence, NULL, "text for the attribute licence"), 0, NULL},
};

static enum status fill_options(struct import_options *options, const struct import_args *args)
{
    size_t sizes[3] = {0}, n = 0;
    CHECK(args->channels != 2, STATUS_USAGE, "--channels 2: expected 1 or 3");
    options->channels = (size_t)args->channels;
    options->is_nearest = args->filter == 1;
    options->target_column = args->target;
    options->drop = args->drop;
    options->target = (enum import_target)args->targets;
    options->header = (enum import_header)args->header;
    if (args->max) {
        TRY(read_number("--max", args->max, &options->max));
        CHECK(options->max > 0, STATUS_USAGE, "--max must be more than 0");
    }
    if (args->resize) {
        TRY(read_sizes("--resize", args->resize, 2, 2, sizes, &n));
        CHECK(sizes[0] <= 8192 && sizes[1] <= 8192, STATUS_USAGE, "--resize %s: at most 8192x8192",
              args->resize);
        options->resize_h = sizes[0];
        options->resize_w = sizes[1];
    }
    if (args->shape) {
        TRY(read_sizes("--shape", args->shape, 2, 3, sizes, &n));
        options->shape = (struct sample_shape){sizes[0], sizes[1], n == 3 ? sizes[2] : 1};
    }
    return STATUS_OK;
}

static enum status import_with(const struct cli_parsed *parsed, const struct import_args *args)
{
    static const char *const formats[] = {"auto", "idx", "cifar", "folder", "csv"};
    struct data_watch watch = {0};
    size_t n = parsed->arguments.n;
    struct import_config config = {
        .paths = parsed->arguments.v,
        .n_paths = n - 1,
        .out = parsed->arguments.v[n - 1],
        .test = args->test,
        .format = formats[args->format],
        .is_shuffled = args->is_shuffled,
        .seed = (uint64_t)args->seed,
        .classes = args->classes,
        .source = args->source,
        .licence = args->licence,
        .options.progress = {data_tick, &watch},
    };
    TRY(check_name(config.out));
    if (args->split)
        TRY(read_number("--split", args->split, &config.split));
    TRY(fill_options(&config.options, args));
    double start = data_seconds();
    struct import_report report;
    enum status status = import_run_guarded(&config, &data_interrupted, &report);
    log_transient("");
    if (status == STATUS_OK) {
        show_notes(report.note);
        show_report(config.out, &report, data_seconds() - start);
    }
    free(report.note);
    return status;
}

static enum status run_import(int argc, char **argv)
{
    struct cli_parsed *parsed = NULL;
    struct import_args args;
    TRY(cli_parse(&parsed, &data_clis[DATA_IMPORT], argc, argv, &args));
    enum status status = parsed->is_done ? STATUS_OK : import_with(parsed, &args);
    cli_free(parsed);
    return status;
}

// ---- generate

struct generate_args {
    const char *shape;
    int64_t classes, rows, test_rows, seed;
};

#define COUNT(name, member, fallback, least, most, help)                                           \
    {                                                                                              \
        {name, OPTION_INT, offsetof(struct generate_args, member), fallback, least, most,          \
         NULL, help},                                                                              \
            0, NULL                                                                                \
    }

static const struct cli_option generate_options[] = {
    {{"shape", OPTION_STRING, offsetof(struct generate_args, shape), "32x32x3", 0, 0, NULL,
      "of a row"},
     0,
     "HxWxC"},
    COUNT("classes", classes, "10", 1, 65536, "number of classes"),
    COUNT("rows", rows, "1000", 1, 4e9, "training rows"),
    COUNT("test-rows", test_rows, "0", 0, 4e9, "test rows"),
    COUNT("seed", seed, "1", 0, 9e15, "other numbers, other pictures"),
};

static enum status generate_with(const char *out, const struct generate_args *args)
{
    size_t sizes[3] = {0}, n = 0;
    TRY(check_name(out));
    TRY(read_sizes("--shape", args->shape, 2, 3, sizes, &n));
    struct sample_shape shape = {sizes[0], sizes[1], n == 3 ? sizes[2] : 1};
    struct import_source train = {0}, test = {0};
    struct import_report report = {0};
    struct data_watch watch = {0};
    char source[128];
    snprintf(source, sizeof source, "sw2-data generate --seed %" PRId64, args->seed);
    struct import_config config = {
        .out = out, .source = source, .options.progress = {data_tick, &watch}};
    uint64_t rows = (uint64_t)args->rows, test_rows = (uint64_t)args->test_rows;
    size_t classes = (size_t)args->classes;
    double start = data_seconds();
    TRY(generate_open(&train, shape, classes, 0, rows, (uint64_t)args->seed));
    enum status status = STATUS_OK;
    if (test_rows > 0)
        status = generate_open(&test, shape, classes, rows, test_rows, (uint64_t)args->seed);
    if (status == STATUS_OK)
        status = import_write(&train, test_rows > 0 ? &test : NULL, &config, &report);
    import_source_close(&train);
    import_source_close(&test);
    log_transient("");
    if (status == STATUS_OK)
        show_report(out, &report, data_seconds() - start);
    return status;
}

static enum status run_generate(int argc, char **argv)
{
    struct cli_parsed *parsed = NULL;
    struct generate_args args;
    TRY(cli_parse(&parsed, &data_clis[DATA_GENERATE], argc, argv, &args));
    enum status status = parsed->is_done ? STATUS_OK : generate_with(parsed->arguments.v[0], &args);
    cli_free(parsed);
    return status;
}

// ---- the table

#define OPTIONS(table) .options = table, .n_options = sizeof table / sizeof *table

const struct cli data_clis[DATA_COMMANDS_N] = {
    [DATA_IMPORT] =
        {.program = "sw2-data import",
         .arguments = "SOURCE... OUT.h5",
         .about = "Turns files of a known format into one HDF5 file with groups /train and /test.\n"
                  "\n"
                  "SOURCE is one of\n"
                  "  idx     MNIST's format, gzip'ed or not: the folder, or an images and a labels "
                  "file\n"
                  "  cifar   CIFAR-10 or CIFAR-100, binary version: the folder, or batch files\n"
                  "  folder  a folder of pictures (PNG, JPEG, PGM, PPM) for each class, or\n"
                  "          train/CLASS/... and test/CLASS/... below it\n"
                  "  csv     a table, gzip'ed or not, with header or without\n"
                  "OUT.h5 is replaced whole when all went well, or else left as it was.",
         OPTIONS(import_options),
         .min_arguments = 2,
         .max_arguments = CLI_ANY,
         .examples = "sw2-data import /usr/share/datasets/fashion-mnist fashion.h5\n"
                     "sw2-data import photos/ photos.h5 --resize 64x64 --split 0.2 --shuffle\n"
                     "sw2-data import train.csv digits.h5 --test test.csv --shape 28x28 --max 255"},
    [DATA_INFO] = {.program = "sw2-data info",
                   .arguments = "FILE.h5",
                   .about = "Shows what is in a data set, and what sw2-train makes of it.",
                   .options = data_info_options,
                   .n_options = DATA_INFO_OPTIONS_N,
                   .min_arguments = 1,
                   .max_arguments = 1},
    [DATA_CHECK] = {.program = "sw2-data check",
                    .arguments = "FILE.h5[:/group] [TEST.h5[:/group]]",
                    .about = "Looks for what spoils training: NaN, labels out of range, uneven"
                             " classes,\nduplicate rows, rows in both parts, constant channels,"
                             " unlucky chunks.\nExit code 3 when there is an error.",
                    .options = data_check_options,
                    .n_options = DATA_CHECK_OPTIONS_N,
                    .min_arguments = 1,
                    .max_arguments = 2},
    [DATA_GENERATE] = {.program = "sw2-data generate",
                       .arguments = "OUT.h5",
                       .about = "Makes up pictures of a given size that a network can learn, for"
                                " benchmarks.",
                       OPTIONS(generate_options),
                       .min_arguments = 1,
                       .max_arguments = 1,
                       .examples = "sw2-data generate big.h5 --shape 224x224x3 --classes 1000"
                                   " --rows 1280 --test-rows 256"},
};

enum status (*const data_runs[DATA_COMMANDS_N])(int argc, char **argv) = {
    [DATA_IMPORT] = run_import,
    [DATA_INFO] = data_run_info,
    [DATA_CHECK] = data_run_check,
    [DATA_GENERATE] = run_generate,
};

// SPDX-License-Identifier: MIT
// sw2-predict: a checkpoint on pictures and rows without labels.
#include <stdlib.h>

#include "comm/outputs.h"
#include "trainer/cli.h"
#include "trainer/predict.h"

struct args {
    const char *weights, *out;
    int64_t top, chunk;
    int format, fit;
    bool keeps_going;
};

#define ROW(name, type, field, fallback, low, high, choices, help, letter, value)                  \
    {                                                                                              \
        {name, type, offsetof(struct args, field), fallback, low, high, choices, help}, letter,    \
            value                                                                                  \
    }
static const struct cli_option options[] = {
    ROW("top", OPTION_INT, top, "3", 1, 1000, NULL, "classes shown for each input", 'k', "N"),
    ROW("format", OPTION_CHOICE, format, "text", 0, 0, PREDICT_FORMATS,
        "text for people; JSON lines or CSV for programs", 'f', NULL),
    ROW("out", OPTION_STRING, out, "-", 0, 0, NULL, "file to write; - for standard output", 'O',
        "FILE"),
    ROW("fit", OPTION_CHOICE, fit, "refuse", 0, 0, PICTURE_FITS,
        "a picture of another size: an error, resampled, or its middle", 0, NULL),
    ROW("keep-going", OPTION_BOOL, keeps_going, "false", 0, 0, NULL,
        "report unreadable inputs in their place instead of stopping", 0, NULL),
    ROW("weights", OPTION_STRING, weights, "auto", 0, 0, NULL,
        "auto: the EMA weights if the checkpoint has them, else model", 0, "auto|model|ema"),
    ROW("chunk", OPTION_INT, chunk, "64", 1, 65536, NULL, "samples predicted at a time", 0, "N"),
};

static const struct cli cli = {
    .program = "sw2-predict",
    .arguments = "CHECKPOINT INPUT...",
    .about = "Predicts the classes of pictures (PNG, JPEG, PNM), of folders of them, and of rows "
             "of HDF5 files\n(FILE.h5[:/group]). CHECKPOINT is a file, or a folder of checkpoints "
             "(the newest good one); inputs are\nprepared as in training, by the numbers in it.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .min_arguments = 2,
    .max_arguments = CLI_ANY,
    .examples = "sw2-predict runs/digits-1/checkpoints/best.h5 scan1.png scan2.png\n"
                "mpirun -np 4 sw2-predict runs/f/checkpoints photos/ --fit crop -f jsonl -O out",
};

static enum status predict(struct group *group, const void *given,
                           const struct option_strings *arguments)
{
    const struct args *args = given;

    struct trained trained = {0};
    struct inputs *inputs = NULL;
    size_t n_bad = 0;
    struct trained_config from = {
        .path = arguments->v[0], .weights = args->weights, .chunk = (size_t)args->chunk};
    struct predict_config config = {.top = (size_t)args->top,
                                    .format = (enum predict_format)args->format,
                                    .keeps_going = args->keeps_going,
                                    .out = args->out};
    TRY(group_agree(group, outputs_check(args->out, arguments->v, arguments->n)));
    struct option_strings paths = {arguments->n - 1, arguments->v + 1};
    enum status status = trained_open(&trained, group, &from);
    if (status == STATUS_OK)
        status =
            group_agree(group, inputs_open(&inputs, &trained, &paths, (enum picture_fit)args->fit));
    if (status == STATUS_OK)
        status = predict_run(&trained, inputs, from.chunk, &config, &n_bad);
    if (status == STATUS_OK && n_bad > 0)
        status = error_set(STATUS_DATA, __FILE__, __LINE__,
                           "%zu of %zu inputs could not be read; each says why in the output",
                           n_bad, inputs_count(inputs));
    inputs_close(inputs);
    trained_close(&trained);
    return status;
}

int main(int argc, char **argv)
{
    struct args args = {0};
    return cli_main(&cli, argc, argv, &args, predict);
}

// SPDX-License-Identifier: MIT
// sw2-shrink: a trained network twice as fast for a little accuracy.
#include <stdlib.h>

#include "trainer/cli.h"
#include "trainer/shrink/shrink.h"
#include "trainer/signals.h"

struct args {
    const char *out;
    double speedup, lr;
    int64_t rounds, epochs, last_epochs, chunk, batches;
    struct option_strings overrides;
};

#define ROW(name, type, field, fallback, low, high, choices, help, letter, value)                  \
    {                                                                                              \
        {name, type, offsetof(struct args, field), fallback, low, high, choices, help}, letter,    \
            value                                                                                  \
    }
static const struct cli_option options[] = {
    ROW("speedup", OPTION_FLOAT, speedup, "2", 1.01, 100, NULL,
        "how much faster its forward pass shall be, as measured here on one core", 0, "X"),
    ROW("out", OPTION_STRING, out, "shrunk", 0, 0, NULL,
        "folder of the result, a run in each of its round-<n>/", 'O', "DIR"),
    ROW("rounds", OPTION_INT, rounds, "2", 1, SHRINK_ROUNDS_MAX, NULL,
        "steps to that speed, with training on behind each", 0, "N"),
    ROW("epochs", OPTION_INT, epochs, "0", 0, 1e6, NULL,
        "of training on in each round but the last; 0: a fifth of the recipe's", 0, "N"),
    ROW("last-epochs", OPTION_INT, last_epochs, "0", 0, 1e6, NULL,
        "of training on in the last round; 0: twice the recipe's", 0, "N"),
    ROW("lr", OPTION_FLOAT, lr, "0.5", 0, 100, NULL, "learning rate, times the recipe's", 0,
        "FACTOR"),
    ROW("batches", OPTION_INT, batches, "32", 1, 1e6, NULL,
        "batches of training samples that tell what matters", 0, "N"),
    ROW("chunk", OPTION_INT, chunk, "64", 1, 65536, NULL, "samples of a forward pass", 0, "N"),
    ROW("option", OPTION_STRINGS, overrides, "", 0, 0, NULL,
        "set a key of the recipe, as data.train=FILE.h5:/train; may be repeated", 'o', "KEY=VALUE"),
};

static const struct cli cli = {
    .program = "sw2-shrink",
    .arguments = "CHECKPOINT",
    .about =
        "Makes a trained network faster: takes whole channels, also through residual sums, and "
        "whole residual bodies away,\nthe least important ones for the time they cost, trains "
        "on, and stops at the measured speed. The result is an ordinary run:\nrecipe, checkpoints, "
        "metrics. "
        "Interrupted, the same command goes on.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .min_arguments = 1,
    .max_arguments = 1,
    .examples = "sw2-shrink runs/fashion-1/checkpoints/best.h5 --speedup 2 --out runs/small\n"
                "mpirun -np 4 sw2-shrink runs/c/checkpoints --speedup 3 --rounds 4",
};

static enum status shrink(struct group *group, const void *given,
                          const struct option_strings *arguments)
{
    const struct args *args = given;

    struct shrink_config config = {
        .checkpoint = arguments->v[0],
        .out = args->out,
        .speedup = args->speedup,
        .rounds = (int)args->rounds,
        .epochs = args->epochs,
        .last_epochs = args->last_epochs,
        .lr = args->lr,
        .chunk = (size_t)args->chunk,
        .batches = (size_t)args->batches,
        .overrides = args->overrides,
    };
    return shrink_run(group, &config);
}

int main(int argc, char **argv)
{
    struct args args = {0};
    signals_catch();
    return cli_main(&cli, argc, argv, &args, shrink);
}

// SPDX-License-Identifier: MIT
// sw2-train: a table of contents. Arguments, recipe, data, plan, training.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "comm/log.h"
#include "comm/rehearsal.h"
#include "comm/watchdog.h"
#include "data/h5.h"
#include "models/kernels/gemm.h"
#include "trainer/board.h"
#include "trainer/cli.h"
#include "trainer/loop.h"
#include "trainer/plan.h"
#include "trainer/replay.h"
#include "trainer/run_start.h"
#include "trainer/signals.h"
#include "trainer/start_check.h"

struct args {
    const char *out, *resume, *watchdog;
    struct option_strings overrides;
    int64_t seed, threads, replay, verify, record, histograms, explanations;
    double audit;
    bool plan, force, quiet, profile;
    int argc; // as started
    char **argv;
};

static const struct cli_option options[] = {
    {{"out", OPTION_STRING, offsetof(struct args, out), NULL, 0, 0, NULL,
      "folder of the run; default: a new one, runs/<name>-<n>"},
     'O',
     "DIR"},
    {{"resume", OPTION_STRING, offsetof(struct args, resume), "auto", 0, 0, NULL,
      "auto: go on from the newest good checkpoint in --out, if any; never; or a checkpoint's "
      "FILE"},
     0,
     "auto|never|FILE"},
    {{"option", OPTION_STRINGS, offsetof(struct args, overrides), NULL, 0, 0, NULL,
      "set any key of the recipe, as train.epochs=5; may be repeated"},
     'o',
     "KEY=VALUE"},
    {{"seed", OPTION_INT, offsetof(struct args, seed), "-1", -1, 9e15, NULL,
      "of all random numbers; -1: the recipe's train.seed"},
     0,
     "N"},
    {{"threads", OPTION_INT, offsetof(struct args, threads), "0", 0, 4096, NULL,
      "of each rank, the same bits at any number; 0: the recipe's train.threads"},
     0,
     "N"},
    {{"plan", OPTION_BOOL, offsetof(struct args, plan), "false", 0, 0, NULL,
      "show what would run (network, memory, steps, bytes) and train nothing"},
     0,
     NULL},
    {{"force", OPTION_BOOL, offsetof(struct args, force), "false", 0, 0, NULL,
      "resume although recipe, data or instruction set differ from the checkpoint's"},
     0,
     NULL},
    {{"profile", OPTION_BOOL, offsetof(struct args, profile), "false", 0, 0, NULL,
      "at the end show where the steps' time went, by layer; a trace goes into --out"},
     0,
     NULL},
    {{"verify", OPTION_INT, offsetof(struct args, verify), "250", 0, 1e15, NULL,
      "steps between comparisons of all ranks' weights, and of each rank's memory with what it "
      "was; 0: none"},
     0,
     "STEPS"},
    {{"record", OPTION_INT, offsetof(struct args, record), "1000", 0, 1e15, NULL,
      "steps between those whose digests, of every layer and tensor, go into --out for --replay; "
      "0: none"},
     0,
     "STEPS"},
    {{"audit", OPTION_FLOAT, offsetof(struct args, audit), "0", 0, 1, NULL,
      "share of the arithmetic that is done twice, by another rank, and compared bit for bit: "
      "a rank that errs is named and ends the run (exit code 5)"},
     0,
     "RATE"},
    {{"histograms", OPTION_INT, offsetof(struct args, histograms), "0", 0, 1e6, NULL,
      "epochs between histograms of weights and gradients in TensorBoard's events; 0: none"},
     0,
     "N"},
    {{"explanations", OPTION_INT, offsetof(struct args, explanations), "8", 0, 1e4, NULL,
      "test samples shown in TensorBoard's events at the end, with what the network saw in them"},
     0,
     "N"},
    {{"replay", OPTION_INT, offsetof(struct args, replay), "0", 0, 1e15, NULL,
      "compute this step of the run in --out again, train nothing, and say which layer and tensor "
      "first differ from its digests.jsonl (exit code 5); 0: no"},
     0,
     "STEP"},
    {{"watchdog", OPTION_STRING, offsetof(struct args, watchdog), "4", 0, 0, NULL,
      "a rank that shows no progress for so long, or for 10 steps if that is longer, is named and "
      "the job ends; off: never (under a debugger)"},
     0,
     "SECONDS|off"},
    {{"quiet", OPTION_BOOL, offsetof(struct args, quiet), "false", 0, 0, NULL,
      "only warnings and errors"},
     'q',
     NULL},
};

static char *version_text(void)
{
    char *text = malloc(1024);
    if (text)
        snprintf(text, 1024,
                 "sw2-train %s\n  %s\n  HDF5 %s\n  %s\n  kernels: %s\n  instruction set: %s",
                 SW2_VERSION, group_mpi_version(), h5_version(), gemm_versions(),
                 gemm_backend_name(), isa_name(isa_current()));
    return text;
}

static const struct cli cli = {
    .program = "sw2-train",
    .arguments = "[RECIPE]",
    .about =
        "Trains a convolutional network by distributed data-parallel gradient descent.\n"
        "RECIPE is a YAML file or the name of an installed recipe (digits, mnist, fashion, "
        "cifar10, ...);\nwithout one the embedded digits are trained. The weights are the same, "
        "bit for bit, at any number of ranks.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .max_arguments = 1,
    .examples =
        "sw2-train                                    embedded digits, one process, seconds\n"
        "sw2-train fashion --plan                     what would run\n"
        "mpirun -np 2 sw2-train fashion --out runs/f  two ranks, resumable\n"
        "sw2-train fashion --threads 2                one process, two threads, the same bits\n"
        "sw2-train cifar10 -o train.epochs=5 -o data.train=my.h5:/train",
    .version_text = version_text,
};

// --seed N is -o train.seed=N, after all others; --threads N as well.
static enum status overrides_make(const struct args *args, struct option_strings *all,
                                  char seed[64], char threads[64])
{
    const char **texts = calloc(args->overrides.n + 2, sizeof *texts);
    CHECK(texts, STATUS_ERROR, "out of memory: %zu options", args->overrides.n);
    if (args->overrides.n > 0)
        memcpy(texts, args->overrides.v, args->overrides.n * sizeof *texts);
    *all = (struct option_strings){args->overrides.n, texts};
    if (args->seed >= 0) {
        snprintf(seed, 64, "train.seed=%lld", (long long)args->seed);
        texts[all->n++] = seed;
    }
    if (args->threads > 0) {
        snprintf(threads, 64, "train.threads=%lld", (long long)args->threads);
        texts[all->n++] = threads;
    }
    return STATUS_OK;
}

struct beginning {
    const struct run_folder *folder;
    struct session *session;
    const struct args *args;
    bool is_anew;
};

// A run that is refused (another recipe than its checkpoints') leaves what its folder says of it.
static enum status run_begin(void *context)
{
    const struct beginning *b = context;
    struct session *s = b->session;
    TRY(run_folder_recipe(b->folder, s->group, s->recipe->resolved));
    run_start_write(b->folder, s, b->is_anew, b->args->argc, b->args->argv);
    return STATUS_OK;
}

static enum status train(struct session *session, const struct args *args)
{
    TRY(session_training(session));
    if (args->profile)
        TRY(session_profile(session));
    bool is_auto = strcmp(args->resume, "auto") == 0, is_never = strcmp(args->resume, "never") == 0;
    CHECK(args->replay == 0 || args->out, STATUS_USAGE,
          "--replay %lld: --out names no run to replay", (long long)args->replay);
    struct run_folder folder;
    TRY(run_folder_open(&folder, session->group, args->out, session->recipe->name,
                        is_never && args->replay == 0));
    if (args->replay > 0) {
        enum status replayed = replay_run(session, &folder, (uint64_t)args->replay);
        replayed = group_agree(session->group, replayed);
        if (replayed != STATUS_OK)
            run_folder_drop(&folder, session->group);
        return replayed;
    }
    watchdog_folder(folder.path);
    struct beginning beginning = {&folder, session, args, is_never};
    log_line("run    %s", folder.path);
    struct loop_config config = {
        .folder = &folder,
        .resume = is_auto    ? RESUME_AUTO
                  : is_never ? RESUME_NEVER
                             : RESUME_FILE,
        .resume_file = args->resume,
        .begin = run_begin,
        .context = &beginning,
        .histograms = (uint64_t)args->histograms,
        .audit = {.rate = args->audit,
                  .verify_every = (uint64_t)args->verify,
                  .record_every = (uint64_t)args->record},
        .force = args->force,
    };
    enum status status = group_agree(session->group, loop_run(session, &config));
    if (status != STATUS_OK && status != STATUS_STOPPED) {
        run_folder_drop(&folder, session->group);
        return status;
    }
    if (status == STATUS_OK)
        TRY(plan_show_measured(session));
    if (status == STATUS_OK && !rehearsal_is_built())
        board_explain(&folder, session, (size_t)args->explanations);
    enum status shown = profile_finish(session->profile, &folder);
    return status == STATUS_OK ? shown : status;
}

static enum status run(struct group *group, const struct args *args, const char *which)
{
    struct recipe recipe = {0};
    struct session session = {0};
    struct option_strings overrides = {0};
    char seed[64], threads[64];
    enum status status = group_agree(group, overrides_make(args, &overrides, seed, threads));
    if (status == STATUS_OK)
        status = recipe_load(&recipe, group, which, &overrides);
    if (status == STATUS_OK)
        status = session_data(&session, group, &recipe);
    if (status == STATUS_OK)
        status = start_check_session(&session);
    if (status == STATUS_OK)
        status = session_sizes(&session);
    session.audit = args->audit;
    if (status == STATUS_OK)
        plan_show(&session);
    if (status == STATUS_OK)
        status = plan_check_memory(&session);
    if (status == STATUS_OK && !args->plan)
        status = train(&session, args);
    session_free(&session);
    recipe_free(&recipe);
    free((void *)(uintptr_t)overrides.v);
    return status;
}

static enum status watch(struct group *group, const char *text)
{
    double seconds = 0;
    TRY(group_agree(group, watchdog_parse(text, &seconds)));
    return watchdog_start(group, seconds);
}

int main(int argc, char **argv)
{
    struct group *group = NULL;
    struct cli_parsed *parsed = NULL;
    struct args args = {.argc = argc, .argv = argv};
    signals_catch();
    enum status status = group_init(&group, "sw2-train", &argc, &argv);
    if (status == STATUS_OK)
        status = start_check_program(group, "sw2-train", argc, argv);
    if (status == STATUS_OK)
        status = group_agree(group, cli_parse(&parsed, &cli, argc, argv, &args));
    if (status == STATUS_OK && !parsed->is_done) {
        if (args.quiet)
            log_set_level(LOG_QUIET);
        status = watch(group, args.watchdog);
        if (status == STATUS_OK)
            status = run(group, &args, parsed->arguments.n > 0 ? parsed->arguments.v[0] : NULL);
    }
    if (status == STATUS_OK && (parsed->is_done || args.plan)) // else it is what trains that counts
        status = group_agree(group, log_output_check());
    cli_free(parsed);
    return group_finish(group, status);
}

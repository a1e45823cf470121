// SPDX-License-Identifier: MIT
#include "trainer/data_inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "data/check.h"
#include "data/guard.h"
#include "trainer/data_info.h"
#include "trainer/data_progress.h"
#include "trainer/text_file.h"

struct told {
    enum status (*work)(void *);
    void *context;
};

static enum status work_and_tell(void *context)
{
    const struct told *told = context;
    TRY(told->work(told->context));
    return log_output_check(); // the child has said it
}

// Files may come from anywhere: they are looked at in a child process (guard.h).
static enum status guarded(const char *path, enum status (*work)(void *), void *context)
{
    struct told told = {work, context};
    struct guard guard = {
        .name = path, .work = work_and_tell, .context = &told, .stop = &data_interrupted};
    fflush(stdout); // or the child would write it again
    return guard_run(&guard, NULL);
}

// ---- info

struct info_args {
    bool is_json;
    const char *path;
};

const struct cli_option data_info_options[DATA_INFO_OPTIONS_N] = {
    {{"json", OPTION_BOOL, offsetof(struct info_args, is_json), "false", 0, 0, NULL,
      "what sw2-train makes of it, as JSON"},
     0,
     NULL},
};

static enum status info_work(void *context)
{
    const struct info_args *args = context;
    return args->is_json ? data_info_json(args->path) : data_info(args->path);
}

enum status data_run_info(int argc, char **argv)
{
    struct cli_parsed *parsed = NULL;
    struct info_args args;
    TRY(cli_parse(&parsed, &data_clis[DATA_INFO], argc, argv, &args));
    enum status status = STATUS_OK;
    if (!parsed->is_done) {
        args.path = parsed->arguments.v[0];
        status = guarded(args.path, info_work, &args);
    }
    cli_free(parsed);
    return status;
}

// ---- check

struct check_args {
    bool is_strict, is_json;
};

const struct cli_option data_check_options[DATA_CHECK_OPTIONS_N] = {
    {{"strict", OPTION_BOOL, offsetof(struct check_args, is_strict), "false", 0, 0, NULL,
      "warnings count as errors"},
     0,
     NULL},
    {{"json", OPTION_BOOL, offsetof(struct check_args, is_json), "false", 0, 0, NULL,
      "findings as JSON"},
     0,
     NULL},
};

static void show_finding(void *context, enum check_level level, const char *text)
{
    (void)context;
    static const char *const names[] = {"ok     ", "WARNING", "ERROR  "};
    log_line("%s  %s", names[level], text);
}

// In the child: each finding is on its own line, behind a comma but for the first.
static void write_finding(void *context, enum check_level level, const char *text)
{
    static const char *const names[] = {"ok", "warning", "error"};
    size_t *n = context;
    printf("%s\n  {\"level\": \"%s\", \"text\": ", (*n)++ ? "," : "", names[level]);
    json_text(stdout, text);
    printf("}");
    fflush(stdout);
}

struct check_work {
    const struct check_config *config;
    struct check_result *result; // shared
};

static enum status check_work(void *context)
{
    struct check_work *work = context;
    return check_run(work->config, work->result);
}

static void show_sum(const char *path, const struct check_result *result, bool is_json)
{
    if (is_json)
        printf("\n ], \"train_rows\": %" PRIu64 ", \"test_rows\": %" PRIu64
               ", \"errors\": %zu, \"warnings\": %zu}\n",
               result->n_train, result->n_test, result->n_errors, result->n_warnings);
    else
        log_line("%s: %" PRIu64 " training and %" PRIu64 " test rows, %zu error%s, %zu warning%s",
                 path, result->n_train, result->n_test, result->n_errors,
                 result->n_errors == 1 ? "" : "s", result->n_warnings,
                 result->n_warnings == 1 ? "" : "s");
}

static enum status check_with(const struct cli_parsed *parsed, const struct check_args *args)
{
    struct data_watch watch = {0};
    struct check_result result;
    size_t n_findings = 0;
    struct check_config config = {
        .path = parsed->arguments.v[0],
        .test = parsed->arguments.n > 1 ? parsed->arguments.v[1] : NULL,
        .say = args->is_json ? write_finding : show_finding,
        .context = &n_findings,
        .progress = {data_tick, &watch},
    };
    struct check_work work = {&config, guard_share(sizeof *work.result)};
    CHECK(work.result, STATUS_ERROR, "out of memory: check");
    if (args->is_json) {
        log_set_level(LOG_QUIET);
        printf("{\"file\": ");
        json_text(stdout, config.path);
        printf(", \"findings\": [");
    }
    enum status status = guarded(config.path, check_work, &work);
    result = *work.result;
    guard_unshare(work.result, sizeof *work.result);
    log_transient("");
    if (status == STATUS_OK || args->is_json) // JSON is whole also where the file is not
        show_sum(config.path, &result, args->is_json);
    TRY(status);
    size_t n = result.n_errors + (args->is_strict ? result.n_warnings : 0);
    CHECK(n == 0, STATUS_DATA, "%s: the check found %zu error%s%s", config.path, n,
          n == 1 ? "" : "s", args->is_strict ? " or warnings (--strict)" : "");
    return STATUS_OK;
}

enum status data_run_check(int argc, char **argv)
{
    struct cli_parsed *parsed = NULL;
    struct check_args args;
    TRY(cli_parse(&parsed, &data_clis[DATA_CHECK], argc, argv, &args));
    enum status status = parsed->is_done ? STATUS_OK : check_with(parsed, &args);
    cli_free(parsed);
    return status;
}

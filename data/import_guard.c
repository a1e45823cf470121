// SPDX-License-Identifier: MIT
// An import in a child process with limits: the decoders of foreign files are other people's code,
// and the files other people's too. Called by sw2-data import.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/outputs.h"
#include "data/guard.h"
#include "data/import.h"

// Seen by parent and child.
struct shared {
    struct import_report report; // note: NULL
    char note[1 << 16];
};

struct work {
    const struct import_config *config;
    struct shared *shared;
};

static enum status work_run(void *context)
{
    struct work *work = context;
    struct import_report report;
    enum status status = import_run(work->config, &report);
    work->shared->report = report;
    work->shared->report.note = NULL;
    snprintf(work->shared->note, sizeof work->shared->note, "%s", report.note ? report.note : "");
    free(report.note);
    return status;
}

// What a child that was killed left.
static void remove_temporary(const char *out, pid_t child)
{
    char *path = NULL, *fresh = NULL;
    if (child > 0 && outputs_find(out, child, &path, &fresh) == STATUS_OK && fresh)
        unlink(fresh);
    free(path);
    free(fresh);
}

enum status import_run_guarded(const struct import_config *config,
                               const volatile sig_atomic_t *stop, struct import_report *report)
{
    struct work work = {config, guard_share(sizeof *work.shared)};
    *report = (struct import_report){0};
    CHECK(work.shared, STATUS_ERROR, "out of memory: import");
    struct guard guard = {
        .name = config->paths[0], .work = work_run, .context = &work, .stop = stop};
    pid_t child = -1;
    enum status status = guard_run(&guard, &child);
    if (status != STATUS_OK) {
        remove_temporary(config->out, child);
    } else {
        *report = work.shared->report;
        work.shared->note[sizeof work.shared->note - 1] = 0;
        report->note = strdup(work.shared->note);
    }
    guard_unshare(work.shared, sizeof *work.shared);
    return status;
}

// SPDX-License-Identifier: MIT
// Who hangs: a pure function of what the ranks say of themselves and of how long they are silent.
#include <string.h>

#include "comm/watchdog_private.h"

#define FIRST_STEPS 3.0  // times the patience, while no step's time is known
#define STARVED 4.0      // times the patience, for a process that is seen to be alive
#define LATE_ALLOWED 4.0 // a thread may wake that much later than it lately did

double watch_patience(uint32_t kind, double seconds, double median)
{
    double steps = WATCH_STEPS * median, patience = steps > seconds ? steps : seconds;
    if (kind == EVENTS_SLOW)
        return WATCH_SLOW * patience;
    return median > 0 ? patience : FIRST_STEPS * patience;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static bool is_there(const struct watch_row *row)
{
    return row->is_heard && !row->is_gone;
}

static void name_rank(struct watch_verdict *verdict, int rank)
{
    if (verdict->n < WATCH_NAMED)
        verdict->ranks[verdict->n] = rank;
    verdict->n++;
}

static double silence_allowed(const struct watch_row *row, double seconds, double median,
                              double late)
{
    double allowed = larger(seconds, WATCH_STEPS * median);
    if (row->seen == WATCH_STOPPED || row->seen == WATCH_DEAD)
        return allowed;
    allowed += LATE_ALLOWED * larger(late, row->report.late);
    return row->seen == WATCH_RUNS || row->seen == WATCH_TRACED ? STARVED * allowed : allowed;
}

// One that is silent too long is enough; all that are nearly as silent are named with it.
static bool find_silent(const struct watch_row *rows, int size, double seconds, double median,
                        double late, struct watch_verdict *verdict)
{
    for (int rank = 0; rank < size; rank++)
        if (is_there(&rows[rank]) &&
            rows[rank].silent > silence_allowed(&rows[rank], seconds, median, late))
            verdict->seconds = larger(verdict->seconds, rows[rank].silent);
    if (verdict->seconds <= 0)
        return false;
    for (int rank = 0; rank < size; rank++)
        if (is_there(&rows[rank]) && rows[rank].silent > verdict->seconds / 2)
            name_rank(verdict, rank);
    verdict->what = WATCH_SILENT;
    return true;
}

static bool find_stuck(const struct watch_row *rows, int size, double seconds, double median,
                       struct watch_verdict *verdict)
{
    double longest = 0;
    for (int rank = 0; rank < size; rank++) {
        const struct watch_report *report = &rows[rank].report;
        if (is_there(&rows[rank]) && report->kind != EVENTS_IDLE &&
            report->stalled > watch_patience(report->kind, seconds, median))
            longest = larger(longest, report->stalled);
    }
    if (longest <= 0)
        return false;
    for (int rank = 0; rank < size; rank++) {
        const struct watch_report *report = &rows[rank].report;
        if (is_there(&rows[rank]) && report->kind != EVENTS_IDLE &&
            report->stalled > 0.8 * longest) // others came to wait for them, later
            name_rank(verdict, rank);
    }
    verdict->what = WATCH_STUCK;
    verdict->seconds = longest;
    return true;
}

// ---- the order of collectives

// The name of collective `at` as the rank had it; false: not known any more, or not yet.
static bool share_known(const struct watch_report *report, uint64_t at, uint32_t *hash)
{
    if (at > report->share || report->share - at >= WATCH_SHARES)
        return false;
    *hash = report->shares[at % WATCH_SHARES];
    return true;
}

// The name that most ranks have of collective `at`; false: all that know it have the same.
static bool share_common(const struct watch_row *rows, int size, uint64_t at, uint32_t *common)
{
    uint32_t first = 0, hash;
    int most = 0;
    bool is_any = false, differ = false;
    for (int rank = 0; rank < size; rank++) {
        if (!is_there(&rows[rank]) || !share_known(&rows[rank].report, at, &hash))
            continue;
        differ = differ || (is_any && hash != first);
        first = is_any ? first : hash;
        is_any = true;
    }
    for (int rank = 0; differ && rank < size; rank++) {
        uint32_t mine;
        int count = 0;
        if (!is_there(&rows[rank]) || !share_known(&rows[rank].report, at, &mine))
            continue;
        for (int other = 0; other < size; other++)
            count += is_there(&rows[other]) && share_known(&rows[other].report, at, &hash) &&
                     hash == mine;
        if (count > most) {
            most = count;
            *common = mine;
        }
    }
    return differ;
}

// The first collective of which ranks have different names.
static bool find_disorder(const struct watch_row *rows, int size, struct watch_verdict *verdict)
{
    uint64_t last = 0;
    for (int rank = 0; rank < size; rank++)
        if (is_there(&rows[rank]) && rows[rank].report.share > last)
            last = rows[rank].report.share;
    uint64_t first = last > 2 * WATCH_SHARES ? last - 2 * WATCH_SHARES : 1;
    uint32_t common = 0, hash;
    for (uint64_t at = first; at <= last; at++) {
        if (!share_common(rows, size, at, &common))
            continue;
        verdict->what = WATCH_ORDER;
        verdict->other = -1;
        for (int rank = 0; rank < size; rank++) {
            if (!is_there(&rows[rank]) || !share_known(&rows[rank].report, at, &hash))
                continue;
            if (hash != common)
                name_rank(verdict, rank);
            else if (verdict->other < 0)
                verdict->other = rank;
        }
        return true;
    }
    return false;
}

// All wait for each other.
static void find_deadlock(const struct watch_row *rows, int size, double seconds, double median,
                          struct watch_verdict *verdict)
{
    double shortest = -1;
    bool is_step = true;
    for (int rank = 0; rank < size; rank++) {
        const struct watch_row *row = &rows[rank];
        if (row->is_gone)
            continue;
        if (!row->is_heard || !row->report.is_waiting)
            return;
        is_step = is_step && row->report.is_step;
        if (shortest < 0 || row->report.share_for < shortest)
            shortest = row->report.share_for;
    }
    if (size == 1 || shortest <= larger(seconds, WATCH_STEPS * median))
        return;
    verdict->seconds = shortest;
    if (find_disorder(rows, size, verdict))
        return;
    // How long a step's collectives take is part of the steps' times; the others' is not known.
    if (shortest > watch_patience(is_step ? EVENTS_WAIT : EVENTS_SLOW, seconds, median))
        verdict->what = WATCH_LOST;
}

struct watch_verdict watch_judge(const struct watch_row *rows, int size, double seconds,
                                 double late)
{
    struct watch_verdict verdict = {.what = WATCH_FINE};
    double median = 0, quietest = 0;
    for (int rank = 0; rank < size; rank++) {
        if (!is_there(&rows[rank]))
            continue;
        median = larger(median, rows[rank].report.median);
        quietest = larger(quietest, rows[rank].silent);
        verdict.n_waiting += rows[rank].report.is_waiting && rows[rank].silent < seconds / 2;
    }
    if (find_silent(rows, size, seconds, median, late, &verdict))
        return verdict;
    if (quietest > seconds / 2) // what the others do may be its doing
        return verdict;
    if (!find_stuck(rows, size, seconds, median, &verdict))
        find_deadlock(rows, size, seconds, median, &verdict);
    return verdict;
}

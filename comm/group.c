// SPDX-License-Identifier: MIT
// Starts MPI where a launcher is seen, carries bytes and errors between ranks, ends the job.
// Owns the one group of the process and its communicators. Called by the programs' mains (init,
// finish) and by whatever ranks must agree on; sums are reduce.c's.
#include "comm/group.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/doubling.h"
#include "comm/events.h"
#include "comm/group_private.h"
#include "comm/isa.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "comm/rehearsal.h"
#include "comm/shared.h"
#include "comm/spin.h"
#include "comm/watchdog.h"

size_t group_chunk_bytes = (size_t)1 << 30;

// How long a rank with an error that was not agreed waits for the others before it aborts the job.
#define FINISH_SECONDS 2.0
#define FINISH_AGREED_SECONDS 60.0

struct error_record {
    char text[4096];
    char place[256];
};

static struct {
    struct group group;
    MPI_Comm comm;   // everyday collectives
    MPI_Comm finish; // used once, by group_finish, so that it can't meet another collective
    int *codes;      // (size)
    int *counts, *displacements; // (size), (size + 1)
    struct error_record record;
    int error_rank; // of the last agreed error, -1: none
    enum status agreed;
    int is_lonely; // one of N lonely runs: only task 0 speaks
} self;

#define MPI_CHECK(group, call, ...) group_check(group, call(__VA_ARGS__), #call)
// The same for what waits for other ranks.
#define MPI_SHARE(group, call, ...)                                                                \
    (events_begin(EVENTS_SHARE, #call, 0), MPI_CHECK(group, call, __VA_ARGS__), events_end())

static int env_int(const char *name)
{
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

// Tasks the launcher says it started; 0 when there is no launcher. mpirun inside a Slurm step sets
// both kinds, and its own is the right one.
static int launcher_tasks(void)
{
    int tasks = env_int("OMPI_COMM_WORLD_SIZE");
    if (tasks == 0)
        tasks = env_int("PMI_SIZE");
    if (tasks == 0)
        tasks = env_int("SLURM_STEP_NUM_TASKS");
    return tasks;
}

static int has_process_manager(void)
{
    return rehearsal_is_built() || getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMI_SIZE") ||
           getenv("PMIX_RANK");
}

static enum status fail_lonely(int tasks)
{
    self.is_lonely =
        env_int("SLURM_PROCID") + env_int("PMI_RANK") + env_int("OMPI_COMM_WORLD_RANK") > 0;
    FAIL(
        STATUS_USAGE,
        "the launcher started %d tasks but MPI sees one: these would be %d lonely runs; start them "
        "with the mpirun of the MPI this program was built with, or with srun --mpi=pmix",
        tasks, tasks);
}

static enum status start_mpi(int *argc, char ***argv)
{
    struct group *group = &self.group;
    int provided = 0;
    int code = MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    CHECK(code == MPI_SUCCESS, STATUS_ERROR, "MPI_Init_thread failed with code %d", code);
    group->is_parallel = 1;
    MPI_CHECK(group, MPI_Comm_set_errhandler, MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_CHECK(group, MPI_Comm_rank, MPI_COMM_WORLD, &group->rank);
    MPI_CHECK(group, MPI_Comm_size, MPI_COMM_WORLD, &group->size);
    if (launcher_tasks() > 1 && group->size == 1)
        return fail_lonely(launcher_tasks());
    MPI_CHECK(group, MPI_Comm_dup, MPI_COMM_WORLD, &self.comm);
    MPI_CHECK(group, MPI_Comm_dup, MPI_COMM_WORLD, &self.finish);
    MPI_Comm local;
    MPI_CHECK(group, MPI_Comm_split_type, MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
              &local);
    MPI_CHECK(group, MPI_Comm_rank, local, &group->local_rank);
    MPI_CHECK(group, MPI_Comm_size, local, &group->local_size);
    MPI_CHECK(group, MPI_Comm_free, &local);
    if (group->local_size > sysconf(_SC_NPROCESSORS_ONLN))
        spin_patience = SPIN_CROWDED;
    size_t size = (size_t)group->size;
    if (memory_alloc(&self.codes, size, sizeof(int), "ranks' status codes") != STATUS_OK ||
        memory_alloc(&self.counts, size, sizeof(int), "ranks' counts") != STATUS_OK ||
        memory_alloc(&self.displacements, size + 1, sizeof(int), "ranks' offsets") != STATUS_OK)
        group_abort(group, STATUS_ERROR);
    CHECK(provided >= MPI_THREAD_FUNNELED || rehearsal_is_built(), STATUS_ERROR,
          "this MPI has no thread support (level %d), expected MPI_THREAD_FUNNELED", provided);
    return STATUS_OK;
}

static enum status own_isa(enum isa *isa, bool *has_bf16)
{
    *isa = isa_detect();
    *has_bf16 = isa_detect_bf16();
    const char *name = getenv("SW2_ISA");
    if (!name || !name[0])
        return STATUS_OK;
    enum isa wanted;
    bool is_bf16_wanted;
    if (isa_from_name(name, &wanted, &is_bf16_wanted) != STATUS_OK)
        return error_add(STATUS_USAGE, "from the environment variable SW2_ISA");
    if (wanted < *isa)
        *isa = wanted;
    *has_bf16 = *has_bf16 && is_bf16_wanted;
    return STATUS_OK;
}

// Collective: bf16 is in force where all ranks have it; else all know the first that has not.
static void agree_bf16(struct group *group, bool mine)
{
    int has = mine, missing = group->size;
    const int *all = group->size > 1 ? self.codes : &has;
    if (group->size > 1)
        group_allgather(group, &has, sizeof has, self.codes);
    for (int i = group->size; i-- > 0;)
        missing = all[i] ? missing : i;
    isa_forbid_bf16(NULL);
    if (missing == group->size)
        return;
    char why[200] = "";
    const char *name = getenv("SW2_ISA");
    if (name && name[0] && isa_detect_bf16())
        snprintf(why, sizeof why, "SW2_ISA is %s", name);
    else
        snprintf(why, sizeof why, "its CPU has %s%s", isa_name(isa_detect()),
                 isa_detect() == ISA_AVX512 ? " without it" : " at most");
    char text[320];
    snprintf(text, sizeof text, "rank %d (%s): %s", group->rank, group->host, why);
    if (group->size > 1)
        group_broadcast(group, text, sizeof text, missing);
    isa_forbid_bf16(text);
}

// The lowest instruction set of all ranks is in force on all.
static enum status agree_isa(struct group *group)
{
    enum isa mine = ISA_BASE;
    bool has_bf16 = false;
    enum status status = shared_environment_check();
    if (status == STATUS_OK)
        status = own_isa(&mine, &has_bf16);
    TRY(group_agree(group, status));
    int code = (int)mine, lowest = code, highest = code;
    if (group->size > 1)
        group_allgather(group, &code, sizeof code, self.codes);
    for (int i = 0; group->size > 1 && i < group->size; i++) {
        lowest = self.codes[i] < lowest ? self.codes[i] : lowest;
        highest = self.codes[i] > highest ? self.codes[i] : highest;
    }
    isa_set((enum isa)lowest);
    agree_bf16(group, has_bf16);
    if (lowest != highest)
        log_warn("ranks have different instruction sets (%s to %s): all use %s",
                 isa_name((enum isa)lowest), isa_name((enum isa)highest),
                 isa_name((enum isa)lowest));
    return STATUS_OK;
}

enum status group_init(struct group **out, const char *program, int *argc, char ***argv)
{
    struct group *group = &self.group;
    *out = group;
    *group = (struct group){.size = 1, .local_size = 1};
    self.comm = self.finish = MPI_COMM_NULL;
    self.error_rank = -1;
    self.agreed = STATUS_OK;
    if (gethostname(group->host, sizeof group->host) != 0)
        snprintf(group->host, sizeof group->host, "unknown");
    group->host[sizeof group->host - 1] = '\0';
    group->host[strcspn(group->host, ".")] = '\0';
    log_open(program, 0, 1, group->host);
    if (has_process_manager())
        TRY(start_mpi(argc, argv));
    else if (launcher_tasks() > 1)
        return fail_lonely(launcher_tasks());
    log_open(program, group->rank, group->size, group->host);
    return agree_isa(group);
}

void group_free(struct group *group)
{
    if (!group)
        return;
    if (group->is_parallel) {
        events_begin(EVENTS_SHARE, "MPI_Finalize", 0);
        if (self.comm != MPI_COMM_NULL)
            MPI_Comm_free(&self.comm);
        if (self.finish != MPI_COMM_NULL)
            MPI_Comm_free(&self.finish);
        group_check(group, MPI_Finalize(), "MPI_Finalize");
        events_end();
    }
    watchdog_stop();
    free(self.codes);
    free(self.counts);
    free(self.displacements);
    self.codes = self.counts = self.displacements = NULL;
    group->is_parallel = 0;
}

// Lowest rank whose code is an error; where there is none, the lowest that only wants to stop; -1
// when all are well.
static int find_failed(const int *codes, int size)
{
    int stopped = -1;
    for (int i = 0; i < size; i++) {
        if (codes[i] != STATUS_OK && codes[i] != STATUS_STOPPED)
            return i;
        if (codes[i] == STATUS_STOPPED && stopped < 0)
            stopped = i;
    }
    return stopped;
}

// With all codes known everywhere: takes over the error of the lowest failed rank.
static enum status settle(struct group *group, MPI_Comm comm)
{
    self.error_rank = find_failed(self.codes, group->size);
    self.agreed = STATUS_OK;
    if (self.error_rank < 0)
        return STATUS_OK;
    self.agreed = (enum status)self.codes[self.error_rank];
    struct error_record *record = &self.record;
    if (group->rank == self.error_rank) {
        snprintf(record->text, sizeof record->text, "%s", error_text());
        snprintf(record->place, sizeof record->place, "%s", error_place());
    }
    MPI_SHARE(group, MPI_Bcast, record, (int)sizeof *record, MPI_BYTE, self.error_rank, comm);
    if (group->rank != self.error_rank) {
        char *colon = strrchr(record->place, ':');
        int line = colon ? atoi(colon + 1) : 0;
        if (colon)
            *colon = '\0';
        error_set(self.agreed, record->place, line, "%s", record->text);
    }
    return self.agreed;
}

enum status group_agree(struct group *group, enum status mine)
{
    if (group->size == 1) {
        self.error_rank = mine == STATUS_OK ? -1 : 0;
        return self.agreed = mine;
    }
    int code = (int)mine;
    MPI_SHARE(group, MPI_Allgather, &code, 1, MPI_INT, self.codes, 1, MPI_INT, self.comm);
    return settle(group, self.comm);
}

int group_error_rank(void)
{
    return self.error_rank;
}

static void sleep_ms(long ms)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = ms * 1000000};
    nanosleep(&pause, NULL);
}

// All ranks' codes; a rank with an error aborts the job when the others have not come in time.
static void finish_wait(struct group *group, enum status mine, double seconds)
{
    int code = (int)mine, is_done = 0;
    double start = group_time();
    MPI_Request request;
    MPI_CHECK(group, MPI_Iallgather, &code, 1, MPI_INT, self.codes, 1, MPI_INT, self.finish,
              &request);
    for (;;) {
        MPI_CHECK(group, MPI_Test, &request, &is_done, MPI_STATUS_IGNORE);
        if (is_done)
            break;
        if (mine != STATUS_OK && group_time() - start > seconds)
            group_abort(group, mine);
        sleep_ms(1);
    }
}

// The same in a simulator, whose non-blocking all-gather takes size^2 messages; it sees by itself
// when nobody can move.
static void finish_simulated(struct group *group, enum status mine, int was_agreed)
{
    int code = (int)mine;
    if (mine != STATUS_OK && !was_agreed)
        group_abort(group, mine);
    MPI_SHARE(group, MPI_Allgather, &code, 1, MPI_INT, self.codes, 1, MPI_INT, self.finish);
}

// The last agreement. A rank whose error nobody knows of can't be sure that the others will come:
// it waits a moment, then takes the job down.
static enum status agree_finish(struct group *group, enum status mine)
{
    int was_agreed = mine == self.agreed && strcmp(error_text(), self.record.text) == 0;
    int agreed_rank = self.error_rank;
    if (rehearsal_is_built())
        finish_simulated(group, mine, was_agreed);
    else
        finish_wait(group, mine, was_agreed ? FINISH_AGREED_SECONDS : FINISH_SECONDS);
    enum status status = settle(group, self.finish);
    if (was_agreed && status == mine)
        self.error_rank = agreed_rank; // where it happened, not the first that handed it on
    return status;
}

static void speak_last(const struct group *group, enum status status)
{
    const char *text = error_text();
    if (group && (group->rank != 0 || self.is_lonely))
        return;
    if (status == STATUS_STOPPED) {
        if (text[0])
            log_line("%s", text);
        return;
    }
    char line[4608];
    if (!text[0])
        snprintf(line, sizeof line, "failed with status %d", (int)status);
    else if (group && self.error_rank > 0)
        snprintf(line, sizeof line, "%s (on rank %d)", text, self.error_rank);
    else
        snprintf(line, sizeof line, "%s", text);
    log_error(false, line);
}

int group_finish(struct group *group, enum status status)
{
    log_transient("");
    if (group && group->size > 1)
        status = agree_finish(group, status);
    if (status != STATUS_OK)
        speak_last(group, status);
    group_free(group);
    return (int)status;
}

// The one place where sizes become MPI's int.
static int narrow(size_t n)
{
    ASSERT(n <= group_chunk_bytes && n <= (size_t)1 << 30);
    return (int)n;
}

void group_broadcast(struct group *group, void *bytes, size_t n, int root)
{
    if (group->size == 1)
        return;
    for (size_t done = 0; done < n;) {
        size_t piece = n - done < group_chunk_bytes ? n - done : group_chunk_bytes;
        MPI_SHARE(group, MPI_Bcast, (char *)bytes + done, narrow(piece), MPI_BYTE, root, self.comm);
        done += piece;
    }
}

// Any size: every rank broadcasts its part in turn, in chunks.
static void gather_long(struct group *group, const void *mine, const size_t *counts, size_t each,
                        char *all)
{
    size_t offset = 0;
    for (int rank = 0; rank < group->size; rank++) {
        size_t n = counts ? counts[rank] : each;
        if (rank == group->rank && mine != all + offset)
            memmove(all + offset, mine, n);
        group_broadcast(group, all + offset, n, rank);
        offset += n;
    }
}

void group_allgather(struct group *group, const void *mine, size_t n, void *all)
{
    if (n == 0)
        return;
    if (group->size == 1) {
        memmove(all, mine, n);
    } else if (n > group_chunk_bytes / (size_t)group->size) {
        gather_long(group, mine, NULL, n, all);
    } else {
        int in_place = mine == (char *)all + (size_t)group->rank * n;
        MPI_SHARE(group, MPI_Allgather, in_place ? MPI_IN_PLACE : mine, narrow(n), MPI_BYTE, all,
                  narrow(n), MPI_BYTE, self.comm);
    }
}

void group_allgatherv(struct group *group, const void *mine, const size_t *counts, void *all)
{
    size_t total = 0, before = 0;
    for (int rank = 0; rank < group->size; rank++) {
        before += rank < group->rank ? counts[rank] : 0;
        total += counts[rank];
    }
    if (total == 0)
        return;
    if (group->size == 1) {
        memmove(all, mine, total);
        return;
    }
    if (total > group_chunk_bytes) {
        gather_long(group, mine, counts, 0, all);
        return;
    }
    for (int rank = 0; rank < group->size; rank++) {
        self.counts[rank] = narrow(counts[rank]);
        self.displacements[rank + 1] = self.displacements[rank] + self.counts[rank];
    }
    int in_place = mine == (char *)all + before;
    if ((group->size & (group->size - 1)) == 0) {
        if (!in_place)
            memmove((char *)all + before, mine, counts[group->rank]);
        MPI_SHARE(group, doubling_allgather, all, self.displacements, MPI_BYTE, self.comm);
        return;
    }
    MPI_SHARE(group, MPI_Allgatherv, in_place ? MPI_IN_PLACE : mine, narrow(counts[group->rank]),
              MPI_BYTE, all, self.counts, self.displacements, MPI_BYTE, self.comm);
}

void group_barrier(struct group *group)
{
    if (group->size > 1)
        MPI_SHARE(group, MPI_Barrier, self.comm);
}

double group_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *group_mpi_version(void)
{
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int n = 0;
    if (!text[0] && MPI_Get_library_version(text, &n) == MPI_SUCCESS) {
        text[strcspn(text, ",\n")] = '\0';
        for (char *c = text; *c; c++)
            *c = *c == '\t' ? ' ' : *c;
    }
    return text;
}

// SPDX-License-Identifier: MIT
// Tapes and folded memory of a rehearsal; see rehearsal.h. Compiled with SW2_SMPI only. Each
// simulated rank has its own copy of this file's state, as of the whole program's.
#include "comm/rehearsal.h"

#include <errno.h>
#include <mpi.h>
#include <smpi/smpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/group.h"
#include "comm/memory.h"

#define LAPS_MAX 1024
#define SAMPLES_MAX 64               // grains whose times are kept, the last ones
#define FOLD_BYTES ((size_t)1 << 18) // smaller buffers are not folded
#define ADD_FLOATS ((size_t)4 << 20)
#define ADD_ROUNDS 5

struct lap {
    size_t offset;
    double seconds;  // playing
    double *samples; // (SAMPLES_MAX) recording
};

static struct {
    const char *record; // file, or NULL
    bool is_playing;
    char what[256];
    struct lap laps[LAPS_MAX];
    size_t n_laps;
    struct lap prepare, update;
    double add; // seconds a float
    // Recording.
    size_t lap, n_grains, n_prepares, n_updates;
    double begin;
} self;

bool rehearsal_is_playing(void)
{
    return self.is_playing;
}

// Playing.

static enum status tape_check(const char *path)
{
    CHECK(self.n_laps > 0 && self.laps[self.n_laps - 1].offset == 0, STATUS_USAGE,
          "'%s' is no whole tape", path);
    return STATUS_OK;
}

static enum status tape_read(FILE *file, const char *path, const char *what)
{
    char line[512];
    CHECK(fgets(line, sizeof line, file) && strncmp(line, "sw2-tape 1 ", 11) == 0, STATUS_USAGE,
          "'%s' is no tape", path);
    line[strcspn(line, "\n")] = '\0';
    CHECK(strcmp(line + 11, what) == 0, STATUS_USAGE,
          "'%s' is a tape of %s, but this run has %s: record one for it", path, line + 11, what);
    while (fgets(line, sizeof line, file)) {
        struct lap lap = {0};
        if (sscanf(line, "lap %zu %lf", &lap.offset, &lap.seconds) == 2) {
            CHECK(self.n_laps < LAPS_MAX, STATUS_USAGE, "'%s' has too many laps", path);
            self.laps[self.n_laps++] = lap;
        } else {
            CHECK(sscanf(line, "prepare %lf", &self.prepare.seconds) == 1 ||
                      sscanf(line, "update %lf", &self.update.seconds) == 1 ||
                      sscanf(line, "add %lf", &self.add) == 1,
                  STATUS_USAGE, "'%s' has a line that no tape has: %s", path, line);
        }
    }
    return tape_check(path);
}

enum status rehearsal_open(const char *what)
{
    const char *path = getenv("SW2_TAPE_PLAY");
    self.record = getenv("SW2_TAPE_RECORD");
    snprintf(self.what, sizeof self.what, "%s", what);
    if (!path)
        return STATUS_OK;
    FILE *file = fopen(path, "r");
    CHECK(file, STATUS_USAGE, "cannot open the tape '%s': %s", path, strerror(errno));
    enum status status = tape_read(file, path, what);
    fclose(file);
    self.is_playing = status == STATUS_OK;
    return status;
}

size_t rehearsal_n_laps(void)
{
    return self.n_laps;
}

size_t rehearsal_play(size_t lap)
{
    smpi_execute(self.laps[lap].seconds);
    return self.laps[lap].offset;
}

void rehearsal_play_prepare(void)
{
    smpi_execute(self.prepare.seconds);
}

// Every rank folds the norms of all blocks: one double for 256 floats, which an update with
// momentum reads or writes six times.
void rehearsal_play_update(double share)
{
    if (self.is_playing)
        smpi_execute(self.update.seconds * (share + 1.0 / 64));
}

static void play_add(float *sum, const float *a, const float *b, size_t n)
{
    (void)sum;
    (void)a;
    (void)b;
    smpi_execute(self.add * (double)n);
}

// Recording. group_time is the simulated clock, on which this rank's CPU time passes.

static void sample(struct lap *lap, size_t number)
{
    if (!lap->samples && memory_alloc(&lap->samples, SAMPLES_MAX, sizeof(double), "times"))
        group_abort(NULL, STATUS_ERROR);
    lap->samples[number % SAMPLES_MAX] = group_time() - self.begin;
}

void rehearsal_grain(void)
{
    if (!self.record)
        return;
    self.n_grains += self.lap > 0;
    self.lap = 0;
    self.begin = group_time();
}

void rehearsal_lap(size_t offset)
{
    if (!self.record)
        return;
    ASSERT(self.lap < LAPS_MAX);
    sample(&self.laps[self.lap], self.n_grains);
    self.laps[self.lap++].offset = offset;
    self.n_laps = self.lap;
}

void rehearsal_go_on(void)
{
    if (self.record)
        self.begin = group_time();
}

void rehearsal_prepared(void)
{
    if (self.record)
        sample(&self.prepare, self.n_prepares++);
}

void rehearsal_updated(void)
{
    if (self.record)
        sample(&self.update, self.n_updates++);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(struct lap *lap, size_t n)
{
    n = n < SAMPLES_MAX ? n : SAMPLES_MAX;
    if (n == 0)
        return 0;
    qsort(lap->samples, n, sizeof(double), compare);
    return (lap->samples[(n - 1) / 2] + lap->samples[n / 2]) / 2;
}

enum status rehearsal_save(void)
{
    if (!self.record)
        return STATUS_OK;
    FILE *file = fopen(self.record, "w");
    CHECK(file, STATUS_ERROR, "cannot write '%s': %s", self.record, strerror(errno));
    fprintf(file, "sw2-tape 1 %s\n", self.what);
    for (size_t i = 0; i < self.n_laps; i++)
        fprintf(file, "lap %zu %.9f\n", self.laps[i].offset,
                median(&self.laps[i], self.n_grains + 1));
    fprintf(file, "prepare %.9f\n", median(&self.prepare, self.n_prepares));
    fprintf(file, "update %.9f\n", median(&self.update, self.n_updates));
    fprintf(file, "add %.6e\n", self.add);
    CHECK(fclose(file) == 0, STATUS_ERROR, "cannot write '%s': %s", self.record, strerror(errno));
    return STATUS_OK;
}

// An addition in memory that no cache holds, as after a message.
static void measure_add(rehearsal_add_fn *add)
{
    float *memory = NULL;
    struct lap lap = {0};
    if (memory_alloc(&memory, 2 * ADD_FLOATS, sizeof *memory, "operands"))
        group_abort(NULL, STATUS_ERROR);
    for (size_t round = 0; round < ADD_ROUNDS; round++) {
        self.begin = group_time();
        add(memory, memory, memory + ADD_FLOATS, ADD_FLOATS);
        sample(&lap, round);
    }
    self.add = median(&lap, ADD_ROUNDS) / (double)ADD_FLOATS;
    free(memory);
    free(lap.samples);
}

rehearsal_add_fn *rehearsal_add(rehearsal_add_fn *add)
{
    if (self.is_playing)
        return play_add;
    if (self.record)
        measure_add(add);
    return add;
}

// Folding. SMPI maps the same file for all that ask from the same "place", and copies no message
// between such memory.

void *rehearsal_fold(size_t bytes, const char *what)
{
    if (!self.is_playing || bytes < FOLD_BYTES)
        return NULL;
    return smpi_shared_malloc(bytes, what, (int)(bytes / 64 % 1000000007));
}

// All of the program's free() comes here (linker option --wrap=free): folded memory is SMPI's.
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    smpi_shared_free(memory);
}

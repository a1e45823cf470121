// SPDX-License-Identifier: MIT
// Collectives over bytes (also in several chunks) and agreement, at this number of ranks. With an
// argument it ends as a failing program would; e2e_group.sh looks at what a person then sees.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/group_private.h"
#include "comm/isa.h"
#include "comm/log.h"

#define CHUNK 1000 // bytes a message in these tests
#define BYTES_MAX 2600

static const size_t lengths[] = {0, 1, 7, CHUNK - 1, CHUNK, CHUNK + 1, 2600};
#define N_LENGTHS (sizeof lengths / sizeof lengths[0])

static unsigned char byte_of(int rank, size_t i)
{
    return (unsigned char)((size_t)(rank + 1) * 37 + i * 11 + i / 251);
}

static enum status check_bytes(const char *what, const unsigned char *at, size_t n, int from)
{
    for (size_t i = 0; i < n; i++)
        CHECK(at[i] == byte_of(from, i), STATUS_VERIFY,
              "%s: byte %zu of %zu from rank %d is %d, expected %d", what, i, n, from, at[i],
              byte_of(from, i));
    return STATUS_OK;
}

static enum status check_broadcast(struct group *group)
{
    unsigned char bytes[BYTES_MAX + 1];
    for (size_t l = 0; l < N_LENGTHS; l++) {
        for (int root = 0; root < group->size; root++) {
            for (size_t i = 0; i <= lengths[l]; i++)
                bytes[i] = group->rank == root ? byte_of(root, i) : 0xee;
            unsigned char past = bytes[lengths[l]];
            group_broadcast(group, bytes, lengths[l], root);
            TRY(check_bytes("broadcast", bytes, lengths[l], root));
            CHECK(bytes[lengths[l]] == past, STATUS_VERIFY, "broadcast wrote past its end");
        }
    }
    return STATUS_OK;
}

static enum status check_gather(struct group *group, size_t n, int is_in_place)
{
    unsigned char mine[BYTES_MAX];
    unsigned char *all = malloc((size_t)group->size * n + 1);
    memset(all, 0xee, (size_t)group->size * n + 1);
    unsigned char *from = is_in_place ? all + (size_t)group->rank * n : mine;
    for (size_t i = 0; i < n; i++)
        from[i] = byte_of(group->rank, i);
    group_allgather(group, from, n, all);
    enum status status = STATUS_OK;
    for (int rank = 0; rank < group->size && status == STATUS_OK; rank++)
        status = check_bytes("allgather", all + (size_t)rank * n, n, rank);
    if (status == STATUS_OK && all[(size_t)group->size * n] != 0xee)
        status = error_set(STATUS_VERIFY, __FILE__, __LINE__, "allgather wrote past its end");
    free(all);
    return status;
}

// Rank r gives lengths[(r + shift) % ...] bytes.
static enum status check_gatherv(struct group *group, size_t shift, int is_in_place)
{
    unsigned char mine[BYTES_MAX];
    size_t counts[64], offsets[64], total = 0;
    for (int rank = 0; rank < group->size; rank++) {
        counts[rank] = lengths[((size_t)rank + shift) % N_LENGTHS];
        offsets[rank] = total;
        total += counts[rank];
    }
    unsigned char *all = malloc(total + 1);
    memset(all, 0xee, total + 1);
    unsigned char *from = is_in_place ? all + offsets[group->rank] : mine;
    for (size_t i = 0; i < counts[group->rank]; i++)
        from[i] = byte_of(group->rank, i);
    group_allgatherv(group, from, counts, all);
    enum status status = STATUS_OK;
    for (int rank = 0; rank < group->size && status == STATUS_OK; rank++)
        status = check_bytes("allgatherv", all + offsets[rank], counts[rank], rank);
    if (status == STATUS_OK && all[total] != 0xee)
        status = error_set(STATUS_VERIFY, __FILE__, __LINE__, "allgatherv wrote past its end");
    free(all);
    return status;
}

static enum status check_collectives(struct group *group)
{
    TRY(check_broadcast(group));
    for (int is_in_place = 0; is_in_place < 2; is_in_place++) {
        for (size_t l = 0; l < N_LENGTHS; l++) {
            TRY(check_gather(group, lengths[l], is_in_place));
            TRY(check_gatherv(group, l, is_in_place));
        }
    }
    group_barrier(group);
    return STATUS_OK;
}

// Ranks in `failed` fail with STATUS_DATA, those in `stopped` want to stop.
static enum status check_agreement(struct group *group, unsigned failed, unsigned stopped)
{
    unsigned everyone = (1u << group->size) - 1, me = 1u << group->rank;
    failed &= everyone;
    stopped &= everyone & ~failed;
    enum status mine = STATUS_OK;
    if (failed & me)
        mine = error_set(STATUS_DATA, "some/path.c", 40 + group->rank, "file %d", group->rank);
    else if (stopped & me)
        mine = error_set(STATUS_STOPPED, "path.c", 1, "stop %d", group->rank);
    enum status status = group_agree(group, mine);
    unsigned decisive = failed ? failed : stopped;
    int rank = decisive ? __builtin_ctz(decisive) : -1;
    enum status expected = failed ? STATUS_DATA : stopped ? STATUS_STOPPED : STATUS_OK;
    char text[64] = "", place[64] = "path.c:1";
    snprintf(text, sizeof text, "%s %d", failed ? "file" : "stop", rank);
    if (failed)
        snprintf(place, sizeof place, "path.c:%d", 40 + rank);
    int is_right = status == expected && group_error_rank() == rank;
    if (decisive)
        is_right &= strcmp(error_text(), text) == 0 && strcmp(error_place(), place) == 0;
    CHECK(is_right, STATUS_VERIFY,
          "failed %x, stopped %x: agreed on %d from rank %d '%s' at %s, expected %d from %d '%s' "
          "at %s",
          failed, stopped, (int)status, group_error_rank(), error_text(), error_place(),
          (int)expected, rank, text, place);
    return STATUS_OK;
}

static enum status check_all(struct group *group)
{
    enum status status = check_collectives(group); // in one message each
    group_chunk_bytes = CHUNK;
    if (status == STATUS_OK)
        status = check_collectives(group);
    if (status != STATUS_OK)
        group_abort(group, status); // the others are in some collective
    for (unsigned failed = 0; failed < 256; failed = failed * 3 / 2 + 1)
        for (unsigned stopped = 0; stopped < 256; stopped = stopped * 2 + 1)
            TRY(check_agreement(group, failed, stopped));
    TRY(check_agreement(group, 0, 0));
    CHECK(group->local_size == group->size && group->local_rank == group->rank, STATUS_VERIFY,
          "rank %d of %d is %d of %d on this host", group->rank, group->size, group->local_rank,
          group->local_size);
    CHECK(group->host[0] && !strchr(group->host, '.'), STATUS_VERIFY, "host '%s'", group->host);
    CHECK(strlen(group_mpi_version()) > 3, STATUS_VERIFY, "MPI '%s'", group_mpi_version());
    return STATUS_OK;
}

// Ways a program may end; the last rank is the one in trouble.
static enum status end_like(struct group *group, const char *how)
{
    int is_last = group->rank == group->size - 1;
    enum status status = STATUS_OK;
    if (strcmp(how, "usage") == 0) // all ranks see the same mistake
        FAIL(STATUS_USAGE, "unknown key 'x'");
    if (strcmp(how, "isa") == 0) {
        log_line("isa %s, MPI %d", isa_name(isa_current()), group->is_parallel);
        return STATUS_OK;
    }
    if (is_last && strcmp(how, "stop") == 0)
        status = error_set(STATUS_STOPPED, __FILE__, __LINE__, "run again");
    else if (is_last)
        status = error_set(STATUS_DATA, __FILE__, __LINE__, "bad file");
    if (strcmp(how, "agreed") == 0 || strcmp(how, "stop") == 0)
        return group_agree(group, status);
    if (strcmp(how, "busy") == 0 && !is_last)
        sleep(30); // the others do not come
    if (strcmp(how, "waiting") == 0 && !is_last)
        group_barrier(group);
    return status;
}

int main(int argc, char **argv)
{
    struct group *group;
    enum status status = group_init(&group, "mpi_test_group", &argc, &argv);
    if (status == STATUS_OK)
        status = argc > 1 ? end_like(group, argv[1]) : check_all(group);
    return group_finish(group, status);
}

// SPDX-License-Identifier: MIT
#include "comm/alike.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/digest.h"
#include "comm/memory.h"

#define TEXT_BYTES 192
#define GROUPS_MAX 4 // different texts that a message shows
#define FACTS_MAX 8

// What a rank says of the fact that differs.
struct said {
    uint64_t digest;
    char host[64];
    char text[TEXT_BYTES];
};

// Appends; what does not fit is left away.
static size_t add(char *out, size_t room, size_t n, const char *text)
{
    int more = snprintf(out + n, room - n, "%s", text);
    n += more > 0 ? (size_t)more : 0;
    return n < room ? n : room - 1;
}

// "ranks 0-2, 5 (node1, node2, ...)" of those with that digest.
static size_t ranks_add(const struct said *all, int size, uint64_t digest, char *out, size_t room,
                        size_t n)
{
    char piece[96];
    const char *last_host = "";
    int hosts = 0, runs = 0, count = 0;
    for (int r = 0; r < size; r++)
        count += all[r].digest == digest;
    n = add(out, room, n, count > 1 ? "ranks " : "rank ");
    for (int r = 0; r < size; r++) {
        int end = r;
        while (end < size && all[end].digest == digest)
            end++;
        if (end == r)
            continue;
        snprintf(piece, sizeof piece, end - r > 1 ? "%s%d-%d" : "%s%d", runs ? ", " : "", r,
                 end - 1);
        n = add(out, room, n, runs < 6 ? piece : runs == 6 ? ", ..." : "");
        runs++;
        r = end;
    }
    for (int r = 0; r < size; r++) {
        if (all[r].digest != digest || strcmp(all[r].host, last_host) == 0)
            continue;
        snprintf(piece, sizeof piece, "%s%s", hosts ? ", " : " (", all[r].host);
        n = add(out, room, n, hosts < 4 ? piece : hosts == 4 ? ", ..." : "");
        last_host = all[r].host;
        hosts++;
    }
    return add(out, room, n, ")");
}

static enum status differ(const struct said *all, int size, const struct alike_fact *fact,
                          enum status status)
{
    char text[2048];
    size_t n = 0;
    int groups = 0;
    for (int r = 0; r < size; r++) {
        bool is_new = true;
        for (int before = 0; before < r; before++)
            is_new = is_new && all[before].digest != all[r].digest;
        if (!is_new || groups++ >= GROUPS_MAX)
            continue;
        n = add(text, sizeof text, n, groups > 1 ? "; " : "");
        n = ranks_add(all, size, all[r].digest, text, sizeof text, n);
        n = add(text, sizeof text, n, ": ");
        n = add(text, sizeof text, n, all[r].text);
    }
    if (groups > GROUPS_MAX)
        add(text, sizeof text, n, "; and others");
    FAIL(status, "the ranks differ in their %s: %s; %s", fact->what, text, fact->fix);
}

static enum status facts_compare(struct group *group, const struct alike_fact *facts, size_t n,
                                 uint64_t *digests, struct said *all, enum status status)
{
    uint64_t mine[FACTS_MAX] = {0};
    struct said own = {0};
    size_t size = (size_t)group->size;
    for (size_t i = 0; i < n; i++)
        mine[i] = digest_bytes(facts[i].text, strlen(facts[i].text), i);
    group_allgather(group, mine, n * sizeof *mine, digests);
    for (size_t i = 0; i < n; i++) {
        bool is_same = true;
        for (size_t r = 1; r < size; r++)
            is_same = is_same && digests[r * n + i] == digests[i];
        if (is_same)
            continue;
        own.digest = mine[i];
        snprintf(own.host, sizeof own.host, "%s", group->host);
        snprintf(own.text, sizeof own.text, "%.*s%s", TEXT_BYTES - 8, facts[i].text,
                 strlen(facts[i].text) > TEXT_BYTES - 8 ? "..." : "");
        group_allgather(group, &own, sizeof own, all);
        return differ(all, group->size, &facts[i], status);
    }
    return STATUS_OK;
}

enum status alike_check(struct group *group, const struct alike_fact *facts, size_t n,
                        enum status status)
{
    uint64_t *digests = NULL;
    struct said *all = NULL;
    size_t size = (size_t)group->size;
    ASSERT(n > 0 && n <= FACTS_MAX);
    if (size == 1)
        return STATUS_OK;
    enum status made = memory_alloc(&digests, n * size, sizeof *digests, "start check");
    if (made == STATUS_OK)
        made = memory_alloc(&all, size, sizeof *all, "start check");
    made = group_agree(group, made);
    if (made == STATUS_OK)
        made = group_agree(group, facts_compare(group, facts, n, digests, all, status));
    free(digests);
    free(all);
    return made;
}

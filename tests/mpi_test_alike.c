// SPDX-License-Identifier: MIT
// Ranks that are set up otherwise are found and named, on all ranks with the same words.
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "comm/alike.h"

// What rank r says when `odd` ranks (a bit each) have another text of the second fact.
static enum status check(struct group *group, unsigned odd, const char *words)
{
    char text[512], all[8 * 512];
    bool is_odd = odd >> group->rank & 1;
    memset(text, 'x', sizeof text);
    snprintf(text + (is_odd ? 200 : 0), sizeof text - 200, "%s", is_odd ? "odd" : "even");
    const struct alike_fact facts[] = {{"program", "one", "fix one"}, {"data", text, "fix two"}};
    enum status status = alike_check(group, facts, 2, STATUS_DATA);
    bool must_differ = group->size > 1 && (odd & ((1u << group->size) - 1)) != 0;
    if (!must_differ)
        return status;
    memset(text, 0, sizeof text);
    snprintf(text, sizeof text, "%s", error_text());
    group_allgather(group, text, sizeof text, all);
    bool is_same = memcmp(all, text, sizeof text) == 0;
    CHECK(status == STATUS_DATA && is_same && strstr(text, "differ in their data: ") &&
              strstr(text, words) && strstr(text, "; fix two"),
          STATUS_ERROR, "status %d, expected '%s', got: %.400s", (int)status, words, text);
    return STATUS_OK;
}

static enum status checks(struct group *group)
{
    char last[128], middle[128];
    int size = group->size;
    snprintf(last, sizeof last, "rank %d (%s): xxx", size - 1, group->host);
    snprintf(middle, sizeof middle, size > 3 ? "ranks 0, 2-%d (" : "ranks 0, 2 (", size - 1);
    TRY(group_agree(group, check(group, 0, "")));
    TRY(group_agree(group, check(group, 1u << (size - 1), last)));
    if (size > 2)
        TRY(group_agree(group, check(group, 1u << 1, middle)));
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct group *group;
    enum status status = group_init(&group, "mpi_test_alike", &argc, &argv);
    if (status == STATUS_OK)
        status = checks(group);
    return group_finish(group, status);
}

// SPDX-License-Identifier: MIT
#include "trainer/run_start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/isa.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "data/h5.h"
#include "models/kernels/gemm.h"
#include "trainer/text_file.h"

// "model name" of the first processor; "unknown" where there is none.
static void cpu_name(char *name, size_t bytes)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, bytes, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        snprintf(name, bytes, "%s", colon + 1 + strspn(colon + 1, " \t"));
        name[strcspn(name, "\n")] = 0;
        break;
    }
    if (file)
        fclose(file);
}

static void pair_put(FILE *file, const char *key, const char *text)
{
    fprintf(file, ",\"%s\":", key);
    json_text(file, text);
}

// Each host once, with its ranks: "node1 x 4".
static void hosts_put(FILE *file, const char *all, size_t each, int size)
{
    const char *between = "";
    fputs(",\"hosts\":[", file);
    for (int r = 0; r < size; r++) {
        const char *host = all + (size_t)r * each;
        int n = 0, before = 0;
        for (int i = 0; i < size; i++) {
            bool is_same = strcmp(host, all + (size_t)i * each) == 0;
            n += is_same;
            before += is_same && i < r;
        }
        if (before > 0)
            continue;
        char text[128];
        snprintf(text, sizeof text, "%s x %d", host, n);
        fputs(between, file);
        json_text(file, text);
        between = ",";
    }
    fputc(']', file);
}

static void line_write(FILE *file, const struct session *s, const char *hosts, size_t each,
                       int argc, char *const *argv)
{
    char text[256];
    time_t now = time(NULL);
    struct tm utc;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    fputs("{\"time\":", file);
    json_text(file, text);
    pair_put(file, "program", "sw2-train " SW2_VERSION);
    fputs(",\"command\":[", file);
    for (int i = 0; i < argc; i++) {
        fputs(i ? "," : "", file);
        json_text(file, argv[i]);
    }
    fprintf(file, "],\"ranks\":%d,\"threads\":%d", s->group->size, (int)s->recipe->train.threads);
    hosts_put(file, hosts, each, s->group->size);
    cpu_name(text, sizeof text);
    pair_put(file, "processor", text);
    fprintf(file, ",\"cores\":%ld", sysconf(_SC_NPROCESSORS_ONLN));
    pair_put(file, "instruction set", isa_name(isa_current()));
    pair_put(file, "kernels", gemm_backend_name()); // does not load OpenBLAS to name it
    pair_put(file, "MPI", s->group->size > 1 ? group_mpi_version() : "not started");
    pair_put(file, "HDF5", h5_version());
    pair_put(file, "training data", dataset_fingerprint(s->train_set));
    pair_put(file, "test data", s->test_set ? dataset_fingerprint(s->test_set) : "none");
    fputs("}\n", file);
}

static enum status line_append(const char *path, bool anew, const char *text, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (anew ? O_TRUNC : O_APPEND), 0666);
    CHECK(fd >= 0, STATUS_ERROR, "cannot write '%s': %s", path, strerror(errno));
    bool is_written = write(fd, text, n) == (ssize_t)n;
    int why = errno;
    is_written = close(fd) == 0 && is_written;
    CHECK(is_written, STATUS_ERROR, "cannot write '%s': %s", path, strerror(why));
    return STATUS_OK;
}

void run_start_write(const struct run_folder *folder, const struct session *s, bool anew, int argc,
                     char *const *argv)
{
    char *hosts, *text = NULL, path[RUN_PATH_MAX + 32];
    size_t each = sizeof s->group->host, n = 0;
    enum status status = memory_alloc(&hosts, (size_t)s->group->size, each, "names of hosts");
    if (group_agree(s->group, status) != STATUS_OK) {
        log_warn("%s", error_text());
        free(hosts);
        return;
    }
    group_allgather(s->group, s->group->host, each, hosts);
    FILE *file = s->group->rank == 0 ? open_memstream(&text, &n) : NULL;
    if (file) {
        line_write(file, s, hosts, each, argc, argv);
        fclose(file);
        snprintf(path, sizeof path, "%s/starts.jsonl", folder->path);
        if (line_append(path, anew, text, n) != STATUS_OK)
            log_warn("%s", error_text());
    }
    free(text);
    free(hosts);
}

// SPDX-License-Identifier: MIT
#include "trainer/start_check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/alike.h"
#include "comm/digest.h"
#include "comm/isa.h"
#include "comm/memory.h"
#include "comm/rehearsal.h"
#include "data/h5.h"
#include "models/kernels/gemm.h"

// Of the running program's file; 0: it cannot be read, and then nowhere is.
static uint64_t program_digest(void)
{
    struct stat info;
    uint64_t digest = 0;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (fstat(fd, &info) == 0 && info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED) {
            digest = digest_bytes(bytes, (size_t)info.st_size, 0);
            munmap(bytes, (size_t)info.st_size);
        }
    }
    close(fd);
    return digest;
}

// The command line behind the program's name; malloc'ed.
static enum status arguments_join(int argc, char *const *argv, char **out)
{
    size_t bytes = 16, n = 0;
    for (int i = 1; i < argc; i++)
        bytes += strlen(argv[i]) + 1;
    TRY(memory_alloc(out, bytes, 1, "arguments"));
    for (int i = 1; i < argc; i++)
        n += (size_t)snprintf(*out + n, bytes - n, "%s%s", i > 1 ? " " : "", argv[i]);
    if (n == 0)
        snprintf(*out, bytes, "(none)");
    return STATUS_OK;
}

enum status start_check_program(struct group *group, const char *program, int argc,
                                char *const *argv)
{
    char name[128], libraries[512], *arguments = NULL;
    if (group->size == 1 || rehearsal_is_built())
        return STATUS_OK;
    snprintf(name, sizeof name, "%s %s, digest %016llx", program, SW2_VERSION,
             (unsigned long long)program_digest());
    snprintf(libraries, sizeof libraries, "%s, HDF5 %s, %s", group_mpi_version(), h5_version(),
             gemm_versions());
    TRY(group_agree(group, arguments_join(argc, argv, &arguments)));
    const struct alike_fact facts[] = {
        {"program", name, "install the same file on all hosts"},
        {"libraries", libraries, "install the same versions on all hosts"},
        {"arguments", arguments, "start all ranks with the same command"},
    };
    enum status status = alike_check(group, facts, sizeof facts / sizeof *facts, STATUS_USAGE);
    free(arguments);
    return status;
}

static void dataset_text(const struct dataset *dataset, char *out, size_t room)
{
    if (dataset)
        snprintf(out, room, "'%s': %llu rows, fingerprint %s", dataset_path(dataset),
                 (unsigned long long)dataset_rows(dataset), dataset_fingerprint(dataset));
    else
        snprintf(out, room, "none");
}

enum status start_check_session(const struct session *s)
{
    char train[512], test[512];
    if (s->group->size == 1 || rehearsal_is_built())
        return STATUS_OK;
    dataset_text(s->train_set, train, sizeof train);
    dataset_text(s->test_set, test, sizeof test);
    const struct alike_fact data[] = {
        {"training data", train, "copy the same file to all hosts"},
        {"test data", test, "copy the same file to all hosts"},
    };
    const struct alike_fact recipe = {"resolved recipe", s->recipe->resolved,
                                      "start all ranks with the same recipe and options"};
    TRY(alike_check(s->group, data, sizeof data / sizeof *data, STATUS_DATA));
    return alike_check(s->group, &recipe, 1, STATUS_USAGE);
}

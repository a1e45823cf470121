// SPDX-License-Identifier: MIT
#include "tests/support/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "comm/memory.h"

void golden_try(enum status status)
{
    if (status != STATUS_OK)
        fail_msg("status %d: %s (%s)", status, error_text(), error_place());
}

struct group_list {
    const char **names;
    size_t n;
};

static enum status group_add(void *context, const char *name, bool is_dataset)
{
    struct group_list *list = context;
    CHECK(!is_dataset && list->n < GOLDEN_CASES_MAX, STATUS_DATA, "unexpected '%s' or too many",
          name);
    list->names[list->n++] = strdup(name);
    return STATUS_OK;
}

size_t golden_groups(struct h5 *file, const char *names[GOLDEN_CASES_MAX])
{
    struct group_list list = {names, 0};
    if (h5_list(file, "/", group_add, &list) != STATUS_OK) {
        fprintf(stderr, "%s\n", error_text());
        abort();
    }
    return list.n;
}

char *golden_text(struct h5 *file, const char *group, const char *name)
{
    char *text = NULL;
    golden_try(h5_attr_read_text(file, group, name, &text));
    return text;
}

int64_t golden_int(struct h5 *file, const char *group, const char *name)
{
    int64_t value = 0;
    golden_try(h5_attr_read(file, group, name, H5_I64, 1, &value));
    return value;
}

double golden_double(struct h5 *file, const char *group, const char *name)
{
    double value = 0;
    golden_try(h5_attr_read(file, group, name, H5_F64, 1, &value));
    return value;
}

struct shape golden_shape(struct h5 *file, const char *group, const char *name)
{
    int64_t v[3] = {0};
    golden_try(h5_attr_read(file, group, name, H5_I64, 3, v));
    return (struct shape){(size_t)v[0], (size_t)v[1], (size_t)v[2]};
}

void *golden_read(struct h5 *file, const char *group, const char *name, enum h5_type as, size_t *n)
{
    char path[256];
    struct h5_info info;
    void *out = NULL;
    snprintf(path, sizeof path, "%s/%s", group, name);
    golden_try(h5_info(file, path, &info));
    size_t count = 1;
    for (int i = 0; i < info.rank; i++)
        count *= (size_t)info.dim[i];
    golden_try(memory_alloc(&out, count, h5_type_bytes(as), path));
    if (count > 0)
        golden_try(h5_read_rows(file, path, 0, info.dim[0], as, out));
    if (n)
        *n = count;
    return out;
}

void golden_model_init(struct golden_model *m, const char *recipe, struct model_config config)
{
    *m = (struct golden_model){.input = config.input, .n = config.grain};
    golden_try(yaml_parse(&m->yaml, "golden recipe", recipe, strlen(recipe)));
    config.yaml = m->yaml;
    config.features = yaml_find(m->yaml->root, "features");
    config.head = yaml_find(m->yaml->root, "head");
    config.loss = yaml_find(m->yaml->root, "loss");
    golden_try(model_init(&m->model, &config));
    size_t n = model_floats(m->model);
    golden_try(memory_alloc(&m->params, n, sizeof *m->params, "params"));
    golden_try(memory_alloc(&m->grads, n, sizeof *m->grads, "grads"));
}

void golden_model_free(struct golden_model *m)
{
    model_free(m->model);
    yaml_free(m->yaml);
    free(m->params);
    free(m->grads);
}

bool golden_equal(const char *name, const char *shape, const float *got, const float *want,
                  size_t n, double tolerance)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)want[i]));
    for (size_t i = 0; i < n; i++) {
        double distance = fabs((double)got[i] - (double)want[i]);
        if (distance <= tolerance * largest)
            continue;
        print_error("%s[%zu] of %s: got %.9g, PyTorch %.9g, tolerance %.3g of the largest, %.9g\n",
                    name, i, shape, (double)got[i], (double)want[i], tolerance, largest);
        return false;
    }
    return true;
}

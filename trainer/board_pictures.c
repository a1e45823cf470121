// SPDX-License-Identifier: MIT
// At the end of a run: some test samples with what the network saw in them, for TensorBoard.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/board.h"
#include "trainer/explain.h"
#include "trainer/explain_render.h"
#include "trainer/tensorboard.h"
#include "trainer/trained.h"

struct pictures {
    struct session *s;
    const struct trained *trained;
    struct explain *explain;
    struct tensorboard *to;
    void *row;
    float *x, *y, *raw, *map;
    struct image sample, pair; // (h, w, 3), (h, 2 w, 3)
};

static enum status pictures_open(struct pictures *p)
{
    struct sample_shape in = p->trained->input;
    struct shape raw = explain_raw_shape(p->explain, EXPLAIN_GRADCAM);
    size_t pixels = in.h * in.w, scratch = transforms_scratch(p->trained->transforms);
    TRY(memory_alloc(&p->row, 1, dataset_row_bytes(p->s->test_set), "a sample"));
    TRY(memory_alloc(&p->x, pixels * in.c + scratch, sizeof *p->x, "a sample"));
    TRY(memory_alloc(&p->y, explain_n_outputs(p->explain), sizeof *p->y, "outputs"));
    TRY(memory_alloc(&p->raw, raw.h * raw.w * raw.c, sizeof *p->raw, "an explanation"));
    TRY(memory_alloc(&p->map, pixels, sizeof *p->map, "an explanation"));
    TRY(image_size(&p->sample, "sample", in.h, in.w, 3));
    return image_size(&p->pair, "explanation", in.h, 2 * in.w, 3);
}

static void pictures_close(struct pictures *p)
{
    free(p->row);
    free(p->x);
    free(p->y);
    free(p->raw);
    free(p->map);
    image_free(&p->sample);
    image_free(&p->pair);
}

// The sample on the left, where the network saw its answer on the right.
static enum status picture_put(struct pictures *p, uint64_t row)
{
    struct sample_shape in = p->trained->input;
    size_t best = 0, bytes = 3 * in.w, n;
    struct render_style style = {.colours = RENDER_VIRIDIS, .opacity = 0.7f};
    uint8_t *png;
    char tag[256];
    TRY(dataset_read(p->s->test_set, row, 1, p->row));
    transforms_apply(p->trained->transforms, p->row, p->trained->is_u8, false, 0, 0, row, p->x,
                     p->x + in.h * in.w * in.c);
    explain_outputs(p->explain, p->x, p->y);
    for (size_t k = 1; k < p->trained->n_classes; k++)
        best = p->y[k] > p->y[best] ? k : best;
    explain_run(p->explain, EXPLAIN_GRADCAM, p->x, best, p->raw);
    explain_map(p->explain, EXPLAIN_GRADCAM, p->raw, p->map);
    render_sample(p->row, p->trained->is_u8, in.h, in.w, in.c, p->sample.pixels);
    for (size_t h = 0; h < in.h; h++)
        memcpy(p->pair.pixels + 2 * h * bytes, p->sample.pixels + h * bytes, bytes);
    float range = render_range(p->map, in.h * in.w, 0.99);
    uint8_t *over = p->pair.pixels; // drawn row by row, each into the right half
    for (size_t h = 0; h < in.h; h++)
        render_overlay(&style, false, p->map + h * in.w, range, p->sample.pixels + h * bytes, 1,
                       in.w, over + 2 * h * bytes + bytes);
    TRY(image_png_encode(&p->pair, &png, &n));
    int truth = *(const int32_t *)dataset_target_of(p->s->test_set, row);
    snprintf(tag, sizeof tag, "explanations/test %llu: %.80s, seen as %.80s",
             (unsigned long long)row, p->trained->classes[truth], p->trained->classes[best]);
    tensorboard_image(p->to, tag, png, n, in.h, 2 * in.w, 3);
    free(png);
    return STATUS_OK;
}

static enum status pictures_put(struct pictures *p, const char *folder, size_t count)
{
    uint64_t rows = dataset_rows(p->s->test_set);
    if (tensorboard_open(&p->to, folder, p->s->steps) != STATUS_OK)
        return STATUS_OK;
    enum status status = pictures_open(p);
    for (size_t i = 0; status == STATUS_OK && i < count && i < rows; i++)
        status = picture_put(p, rows / count * i);
    if (status == STATUS_OK)
        tensorboard_flush(p->to, p->s->steps);
    tensorboard_close(p->to);
    pictures_close(p);
    return status;
}

void board_explain(const struct run_folder *folder, struct session *s, size_t count)
{
    struct trained trained;
    struct pictures p = {.s = s, .trained = &trained};
    struct explain_config defaults = explain_defaults();
    struct trained_config config = {.path = folder->checkpoints,
                                    .weights = "auto",
                                    .chunk = 1,
                                    .input_gradient = true,
                                    .keep = MODEL_KEEP_AUTO};
    char path[RUN_PATH_MAX + 32];
    if (count == 0 || !s->test_set || dataset_rows(s->test_set) == 0)
        return;
    snprintf(path, sizeof path, "%s/tensorboard", folder->path);
    enum status status = trained_open(&trained, s->group, &config);
    if (status == STATUS_OK && trained.is_classifier)
        status = explain_init(&p.explain, s->group, trained.model, trained.params, &defaults);
    if (status == STATUS_OK && p.explain && explain_can(p.explain, EXPLAIN_GRADCAM))
        status =
            group_agree(s->group, s->group->rank == 0 ? pictures_put(&p, path, count) : STATUS_OK);
    if (status != STATUS_OK)
        log_warn("TensorBoard will see no explanations: %s", error_text());
    explain_free(p.explain);
    trained_close(&trained);
}

// SPDX-License-Identifier: MIT
#include "trainer/explain_sheet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

enum { GAP = 4, HEAD = RENDER_TEXT_H + 2 * GAP, CAPTION = RENDER_TEXT_H + GAP };

static size_t cell_w(const struct contact_sheet *s)
{
    return s->w * s->times + GAP;
}

static size_t row_h(const struct contact_sheet *s)
{
    return s->h * s->times + GAP + CAPTION;
}

enum status sheet_init(struct contact_sheet *s, size_t rows, size_t n_titles,
                       const char *const *titles, size_t h, size_t w)
{
    *s = (struct contact_sheet){.rows = rows, .columns = n_titles + 1, .h = h, .w = w};
    s->times = render_times(h, w);
    TRY(image_size(&s->image, "contact sheet (--rows)", HEAD + rows * row_h(s),
                   s->columns * cell_w(s) + GAP, 3));
    render_fill(&s->image, 255);
    for (size_t i = 0; i <= n_titles; i++)
        render_text(&s->image, GAP, GAP + i * cell_w(s), GAP + (i + 1) * cell_w(s) - GAP,
                    i ? titles[i - 1] : "input");
    return STATUS_OK;
}

void sheet_free(struct contact_sheet *s)
{
    image_free(&s->image);
}

void sheet_caption(struct contact_sheet *s, const char *caption)
{
    render_text(&s->image, HEAD + s->used * row_h(s), GAP, s->image.w, caption);
}

void sheet_cell(struct contact_sheet *s, size_t column, const uint8_t *rgb)
{
    ASSERT(s->used < s->rows && column < s->columns);
    render_put(&s->image, HEAD + s->used * row_h(s) + CAPTION - GAP, GAP + column * cell_w(s), rgb,
               s->h, s->w, s->times);
}

void sheet_next(struct contact_sheet *s)
{
    s->used++;
}

void sheet_end(struct contact_sheet *s)
{
    s->image.h = HEAD + s->used * row_h(s);
}

void sheet_clear(struct contact_sheet *s)
{
    size_t row = s->image.w * 3;
    s->image.h = HEAD + s->rows * row_h(s);
    memset(s->image.pixels + HEAD * row, 255, (s->image.h - HEAD) * row);
    s->used = 0;
}

// ---- channels

static void channel_draw(const float *y, struct shape s, size_t k, enum render_colours colours,
                         uint8_t *rgb)
{
    float low = y[k], high = y[k];
    for (size_t i = 0; i < s.h * s.w; i++) {
        low = fminf(low, y[i * s.c + k]);
        high = fmaxf(high, y[i * s.c + k]);
    }
    for (size_t i = 0; i < s.h * s.w; i++)
        render_colour(colours, high > low ? (y[i * s.c + k] - low) / (high - low) : 0, rgb + 3 * i);
}

enum status channels_draw(const float *y, struct shape s, enum render_colours colours,
                          struct image *image)
{
    size_t side = s.h > s.w ? s.h : s.w, times = side < 32 ? 32 / side : 1;
    size_t columns = (size_t)ceil(sqrt((double)s.c * 1.5)), rows = (s.c + columns - 1) / columns;
    size_t step_h = s.h * times + GAP / 2, step_w = s.w * times + GAP / 2;
    uint8_t *rgb = NULL;
    TRY(image_size(image, "channels of a layer", rows * step_h + GAP / 2,
                   columns * step_w + GAP / 2, 3));
    TRY(memory_alloc(&rgb, s.h * s.w, 3, "a channel"));
    render_fill(image, 255);
    for (size_t k = 0; k < s.c; k++) {
        channel_draw(y, s, k, colours, rgb);
        render_put(image, GAP / 2 + k / columns * step_h, GAP / 2 + k % columns * step_w, rgb, s.h,
                   s.w, times);
    }
    free(rgb);
    return STATUS_OK;
}

// SPDX-License-Identifier: MIT
// Explanations laid out for people: a contact sheet of samples (rows) and methods (columns), and
// the channels of a layer as tiles. Pixels only.
#ifndef SW2_TRAINER_EXPLAIN_SHEET_H
#define SW2_TRAINER_EXPLAIN_SHEET_H

#include "trainer/explain.h"
#include "trainer/explain_render.h"

struct contact_sheet {
    struct image image;
    size_t rows, columns, h, w, times; // cells of (h, w) pixels, each `times` times
    size_t used;                       // rows filled
};

// columns: the sample and one for each title. STATUS_ERROR: memory; STATUS_DATA: too large a
// picture.
enum status sheet_init(struct contact_sheet *sheet, size_t rows, size_t n_titles,
                       const char *const *titles, size_t h, size_t w);
void sheet_free(struct contact_sheet *sheet);
// The next row: its caption; then its cells, column 0 the sample. rgb: (h, w, 3).
void sheet_caption(struct contact_sheet *sheet, const char *caption);
void sheet_cell(struct contact_sheet *sheet, size_t column, const uint8_t *rgb);
void sheet_next(struct contact_sheet *sheet);
// Cuts off the rows not used; then empties the sheet for the next page.
void sheet_end(struct contact_sheet *sheet);
void sheet_clear(struct contact_sheet *sheet);

// y (h, w, c): each channel a tile, from its least to its largest value.
enum status channels_draw(const float *y, struct shape s, enum render_colours colours,
                          struct image *image);

#endif

// SPDX-License-Identifier: MIT
// The filters of a network's first layer, learned, beside those that people engineered, of the same
// size: Software 2.0 and 1.0 as pictures. Local, no files.
#ifndef SW2_TRAINER_EXPLAIN_FILTERS_H
#define SW2_TRAINER_EXPLAIN_FILTERS_H

#include "data/image.h"
#include "models/model.h"

enum { FILTER_NAME = 48 };

struct filter_match {
    char name[FILTER_NAME]; // of the engineered filter that is most alike
    double cosine; // of the angle between the two (either sign), the mean over the channels taken
};

struct filters {
    const struct layer *layer;  // borrowed
    const struct param *param;  // its weight: (R, S, C, K)
    size_t h, w, c, n;          // R, S, C, K
    struct filter_match *match; // (n) owned
};

// The first layer with filters of more than one position. params: borrowed for the call.
// filters->n is 0 where the network has none. STATUS_ERROR: memory.
enum status filters_find(struct filters *filters, const struct model *model, const float *params);
void filters_free(struct filters *filters);
// Learned filters (three channels as colours, around grey; else the mean over the channels, blue
// below 0, red above), then the engineered ones, each scaled by its largest size. n > 0.
enum status filters_draw(const struct filters *filters, const float *params, struct image *image);

// Engineered filter `number` for kernels of h x w, or false behind the last: Sobel and Laplacian
// (3 x 3; Canny's and Marr and Hildreth's smooth forms of other sizes), Gauss, Gabor (Daugman 1985)
// and the first of the discrete cosine transform. to: (h, w).
bool filters_engineered(size_t number, size_t h, size_t w, char name[FILTER_NAME], float *to);

#endif

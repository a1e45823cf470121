// SPDX-License-Identifier: MIT
// A picture file as a row of bytes of a wanted shape: read, decoded (image.h), channels converted,
// resampled. Used by the folder importer and by sw2-predict.
#ifndef SW2_DATA_PICTURE_H
#define SW2_DATA_PICTURE_H

#include "data/dataset.h"
#include "data/image.h"

// What is done to a picture of another height or width.
enum picture_fit {
    PICTURE_REFUSE,  // STATUS_DATA naming both sizes
    PICTURE_STRETCH, // resampled to the wanted size, whatever its proportions
    PICTURE_CROP     // resampled so that it covers the wanted size, its middle cut out
};
#define PICTURE_FITS "refuse|stretch|crop"

struct picture_reader {
    enum picture_fit fit;
    bool is_nearest;
    struct resize *resize; // plan for the size of the picture before
    size_t to_h, to_w;     // of that plan
    struct image image;
    uint8_t *bytes; // of one file
    size_t room;
    uint8_t *scaled; // CROP: before it is cut
    size_t scaled_room;
};
void picture_reader_free(struct picture_reader *reader);

// Header only. STATUS_DATA naming the file.
enum status picture_probe(struct picture_reader *reader, const char *path,
                          struct sample_shape *shape);
// shape.h * shape.w * shape.c bytes into out. STATUS_DATA naming the file.
enum status picture_read(struct picture_reader *reader, const char *path, struct sample_shape shape,
                         uint8_t *out);
// By its suffix, else by its content.
bool picture_is_one(const char *path);

#endif

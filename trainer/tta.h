// SPDX-License-Identifier: MIT
// Test-time averaging: the logits of several views of a sample, averaged before the loss looks at
// them. Views: the sample and its mirror image (flip); or, with half of the weight, those two, and
// with the other half the mean of both moved by a pixel up and left, and down and right (shift; the
// border is mirrored), as Jordan 2024 evaluates. Owns the views' memory. Called by evaluate.c.
#ifndef SW2_TRAINER_TTA_H
#define SW2_TRAINER_TTA_H

#include "models/model.h"

enum tta_kind { TTA_OFF, TTA_FLIP, TTA_SHIFT };
#define TTA_CHOICES "off|flip|shift"
const char *tta_name(enum tta_kind kind); // "flip"
// STATUS_USAGE names the option and the choices.
enum status tta_find(const char *option, const char *name, enum tta_kind *kind);

struct tta;
// For batches of up to n samples of the model's input. Local. STATUS_USAGE: shift of an image
// below 2 x 2; STATUS_ERROR: memory.
enum status tta_init(struct tta **tta, enum tta_kind kind, struct model *model, struct shape input,
                     size_t n);
void tta_free(struct tta *tta); // NULL is allowed
size_t tta_bytes(enum tta_kind kind, struct shape input, size_t n_outputs, size_t n);

// model_forward on every view of x (pass->n, h, w, c); leaves the averaged logits in the model's
// output, where model_loss_eval finds them.
void tta_forward(struct tta *tta, const struct pass *pass, const float *x);

#endif

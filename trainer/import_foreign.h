// SPDX-License-Identifier: MIT
// Weights that another program trained: convolutions, dense layers and batch-norms out of an ONNX
// file or of a PyTorch state_dict in HDF5, and their way into the layers of a recipe. Files are not
// believed: every size is checked before it is used. Used by sw2-import alone. (data/import.h is
// about data sets.)
#ifndef SW2_TRAINER_IMPORT_FOREIGN_H
#define SW2_TRAINER_IMPORT_FOREIGN_H

#include "models/model.h"

#define FOREIGN_NAME_MAX 256
#define FOREIGN_LAYERS_MAX ((size_t)20000)

enum foreign_kind { FOREIGN_CONV, FOREIGN_DENSE, FOREIGN_NORM, FOREIGN_KINDS };

struct foreign_layer {
    enum foreign_kind kind;
    char name[FOREIGN_NAME_MAX]; // "layer1.0.conv1"
    size_t dim[4];               // conv: O, I, H, W; dense: out, in; norm: c
    bool is_in_out;              // dense: the weight is (in, out)
    bool is_hwc;                 // its inputs, if flattened, are h, w, c, not c, h, w
    bool has_eps;
    float eps;
    float *weight, *bias, *mean, *variance; // owned; may be NULL: bias; of a norm also weight
};

struct foreign_net {
    struct foreign_layer *layers; // in the file's order, of HDF5 in that of the names
    size_t n, capacity;
};

// STATUS_DATA naming file and place: damaged; of another kind than float32 or float64; an operator
// with weights that has no counterpart here.
enum status foreign_onnx_read(struct foreign_net *net, const char *path);
enum status foreign_h5_read(struct foreign_net *net, const char *path);
void foreign_free(struct foreign_net *net);
// Room for one more, zeroed. STATUS_DATA: too many.
enum status foreign_add(struct foreign_net *net, const char *path, struct foreign_layer **layer);
const char *foreign_kind_name(enum foreign_kind kind, bool is_many);

struct foreign_config {
    struct option_strings map;    // "layer1.0.conv1=conv2": these two belong together
    struct option_strings skip;   // layers of the recipe that stay as they start (patterns)
    struct option_strings ignore; // layers of the file that are not wanted (patterns)
    bool is_hwc;                  // the file flattens h, w, c
};

// One pair that was made.
struct foreign_pair {
    const struct foreign_layer *from; // NULL: the layer stays as it started
    size_t layer;                     // of the model
};

// Which belongs to which: by --map, then by the same names, then in order, kind by kind; and the
// weights into params. *pairs (n_pairs, owned): one for each layer with parameters. STATUS_USAGE:
// counts or shapes do not fit, a pattern fits nothing; names them and what helps.
enum status foreign_match(const struct foreign_net *net, const struct foreign_config *config,
                          const struct model *model, float *params, struct foreign_pair **pairs,
                          size_t *n_pairs);

#endif

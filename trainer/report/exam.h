// SPDX-License-Identifier: MIT
// The trained network of a run, asked about every sample of its test data: confusion matrix,
// calibration, the worst mistakes, and what each layer's forward pass takes here. Collective: the
// samples are spread over the ranks, and every rank knows all counts.
#ifndef SW2_TRAINER_REPORT_EXAM_H
#define SW2_TRAINER_REPORT_EXAM_H

#include "data/dataset.h"
#include "models/loss.h"
#include "trainer/report/plot.h"
#include "trainer/trained.h"

#define EXAM_BINS 15 // of confidence, as in Guo et al. 2017
#define EXAM_MISTAKES 24

struct exam_mistake {
    double loss; // -log of the truth's probability
    uint64_t row;
    int32_t truth, predicted;
    double truth_probability, predicted_probability;
};

// What a layer does with one sample, forward.
struct exam_layer {
    double seconds, flops;
};

struct exam {
    struct trained trained;
    struct dataset *dataset;
    char *fallback;                // what is not as asked for, to be said; NULL: nothing
    uint64_t n;                    // samples
    double mean[LOSS_METRICS_MAX]; // metrics of the loss
    bool is_classes;               // what follows is there:
    uint64_t *confusion;           // (n_classes, n_classes): [truth][predicted]
    struct plot_bin bins[EXAM_BINS];
    double ece, mce; // expected and largest calibration error
    struct exam_mistake mistake[EXAM_MISTAKES];
    size_t n_mistakes;
    float *maps; // (n_mistakes, h, w) Grad-CAM of what was predicted; NULL: not to be had
    struct exam_layer *layers; // (model_n_layers), of rank 0
    double peak;               // FLOP/s of one core, of rank 0
};

// checkpoint: as of a run. data: FILE.h5[:/group], NULL: the test data of the recipe (without any:
// the training data, said in fallback). STATUS_DATA, STATUS_USAGE as trained_open and dataset_open.
enum status exam_run(struct exam *exam, struct group *group, const char *checkpoint,
                     const char *data, size_t chunk);
void exam_free(struct exam *exam);

// Local, rank 0: the raw row (bytes or floats) of the test data into raw (dataset_row_bytes).
enum status exam_read(struct exam *exam, uint64_t row, void *raw);

#endif

// SPDX-License-Identifier: MIT
// Accuracy against speed: what a shrinking gave, as a table, CSV, JSON and a plot.
#ifndef SW2_TRAINER_SHRINK_TABLE_H
#define SW2_TRAINER_SHRINK_TABLE_H

#include "comm/error.h"
#include "models/loss.h"

struct shrink_point {
    double speed; // of the forward pass, over the first point's network
    double value; // of the metric, on the test data
    double parameters, flops;
};

struct shrink_table {
    struct loss_metric metric;
    size_t n;
    struct shrink_point points[64]; // the network as it was, then one a round
};

void shrink_table_line(const struct shrink_table *table, size_t i); // log_line
void shrink_table_show(const struct shrink_table *table);           // log_line
// FOLDER/shrink.{csv,json,svg}. Rank 0.
enum status shrink_table_write(const struct shrink_table *table, const char *folder);

#endif

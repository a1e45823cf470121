// SPDX-License-Identifier: MIT
// What export_onnx.c, export_onnx_nodes.c and export_onnx_hog.c share. Nobody else includes it.
#ifndef SW2_TRAINER_EXPORT_ONNX_PRIVATE_H
#define SW2_TRAINER_EXPORT_ONNX_PRIVATE_H

#include "trainer/export.h"
#include "trainer/export_bytes.h"
#include "trainer/onnx.h"

#define ONNX_NAME_MAX 160

// The output of a node as ONNX has it.
struct onnx_value {
    char name[ONNX_NAME_MAX];
    bool is_flat;       // (N, C); else (N, C, H, W)
    const size_t *perm; // (c) our channel of ONNX's channel j; NULL: the same
};

struct onnx_writer {
    const struct export_net *net;
    const struct export_config *config;
    struct onnx_value *values; // (net->n + 1), [0] the input
    size_t **perms, n_perms;   // owned
    struct bytes graph, node, tensor, part;
    struct bytes initialisers; // GraphProto fields too; after the nodes
    size_t count;              // of made names
};

// Constants (initialisers). rank 0: a scalar.
void onnx_floats(struct onnx_writer *w, const char *name, int rank, const int64_t *dim,
                 const float *x);
void onnx_ints(struct onnx_writer *w, const char *name, int n, const int64_t *x);
// A node: first its attributes, then onnx_node with the names of its inputs, NULL at the end.
void onnx_attribute_int(struct onnx_writer *w, const char *name, int64_t value);
void onnx_attribute_float(struct onnx_writer *w, const char *name, double value);
void onnx_attribute_ints(struct onnx_writer *w, const char *name, int n, const size_t *values);
void onnx_attribute_text(struct onnx_writer *w, const char *name, const char *value);
void onnx_node(struct onnx_writer *w, const char *op, const char *output, const char *const *x);
#define NODE(w, op, output, ...) onnx_node(w, op, output, (const char *const[]){__VA_ARGS__, NULL})

// The nodes and constants of one node of ours; y->name is set.
enum status onnx_node_put(struct onnx_writer *w, const struct export_node *node,
                          struct onnx_value *y);
void onnx_hog_put(struct onnx_writer *w, const struct export_node *node,
                  const struct onnx_value *y);
// "layer/what", into out and returned.
const char *onnx_name(char out[ONNX_NAME_MAX], const char *layer, const char *what);
// The name of node's k-th input as (N, C) or (N, C, H, W), a Flatten or Reshape before if need be;
// into out and returned.
const char *onnx_input(struct onnx_writer *w, const struct export_node *node, int k, bool flat,
                       char out[ONNX_NAME_MAX]);

#endif

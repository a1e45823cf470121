# SPDX-License-Identifier: MIT
"""The tables of make_golden.py: what is computed in PyTorch and compared by the golden tests.

A case has a recipe (YAML; the loss defaults to mse against random targets, which makes the gradient
above the layer a known dense tensor), the input's h, w, c, n samples (default 4), and the key
classes where targets are class indices.
"""


def case(recipe, h, w, c, **more):
    recipe = recipe if recipe.startswith("features") else "features: " + recipe
    return {"recipe": recipe, "input": (h, w, c), **more}


RESIDUAL = """
- conv: {out: 6, kernel: 3, pad: 1, bias: false}
- residual:
    body: [conv: {out: 8, kernel: 3, stride: 2, pad: 1, bias: false}, batchnorm: {}, relu: {},
           conv: {out: 8, kernel: 3, pad: 1, bias: false}, batchnorm: {}]
    shortcut: [%s]
- relu: {}
- residual:
    body: [conv: {out: 8, kernel: 3, pad: 1, bias: false}, batchnorm: {}, relu: {}]
- relu: {}
"""
BRANCHES = """
- branches:
    join: %s
    lists: [[conv: {out: 4, kernel: 1}], [conv: {out: 4, kernel: 3, pad: 1}, relu: {}],
            [maxpool: {kernel: 3, stride: 1, pad: 1}, conv: {out: 4, kernel: 1}]]
- conv: {out: 3, kernel: 3, pad: 1}
"""
NAMED = """
- conv: {name: stem, out: 4, kernel: 3, pad: 1}
- relu: {name: a}
- conv: {name: b, from: stem, out: 4, kernel: 1}
- add: {from: [a, b, stem]}
- concat: {from: [add1, a]}
- dense: {name: last, out: 3}
"""
# Many layers read conv1: the gradient of all but one of them is added to what is there.
SHARED = """
- conv: {out: 4, kernel: 3, pad: 1}
- branches:
    lists: [%s, [relu: {}]]
- concat: {name: all, from: [concat1, conv1]}
- conv: {name: mixed, out: 4, kernel: 1}
- concat: {from: [mixed, all, conv1]}
"""
SMALL = "[flatten: {}, dense: {out: 5}]"

LAYER_CASES = {
    # Convolution: sizes, borders, steps, groups, channel counts that fill no vector.
    "conv_3x3": case("[conv: {out: 8, kernel: 3, pad: 1}]", 6, 5, 3),
    "conv_nobias": case("[conv: {out: 8, kernel: 3, pad: 1, bias: false}]", 6, 5, 3),
    "conv_nopad": case("[conv: {out: 5, kernel: 3}]", 6, 7, 4),
    "conv_1x1": case("[conv: {out: 16, kernel: 1}]", 4, 5, 16),
    "conv_1x1_stride2": case("[conv: {out: 6, kernel: 1, stride: 2, bias: false}]", 7, 6, 5),
    "conv_stride2": case("[conv: {out: 8, kernel: 3, stride: 2, pad: 1}]", 7, 8, 4),
    "conv_stride3": case("[conv: {out: 4, kernel: 3, stride: 3, pad: 1}]", 9, 8, 3),
    "conv_dilation2": case("[conv: {out: 5, kernel: 3, pad: 2, dilation: 2}]", 7, 8, 3),
    "conv_dilation2_stride2": case("[conv: {out: 5, kernel: 3, pad: 1, dilation: 2, stride: 2}]",
                                   9, 8, 3),
    "conv_groups2": case("[conv: {out: 8, kernel: 3, pad: 1, groups: 2}]", 5, 6, 6),
    "conv_groups2_stride2": case("[conv: {out: 6, kernel: 3, pad: 1, groups: 2, stride: 2}]",
                                 6, 7, 4),
    "conv_depthwise": case("[conv: {out: 6, kernel: 3, pad: 1, groups: 6}]", 6, 5, 6),
    "conv_depthwise_double": case("[conv: {out: 8, kernel: 3, pad: 1, groups: 4, bias: false}]",
                                  5, 5, 4),
    "conv_depthwise_stride2": case("[conv: {out: 5, kernel: 3, pad: 1, groups: 5, stride: 2}]",
                                   7, 6, 5),
    "conv_rectangle": case("[conv: {out: 4, kernel: [3, 5], stride: [1, 2], pad: [0, 2]}]",
                           6, 9, 3),
    "conv_signal": case("[conv: {out: 6, kernel: 5, stride: 2, pad: 2}]", 1, 17, 3),
    "conv_first7x7": case("[conv: {out: 16, kernel: 7, stride: 2, pad: 3, bias: false}]",
                          12, 12, 3, n=2),
    "conv_grey": case("[conv: {out: 32, kernel: 3, pad: 1}]", 8, 8, 1, n=2),
    "conv_wide": case("[conv: {out: 32, kernel: 3, pad: 1, bias: false}]", 4, 4, 16, n=2),
    "conv_odd": case("[conv: {out: 17, kernel: 3, pad: 1}]", 5, 4, 33, n=2),
    "conv_wide_stride2": case("[conv: {out: 64, kernel: 3, stride: 2, pad: 1, bias: false}]",
                              5, 5, 8, n=2),
    "conv_relu": case("[conv: {out: 8, kernel: 3, pad: 1}, relu: {}]", 6, 5, 3),
    "conv_conv": case("[conv: {out: 8, kernel: 3, pad: 1}, relu: {}, conv: {out: 4, kernel: 5,"
                      " pad: 2}, relu: {}, conv: {out: 3, kernel: 1}]", 6, 5, 2),
    # Dense: C is flattened in the order h, w, c.
    "dense": case("[dense: {out: 7}]", 1, 1, 20, n=6),
    "dense_nobias": case("[dense: {out: 16, bias: false}]", 1, 1, 33),
    "dense_image": case("[dense: {out: 5}]", 3, 4, 6),
    "dense_relu": case("[dense: {out: 12}, relu: {}, dense: {out: 3}]", 1, 1, 10, n=6),
    "flatten": case("[conv: {out: 4, kernel: 3}, flatten: {}, dense: {out: 5}]", 5, 5, 3),
    # Batch norm: its grain is all n samples.
    "batchnorm": case("[batchnorm: {}]", 4, 5, 6),
    "batchnorm_options": case("[batchnorm: {momentum: 0.3, eps: 0.01}]", 3, 3, 17, n=8),
    "batchnorm_vector": case("[dense: {out: 6, bias: false}, batchnorm: {}, relu: {}]", 1, 1, 8,
                             n=16),
    "batchnorm_relu": case("[conv: {out: 8, kernel: 3, pad: 1, bias: false}, batchnorm: {},"
                           " relu: {}, conv: {out: 4, kernel: 3, pad: 1}]", 6, 5, 3),
    # Activations.
    "relu": case("[relu: {}]", 3, 4, 5),
    "leaky_relu": case("[leaky_relu: {}]", 3, 4, 5),
    "leaky_relu_slope": case("[leaky_relu: {slope: 0.2}]", 3, 4, 5),
    "gelu": case("[gelu: {}]", 3, 4, 5),
    "silu": case("[silu: {}]", 3, 4, 5),
    # Pooling: sizes that divide and sizes that leave a rest.
    "maxpool": case("[maxpool: {kernel: 2}]", 6, 4, 5),
    "maxpool_rest": case("[maxpool: {kernel: 2}]", 7, 5, 3),
    "maxpool_3x3_stride2": case("[maxpool: {kernel: 3, stride: 2, pad: 1}]", 8, 7, 4),
    "maxpool_overlap": case("[maxpool: {kernel: 3, stride: 1, pad: 1}]", 5, 6, 3),
    "avgpool": case("[avgpool: {kernel: 2}]", 6, 4, 5),
    "avgpool_pad": case("[avgpool: {kernel: 3, stride: 2, pad: 1}]", 7, 6, 4),
    "avgpool_exclude": case("[avgpool: {kernel: 3, stride: 2, pad: 1, count_include_pad: false}]",
                            7, 6, 4),
    "avgpool_signal": case("[avgpool: {kernel: 4, stride: 2, pad: 1}]", 1, 11, 3),
    "globalpool": case("[globalpool: {}]", 5, 4, 6),
    # Dropout draws from sw2's own counter-based numbers (seed 1, epoch 0, rows 0..n-1).
    "dropout": case("[dropout: {rate: 0.3}]", 3, 3, 6),
    "dropout_second": case("[dense: {out: 9}, dropout: {}, dense: {out: 4}]", 1, 1, 8),
    # Graphs.
    "subsample": case("[subsample: {stride: 2, out: 10}]", 7, 6, 4),
    "subsample_odd": case("[subsample: {stride: 2, out: 7}]", 4, 4, 4),
    "filterbank": case("[filterbank: {filters: [sobel_x, sobel_y, laplacian, gaussian]}, relu: {},"
                       " conv: {out: 4, kernel: 1}]", 6, 5, 2),
    "filterbank_numbers": case("[filterbank: {filters: [sobel_y], kernel: 5, numbers: [["
                               + ", ".join(str(i % 7 - 3) for i in range(25)) + "]]}]", 6, 7, 1),
    "residual_projection": case(RESIDUAL % "conv: {out: 8, kernel: 1, stride: 2, bias: false},"
                                " batchnorm: {}", 6, 6, 3),
    "residual_subsample": case(RESIDUAL % "subsample: {stride: 2, out: 8}", 6, 6, 3),
    "branches_concat": case(BRANCHES % "concat", 5, 4, 3),
    "branches_add": case(BRANCHES % "add", 5, 4, 3),
    "shared_conv": case(SHARED % "[conv: {out: 4, kernel: 3, pad: 1}], [conv: {out: 4, kernel: 1}],"
                        " [conv: {out: 4, kernel: 3, pad: 1, groups: 4}], [batchnorm: {}],"
                        " [filterbank: {filters: [sobel_x]}]", 5, 4, 3),
    "shared_pool": case(SHARED % "[maxpool: {kernel: 3, stride: 1, pad: 1}], [avgpool: {kernel: 3,"
                        " stride: 1, pad: 1}], [subsample: {stride: 1, out: 6}], [dropout: {}]",
                        5, 4, 3),
    "shared_activation": case(SHARED % "[gelu: {}], [silu: {}], [leaky_relu: {}], [relu: {}]",
                              5, 4, 3),
    "shared_globalpool": case("[conv: {out: 4, kernel: 1}, branches: {lists: [[globalpool: {}],"
                              " [dense: {out: 3}], [flatten: {}]]}]", 3, 4, 3),
    "names_and_from": case(NAMED, 4, 4, 3),
    "repeat": case("[repeat: {times: 3, layers: [dense: {out: 6}, silu: {}]}]", 1, 1, 5),
    # Losses.
    "softmax": case("features: " + SMALL + "\nloss: {softmax: {}}", 1, 1, 6, n=8, classes=True),
    "softmax_smoothing": case("features: " + SMALL + "\nloss: {softmax: {label_smoothing: 0.1}}",
                              1, 1, 6, n=8, classes=True),
    "softmax_weights": case("features: " + SMALL + "\nloss: {softmax: {class_weights:"
                            " [0.5, 1, 2, 0.25, 3]}}", 1, 1, 6, n=8, classes=True),
    "softmax_weights_smoothing": case("features: " + SMALL + "\nloss: {softmax: {label_smoothing:"
                                      " 0.2, class_weights: [0.5, 1, 2, 0.25, 3]}}", 1, 1, 6, n=8,
                                      classes=True),
    "mse": case("features: " + SMALL + "\nloss: {mse: {}}", 1, 1, 6, n=8),
    "mse_one_hot": case("features: " + SMALL + "\nloss: {mse: {}}", 1, 1, 6, n=8, classes=True),
    # Of later days: at the end, so that the values of the others stay.
    "batchnorm_fixed": case("[conv: {out: 6, kernel: 3, bias: false}, batchnorm: {scale: false,"
                            " bias_lr: 64}, gelu: {}]", 6, 5, 3),
    "scale": case("[conv: {out: 6, kernel: 3}, scale: {factor: 0.1111}, flatten: {},"
                  " dense: {out: 4}]", 6, 5, 3),
    "whiten": case("[whiten: {kernel: 2, bias_epochs: 3}, gelu: {}, conv: {out: 5, kernel: 1}]",
                   6, 5, 3),
    "whiten_nobias": case("[whiten: {kernel: 3, pad: 1, bias: false}, relu: {}]", 5, 6, 2),
}

NETWORK_CASES = [
    {"name": "mnist", "input": (28, 28, 1), "n": 16, "grains": 2, "steps": 20, "batches": 4,
     "classes": 10, "lr": 0.002, "momentum": 0.9},
    {"name": "cifar10", "input": (32, 32, 3), "n": 16, "grains": 2, "steps": 20, "batches": 4,
     "classes": 10, "lr": 0.002, "momentum": 0.9},
]

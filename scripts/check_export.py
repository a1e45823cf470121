#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Exports one checkpoint in every format and compares what the real readers compute (ONNX Runtime,
Keras, NumPy, the C compiler) with sw2-predict on the same rows. Called by check_export.sh.

    check_export.py BIN CHECKPOINT ROWS.h5:/test [large]

Prints a line: the largest difference of scores, up to the constant that softmax does not see,
relative to the largest score (or 1), for each format. Exit code 1 above 1e-4.
"""
import csv
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "numpy")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
BOUND = 1e-4
largest = [0]


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"FAILED: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def predicted(bin, checkpoint, rows, n_classes):
    """(rows, classes) logarithms of probabilities; NaN where they are too small to tell."""
    text = run(f"{bin}/sw2-predict", checkpoint, rows, "-k", str(n_classes), "-f", "csv")
    lines = list(csv.DictReader(text.splitlines()))
    n = len({line["input"] for line in lines})
    out = np.zeros((n, n_classes))
    for i, line in enumerate(lines):
        out[i // n_classes, int(line["class"])] = float(line["probability"])
    with np.errstate(divide="ignore"):
        return np.where(out > 1e-20, np.log(out), np.nan)


def difference(scores, wanted):
    scores = np.asarray(scores, np.float64)
    assert scores.shape == wanted.shape, (scores.shape, wanted.shape)
    most = scores.max(axis=1, keepdims=True)
    logs = scores - most - np.log(np.exp(scores - most).sum(axis=1, keepdims=True))
    largest[0] = max(largest[0], np.abs(scores).max())
    return np.nanmax(np.abs(logs - wanted)) / max(1, np.abs(scores).max())


def onnx_scores(path, x):
    import onnx
    import onnxruntime

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"input": np.ascontiguousarray(x.transpose(0, 3, 1, 2))})[0]


def keras_scores(path, x):
    spec = importlib.util.spec_from_file_location("exported", path + ".py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return np.asarray(module.load(path + ".weights.h5")(x.astype(np.float32), training=False))


MAIN = """
#include <stdio.h>
#include "net.h"
static %(type)s raw[net_INPUTS];
static float input[net_INPUTS], scores[net_OUTPUTS];
int main(void)
{
    %(load)s
    while (fread(raw, sizeof raw, 1, stdin) == 1) {
        net_prepare(raw, input);
        net_forward(input, scores);
        fwrite(scores, sizeof scores, 1, stdout);
    }
    return 0;
}
"""


def c_scores(folder, x, is_apart):
    load = 'if (net_load("net.bin") != 0) return 1;' if is_apart else ""
    kind = "unsigned char" if x.dtype == np.uint8 else "float"
    with open(f"{folder}/main.c", "w") as file:
        file.write(MAIN % {"type": kind, "load": load})
    compiler = os.environ.get("CC", "cc").split()
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    sources = [f"{folder}/main.c", f"{folder}/net.c"]
    run(*compiler, *flags, *sources, "-o", f"{folder}/net", "-lm")
    done = subprocess.run([f"{folder}/net"], input=x.tobytes(), capture_output=True, cwd=folder)
    if done.returncode != 0:
        sys.exit("FAILED: the compiled C")
    return np.frombuffer(done.stdout, np.float32).reshape(len(x), -1)


def newest(checkpoint):
    if not os.path.isdir(checkpoint):
        return checkpoint
    return max(f"{checkpoint}/{name}" for name in os.listdir(checkpoint) if "step-" in name)


def npz_check(path, checkpoint, weights):
    """Every array is the checkpoint's, bit for bit."""
    import h5py

    arrays = np.load(path)
    with h5py.File(newest(checkpoint)) as file:
        group = file["optimizer/ema"] if weights == "ema" else file["model"]
        n = 0
        for layer in group:
            for name in group[layer]:
                a, b = arrays[f"{layer}/{name}"], group[layer][name][:]
                assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), f"{layer}/{name}"
                n += 1
    assert "recipe.yaml" in arrays.files
    return n


def main(bin, checkpoint, rows, size="small"):
    import h5py

    path, group = rows.split(":")
    with h5py.File(path) as file:
        raw = file[group + "/images"][:]
    if raw.ndim == 3:
        raw = raw[..., None]
    is_large = size == "large"
    with tempfile.TemporaryDirectory() as folder:
        report = {}

        def export(out, *options):
            told = run(f"{bin}/sw2-export", checkpoint, f"{folder}/{out}", "--name", "net",
                       "--json", *options)
            return json.loads(told)

        told = export("net.npz", "--preprocess")
        n = npz_check(f"{folder}/net.npz", checkpoint, "model")
        arrays = np.load(f"{folder}/net.npz")
        prepared = raw.astype(np.float32) * arrays["preprocess/scale"] + arrays["preprocess/shift"]
        wanted = predicted(bin, checkpoint, rows, int(np.prod(told["output"])))
        export("plain.onnx")
        report["onnx"] = difference(onnx_scores(f"{folder}/plain.onnx", prepared), wanted)
        export("all.onnx", "--preprocess", "--fold-batchnorm", "--probabilities")
        report["onnx, all in"] = difference(onnx_scores(f"{folder}/all.onnx", raw), wanted)
        export("net.weights.h5", "--preprocess")
        report["keras"] = difference(keras_scores(f"{folder}/net", raw), wanted)
        apart = ["--weights-apart"] if is_large else []
        few = slice(0, 4 if is_large else None)
        export("net.c", "--preprocess", *apart)
        report["c"] = difference(c_scores(folder, raw[few], is_large), wanted[few])
        export("net.c", "--preprocess", "--fold-batchnorm", *apart)
        report["c, folded"] = difference(c_scores(folder, raw[few], is_large), wanted[few])
    text = ", ".join(f"{name} {value:.1e}" for name, value in report.items())
    print(f"{len(raw)} rows, largest score {largest[0]:.3g}: {text}; "
          f"npz {n} arrays the same bits", flush=True)
    return 0 if all(value < BOUND for value in report.values()) else 1


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Networks of PyTorch, random weights and statistics, through sw2-import into a recipe: as a
state_dict in HDF5 and as ONNX. sw2-predict must then say what PyTorch says.

    check_import.py BIN RECIPES     needs torch, torchvision, h5py (Debian: python3-torch
                                    python3-torchvision python3-h5py)

Exit code 1 where a logarithm of a probability differs by more than 1e-4 of the largest score.
"""
import csv
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch
import torchvision
from torch import nn


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"FAILED: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def block(c, k):
    return [nn.Conv2d(c, k, 3, padding=1, bias=False), nn.BatchNorm2d(k), nn.ReLU(),
            nn.MaxPool2d(2)]


def mnist():
    """models/recipes/mnist.yaml: a flatten of 3 x 3 x 128 before the head."""
    layers = block(1, 32) + block(32, 64) + block(64, 128)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1152, 10))


CASES = [
    ("mnist", mnist, "28x28x1", 10),
    ("imagenet_resnet18", lambda: torchvision.models.resnet18(), "64x64x3", 1000),
    ("imagenet_resnet50", lambda: torchvision.models.resnet50(), "64x64x3", 1000),
]


def randomise(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for vector in (module.weight, module.running_var):
                nn.init.uniform_(vector, 0.5, 1.5)
            for vector in (module.bias, module.running_mean):
                nn.init.normal_(vector, std=0.2)


def predicted(bin, checkpoint, rows, n_classes):
    text = run(f"{bin}/sw2-predict", checkpoint, rows, "-k", str(n_classes), "-f", "csv")
    lines = list(csv.DictReader(text.splitlines()))
    out = np.zeros((len(lines) // n_classes, n_classes))
    for i, line in enumerate(lines):
        out[i // n_classes, int(line["class"])] = float(line["probability"])
    with np.errstate(divide="ignore"):
        return np.where(out > 1e-20, np.log(out), np.nan)


def check(bin, recipes, name, make, shape, n_classes):
    torch.manual_seed(1)
    model = make()
    randomise(model)
    model.eval()
    run(f"{bin}/sw2-data", "generate", "data.h5", "--shape", shape, "--classes", str(n_classes),
        "--rows", "16", "--test-rows", "4")
    with h5py.File("state.h5", "w") as file:
        for key, value in model.state_dict().items():
            file[key] = value.numpy()
    h, w, c = (int(side) for side in shape.split("x"))
    torch.onnx.export(model, torch.zeros(1, c, h, w), "net.onnx", do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE)
    options = ["-o", "data.train=data.h5:/train", "-o", "data.test=data.h5:/test", "-o",
               "train.batch=4", "-o", "train.grains=1"]
    with h5py.File("data.h5") as file:
        raw = file["test/images"][:].reshape(-1, h, w, c)
    worst = {}
    for source in ("state.h5", "net.onnx"):
        run(f"{bin}/sw2-import", f"{recipes}/{name}.yaml", source, f"as-{source}", *options)
        run(f"{bin}/sw2-export", f"as-{source}", "net.npz", "--preprocess")
        arrays = np.load("net.npz")
        x = raw.astype(np.float32) * arrays["preprocess/scale"] + arrays["preprocess/shift"]
        with torch.no_grad():
            scores = model(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).double()
        want = torch.log_softmax(scores, 1).numpy()
        got = predicted(bin, f"as-{source}", "data.h5:/test", n_classes)
        worst[source] = np.nanmax(np.abs(got - want)) / max(1, float(scores.abs().max()))
    print(f"{name:<20} scores to {float(scores.abs().max()):.3g}: " +
          ", ".join(f"{source} {value:.1e}" for source, value in worst.items()), flush=True)
    return max(worst.values()) < 1e-4


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    bin, recipes = (os.path.abspath(path) for path in sys.argv[1:])
    torch.set_num_threads(1)
    good = True
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            good = check(bin, recipes, *case) and good
            os.chdir("/")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

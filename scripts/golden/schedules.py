#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Prints tests/golden/schedules.inc.h: learning rates of PyTorch's own schedulers (Debian:
python3-torch) for the recipes below, ten steps an epoch.

    python3 scripts/golden/schedules.py > tests/golden/schedules.inc.h
"""
import textwrap
import warnings

import numpy as np
import torch
from torch.optim import lr_scheduler as L

warnings.filterwarnings("ignore")
LR = 0.4


def optimizer(lr):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def follow(opt, schedule, n):
    rates = []
    for i in range(n):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        if i + 1 < n:
            schedule.step()
    return rates


def rates(make, steps, warmup=0):
    """`make` gives the schedule of the steps after warm-up, which ends at its first rate."""
    opt = optimizer(LR)
    schedule = make(opt, steps - warmup)
    first = opt.param_groups[0]["lr"]
    rest = follow(opt, schedule, steps - warmup)
    if not warmup:
        return rest
    opt = optimizer(first)
    rise = L.LinearLR(opt, start_factor=1 / (warmup + 1), total_iters=warmup)
    return follow(opt, rise, warmup) + rest


def constant(opt, n):
    return L.ConstantLR(opt, 1.0, 1)


def onecycle(**kwargs):
    return lambda opt, n: L.OneCycleLR(opt, LR, total_steps=n, cycle_momentum=False, **kwargs)


def triangle(start, end, rise):
    """numpy.interp between (0, start), (rise n, 1), (n, end), as Jordan 2024."""
    return lambda opt, n: L.LambdaLR(
        opt, lambda t: float(np.interp(t, [0, rise * n, n], [start, 1, end])))


CASES = [
    ("schedule: constant, epochs: 2", rates(constant, 20)),
    ("schedule: constant, epochs: 2, warmup: 0.5", rates(constant, 20, 5)),
    ("schedule: step, epochs: 4, lr_step: 1.5, lr_gamma: 0.3",
     rates(lambda o, n: L.StepLR(o, 15, 0.3), 40)),
    ("schedule: multistep, epochs: 4, milestones: [1, 2.5, 3], lr_gamma: 0.2",
     rates(lambda o, n: L.MultiStepLR(o, [10, 25, 30], 0.2), 40)),
    ("schedule: cosine, epochs: 4", rates(lambda o, n: L.CosineAnnealingLR(o, n), 40)),
    ("schedule: cosine, epochs: 4, warmup: 0.7, final_lr: 0.1",
     rates(lambda o, n: L.CosineAnnealingLR(o, n, eta_min=0.1 * LR), 40, 7)),
    ("schedule: cosine, epochs: 9, steps: 33, final_lr: 0.01",
     rates(lambda o, n: L.CosineAnnealingLR(o, n, eta_min=0.01 * LR), 33)),
    ("schedule: onecycle, epochs: 4, final_lr: 4e-6", rates(onecycle(), 40)),
    ("schedule: onecycle, epochs: 4, final_lr: 0.002, start_lr: 0.1, rise: 0.4, warmup: 0.3",
     rates(onecycle(pct_start=0.4, div_factor=10, final_div_factor=50), 40, 3)),
    ("schedule: triangle, epochs: 4, start_lr: 0.2, rise: 0.23, final_lr: 0.07",
     rates(triangle(0.2, 0.07, 0.23), 40)),
    ("schedule: triangle, epochs: 4, start_lr: 0, rise: 0.5, warmup: 1",
     rates(triangle(0, 0, 0.5), 40, 10)),
]

print("// SPDX-License-Identifier: MIT")
print("// Made by scripts/golden/schedules.py; not edited by hand.")
for recipe, values in CASES:
    print('{"{lr: %s, %s}",' % (LR, recipe))
    print(" %d," % len(values))
    numbers = ", ".join(repr(float(v)) for v in values)
    print(textwrap.fill("{" + numbers + "}},", 96, initial_indent=" ", subsequent_indent="  "))

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Golden values of the optimisers: ten steps of each variant in double.

SGD and AdamW (and clipping) are PyTorch's, decoupled decay of SGD, LARS and EMA their formulas.
Needs Debian's python3-torch and python3-h5py:

    /usr/bin/python3 scripts/golden/optimizers.py tests/golden/optimizers.h5
"""
import sys

import h5py
import numpy as np
import torch

STEPS, EPOCH = 10, 4  # steps of a run and of an epoch
# name, shape, is it a bias (no decay by default)
TENSORS = [("a/weight", (3, 4), False), ("a/bias", (4,), True), ("b/weight", (10,), False),
           ("c/weight", (2,), False)]  # c starts at zero: LARS has no ratio for it
FIELDS = ["optimizer", "momentum", "nesterov", "beta1", "beta2", "epsilon", "weight_decay",
          "decoupled", "decay_all", "trust", "clip_norm", "ema", "lookahead", "lookahead_decay",
          "lr_factor", "trained_epochs"]  # of b/weight, and of a/bias
SGD, ADAMW, LARS = 0, 1, 2
CASES = {
    "sgd": dict(),
    "sgd momentum": dict(momentum=0.9),
    "sgd nesterov": dict(momentum=0.9, nesterov=1),
    "sgd decay": dict(momentum=0.9, weight_decay=0.05),
    "sgd decay all": dict(momentum=0.8, weight_decay=0.05, decay_all=1),
    "sgd decoupled": dict(momentum=0.9, weight_decay=0.05, decoupled=1),
    "sgd nesterov decoupled": dict(momentum=0.9, nesterov=1, weight_decay=0.1, decoupled=1),
    "sgd clip": dict(momentum=0.9, clip_norm=3.5),
    "sgd ema": dict(momentum=0.9, ema=0.8),
    "adamw": dict(optimizer=ADAMW, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01),
    "adamw wide": dict(optimizer=ADAMW, beta1=0.8, beta2=0.95, epsilon=1e-2, weight_decay=0.1,
                       decay_all=1, clip_norm=2.0, ema=0.9),
    "lars": dict(optimizer=LARS, momentum=0.9, weight_decay=0.05, trust=0.02),
    "lars clip": dict(optimizer=LARS, momentum=0.5, weight_decay=0.01, trust=0.1, decay_all=1,
                      clip_norm=3.5),
    "sgd lookahead": dict(momentum=0.9, nesterov=1, weight_decay=0.05, lookahead=3,
                          lookahead_decay=0.8),
    "adamw lookahead ema": dict(optimizer=ADAMW, beta1=0.9, beta2=0.99, epsilon=1e-8,
                                weight_decay=0.01, lookahead=4, lookahead_decay=0.5, ema=0.9),
    "sgd factor": dict(momentum=0.85, nesterov=1, weight_decay=0.05, decay_all=1, lr_factor=16),
    "sgd decoupled factor": dict(momentum=0.9, weight_decay=0.05, decoupled=1, lr_factor=0.25),
    "sgd frozen": dict(momentum=0.9, weight_decay=0.05, decay_all=1, trained_epochs=1.5),
}


def torch_optimizer(case, tensors):
    """PyTorch's optimiser with one parameter group for each tensor."""
    decay = case.get("weight_decay", 0)
    groups = [dict(params=[t], weight_decay=decay if case.get("decay_all") or not bias else 0,
                   factor=1, frozen_at=STEPS) for t, (_, _, bias) in zip(tensors, TENSORS)]
    groups[1]["frozen_at"] = EPOCH * case.get("trained_epochs", STEPS)
    groups[2]["factor"] = case.get("lr_factor", 1)
    groups[2]["weight_decay"] /= groups[2]["factor"]
    if case.get("optimizer", SGD) == ADAMW:
        return torch.optim.AdamW(groups, lr=1, betas=(case["beta1"], case["beta2"]),
                                 eps=case["epsilon"])
    if case.get("decoupled"):
        for group in groups:
            group["decoupled"], group["weight_decay"] = group["weight_decay"], 0
    return torch.optim.SGD(groups, lr=1, momentum=case.get("momentum", 0),
                           nesterov=bool(case.get("nesterov", 0)))


def torch_states(optimizer, tensors):
    names = ("exp_avg", "exp_avg_sq") if isinstance(optimizer, torch.optim.AdamW) else (
        "momentum_buffer",)
    return [[optimizer.state[t].get(n) for t in tensors] for n in names]


def lookahead(case, done, tensors, slow):
    """As airbench94 does: the slow average moves towards the weights, which then are set to it."""
    if done % case["lookahead"] == 0 or done == STEPS:
        decay = case["lookahead_decay"] * (done / STEPS) ** 3
        for t, s in zip(tensors, slow):
            s.lerp_(t.detach(), 1 - decay)
            t.data.copy_(s)


def run_torch(case, start, grads, rates):
    tensors = [torch.nn.Parameter(torch.tensor(s)) for s in start]
    optimizer = torch_optimizer(case, tensors)
    slow = [t.detach().clone() for t in tensors]
    for step, (grad, rate) in enumerate(zip(grads, rates)):
        for t, g in zip(tensors, grad):
            t.grad = torch.tensor(g)
        if case.get("clip_norm"):
            torch.nn.utils.clip_grad_norm_(tensors, case["clip_norm"])
        for group in optimizer.param_groups:
            lr = group["lr"] = rate * group["factor"]
            for t in group["params"]:
                if step >= group["frozen_at"]:
                    t.grad = None  # PyTorch then leaves weight and momentum alone
                else:
                    t.data.mul_(1 - lr * group.get("decoupled", 0))
        optimizer.step()
        if case.get("lookahead"):
            lookahead(case, step + 1, tensors, slow)
        states = torch_states(optimizer, tensors) + ([slow] if case.get("lookahead") else [])
        yield [t.detach().numpy().copy() for t in tensors], [
            [np.zeros(0) if s is None else s.numpy().copy() for s in state] for state in states]


def run_lars(case, start, grads, rates):
    w = [s.copy() for s in start]
    v = [np.zeros_like(s) for s in start]
    for grad, lr in zip(grads, rates):
        norm = np.sqrt(sum((g * g).sum() for g in grad))
        clip = case.get("clip_norm", 0)
        scale = min(1, clip / (norm + 1e-6)) if clip else 1
        for i, (_, _, bias) in enumerate(TENSORS):
            g = grad[i] * scale
            decay = case["weight_decay"] if case.get("decay_all") or not bias else 0
            w_norm, g_norm = np.linalg.norm(w[i]), np.linalg.norm(g)
            local = 1
            if not bias and w_norm > 0 and g_norm > 0:
                local = case["trust"] * w_norm / (g_norm + decay * w_norm)
            v[i] = case["momentum"] * v[i] + lr * local * (g + decay * w[i])
            w[i] = w[i] - v[i]
        yield [x.copy() for x in w], [[x.copy() for x in v]]


def flat(tensors):
    return np.concatenate([t.reshape(-1) for t in tensors])


def main(path):
    rng = np.random.default_rng(1)
    # Values that float32 holds exactly: both sides start from the same numbers.
    def draw(shape, scale):
        return (rng.standard_normal(shape) * scale).astype(np.float32).astype(np.float64)

    start = [draw(shape, 0.7) for _, shape, _ in TENSORS]
    start[-1][:] = 0
    grads = [[draw(shape, 0.4 + 0.1 * step) for _, shape, _ in TENSORS] for step in range(STEPS)]
    rates = [0.1 * (1 - 0.05 * step) for step in range(STEPS)]
    n = flat(start).size
    weights = np.zeros((len(CASES), STEPS, n))
    states = np.zeros((len(CASES), 4, n))  # after the last step, in the order update.h has them
    configs = np.array([[float(case.get(f, 0)) for f in FIELDS] for case in CASES.values()])
    for c, case in enumerate(CASES.values()):
        run = run_lars if case.get("optimizer") == LARS else run_torch
        ema = flat(start)
        for step, (w, state) in enumerate(run(case, start, grads, rates)):
            weights[c, step] = flat(w)
            ema = case.get("ema", 0) * ema + (1 - case.get("ema", 0)) * flat(w)
        if "momentum" in case or case.get("optimizer"):  # PyTorch has no buffer without momentum
            for i, s in enumerate(state):
                states[c, i] = flat(s)
        if case.get("ema"):
            states[c, len(state)] = ema
    with h5py.File(path, "w") as file:
        file["start"] = flat(start)
        file["grads"] = np.stack([flat(g) for g in grads])
        file["rates"] = np.array(rates)
        file["norms"] = np.array([np.linalg.norm(flat(g)) for g in grads])
        file["configs"] = configs
        file["weights"] = weights
        file["states"] = states
        file.attrs.create("cases", list(CASES), dtype=h5py.string_dtype())
        file.attrs.create("fields", FIELDS, dtype=h5py.string_dtype())
        file.attrs["made_by"] = "torch " + torch.__version__


if __name__ == "__main__":
    main(sys.argv[1])

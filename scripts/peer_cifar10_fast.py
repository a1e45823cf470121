#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""cifar10_fast in PyTorch: the same network, data, transforms, optimiser and schedule.

usage: peer_cifar10_fast.py DATA.h5 [--recipe FILE] [--epochs E] [--seed S] [--processes P]
                            [--threads T] [--bf16] [--steps N] [--tta]

Prints a JSON line per epoch: seconds since the first step (tests included, as sw2-train counts),
test accuracy; and at the end the accuracy with averaged views (as sw2-eval --tta shift). The recipe
is read from models/recipes/cifar10_fast.yaml; written after K. Jordan's airbench94. P processes
are DDP over gloo, each with its share of the global batch; T threads each. Tensors are
channels_last. Batch norm is over a process's batch, as PyTorch users have it. --steps N: so many
steps, then their speed, no test. Needs Debian's python3-torch, python3-h5py, python3-yaml.
"""
import argparse
import json
import math
import os
import time

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

from peer_accuracy import channel_statistics, read_side
from recipe_torch import GhostBatchNorm, Network, read_recipe

RECIPE = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      "../models/recipes/cifar10_fast.yaml")
PAD = 2


def images_load(path, side, statistics=None):
    images, labels, attrs = read_side(path, side)
    mean, std = statistics or channel_statistics(images, attrs)
    x = (images.float() / 255 - mean.float()) / std.float()
    return x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last), labels, (mean, std)


def whiten_init(layer, images):
    """Eigenvectors of the patches' second moments over the root of their values, both signs."""
    c, side = images.shape[1], layer.kernel_size[0]
    patches = images.unfold(2, side, 1).unfold(3, side, 1)
    flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, c * side * side).double()
    values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
    filters = (vectors / torch.sqrt(values + layer.eps)).T.flip(0)
    filters = filters.reshape(-1, c, side, side).float()
    layer.weight.data[:] = torch.cat([filters, -filters])
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def network_make(recipe, images):
    network = Network(recipe, (32, 32, 3))
    for module in network.modules():
        if hasattr(module, "bias_epochs"):
            whiten_init(module, images[:: max(1, len(images) // 1350)])
        elif getattr(module, "init", None) == "dirac":
            nn.init.dirac_(module.weight.data[:module.weight.shape[1]])
    return network.to(memory_format=torch.channels_last)


def groups_make(network, train):
    """Norm biases have their own rate, and so a decay that a step multiplies back."""
    groups = []
    for module in network.modules():
        factor = module.bias_lr if isinstance(module, GhostBatchNorm) else 1
        decay = train["weight_decay"] / factor
        params = [p for p in module.parameters(recurse=False) if p.requires_grad]
        if params:
            groups.append({"params": params, "factor": factor, "weight_decay": decay})
    return groups


def rate_of(train, step, steps):
    peak = train["rise"] * steps
    if step < peak:
        return train["lr"] * (train["start_lr"] + (1 - train["start_lr"]) * step / peak)
    return train["lr"] * (1 + (train["final_lr"] - 1) * (step - peak) / (steps - peak))


class Lookahead:
    def __init__(self, network, every, decay):
        self.tensors = [t for t in network.state_dict().values() if t.is_floating_point()]
        self.slow = [t.clone() for t in self.tensors]
        self.every, self.decay = every, decay

    def step(self, done, steps):
        if done % self.every and done != steps:
            return
        rest = 1 - self.decay * (done / steps) ** 3
        for slow, fast in zip(self.slow, self.tensors):
            slow.lerp_(fast, rest)
            fast.copy_(slow)


class Batches:
    """Rows of this process, cropped from mirrored borders, flipped in every second epoch."""

    def __init__(self, images, labels, seed, processes, rank):
        self.padded = F.pad(images, (PAD,) * 4, "reflect")
        self.labels, self.processes, self.rank = labels, processes, rank
        self.generator = torch.Generator().manual_seed(seed)
        self.first_flip = torch.rand(len(images), generator=self.generator) < 0.5

    def epoch(self, number, batch):
        n = len(self.labels)
        order = torch.randperm(n, generator=self.generator)
        shifts = torch.randint(0, 2 * PAD + 1, (n, 2), generator=self.generator)
        share = batch // self.processes
        for start in range(0, n - batch + 1, batch):
            first = start + self.rank * share
            rows = order[first:first + share]
            x = torch.empty(share, 3, 32, 32).to(memory_format=torch.channels_last)
            flips = self.first_flip[rows] ^ (number % 2 == 1)
            for top in range(2 * PAD + 1):
                for left in range(2 * PAD + 1):
                    chosen = (shifts[rows] == torch.tensor([top, left])).all(1)
                    x[chosen] = self.padded[rows[chosen], :, top:top + 32, left:left + 32]
            x[flips] = x[flips].flip(3)
            yield x, self.labels[rows]


@torch.no_grad()
def evaluate(network, images, labels, bf16, is_averaged=False):
    def logits_of(x):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return network(x).float()

    def both(x):
        return (logits_of(x) + logits_of(x.flip(3))) / 2

    network.eval()
    right = 0
    for i in range(0, len(images), 500):
        x = images[i:i + 500]
        if is_averaged:
            wide = F.pad(x, (1,) * 4, "reflect")
            moved = both(wide[:, :, :32, :32].contiguous(memory_format=torch.channels_last)) + both(
                wide[:, :, 2:, 2:].contiguous(memory_format=torch.channels_last))
            logits = both(x) / 2 + moved / 4
        else:
            logits = logits_of(x)
        right += int((logits.argmax(1) == labels[i:i + 500]).sum())
    network.train()
    return right / len(images)


def show(rank, **values):
    if rank == 0:
        print(json.dumps({"peer": "torch " + torch.__version__, **values}), flush=True)


def train(args, recipe, rank):
    options = recipe["train"]
    epochs, batch = args.epochs or options["epochs"], options["batch"]
    images, labels, statistics = images_load(args.data, "train")
    test_images, test_labels, _ = images_load(args.data, "test", statistics)
    torch.manual_seed(args.seed)
    network = network_make(recipe, images)
    whitening = [m for m in network.modules() if hasattr(m, "bias_epochs")]
    optimizer = torch.optim.SGD(groups_make(network, options), lr=1, nesterov=options["nesterov"],
                                momentum=options["momentum"])
    lookahead = Lookahead(network, options["lookahead"], options.get("lookahead_decay", 0.774))
    model = network
    if args.processes > 1:
        model = nn.parallel.DistributedDataParallel(network, broadcast_buffers=False,
                                                    find_unused_parameters=False)
    batches = Batches(images, labels, args.seed, args.processes, rank)
    smoothing = recipe["loss"]["softmax"].get("label_smoothing", 0.0)
    per_epoch, done = len(images) // batch, 0
    steps, start = epochs * per_epoch, time.perf_counter()
    for epoch in range(epochs):
        frozen = [m.bias for m in whitening
                  if m.bias is not None and 0 < m.bias_epochs <= epoch]
        for x, y in batches.epoch(epoch, batch):
            for group in optimizer.param_groups:
                group["lr"] = rate_of(options, done, steps) * group["factor"]
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                logits = model(x)
            loss = F.cross_entropy(logits.float(), y, label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            for bias in frozen:
                bias.grad = None
            optimizer.step()
            done += 1
            lookahead.step(done, steps)
            if done == args.steps:
                break
        seconds = time.perf_counter() - start
        if done == args.steps:
            show(rank, steps=done, images_per_s=round(done * batch / seconds, 1))
            return
        accuracy = evaluate(network, test_images, test_labels, args.bf16) if rank == 0 else 0
        show(rank, seed=args.seed, epoch=epoch + 1, test_accuracy=accuracy,
             seconds=round(time.perf_counter() - start, 1))
    if args.tta and rank == 0:
        show(rank, seed=args.seed, tta="shift", test_accuracy=evaluate(
            network, test_images, test_labels, args.bf16, is_averaged=True))


def worker(rank, args, recipe):
    torch.set_num_threads(args.threads)
    if args.processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port))
        dist.init_process_group("gloo", rank=rank, world_size=args.processes)
    train(args, recipe, rank)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=-1)
    parser.add_argument("--port", type=int, default=29511)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--tta", action="store_true")
    args = parser.parse_args()
    recipe = read_recipe(args.recipe)
    assert math.isclose(recipe["train"]["batch"] % args.processes, 0)
    if args.processes > 1:
        torch.multiprocessing.spawn(worker, (args, recipe), args.processes)
    else:
        worker(0, args, recipe)


if __name__ == "__main__":
    main()

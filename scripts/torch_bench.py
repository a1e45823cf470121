#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Training-step throughput of PyTorch on CPU, to stand beside sw2-train in the same run.

usage: torch_bench.py [--threads T] [--processes P] [--precision fp32|bf16] [NETWORK...]
networks: smallcnn (1x28x28, batch 64), resnet20, resnet20w64 (3x32x32, batch 128 / 64), resnet18,
resnet50 (3x224x224, batch 16)
Random data, channels_last, SGD with momentum; the global batch is split over P gloo DDP processes.
The allocator is told to keep its pages, which PyTorch profits from (fair to the peer).
Prints one JSON line a network: median and best images/s over 5 rounds.
"""
import argparse
import json
import os
import statistics
import sys
import time

if os.environ.setdefault("MALLOC_MMAP_MAX_", "0") and "MALLOC_TOP_PAD_" not in os.environ:
    os.environ.update(MALLOC_TRIM_THRESHOLD_="4294967296", MALLOC_TOP_PAD_="268435456",
                      OPENBLAS_NUM_THREADS="1")
    os.execv(sys.executable, [sys.executable] + sys.argv)

import torch
import torch.nn as nn
import torch.nn.functional as F


def smallcnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10))


class Block(nn.Module):
    def __init__(self, c, k, stride):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(c, k, 3, stride, 1, bias=False), nn.BatchNorm2d(k)
        self.c2, self.b2 = nn.Conv2d(k, k, 3, 1, 1, bias=False), nn.BatchNorm2d(k)
        self.short = nn.Identity()
        if stride != 1 or c != k:
            self.short = nn.Sequential(nn.Conv2d(c, k, 1, stride, bias=False), nn.BatchNorm2d(k))

    def forward(self, x):
        y = F.relu(self.b1(self.c1(x)))
        return F.relu(self.b2(self.c2(y)) + self.short(x))


def resnet20(width=16):
    stem = nn.Conv2d(3, width, 3, 1, 1, bias=False)
    layers, c = [stem, nn.BatchNorm2d(width), nn.ReLU()], width
    for k, first in ((width, 1), (2 * width, 2), (4 * width, 2)):
        for i in range(3):
            layers.append(Block(c, k, first if i == 0 else 1))
            c = k
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


def network(name):
    """-> (module, input shape with the global batch, classes, steps a round)"""
    if name in ("resnet18", "resnet50"):
        import torchvision
        return getattr(torchvision.models, name)(), (16, 3, 224, 224), 1000, 1
    make, shape, steps = {
        "smallcnn": (smallcnn, (64, 1, 28, 28), 50),
        "resnet20": (resnet20, (128, 3, 32, 32), 5),
        "resnet20w64": (lambda: resnet20(64), (64, 3, 32, 32), 2),
    }[name]
    return make(), shape, 10, steps


def work(rank, args):
    torch.set_num_threads(args.threads)
    if args.processes > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29577")
        torch.distributed.init_process_group("gloo", rank=rank, world_size=args.processes)
    for name in args.networks:
        net, shape, classes, steps = network(name)
        net = net.to(memory_format=torch.channels_last)
        if args.processes > 1:
            net = nn.parallel.DistributedDataParallel(net)
        n = shape[0] // args.processes
        x = torch.randn(n, *shape[1:]).to(memory_format=torch.channels_last)
        y = torch.randint(0, classes, (n,))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        is_bf16 = args.precision == "bf16"
        rates = []
        for _ in range(6):
            start = time.perf_counter()
            for _ in range(steps):
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16):
                    loss = F.cross_entropy(net(x), y)
                loss.backward()
                optimizer.step()
            rates.append(n * args.processes * steps / (time.perf_counter() - start))
        if rank == 0:
            print(json.dumps({
                "peer": "torch " + torch.__version__, "network": name, "batch": shape[0],
                "threads": args.threads, "processes": args.processes,
                "precision": args.precision,
                "median_images_per_s": round(statistics.median(rates[1:]), 1),
                "best_images_per_s": round(max(rates[1:]), 1)}), flush=True)


def main():
    networks = ["smallcnn", "resnet20", "resnet20w64", "resnet18"]
    p = argparse.ArgumentParser()
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--processes", type=int, default=1)
    p.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    p.add_argument("networks", nargs="*", default=networks)
    args = p.parse_args()
    args.networks = args.networks or networks
    if args.processes > 1:
        torch.multiprocessing.spawn(work, args=(args,), nprocs=args.processes)
    else:
        work(0, args)


if __name__ == "__main__":
    main()

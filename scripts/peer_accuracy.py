#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What accuracy does PyTorch reach with one of our recipes? Prints a JSON line per epoch.

usage: peer_accuracy.py RECIPE DATA.h5 [--epochs E] [--seed S] [--threads T] [--grain M] [--limit N]

RECIPE gives network, transforms, optimiser (SGD) and schedule; DATA.h5 is what `sw2-data import`
wrote (groups train and test). For the bar of ResNet-20 on the JPEG CIFAR-10:

    sw2-data import --out cifar10_jpeg.h5 ...       (see README)
    scripts/peer_accuracy.py models/recipes/cifar10.yaml cifar10_jpeg.h5 --seed 1 --threads 2

--grain M: batch norm over runs of M samples, as sw2-train does it (default: over the whole batch,
as a PyTorch user would). --limit N: the first N training rows only. Needs Debian's python3-torch,
python3-h5py, python3-yaml.
"""
import argparse
import json
import math
import time

import h5py
import torch
import torch.nn.functional as F

from recipe_torch import Network, init_he, read_recipe


def read_side(path, side, limit=None):
    with h5py.File(path) as file:
        group = file[side]
        images = torch.from_numpy(group["images"][:limit])  # N,H,W,C uint8
        labels = torch.from_numpy(group["labels"][:limit].astype("int64")).flatten()
        return images, labels, dict(group.attrs)


def channel_statistics(images, attrs):
    """mean and std of the inputs scaled to 0..1, as import stores them."""
    if "mean" in attrs and "std" in attrs:
        return torch.tensor(attrs["mean"]), torch.tensor(attrs["std"])
    flat = images.reshape(-1, images.shape[-1]).double() / 255
    return flat.mean(0), flat.std(0, unbiased=False)


def flip(x, generator):
    chosen = torch.rand(len(x), generator=generator) < 0.5
    x[chosen] = x[chosen].flip(3)
    return x


def crop(x, pad, generator):
    """Zero-pads by `pad`, then cuts the old size out at a random place of each image."""
    n, _, h, w = x.shape
    padded = F.pad(x, (pad, pad, pad, pad))
    top, left = torch.randint(0, 2 * pad + 1, (2, n), generator=generator)
    r = (top[:, None] + torch.arange(h))[:, :, None]
    s = (left[:, None] + torch.arange(w))[:, None, :]
    return padded.permute(0, 2, 3, 1)[torch.arange(n)[:, None, None], r, s].permute(0, 3, 1, 2)


def cutout(x, size, generator):
    """A square of zeros around a random centre (DeVries and Taylor 2017)."""
    n, _, h, w = x.shape
    y0 = torch.randint(0, h, (n, 1, 1, 1), generator=generator) - size // 2
    x0 = torch.randint(0, w, (n, 1, 1, 1), generator=generator) - size // 2
    r, s = torch.arange(h)[None, None, :, None], torch.arange(w)[None, None, None, :]
    return x * ~((r >= y0) & (r < y0 + size) & (s >= x0) & (s < x0 + size))


def transform(images, steps, statistics, generator):
    """uint8 NHWC rows -> float NCHW. generator None: evaluation, random steps are left out."""
    x = images.permute(0, 3, 1, 2).float() / 255
    for step in steps:
        (name, options), = step.items()
        options = options or {}
        if name == "normalize":
            mean, std = (v.float()[:, None, None] for v in statistics)
            x = (x - mean) / std
        elif name in ("flip", "crop", "cutout"):
            if generator is not None:
                x = globals()[name](x, generator=generator, **options)
        elif name != "scale":
            raise SystemExit(f"peer_accuracy.py: transform '{name}' is not known here")
    return x.contiguous(memory_format=torch.channels_last)


def learning_rate(train, step, per_epoch, steps):
    """The schedules of trainer/schedules.h that our recipes use; a pure function of the step."""
    lr, warmup = train.get("lr", 0.1), round(train.get("warmup", 0) * per_epoch)
    schedule = train.get("schedule", "constant")
    after = max(0, step - warmup)
    if schedule == "cosine":
        final = train.get("final_lr", 0)
        cosine = (1 + math.cos(math.pi * after / max(1, steps - warmup))) / 2
        lr *= final + (1 - final) * cosine
    elif schedule == "multistep":
        lr *= train.get("lr_gamma", 0.1) ** sum(step >= m * per_epoch for m in train["milestones"])
    elif schedule != "constant":
        raise SystemExit(f"peer_accuracy.py: schedule '{schedule}' is not known here")
    return lr * (step + 1) / (warmup + 1) if step < warmup else lr


def make_optimizer(network, train):
    if train.get("optimizer", "sgd") != "sgd":
        raise SystemExit("peer_accuracy.py: only sgd is known here")
    # Biases and norms are not decayed, frozen filters not trained.
    decayed = [p for p in network.parameters() if p.dim() > 1 and p.requires_grad]
    others = [p for p in network.parameters() if p.dim() <= 1]
    return torch.optim.SGD([{"params": decayed, "weight_decay": train.get("weight_decay", 0)},
                            {"params": others, "weight_decay": 0}], lr=train.get("lr", 0.1),
                           momentum=train.get("momentum", 0), nesterov=train.get("nesterov", False))


@torch.no_grad()
def evaluate(network, images, labels, prepare):
    network.eval()
    right = 0
    for i in range(0, len(images), 500):
        logits = network(prepare(images[i:i + 500], None))
        right += int((logits.argmax(1) == labels[i:i + 500]).sum())
    network.train()
    return right / len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--grain", type=int, default=0)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)

    recipe = read_recipe(args.recipe)
    train, steps_list = recipe["train"], recipe["data"].get("transforms", [{"normalize": None}])
    epochs, batch = args.epochs or train["epochs"], train["batch"]
    images, labels, attrs = read_side(args.data, "train", args.limit)
    test_images, test_labels, _ = read_side(args.data, "test", args.limit)
    statistics = channel_statistics(images, attrs)

    def prepare(part, source):
        return transform(part, steps_list, statistics, source)

    network = Network(recipe, images.shape[1:])
    init_he(network)
    network.set_grain(args.grain)
    network = network.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, train)
    smoothing = (recipe["loss"].get("softmax") or {}).get("label_smoothing", 0.0)
    per_epoch = len(images) // batch
    for epoch in range(epochs):
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(images), generator=generator)
        for i in range(per_epoch):
            rate = learning_rate(train, epoch * per_epoch + i, per_epoch, epochs * per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            chosen = order[i * batch:(i + 1) * batch]
            logits = network(prepare(images[chosen], generator))
            loss = F.cross_entropy(logits, labels[chosen], label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss)
        seconds = time.perf_counter() - start
        print(json.dumps({"peer": "torch " + torch.__version__, "recipe": recipe["name"],
                          "seed": args.seed, "grain": args.grain, "epoch": epoch + 1,
                          "train_loss": round(total / per_epoch, 5),
                          "test_accuracy": evaluate(network, test_images, test_labels, prepare),
                          "images_per_s": round(per_epoch * batch / seconds, 1)}), flush=True)


if __name__ == "__main__":
    main()

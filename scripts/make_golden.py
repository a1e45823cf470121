#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Golden values for tests/test_golden_layers.c and tests/test_golden_networks.c, from PyTorch.

usage: make_golden.py FOLDER          (FOLDER: tests/golden; writes layers.h5 and networks.h5)

Everything is computed in float64 and stored as float32, in our layouts: inputs N,H,W,C; conv
weights R,S,C/groups,K; dense weights C,K. Inputs and weights are float32 numbers to begin with, so
both sides start from the same bits. Needs Debian's python3-torch, python3-h5py, python3-yaml.

layers.h5, a group per case, with the attributes
  recipe   YAML of features, head, loss     n, input   samples, and h, w, c of one
  params   lines "conv1/weight 3x3x2x8"     loss       mean over the samples
and the data sets x, target, y (logits in training), y_eval (with running statistics and no dropout,
where that is not y), dx, params and grads (all of them one after another in the order of the
lines). For a running statistic grads holds its value after the step.

networks.h5, a group per recipe: see networks_write().
"""
import os
import sys

import h5py
import numpy
import torch
import torch.nn.functional as F
import yaml

from golden_cases import LAYER_CASES, NETWORK_CASES
from golden_random import philox_uniform, uniform
from recipe_torch import GhostBatchNorm, Network, layout_ours, layout_torch, read_recipe

RECIPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../models/recipes")
torch.set_default_dtype(torch.float64)


class GoldenDropout(torch.nn.Module):
    """Dropout with sw2's counter-based mask (models/layers/dropout.c), for rows 0..n-1."""

    def __init__(self, p, index):
        super().__init__()
        self.p, self.index = p, index

    def forward(self, x):
        if not self.training:
            return x
        n, c, h, w = x.shape
        u = philox_uniform(n, h * w * c, self.index)
        kept = torch.from_numpy(u >= numpy.float32(self.p)).view(n, h, w, c).permute(0, 3, 1, 2)
        return x * kept / (1 - self.p)


def network_make(recipe, shape):
    network = Network(recipe, shape, torch.float64)
    index = {name: i for i, (name, _, _) in enumerate(network.nodes)}
    for name, kind, _ in network.nodes:
        if kind == "dropout":
            network.layers[name] = GoldenDropout(network.layers[name].p, index[name])
    return network


def loss_mean(recipe, logits, target):
    """Mean over the samples of the recipe's loss."""
    (kind, options), = recipe["loss"].items()
    options = options or {}
    if kind == "mse":
        if not target.is_floating_point():
            target = F.one_hot(target[:, 0], logits.shape[1]).to(logits.dtype)
        return F.mse_loss(logits, target.view(logits.shape))
    weights = options.get("class_weights")
    weights = None if weights is None else torch.tensor(weights, dtype=logits.dtype)
    total = F.cross_entropy(logits, target[:, 0], weights, reduction="sum",
                            label_smoothing=options.get("label_smoothing", 0.0))
    return total / len(logits)


def flat(tensors):
    parts = [layout_ours(t.detach()).flatten() for t in tensors]
    return torch.cat(parts) if parts else torch.zeros(0)


def random_params(network, generator):
    """Weights of size 1 / sqrt(fan in), norms around 1, running statistics not at their start."""
    with torch.no_grad():
        for name, value in network.named_tensors():
            if name.startswith("filterbank"):
                continue  # known filters
            noise = torch.randn(value.shape, generator=generator)
            if value.dim() > 1:
                value.copy_(noise / value[0].numel() ** 0.5)
            elif name.endswith(("/running_var", "norm1/weight", "norm2/weight")):
                value.copy_(1 + 0.25 * noise.clamp(-2, 2))
            else:
                value.copy_(0.25 * noise)
            value.copy_(value.float())  # float32 numbers


def case_target(case, recipe, logits, generator):
    if "classes" in case:
        return torch.randint(0, logits.shape[1], (len(logits), 1), generator=generator)
    return torch.randn(logits.shape, generator=generator).float().double()


def case_write(file, number, name, case):
    generator = torch.Generator().manual_seed(1000 + number)
    recipe = yaml.safe_load(case["recipe"])
    recipe.setdefault("loss", {"mse": {}})
    n, (h, w, c) = case.get("n", 4), case["input"]
    network = network_make(recipe, (h, w, c))
    random_params(network, generator)
    x = torch.randn((n, h, w, c), generator=generator).float().double()
    values = x.permute(0, 3, 1, 2).contiguous().requires_grad_(True)
    with torch.no_grad():
        y_eval = network.eval()(values)
    before = flat(value for _, value in network.named_tensors())
    y = network.train()(values)
    target = case_target(case, recipe, y, generator)
    loss = loss_mean(recipe, y, target)
    loss.backward()
    grads = [value.grad if value.requires_grad else
             value if value.dim() == 1 else torch.zeros_like(value)
             for _, value in network.named_tensors()]

    group = file.create_group(f"{number:02d}_{name}")
    group.attrs["recipe"] = yaml.safe_dump(recipe, default_flow_style=None, width=1000,
                                           sort_keys=False)
    lines = [f"{key} {'x'.join(map(str, layout_ours(value).shape))}"
             for key, value in network.named_tensors()]
    group.attrs["params"] = "\n".join(lines)
    group.attrs["n"] = numpy.int64(n)
    group.attrs["input"] = numpy.array([h, w, c], dtype="int64")
    group.attrs["classes"] = numpy.int64(y.shape[1] if "classes" in case else 0)
    group.attrs["loss"] = float(loss)
    kind = "int32" if "classes" in case else "float32"
    group["target"] = target.numpy().reshape(n, -1).astype(kind)
    data = {"x": x, "y": y, "params": before, "grads": flat(grads),
            "dx": values.grad.permute(0, 2, 3, 1)}
    if not torch.equal(y, y_eval):
        data["y_eval"] = y_eval
    for key, value in data.items():
        group[key] = value.detach().numpy().astype("float32")


def formula_params(network, recipe_name):
    """Weights both sides compute: see golden_random.uniform and tests/test_golden_networks.c."""
    with torch.no_grad():
        for name, value in network.named_tensors():
            ours = layout_ours(value)
            shape, count = ours.shape, ours.numel()
            u = 2 * uniform(f"{recipe_name}/{name}", count) - 1
            if len(shape) > 1:
                made = u * numpy.sqrt(6.0 * shape[-1] / count)  # He: 6 / fan in
            elif name.endswith("/running_mean"):
                made = 0 * u
            elif name.endswith("/running_var"):
                made = 0 * u + 1
            elif name.startswith("batchnorm") and name.endswith("/weight"):
                made = 1 + 0.25 * u
            else:
                made = 0.25 * u
            made = torch.from_numpy(made.astype("float32")).view(shape)
            value.copy_(layout_torch(made))


def formula_batches(recipe_name, count, n, shape, classes):
    """Images that carry their label as a fixed pattern under noise."""
    h, w, c = shape
    pattern = uniform(f"{recipe_name}/pattern", classes * h * w * c).reshape(classes, h, w, c)
    batches = []
    for i in range(count):
        labels = (uniform(f"{recipe_name}/labels{i}", n) * classes).astype("int64")
        noise = uniform(f"{recipe_name}/noise{i}", n * h * w * c).reshape(n, h, w, c)
        x = (pattern[labels] + 0.5 * noise - 0.75).astype("float32")
        batches.append((torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(),
                        torch.from_numpy(labels)[:, None]))
    return batches


def curve(case, recipe, dtype=torch.float64, jitter_seed=None):
    """Losses of all steps and the final tensors. jitter_seed: all activations, their gradients and
    the new weights are moved by up to one part in 2^24, as rounding to float32 would."""
    network = Network(recipe, case["input"], dtype)
    formula_params(network, case["name"])
    network.set_grain(case["n"] // case["grains"])
    batches = formula_batches(case["name"], case["batches"], case["n"], case["input"],
                              case["classes"])
    trained = [p for p in network.parameters() if p.requires_grad]
    moved = [torch.zeros_like(p) for p in trained]
    generator = torch.Generator().manual_seed(jitter_seed or 0)

    def jitter(values):
        return values * (1 + (2 * torch.rand(values.shape, generator=generator) - 1) * 2.0 ** -24)

    if jitter_seed is not None:
        for layer in network.layers.values():
            layer.register_forward_hook(lambda module, x, y: jitter(y))
    losses = []
    for step in range(case["steps"]):
        x, target = batches[step % case["batches"]]
        network.zero_grad()
        loss = loss_mean(recipe, network(x.to(dtype)), target)
        loss.backward()
        losses.append(float(loss))
        with torch.no_grad():
            for p, v in zip(trained, moved):
                v.mul_(case["momentum"]).add_(p.grad)
                p.sub_(case["lr"] * v)
                if jitter_seed is not None:
                    p.copy_(jitter(p))
    finals = [(name, layout_ours(v.detach()).double().flatten()) for name, v in
              network.named_tensors()]
    return numpy.array(losses), finals


def samples_of(tensor):
    """Eight elements spread evenly."""
    count = tensor.numel()
    return torch.stack([tensor[i * count // 8] for i in range(8)]).numpy()


def networks_write(file, case):
    """A curve of losses with SGD (momentum, constant rate), weights and batches by formula.

    attributes recipe (features, head, loss), n, grains, steps, batches, lr, momentum, input,
    classes, params (names); data sets losses (steps); norms (params) = L2 norms and samples
    (params, 8) = elements i * count / 8 of the final tensors, running statistics included.
    spread_losses (relative) and spread_tensors (relative to the tensor's largest) are the largest
    deviations seen when everything is rounded as float32 is: one run of PyTorch in float32, twelve
    in float64 with jitter. The tests' tolerances are multiples of them.
    """
    recipe = read_recipe(os.path.join(RECIPES, case["name"] + ".yaml"))
    recipe = {key: recipe[key] for key in ("features", "head", "loss") if key in recipe}
    losses, finals = curve(case, recipe)
    others = [curve(case, recipe, torch.float32)] + [curve(case, recipe, jitter_seed=s)
                                                     for s in range(1, 13)]
    spread = numpy.max([abs(o[0] - losses) / abs(losses) for o in others], axis=0)
    tensors = numpy.max([[float((a - b).abs().max() / a.abs().max()) for (_, a), (_, b)
                          in zip(finals, o[1])] for o in others], axis=0)
    group = file.create_group(case["name"])
    group.attrs["recipe"] = yaml.safe_dump(recipe, default_flow_style=None, width=1000,
                                           sort_keys=False)
    group.attrs["params"] = "\n".join(name for name, _ in finals)
    for key in ("n", "grains", "steps", "batches", "classes"):
        group.attrs[key] = numpy.int64(case[key])
    group.attrs["input"] = numpy.array(case["input"], dtype="int64")
    for key in ("lr", "momentum"):
        group.attrs[key] = float(case[key])
    group["losses"], group["spread_losses"] = losses, numpy.maximum.accumulate(spread)
    group["norms"] = numpy.array([float(v.norm()) for _, v in finals])
    group["samples"] = numpy.stack([samples_of(v) for _, v in finals])
    group["largest"] = numpy.array([float(v.abs().max()) for _, v in finals])
    group["spread_tensors"] = tensors
    print(f"{case['name']}: loss {losses[0]:.4f} to {losses[-1]:.4f}, spread of losses "
          f"{spread.max():.1e}, of final tensors {tensors.max():.1e}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.split("\n\n")[1])
    folder = sys.argv[1]
    with h5py.File(os.path.join(folder, "layers.h5"), "w", libver="latest") as file:
        for number, (name, case) in enumerate(LAYER_CASES.items(), 1):
            case_write(file, number, name, case)
    with h5py.File(os.path.join(folder, "networks.h5"), "w", libver="latest") as file:
        for case in NETWORK_CASES:
            networks_write(file, case)
    for name in ("layers.h5", "networks.h5"):
        print(name, os.path.getsize(os.path.join(folder, name)), "bytes")


if __name__ == "__main__":
    main()

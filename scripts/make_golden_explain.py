#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden values for tests/test_explain.c, from PyTorch and Captum.

usage: make_golden_explain.py FOLDER          (FOLDER: tests/golden; writes explain.h5)

Needs captum (made with 0.7.0 on torch 1.13) beside what make_golden.py needs:
    python3 -m venv --system-site-packages venv && venv/bin/pip install captum==0.7.0

Everything is computed in float64 and stored as float32, in our layouts. A group per network with
the attributes recipe, input (h, w, c), classes, target, kept (the layer that is inferred), layer
(another one) and the data sets params (one after another), x (h, w, c), y, baseline, and

  layers/NAME/{y,dy}          of every layer: its output, the gradient of the score (hooks)
  gradient, gradxinput        Saliency(abs=False), InputXGradient
  integrated, integrated_middle, integrated_baseline
                              IntegratedGradients, 20 steps; the last from `baseline`
  smoothgrad                  NoiseTunnel of Saliency(abs=False), 6 samples, noise 0.15, with our
                              counter-based numbers in place of torch.normal's
  occlusion, occlusion_baseline  Occlusion, window 3 and stride 2; window 4, stride 3, baseline
  gradcam, gradcam_layer      LayerGradCam of `kept` and of `layer`
  gradcam_map                 its ReLU, resampled by interpolate(bilinear)
  gradcampp                   by the formulas of Chattopadhay et al. 2018 (Captum has none)
  masks, drops                random sets of positions (Philox), and what hiding them takes away
  infidelity, sensitivity_n, deletion, insertion
                              of `integrated`: Captum's infidelity with normalize, the others by
                              their papers' definitions in numpy
"""
import math
import os
import sys

import h5py
import numpy
import torch
import torch.nn.functional as F
import yaml
from captum.attr import (InputXGradient, IntegratedGradients, LayerGradCam, NoiseTunnel, Occlusion,
                         Saliency)
from captum.metrics import infidelity, infidelity_perturb_func_decorator

from golden_random import philox
from make_golden import flat, network_make, random_params

EXPLAIN = 9  # RANDOM_EXPLAIN, of comm/random.h; the draws of trainer/explain.h:
NOISE, MASK = 0, 1
SAMPLES, STEPS, LEVEL, SEED, MASKS, CURVE = 6, 20, 0.15, 3, 8, 10

NETWORKS = {
    "plain": ("""
features: [conv: {out: 6, kernel: 3, pad: 1, bias: false}, batchnorm: {}, relu: {},
           maxpool: {kernel: 2}, conv: {out: 8, kernel: 3, pad: 1, bias: false}, batchnorm: {},
           relu: {}, maxpool: {kernel: 2}]
head: [dense: {out: 5}]
""", (12, 10, 3), "relu2", "conv2"),
    "residual": ("""
features:
- conv: {out: 6, kernel: 3, pad: 1, bias: false}
- batchnorm: {}
- relu: {}
- residual:
    body: [conv: {out: 6, kernel: 3, pad: 1, bias: false}, batchnorm: {}, relu: {},
           conv: {out: 6, kernel: 3, pad: 1, bias: false}, batchnorm: {}]
- relu: {}
- residual:
    body: [conv: {out: 8, kernel: 3, stride: 2, pad: 1, bias: false}, batchnorm: {}, relu: {},
           conv: {out: 8, kernel: 3, pad: 1, bias: false}, batchnorm: {}]
    shortcut: [conv: {out: 8, kernel: 1, stride: 2, bias: false}, batchnorm: {}]
- relu: {}
- residual: {body: [conv: {out: 8, kernel: 3, pad: 1}]}
head: [globalpool: {}, dense: {out: 4}]
""", (9, 8, 3), "add3", "add1"),
    "pooled": ("""
features: [conv: {out: 8, kernel: 3, pad: 1}, relu: {}, maxpool: {kernel: 2},
           conv: {out: 8, kernel: 3, pad: 1}, relu: {}, maxpool: {kernel: 3, stride: 1, pad: 1}]
head: [dense: {out: 12}, relu: {}, dropout: {rate: 0.5}, dense: {out: 3}]
""", (8, 8, 1), "relu2", "maxpool1"),
    "smooth": ("""
features:
- conv: {out: 6, kernel: 3, stride: 2, pad: 1}
- gelu: {}
- branches:
    lists: [[conv: {out: 4, kernel: 1}, silu: {}],
            [conv: {out: 4, kernel: 3, pad: 1}, leaky_relu: {}]]
- avgpool: {kernel: 2}
head: [dense: {out: 6, bias: false}, scale: {factor: 0.5}]
""", (11, 9, 2), "concat1", "gelu1"),
}


def words(index, sub, draw):
    return philox((index & 0xFFFFFFFF, index >> 32, sub, EXPLAIN << 24 | draw), (SEED, 0))


def unit(low, high):
    return ((high << 32 | low) >> 11) * 2.0 ** -53


def normals(sub, count):
    """random_normal() of comm/random.c, before it is rounded to float32: rounded here."""
    out = numpy.empty(count + 1)
    for i in range(0, count, 2):
        w = words(i // 2, sub, NOISE)
        radius = math.sqrt(-2 * math.log(1 - unit(w[0], w[1])))
        angle = 2 * math.pi * unit(w[2], w[3])
        out[i:i + 2] = radius * math.cos(angle), radius * math.sin(angle)
    return out[:count].astype(numpy.float32).astype(numpy.float64)


def permutation(sub, n):
    out = list(range(n))
    for i in range(n - 1, 0, -1):
        j = words(i, sub, MASK)[0] * (i + 1) >> 32
        out[i], out[j] = out[j], out[i]
    return out


def masks_draw(h, w):
    masks = numpy.zeros((4 * MASKS, h * w))
    for size in range(4):
        for j in range(MASKS):
            number = size * MASKS + j
            masks[number, permutation(number, h * w)[:max(1, h * w >> (4 - size))]] = 1
    return masks.reshape(-1, h, w)


def nhwc(x):
    return x.detach().permute(0, 2, 3, 1)[0]


def hooks_write(group, network, x, target):
    """y and dy of every layer."""
    kept = {}

    def keep(name):
        def hook(module, inputs, output):
            output.retain_grad()
            kept[name] = output
        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in network.layers.items()]
    network(x.clone().requires_grad_(True))[0, target].backward()
    for name, value in kept.items():
        group[f"layers/{name}/y"] = nhwc(value).numpy().astype("float32")
        group[f"layers/{name}/dy"] = nhwc(value.grad).numpy().astype("float32")
    for handle in handles:
        handle.remove()


def gradcam_pp(network, layer, x, target):
    kept = {}
    handle = network.layers[layer].register_forward_hook(lambda m, i, o: kept.update(y=o))
    score = network(x.clone().requires_grad_(True))[0, target]
    g, = torch.autograd.grad(score, kept["y"])
    handle.remove()
    a = kept["y"].detach()
    below = 2 * g ** 2 + g ** 3 * a.clamp(min=0).sum((2, 3), keepdim=True)
    alpha = torch.where(below != 0, g ** 2 / torch.where(below != 0, below, 1), 0)
    weights = (alpha * g.clamp(min=0)).sum((2, 3), keepdim=True)
    return (weights * a).sum(1)[0]


def smoothgrad(network, x, target):
    shape = x.shape[1:]
    noise = numpy.stack([normals(i, x[0].numel()) for i in range(SAMPLES)])
    noise = torch.from_numpy(noise).view(SAMPLES, shape[1], shape[2], shape[0])
    noise = noise.permute(0, 3, 1, 2)
    real = torch.normal
    torch.normal = lambda mean, deviation: noise * deviation[:1]
    try:
        return NoiseTunnel(Saliency(network)).attribute(
            x, nt_type="smoothgrad", nt_samples=SAMPLES,
            stdevs=LEVEL * float(x.max() - x.min()), target=target, abs=False)
    finally:
        torch.normal = real


def quality(group, network, x, target, baseline, raw):
    """Of raw (h, w, c), summed over the channels."""
    h, w, c = raw.shape
    masks = masks_draw(h, w)
    hidden = torch.from_numpy(masks)[:, None].bool()
    scores = network(torch.where(hidden, baseline, x))[:, target]
    drops = (network(x)[0, target] - scores).detach().numpy()
    sums = (masks * raw.sum(2).numpy()).sum((1, 2))

    @infidelity_perturb_func_decorator(multipy_by_inputs=True)
    def perturb(inputs, baselines=None):
        assert len(inputs) == len(masks)
        return torch.where(hidden, baselines, inputs)

    # Captum divides the perturbation by (input - baseline): all masked positions become 1.
    group.attrs["infidelity"] = float(infidelity(
        network, perturb, x, raw.permute(2, 0, 1)[None], baselines=baseline, target=target,
        n_perturb_samples=len(masks), normalize=True)[0])
    group.attrs["sensitivity_n"] = float(numpy.mean(
        [numpy.corrcoef(sums[i:i + MASKS], drops[i:i + MASKS])[0, 1]
         for i in range(0, len(masks), MASKS)]))
    order = numpy.argsort(-raw.sum(2).numpy().astype("float32").flatten(), kind="stable")
    for name, start, end in (("deletion", x, baseline), ("insertion", baseline, x)):
        curve = []
        for step in range(CURVE + 1):
            moved = torch.zeros(h * w, dtype=torch.bool)
            moved[order[:step * h * w // CURVE].copy()] = True
            y = network(torch.where(moved.view(1, 1, h, w), end, start))
            curve.append(float(F.softmax(y, 1)[0, target].detach()))
        group.attrs[name] = float(numpy.trapz(curve, dx=1 / CURVE))
    group["masks"] = masks.astype("uint8")
    group["drops"] = drops.astype("float32")


def network_write(file, number, name):
    text, (h, w, c), kept, layer = NETWORKS[name]
    generator = torch.Generator().manual_seed(2000 + number)
    recipe = yaml.safe_load(text)
    network = network_make(recipe, (h, w, c)).eval()
    random_params(network, generator)
    x = torch.randn((1, h, w, c), generator=generator).float().double().permute(0, 3, 1, 2)
    baseline = 0.3 * torch.randn((1, h, w, c), generator=generator).float().double()
    baseline = baseline.float().double().permute(0, 3, 1, 2)
    y = network(x).detach()
    target = int(y.argmax())
    window = lambda n: {"sliding_window_shapes": (c, n, n)}
    integrated = IntegratedGradients(network).attribute
    values = {
        "gradient": Saliency(network).attribute(x, target, abs=False),
        "gradxinput": InputXGradient(network).attribute(x, target),
        "integrated": integrated(x, target=target, n_steps=STEPS),
        "integrated_middle": integrated(x, target=target, n_steps=STEPS, method="riemann_middle"),
        "integrated_baseline": integrated(x, baseline, target=target, n_steps=STEPS),
        "smoothgrad": smoothgrad(network, x, target),
        "occlusion": Occlusion(network).attribute(x, strides=(c, 2, 2), target=target, **window(3)),
        "occlusion_baseline": Occlusion(network).attribute(
            x, strides=(c, 3, 3), target=target, baselines=baseline, **window(4)),
    }
    cam = LayerGradCam(network, network.layers[kept]).attribute(x, target)
    group = file.create_group(name)
    group.attrs["recipe"] = yaml.safe_dump(recipe, default_flow_style=None, width=1000,
                                           sort_keys=False)
    group.attrs["input"] = numpy.array([h, w, c], dtype="int64")
    group.attrs["classes"] = numpy.int64(y.shape[1])
    group.attrs["target"] = numpy.int64(target)
    group.attrs["kept"], group.attrs["layer"] = kept, layer
    arrays = {key: nhwc(value) for key, value in values.items()}
    for key in ("occlusion", "occlusion_baseline"):
        arrays[key] = arrays[key][:, :, :1]  # the same in all channels
    arrays.update(
        params=flat(value for _, value in network.named_tensors()), x=nhwc(x), y=y[0],
        baseline=nhwc(baseline), gradcam=nhwc(cam),
        gradcam_layer=nhwc(LayerGradCam(network, network.layers[layer]).attribute(x, target)),
        gradcam_map=nhwc(F.interpolate(cam.detach().clamp(min=0), (h, w), mode="bilinear")),
        gradcampp=gradcam_pp(network, kept, x, target))
    for key, value in arrays.items():
        group[key] = value.detach().numpy().astype("float32")
    hooks_write(group, network, x, target)
    quality(group, network, x, target, torch.zeros_like(x), nhwc(values["integrated"]))


def main():
    path = os.path.join(sys.argv[1], "explain.h5")
    with h5py.File(path, "w") as file:
        for number, name in enumerate(NETWORKS):
            network_write(file, number, name)
            print(name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()

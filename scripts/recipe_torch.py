# SPDX-License-Identifier: MIT
"""A recipe (models/recipes/*.yaml) as a PyTorch module: the same graph, layer names and options.

Owns: reading the lists features and head, and what each layer means in PyTorch's words.
Used by make_golden.py (float64, one grain at a time) and peer_accuracy.py (training).
Tensors are NCHW inside, as PyTorch wants them; vectors are (N, C, 1, 1). layout_ours() and
layout_torch() translate parameters to and from ours (conv R,S,C/groups,K; dense C,K with C
flattened in h,w,c order).
"""
import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml


class GhostBatchNorm(nn.Module):
    """Statistics over each run of `grain` samples; running ones move towards the grains' mean."""

    def __init__(self, channels, eps=1e-5, momentum=0.1, scale=True, bias_lr=1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels), requires_grad=scale)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps, self.momentum, self.grain, self.bias_lr = eps, momentum, 0, bias_lr

    def forward(self, x):
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                                False, 0, self.eps)
        grains = x.split(self.grain) if self.grain else [x]
        y, means, variances = [], [], []
        for part in grains:
            mean, var = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
            # momentum 1: mean and var receive the statistics of this grain (var unbiased)
            y.append(F.batch_norm(part, mean, var, self.weight, self.bias, True, 1, self.eps))
            means.append(mean)
            variances.append(var)
        with torch.no_grad():
            self.running_mean.lerp_(torch.stack(means).mean(0), self.momentum)
            self.running_var.lerp_(torch.stack(variances).mean(0), self.momentum)
        return torch.cat(y) if len(y) > 1 else y[0]


class Dense(nn.Linear):
    def forward(self, x):
        return super().forward(rows(x))[:, :, None, None]


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *x):
        return self.function(*x)


def rows(x):
    """(N, C, H, W) -> (N, H W C), the order of our memory."""
    return x.permute(0, 2, 3, 1).flatten(1)


def pair(x, value, neutral):
    """One number stands for both directions (for the width of a signal, h = 1), or [h, w]."""
    if isinstance(value, list):
        return (value[0], value[-1])
    return (neutral if x.shape[2] == 1 else value, value)


def conv(x, out, kernel, stride=1, pad=0, dilation=1, groups=1, bias=True, init=None):
    layer = nn.Conv2d(x.shape[1], out, pair(x, kernel, 1), pair(x, stride, 1), pair(x, pad, 0),
                      pair(x, dilation, 1), groups, bias)
    layer.init = init
    return layer


def maxpool(x, kernel, stride=None, pad=0):
    return nn.MaxPool2d(pair(x, kernel, 1), pair(x, stride or kernel, 1), pair(x, pad, 0))


def avgpool(x, kernel, stride=None, pad=0, count_include_pad=True):
    return nn.AvgPool2d(pair(x, kernel, 1), pair(x, stride or kernel, 1), pair(x, pad, 0),
                        count_include_pad=count_include_pad)


def subsample(x, stride=2, out=0):
    """Option A of He et al. 2015: every stride-th pixel, zero channels on both sides."""
    out = out or x.shape[1]
    low = (out - x.shape[1]) // 2
    high = out - x.shape[1] - low
    return Function(lambda v: F.pad(v[:, :, ::stride, ::stride], (0, 0, 0, 0, low, high)))


SOBEL = [-0.25, 0, 0.25, -0.5, 0, 0.5, -0.25, 0, 0.25]
GAUSSIAN = [v / 16 for v in (1, 2, 1, 2, 4, 2, 1, 2, 1)]
FILTERS = {  # 3 x 3, scaled so that a step edge from 0 to 1 answers with at most 1
    "sobel_x": torch.tensor(SOBEL).view(3, 3), "sobel_y": torch.tensor(SOBEL).view(3, 3).t(),
    "laplacian": torch.tensor([0, -0.25, 0, -0.25, 1, -0.25, 0, -0.25, 0]).view(3, 3),
    "gaussian": torch.tensor(GAUSSIAN).view(3, 3)}


def filterbank(x, filters=(), numbers=(), kernel=3):
    """Every filter on every channel, frozen; a named one in the middle of a larger kernel."""
    margin = (kernel - 3) // 2
    bank = [F.pad(FILTERS[name], (margin,) * 4) for name in filters]
    flat = torch.tensor(numbers, dtype=torch.float32).flatten()
    bank = torch.stack(bank + list(flat.view(-1, kernel, kernel).unbind(0)))
    c = x.shape[1]
    layer = nn.Conv2d(c, c * len(bank), kernel, padding=kernel // 2, groups=c, bias=False)
    layer.weight = nn.Parameter(bank.repeat(c, 1, 1)[:, None], requires_grad=False)
    return layer


def whiten(x, kernel=2, pad=0, eps=5e-4, bias=True, bias_epochs=0):
    """Frozen filters, which the caller makes from data; see whiten_init."""
    size, padding = pair(x, kernel, 1), pair(x, pad, 0)
    layer = nn.Conv2d(x.shape[1], 2 * size[0] * size[1] * x.shape[1], size, 1, padding, bias=bias)
    layer.weight.requires_grad = False
    layer.eps, layer.bias_epochs = eps, bias_epochs
    return layer


LAYERS = {
    "conv": conv,
    "dense": lambda x, out, bias=True, init=None: Dense(x[0].numel(), out, bias),
    "batchnorm": lambda x, **options: GhostBatchNorm(x.shape[1], **options),
    "relu": lambda x: nn.ReLU(),
    "leaky_relu": lambda x, slope=0.01: nn.LeakyReLU(slope),
    "gelu": lambda x: nn.GELU(),
    "silu": lambda x: nn.SiLU(),
    "maxpool": maxpool,
    "avgpool": avgpool,
    "globalpool": lambda x: nn.AdaptiveAvgPool2d(1),
    "dropout": lambda x, rate=0.5: nn.Dropout(rate),
    "flatten": lambda x: Function(lambda v: rows(v)[:, :, None, None]),
    "add": lambda x: Function(lambda *v: sum(v[1:], v[0])),
    "concat": lambda x: Function(lambda *v: torch.cat(v, 1)),
    "subsample": subsample,
    "filterbank": filterbank,
    "whiten": whiten,
    "scale": lambda x, factor: Function(lambda v: v * factor),
}


class Network(nn.Module):
    """All layers of a recipe in topological order; names as models/model.h makes them."""

    def __init__(self, recipe, input_shape, dtype=torch.float32):
        """recipe: a map with features and/or head. input_shape: (h, w, c)."""
        super().__init__()
        self.nodes, self.counts = [], {}
        self.layers = nn.ModuleDict()
        h, w, c = input_shape
        self.dry = {"input": torch.zeros(2, c, h, w, dtype=dtype)}  # finds shapes on the way
        self.dtype = dtype
        last = "input"
        for part in ("features", "head"):
            last = self.read_list(recipe.get(part) or [], last)
        self.output = last
        self.train()
        del self.dry

    def read_list(self, layers, last):
        for item in layers:
            (kind, options), = ({item: None} if isinstance(item, str) else item).items()
            last = self.read_item(kind, copy.copy(options) or {}, last)
        return last

    def read_item(self, kind, options, last):
        if kind == "repeat":
            for _ in range(options["times"]):
                last = self.read_list(options["layers"], last)
            return last
        if kind == "residual":
            body = self.read_list(options["body"], last)
            shortcut = self.read_list(options.get("shortcut") or [], last)
            return self.add_node("add", {}, [body, shortcut])
        if kind == "branches":
            ends = [self.read_list(branch, last) for branch in options["lists"]]
            return self.add_node(options.get("join", "concat"), {}, ends)
        sources = options.pop("from", [last])
        sources = sources if isinstance(sources, list) else [sources]
        return self.add_node(kind, options, sources)

    def add_node(self, kind, options, sources):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        name = options.pop("name", None) or f"{kind}{self.counts[kind]}"
        x = [self.dry[s] for s in sources]
        module = LAYERS[kind](x[0], **options).to(self.dtype).eval()
        with torch.no_grad():
            self.dry[name] = module(*x)
        self.layers[name] = module
        self.nodes.append((name, kind, sources))
        return name

    def forward(self, x):
        values = {"input": x}
        for name, _, sources in self.nodes:
            values[name] = self.layers[name](*[values[s] for s in sources])
        return rows(values[self.output])

    def set_grain(self, grain):
        for module in self.modules():
            if isinstance(module, GhostBatchNorm):
                module.grain = grain

    def named_tensors(self):
        """("conv1/weight", tensor) for every parameter and running statistic."""
        for name, module in self.layers.items():
            for key, value in list(module.named_parameters()) + list(module.named_buffers()):
                yield f"{name}/{key}", value


def layout_ours(tensor):
    if tensor.dim() == 4:
        return tensor.permute(2, 3, 1, 0).contiguous()  # K,C,R,S -> R,S,C,K
    return tensor.t().contiguous() if tensor.dim() == 2 else tensor


def layout_torch(tensor):
    if tensor.dim() == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    return tensor.t().contiguous() if tensor.dim() == 2 else tensor


def init_he(network):
    """He et al. 2015: normal, variance 2 / fan_in; biases zero. What sw2-train does by default."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.weight.requires_grad:
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_in))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def read_recipe(path):
    with open(path) as file:
        return yaml.safe_load(file)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Test sets that the training never saw the like of: translated, rotated, noisy and dimmed.
usage: distort.py DATA.h5 OUT.h5   reads /test; writes /clean /translated /rotated /noisy /dimmed
Needs python3-h5py and python3-numpy. The same numbers on every run."""
import sys

import h5py
import numpy

DEGREES, SHIFT, SIGMA, DIM = 20, 0.1, 0.1, 0.4


def moved(images, angle, dy, dx):
    """Each image (n, h, w, c) turned by its angle about its middle, then shifted; bilinear, black
    outside."""
    n, h, w, c = images.shape
    y, x = numpy.meshgrid(numpy.arange(h), numpy.arange(w), indexing="ij")
    out = numpy.empty_like(images, dtype=numpy.float64)
    for i in range(n):
        cos, sin = numpy.cos(angle[i]), numpy.sin(angle[i])
        cy, cx = y - (h - 1) / 2 - dy[i], x - (w - 1) / 2 - dx[i]
        fy, fx = cos * cy + sin * cx + (h - 1) / 2, cos * cx - sin * cy + (w - 1) / 2
        y0, x0 = numpy.floor(fy).astype(int), numpy.floor(fx).astype(int)
        value = numpy.zeros((h, w, c))
        for oy in (0, 1):
            for ox in (0, 1):
                weight = (1 - abs(fy - y0 - oy)) * (1 - abs(fx - x0 - ox))
                inside = (y0 + oy >= 0) & (y0 + oy < h) & (x0 + ox >= 0) & (x0 + ox < w)
                at = images[i, numpy.clip(y0 + oy, 0, h - 1), numpy.clip(x0 + ox, 0, w - 1)]
                value += (weight * inside)[..., None] * at
        out[i] = value
    return out


def main():
    source, target = sys.argv[1], sys.argv[2]
    random = numpy.random.RandomState(1)
    with h5py.File(source, "r") as file, h5py.File(target, "w") as out:
        test = file["test"]
        images, labels = test["images"][()], test["labels"][()]
        if images.dtype != numpy.uint8:
            sys.exit(f"{source}: images are {images.dtype}, expected uint8")
        n, h, w, _ = images.shape
        zero = numpy.zeros(n)
        step = max(1, round(SHIFT * h))
        sign = random.randint(0, 8, n)
        dy = step * numpy.array([-1, -1, -1, 0, 0, 1, 1, 1])[sign]
        dx = step * numpy.array([-1, 0, 1, -1, 1, -1, 0, 1])[sign]
        turn = numpy.radians(DEGREES) * random.choice([-1, 1], n)
        sets = {
            "clean": images,
            "translated": moved(images, zero, dy, dx),
            "rotated": moved(images, turn, zero, zero),
            "noisy": images + 255 * SIGMA * random.standard_normal(images.shape),
            "dimmed": images * DIM,
        }
        for name, pixels in sets.items():
            group = out.create_group(name)
            pixels = numpy.clip(numpy.rint(pixels), 0, 255).astype(numpy.uint8)
            chunks = (min(n, 64),) + images.shape[1:]
            group.create_dataset("images", data=pixels, chunks=chunks)
            group.create_dataset("labels", data=labels)
            for key in ("classes", "layout"):
                if key in test.attrs:
                    group.attrs[key] = test.attrs[key]
        print(f"{target}: {n} rows; shifted by {step} pixels, turned by {DEGREES} degrees, noise "
              f"of {SIGMA}, dimmed to {DIM}")


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of tests/fuzz/corpus: small files of every kind that the fuzzers start from.

usage: make_fuzz_corpus.py BUILD   (a folder with sw2-data and sw2-train)
The files are in the repository; run this only to change them. tests/golden/foreign and
models/recipes are seeds too (scripts/fuzz.sh). Needs numpy and PIL (Debian: python3-pil).
"""
import gzip
import io
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

SEAL = 48  # bytes after the HDF5 image of a checkpoint

RECIPES = {
    "small": "name: \"digits \\u00e9\"\n"
             "defaults: &d {kernel: 3, pad: 1, bias: false}\n",
    "digits": "name: d\n"
              "data: {train: 'x.h5:/train', shape: [8, 8, 1], block: 4, target_type: class}\n"
              "features:\n  - conv: &d {out: 32, kernel: 3}\n  - conv: *d\n  - relu\n"
              "  - filterbank: {values: [[1, 0, -1], [2e0, 0.5, -2]]}\n"
              "head:\n- dense: {out: 10}\n"
              "train:\n  batch: 128\n  lr: 1e-1\n  epochs: 3\n",
    "block": "name: |\n  two\ntrain: {epochs: 1}\n",
}
OPTIONS = {
    "paths": "train.lr=0.5\nfeatures.0.conv.out=64\ntrain.milestones=[3, {a: b}]\n",
    "values": "true\n12\n1e-3\nb\n[1, 2, 3]\n\"text \\x41\"\n{a: [b, 'c']}\n0x10\nnan\n-0\n",
    "anchors": "train=&x [*x]\nhead.0=\"text\"\ndata.shape=[1,[2,3]]\nname=\n",
}


def write(kind, name, data):
    folder = os.path.join("tests", "fuzz", "corpus", kind)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data.encode() if isinstance(data, str) else data)


def pixels(h, w, c):
    a = (np.arange(h * w * c) * 37 % 251).astype(np.uint8).reshape(h, w, c)
    return a[:, :, 0] if c == 1 else a


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pictures():
    grey, rgb = Image.fromarray(pixels(7, 5, 1)), Image.fromarray(pixels(6, 9, 3))
    for name, image in {"grey": grey, "rgb": rgb, "palette": rgb.quantize(16),
                        "bit": grey.convert("1"), "alpha": rgb.convert("RGBA"),
                        "grey-alpha": grey.convert("LA"),
                        "grey16": Image.fromarray(pixels(4, 4, 1).astype(np.uint16) * 257)}.items():
        write("png", name, saved(image, "PNG"))
    clear = rgb.quantize(4)
    clear.info["transparency"] = 1
    write("png", "transparent", saved(clear, "PNG"))
    for name, image in {"grey": grey, "rgb": rgb, "cmyk": rgb.convert("CMYK")}.items():
        write("jpeg", name, saved(image, "JPEG", quality=80))
        write("jpeg", name + "-progressive", saved(image, "JPEG", quality=80, progressive=True))
    write("jpeg", "plain", saved(rgb, "JPEG", quality=60, subsampling=0))
    text = b"P3\n# a comment\n2 2 255\n1 2 3 4 5 6 7 8 9 10 11 12\n"
    for name, data in {"p2": b"P2 3 1 15\n0 7 15\n", "p3": text,
                       "p5": b"P5\n3 2\n255\n" + bytes(range(6)),
                       "p6": b"P6 2 1 255\n" + bytes(range(6)),
                       "p5wide": b"P5 2 1 65535\n\1\2\3\4", "p1": b"P1 2 2 1 0 0 1",
                       "p4": b"P4 9 1\n\xff\x80"}.items():
        write("pnm", name, data)


def tables():
    iris = "a,b,label\n1,2.5,cat\n-3e1,4,dog\n5,nan,cat\n"
    write("csv", "header", b"\0" + iris.encode())
    write("csv", "numbers", b"\1" + b"1;2;0\n3;4;1\n5;6;1\n")
    write("csv", "quotes", b"\3" + b'label\tx\n"a ""b""\nc"\t1\nd\t2\r\n')
    write("csv", "bytes", b"\x31" + b"0,255,1\n7,8,0\n")
    write("csv", "sklearn", b"\0" + b"3,2,setosa,other\n1,2,0\n3,4,1\n5,6,0\n")
    write("csv", "several", b"\4" + b"0.5,1.5,2\n1,2,3\n")
    write("csv", "gz", b"\0" + gzip.compress(iris.encode(), mtime=0))

    def idx(kind, dims, data):
        return bytes([0, 0, kind, len(dims)]) + struct.pack(">%dI" % len(dims), *dims) + data

    def pair(labels, images):
        return struct.pack("<H", len(labels)) + labels + images
    labels = idx(8, [3], b"\0\1\2")
    images = idx(8, [3, 2, 2], bytes(range(12)))
    write("idx", "bytes", pair(labels, images))
    write("idx", "floats", pair(idx(12, [2], b"\0\0\0\1\0\0\0\0"),
                                idx(13, [2, 3], struct.pack(">6f", *range(6)))))
    write("idx", "doubles", pair(idx(11, [2], b"\0\1\0\2"),
                                 idx(14, [2, 1, 1, 2], struct.pack(">4d", *range(4)))))
    write("idx", "gz", pair(gzip.compress(labels, mtime=0), gzip.compress(images, mtime=0)))
    record = bytes((7 * i) % 251 for i in range(3072))
    write("cifar", "ten", b"\3" + record + b"\0" + record)
    write("cifar", "hundred", b"\3\x20" + record)
    write("cifar", "gz", gzip.compress(b"\3" + record, mtime=0))


def files(build):
    with tempfile.TemporaryDirectory() as folder:
        def path(name):
            return os.path.join(folder, name)
        with open(path("t.csv"), "w") as f:
            f.write("a,b,label\n" + "".join("%d,%d,%d\n" % (i, 7 * i % 5, i % 3)
                                            for i in range(12)))
        data = os.path.join(build, "sw2-data")
        subprocess.run([data, "import", path("t.csv"), path("t.h5"), "--split", "4"], check=True)
        with open(path("t.h5"), "rb") as f:
            write("h5", "own", f.read())
        with open(path("r.yaml"), "w") as f:
            f.write("name: r\ndata: {train: %s, test: %s}\nfeatures: []\n"
                    "head: [dense: {out: 3}]\nloss: softmax\n"
                    "train: {batch: 4, grains: 1, epochs: 1, lr: 0.1}\n"
                    % (path("t.h5"), path("t.h5")))
        train = os.path.join(build, "sw2-train")
        subprocess.run([train, path("r.yaml"), "--out", path("run")], check=True)
        for root, _, names in os.walk(path("run")):
            for name in names:
                if name.endswith(".h5") and name.startswith("step"):
                    with open(os.path.join(root, name), "rb") as f:
                        write("checkpoint", "small", f.read()[:-SEAL])


def main():
    build = os.path.abspath(sys.argv[1])
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    for name, text in RECIPES.items():
        write("recipe", name, text)
    for name, text in OPTIONS.items():
        write("options", name, text)
    pictures()
    tables()
    files(build)


if __name__ == "__main__":
    sys.exit(main())

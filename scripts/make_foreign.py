#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/foreign/*.h5: small files as other tools write them.

Inputs: value i (flat) is (7 i) mod 251; labels: row mod 10, unless said otherwise. They are read by
tests/test_dataset_bad.c and tests/test_fuzz_h5.c, which knows some bytes of gzip.h5 and classes.h5
by place. Needs h5py and numpy (Debian: python3-h5py). The files are in the repository; run this
only to change them.
"""
import os
import sys
import zlib

import h5py
import numpy as np

ROWS = 30


def pixels(*shape, dtype=np.uint8):
    n = int(np.prod(shape))
    return ((7 * np.arange(n)) % 251).reshape(shape).astype(dtype)


def labels(dtype=np.int64, rows=ROWS):
    return (np.arange(rows) % 10).astype(dtype)


def gzip(f):
    f.create_dataset("x", data=pixels(ROWS, 6, 5, 1), chunks=(7, 6, 5, 1), compression="gzip",
                     shuffle=True, fletcher32=True)
    f.create_dataset("y", data=labels(np.int32), chunks=(11,), compression="gzip")


def chunked(f):
    f.create_dataset("x", data=pixels(ROWS, 6, 5, 1), chunks=(4, 3, 5, 1),
                     maxshape=(None, 6, 5, 1))
    f.create_dataset("y", data=labels(), chunks=(64,), maxshape=(None,))


def bigendian(f):
    f["x"] = pixels(ROWS, 9, dtype=">f4")
    f["y"] = labels(">i2")


def half(f):
    f["x"] = pixels(ROWS, 9, dtype=np.float16)
    f["y"] = labels(np.float16)


def userblock(f):
    f["x"] = pixels(ROWS, 6, 5, 1)
    f["y"] = labels(np.uint8)


def links(f):
    f["a/b"] = pixels(ROWS, 6, 5, 1)
    f["c"] = labels()
    f["x"] = h5py.SoftLink("/a/b")
    f["y"] = f["c"]
    f["dangling"] = h5py.SoftLink("/nowhere")


def classes(f):
    f["x"] = pixels(ROWS, 9)
    f["y"] = labels(rows=ROWS)
    f.attrs["classes"] = np.array([b"zero", b"one", b"two", b"three", b"four", b"five", b"six",
                                   b"seven", b"eight", b"nine"])


def variable(f):
    """As classes, in texts of variable length: h5py's own way."""
    f["x"] = pixels(ROWS, 9)
    f["y"] = labels(rows=ROWS)
    f.attrs["classes"] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
                          "nine"]


def committed(f):
    f["type"] = np.dtype(np.int64)
    f["x"] = pixels(ROWS, 9)
    y = f.create_dataset("y", (ROWS,), dtype=f["type"])
    y[...] = labels()


def committed_attribute(f):
    f["type"] = np.dtype(np.int64)
    f["x"] = pixels(ROWS, 9)
    f["y"] = labels()
    f["y"].attrs.create("a", 7, dtype=f["type"])


def type_as_data(f):
    f["x"] = np.dtype(np.uint8)
    f["y"] = labels()


def szip(f):
    f.create_dataset("x", data=pixels(ROWS, 10), chunks=(10, 10), compression="szip",
                     compression_opts=("nn", 8))
    f["y"] = labels()


def scaled(f):
    f.create_dataset("x", data=pixels(ROWS, 9), chunks=(10, 9), scaleoffset=0)
    f["y"] = labels()


def strings(f):
    f["x"] = pixels(ROWS, 9)
    f["y"] = np.array([b"label%d" % (i % 10) for i in range(ROWS)])


def booleans(f):
    f["x"] = pixels(ROWS, 9)
    f["y"] = np.arange(ROWS) % 2 == 0


def compound(f):
    f["x"] = np.zeros(ROWS, dtype=[("a", "f4"), ("b", "i4")])
    f["y"] = labels()


def lzf(f):
    f.create_dataset("x", data=pixels(ROWS, 9), chunks=(10, 9), compression="lzf")
    f["y"] = labels()


def unwritten(f):
    f.create_dataset("x", shape=(ROWS, 9), dtype=np.uint8)
    f["y"] = labels()


def empty(f):
    f["x"] = pixels(ROWS, 9)
    f["y"] = h5py.Empty("i8")


def virtual(f):
    f["source"] = pixels(ROWS, 9)
    layout = h5py.VirtualLayout((ROWS, 9), np.uint8)
    layout[:] = h5py.VirtualSource(f["source"])
    f.create_virtual_dataset("x", layout)
    f["y"] = labels()


def external(f):
    f["x"] = pixels(ROWS, 9)
    f.create_dataset("y", shape=(ROWS,), dtype=np.uint8, external=[("labels.bin", 0, ROWS)])


def external_link(f):
    f["x"] = pixels(ROWS, 9)
    f["y"] = h5py.ExternalLink("userblock.h5", "/y")


def chunked_empty(f):
    """Two chunks of 15 rows of x that are not written yet."""
    x = f.create_dataset("x", shape=(ROWS, 9), dtype=np.uint8, chunks=(15, 9), compression="gzip")
    f["y"] = labels()
    return x


def missing_chunk(f):
    chunked_empty(f)[:15] = pixels(15, 9)


def short_chunk(f):
    x = chunked_empty(f)
    x[:15] = pixels(15, 9)
    x.id.write_direct_chunk((15, 0), zlib.compress(bytes(15 * 9 - 1)))


def long_chunk(f):
    x = chunked_empty(f)
    x[:15] = pixels(15, 9)
    x.id.write_direct_chunk((15, 0), zlib.compress(bytes(15 * 9 + 1)))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    folder = os.path.join(here, "..", "tests", "golden", "foreign")
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    cases = [gzip, chunked, bigendian, half, userblock, links, classes, variable, strings, booleans,
             compound,
             lzf, unwritten, empty, virtual, external, external_link, missing_chunk, short_chunk,
             long_chunk, committed, committed_attribute, type_as_data, szip, scaled]
    for case in cases:
        options = {"userblock_size": 512} if case is userblock else {}
        with h5py.File(case.__name__ + ".h5", "w", libver="earliest", **options) as f:
            case(f)
    with h5py.File("latest.h5", "w", libver="latest") as f:
        gzip(f)
    if os.path.exists("labels.bin"):
        os.remove("labels.bin")


if __name__ == "__main__":
    sys.exit(main())

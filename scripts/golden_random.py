# SPDX-License-Identifier: MIT
"""Random numbers that C and Python compute alike, for make_golden.py.

uniform(): the formula of tests/test_golden_networks.c: the i-th number of the stream with a name is
the top 24 bits of splitmix64(FNV-1a-64(name) + i * 0x9E3779B97F4A7C15), divided by 2^24.
philox_uniform(): the mask of dropout (models/layers/dropout.c, comm/random.h).
"""
import numpy

GOLDEN_GAMMA = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def uniform(name, count):
    """count float64 numbers in [0, 1)."""
    with numpy.errstate(over="ignore"):
        z = numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(GOLDEN_GAMMA)
        z += numpy.uint64(fnv1a(name))
        z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
    return (z >> numpy.uint64(40)).astype(numpy.float64) * 2.0 ** -24


def philox(counter, key):
    """Philox4x32-10 of Salmon et al. 2011. counter: four words, key: two; returns four words."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32 ^ b ^ k, q & 0xFFFFFFFF, p >> 32 ^ d ^ m, p & 0xFFFFFFFF)
        k, m = (k + 0x9E3779B9) & 0xFFFFFFFF, (m + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def philox_uniform(rows, count, layer, seed=1, epoch=0, purpose=5):
    """(rows, count) float32 numbers in [0, 1): row r, element e has word e % 4 of the counter
    {r, 0, layer << 20 | e / 4, purpose << 24 | epoch}, key = seed."""
    out = numpy.empty((rows, (count + 3) // 4 * 4), dtype=numpy.float32)
    for row in range(rows):
        for e in range(0, count, 4):
            words = philox((row, 0, layer << 20 | e // 4, purpose << 24 | epoch),
                           (seed & 0xFFFFFFFF, seed >> 32))
            out[row, e:e + 4] = [numpy.float32((word >> 8) * 2.0 ** -24) for word in words]
    return out[:, :count]

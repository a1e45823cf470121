#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is in a run's TensorBoard events?  usage: check_events.py RUN [EPOCHS_WITH_HISTOGRAMS]
By TensorBoard's own reader where this Python has it, else frame by frame. Compares scalars with
metrics.jsonl, histograms with the weights of the newest checkpoint (needs h5py and numpy)."""
import glob
import json
import math
import os
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frames(path):
    data, at, n = open(path, "rb").read(), 0, 0
    while at < len(data):
        length, check = struct.unpack_from("<QI", data, at)
        body = data[at + 12:at + 12 + length]
        assert check == crc32c(data[at:at + 8]), f"{path}: frame {n}: its length is damaged"
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == crc32c(body), \
            f"{path}: frame {n} is damaged"
        at, n = at + 16 + length, n + 1
    return n


def scalars_check(events, run):
    checked = 0
    for line in open(run + "/metrics.jsonl"):
        record = json.loads(line)
        for side in ("train", "test"):
            for key, value in record.items():
                if not key.startswith(side + "_") or value is None:
                    continue
                tag = side + "/" + key[len(side) + 1:]
                got = [e.value for e in events.Scalars(tag) if e.step == record["step"]]
                assert got and math.isclose(got[0], value, rel_tol=1e-6), \
                    f"{tag} of step {record['step']} is {got}, expected {value}"
                checked += 1
    assert checked > 0
    return checked


def histograms_check(events, run, epochs):
    tags = events.Tags()["histograms"]
    weights = [tag for tag in tags if tag.startswith("weights/")]
    slopes = [tag for tag in tags if tag.startswith("gradients/")]
    assert weights and slopes, f"no histograms: {tags}"
    for tag in tags:
        assert len(events.Histograms(tag)) == epochs, f"{tag}: {len(events.Histograms(tag))}"
    for tag in slopes:
        n = events.Histograms(tag)[-1].histogram_value.num
        want = events.Histograms("weights" + tag[len("gradients"):])[-1].histogram_value.num
        assert n == want, f"{tag}: {n} of {want}"
    try:
        import h5py
        import numpy
    except ImportError as problem:
        print(f"histograms are not compared with the weights: {problem}")
        return
    newest = sorted(glob.glob(run + "/checkpoints/step-*.h5"))[-1]
    with h5py.File(newest) as file:
        for tag in weights:
            want = numpy.asarray(file["model/" + tag[len("weights/"):]], dtype=float).ravel()
            last = events.Histograms(tag)[-1].histogram_value
            assert last.num == want.size, f"{tag}: {last.num} of {want.size}"
            for got, value in ((last.min, want.min()), (last.max, want.max()),
                               (last.sum, want.sum())):
                assert math.isclose(got, value, rel_tol=1e-5, abs_tol=1e-5), f"{tag}: {got} {value}"
            low = -math.inf
            for limit, count in zip(last.bucket_limit, last.bucket):
                inside = numpy.count_nonzero((want > low) & (want <= limit))
                assert abs(inside - count) <= 1, f"{tag}: bucket to {limit}: {count} of {inside}"
                low = limit


def pictures_check(events):
    tags = [tag for tag in events.Tags()["images"] if tag.startswith("explanations/")]
    assert len(tags) == 8, f"{len(tags)} explanations: {tags}"
    for tag in tags:
        image = events.Images(tag)[0]
        assert image.encoded_image_string[:8] == b"\x89PNG\r\n\x1a\n", f"{tag} is no PNG"
        size = struct.unpack(">II", image.encoded_image_string[16:24])
        assert size == (image.width, image.height) == (16, 8), f"{tag}: {size}"


def main():
    run, epochs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    folder = run + "/tensorboard"
    n = sum(frames(os.path.join(folder, name)) for name in sorted(os.listdir(folder)))
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        print(f"{n} whole frames; this Python has no TensorBoard to read them with")
        return
    events = EventAccumulator(folder, size_guidance={"scalars": 0, "histograms": 0, "images": 0})
    events.Reload()
    checked = scalars_check(events, run)
    pictures_check(events)
    if epochs:
        histograms_check(events, run, epochs)
    print(f"TensorBoard reads {n} events; {checked} scalars are those of metrics.jsonl")


main()

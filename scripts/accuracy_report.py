#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tables and a picture of accuracy runs. Standard library only.

usage: accuracy_report.py time FOLDER     of time_to_accuracy.sh: table, .json, .svg in FOLDER
       accuracy_report.py modes FOLDER    of accuracy_modes.sh: table, accuracy_modes.json
"""
import glob
import json
import os
import re
import statistics
import sys

COLOURS = {"sw2-train": "#1f6feb", "PyTorch": "#d1542b"}


def lines_of(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def seed_of(path):
    return int(re.search(r"-(\d+)(\.jsonl|\.log|/metrics\.jsonl)?$", path).group(1))


def averaged_of(log):
    """Accuracy with averaged views in a log of sw2-train, as a part; None: not there."""
    with open(log) as file:
        found = re.search(r"averaged over views \(\w+\): ([0-9.]+) %", file.read())
    return float(found.group(1)) / 100 if found else None


def read_ours(folder):
    for path in sorted(glob.glob(f"{folder}/sw2-*/metrics.jsonl"), key=seed_of):
        epochs = [r for r in lines_of(path) if r["type"] == "epoch" and "test_accuracy" in r]
        name = os.path.basename(os.path.dirname(path))
        yield {"program": "sw2-train", "seed": seed_of(path),
               "minutes": [r["seconds"] / 60 for r in epochs],
               "accuracy": [r["test_accuracy"] for r in epochs],
               "averaged": averaged_of(f"{folder}/{name}.log")}


def read_theirs(folder):
    for path in sorted(glob.glob(f"{folder}/torch-*.jsonl"), key=seed_of):
        records = lines_of(path)
        epochs = [r for r in records if "epoch" in r]
        yield {"program": "PyTorch", "seed": seed_of(path), "version": records[0]["peer"],
               "minutes": [r["seconds"] / 60 for r in epochs],
               "accuracy": [r["test_accuracy"] for r in epochs],
               "averaged": next((r["test_accuracy"] for r in records if "tta" in r), None)}


def spread(values):
    """mean, standard deviation, standard error."""
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return mean, deviation, deviation / len(values) ** 0.5


def summary(runs):
    """One row a program: its last epoch, over its seeds."""
    rows = []
    for program in dict.fromkeys(r["program"] for r in runs):
        mine = [r for r in runs if r["program"] == program]
        last = [r["accuracy"][-1] for r in mine]
        averaged = [r["averaged"] for r in mine if r["averaged"] is not None]
        mean, deviation, error = spread(last)
        rows.append({"program": program, "seeds": len(mine), "mean": mean, "deviation": deviation,
                     "error": error, "lowest": min(last), "highest": max(last),
                     "averaged": statistics.fmean(averaged) if averaged else None,
                     "minutes": statistics.fmean(r["minutes"][-1] for r in mine),
                     "epochs": len(mine[0]["accuracy"])})
    return rows


def percent(value):
    return f"{100 * value:.2f}" if value is not None and value == value else "-"


def table(rows):
    print("| program | epochs | minutes | seeds | mean % | deviation | lowest | highest "
          "| averaged views % |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for r in rows:
        print(f"| {r['program']} | {r['epochs']} | {r['minutes']:.1f} | {r['seeds']} "
              f"| {percent(r['mean'])} | {percent(r['deviation'])} | {percent(r['lowest'])} "
              f"| {percent(r['highest'])} | {percent(r['averaged'])} |")


def svg(runs, path):
    width, height, left, bottom = 760, 420, 60, 50
    end = max(r["minutes"][-1] for r in runs) * 1.03
    low = min(0.5, min(min(r["accuracy"]) for r in runs)) // 0.1 / 10
    high = 1.0

    def x(minutes):
        return left + (width - left - 20) * minutes / end

    def y(accuracy):
        return height - bottom - (height - bottom - 20) * (accuracy - low) / (high - low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           'font-family="sans-serif" font-size="13">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for step in range(round(low * 20), 21):
        at = step / 20
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(at):.1f}" y2="{y(at):.1f}" '
                   f'stroke="#ddd"/><text x="{left - 8}" y="{y(at) + 4:.1f}" '
                   f'text-anchor="end">{100 * at:.0f} %</text>')
    every = next(s for s in (0.5, 1, 2, 5, 10, 20, 60, 1000) if end / s <= 15)
    for i in range(int(end / every) + 1):
        out.append(f'<text x="{x(i * every):.1f}" y="{height - bottom + 18}" '
                   f'text-anchor="middle">{i * every:g}</text>')
    out.append(f'<text x="{(left + width) / 2}" y="{height - 10}" text-anchor="middle">minutes '
               'since the first step, tests included</text>')
    for r in runs:
        points = " ".join(f"{x(m):.1f},{y(a):.1f}" for m, a in zip(r["minutes"], r["accuracy"]))
        out.append(f'<polyline points="{points}" fill="none" stroke-width="1.6" '
                   f'stroke="{COLOURS[r["program"]]}"/>')
    for i, program in enumerate(dict.fromkeys(r["program"] for r in runs)):
        out.append(f'<text x="{width - 150}" y="{height - bottom - 40 + 20 * i}" '
                   f'fill="{COLOURS[program]}">{program}</text>')
    with open(path, "w") as file:
        file.write("\n".join(out + ["</svg>", ""]))


def report_time(folder):
    runs = list(read_ours(folder)) + list(read_theirs(folder))
    runs = [r for r in runs if r["minutes"]]
    if not runs:
        sys.exit(f"no runs in {folder}")
    rows = summary(runs)
    table(rows)
    with open(f"{folder}/time_to_accuracy.json", "w") as file:
        json.dump({"summary": rows, "runs": runs}, file, indent=1)
    svg(runs, f"{folder}/time_to_accuracy.svg")


def read_modes(folder):
    """{mode: {seed: (accuracy, averaged)}} of complete runs."""
    modes = {}
    for log in sorted(glob.glob(f"{folder}/*-*.log")):
        mode = os.path.basename(log).rsplit("-", 1)[0]
        with open(log) as file:
            if "done in" not in file.read():
                continue
        last = [r for r in lines_of(log[:-4] + "/metrics.jsonl") if r["type"] == "epoch"][-1]
        modes.setdefault(mode, {})[seed_of(log)] = (last["test_accuracy"], averaged_of(log))
    return modes


def report_modes(folder):
    modes, rows = read_modes(folder), []
    if not modes:
        sys.exit(f"no complete runs in {folder}")
    print("| mode | seeds | accuracy | mean % | deviation | error | minus direct | error |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for mode in sorted(modes, key=lambda m: ["direct", "winograd", "bf16"].index(m)):
        for i, name in enumerate(("one view", "averaged views")):
            values = {s: v[i] for s, v in modes[mode].items() if v[i] is not None}
            direct = {s: v[i] for s, v in modes.get("direct", {}).items() if v[i] is not None}
            if not values:
                continue
            mean, deviation, error = spread(list(values.values()))
            pairs = [values[s] - direct[s] for s in values if s in direct and mode != "direct"]
            difference, _, pair_error = spread(pairs) if pairs else (None, None, None)
            rows.append({"mode": mode, "views": name, "seeds": sorted(values), "mean": mean,
                         "values": [values[s] for s in sorted(values)], "deviation": deviation,
                         "error": error, "minus_direct": difference, "pair_error": pair_error})
            print(f"| {mode} | {len(values)} | {name} | {percent(mean)} | {percent(deviation)} "
                  f"| {percent(error)} | {percent(difference)} | {percent(pair_error)} |")
    with open(f"{folder}/accuracy_modes.json", "w") as file:
        json.dump(rows, file, indent=1)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("time", "modes"):
        sys.exit(__doc__.split("\n\n")[1])
    {"time": report_time, "modes": report_modes}[sys.argv[1]](sys.argv[2])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What compare_software1.sh found: a table, JSON and a plot.
usage: software1_report.py OUT DATA..."""
import json
import sys

FEATURES = {"pixels": "pixels", "filterbank": "filter bank", "hog": "oriented gradients",
            "learned": "learned"}
COLOURS = {"pixels": "#898781", "filterbank": "#eda100", "hog": "#eb6834", "learned": "#2a78d6"}
TESTS = ("clean", "translated", "rotated", "noisy", "dimmed")


def read(folder, names):
    found = {}
    for name in names:
        for features in FEATURES:
            for test in TESTS:
                with open(f"{folder}/{name}-{features}/{test}.json", encoding="utf-8") as file:
                    found.setdefault(name, {}).setdefault(features, {})[test] = \
                        100 * json.load(file)["accuracy"]
    return found


def table(found):
    rows = ["| data | features | " + " | ".join(TESTS) + " |",
            "| --- | --- |" + " --- |" * len(TESTS)]
    for name, methods in found.items():
        for features, values in methods.items():
            rows.append(f"| {name} | {FEATURES[features]} | " +
                        " | ".join(f"{values[test]:.1f}" for test in TESTS) + " |")
    return "\n".join(rows) + "\n"


def bars(name, methods, left):
    """One data set's panel: a group of bars a test set."""
    out = [f'<text class="title" x="{left}" y="20">{name}</text>']
    for share in range(0, 101, 25):
        y = 220 - 1.8 * share
        out.append(f'<line class="grid" x1="{left}" x2="{left + 290}" y1="{y}" y2="{y}"/>'
                   f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{share} %</text>')
    for i, test in enumerate(TESTS):
        for k, (features, values) in enumerate(methods.items()):
            x, height = left + 4 + 58 * i + 12 * k, 1.8 * values[test]
            out.append(f'<rect x="{x}" y="{220 - height:.1f}" width="10" height="{height:.1f}" '
                       f'fill="{COLOURS[features]}"><title>{name}, {test}: {FEATURES[features]} '
                       f'{values[test]:.1f} %</title></rect>')
        out.append(f'<text x="{left + 28 + 58 * i}" y="238" text-anchor="middle">{test}</text>')
    return out


def svg(found, path):
    width = 350 * len(found) + 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 280" width="{width}" '
           'height="280" role="img"><title>Accuracy of human-engineered and learned features'
           '</title>',
           '<style>text{font:12px system-ui,sans-serif;fill:#52514e}.title{font-size:14px;'
           'font-weight:600;fill:#0b0b0b}.grid{stroke:#e1e0d9}</style>'
           f'<rect width="{width}" height="280" fill="#fcfcfb"/>']
    for i, (name, methods) in enumerate(found.items()):
        out += bars(name, methods, 50 + 350 * i)
    for i, (features, text) in enumerate(FEATURES.items()):
        out.append(f'<rect x="{50 + 150 * i}" y="254" width="10" height="10" '
                   f'fill="{COLOURS[features]}"/><text x="{66 + 150 * i}" y="263">{text}</text>')
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out + ["</svg>", ""]))


def main():
    folder, found = sys.argv[1], read(sys.argv[1], sys.argv[2:])
    svg(found, f"{folder}/software1.svg")
    with open(f"{folder}/software1.json", "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)
    with open(f"{folder}/software1.md", "w", encoding="utf-8") as file:
        file.write(table(found))
    print(table(found), end="")


main()

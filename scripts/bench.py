#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs sw2-train beside its peers in interleaved rounds and prints what came out.

usage: bench.py --build DIR --python PYTHON [--rounds N] [--only SECTION,...] [--json FILE]
                [--mnist FILE.h5]

Called by bench.sh, which builds and installs what is needed. PYTHON has torch. Only ratios within
one run mean something on a shared machine: every figure is a median over interleaved rounds, and
a probe of the FMA peak runs beside them. Sections: kernels, step, ranks, share, sum, start, memory,
loader. Python's standard library only.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent
# network of the peer: (recipe, shape, rows, batch, steps, classes, target fp32, target best mode)
NETWORKS = {
    "smallcnn": ("smallcnn", "28x28x1", 20000, 64, 400, 10, 1.7, 1.8),
    "resnet20": ("resnet20_projection", "32x32x3", 10000, 128, 40, 10, 1.25, 1.8),
    "resnet20w64": ("resnet20w64", "32x32x3", 10000, 64, 8, 10, 1.1, 1.8),
    "resnet18": ("resnet18", "224x224x3", 64, 16, 6, 1000, 1.25, 1.8),
}
MODES = {
    "fp32 direct": ["-o", "train.winograd=off"],
    "Winograd": ["-o", "train.winograd=auto"],
    "bf16": ["-o", "train.precision=bf16"],
}


def median(values):
    values = [v for v in values if v]
    return statistics.median(values) if values else float("nan")


def ratio(a, b):
    """Median over the rounds of a / b."""
    return median([x / y for x, y in zip(a, b) if x and y])


def interleave(cases, rounds):
    """cases: name -> function that measures once. Returns name -> list of figures, a round each."""
    seen = {name: [] for name in cases}
    for _ in range(rounds):
        for name, measure in cases.items():
            seen[name].append(measure())
    return seen


class Bench:
    def __init__(self, args):
        self.args = args
        self.build = pathlib.Path(args.build)
        self.folder = self.build / "bench"
        self.folder.mkdir(exist_ok=True)
        self.core = min(os.sched_getaffinity(0))
        self.cores = len(os.sched_getaffinity(0))
        self.records = []

    # -- records -------------------------------------------------------------------------------
    def record(self, section, name, value, unit, target=None, reached=None, rounds=None):
        self.records.append({"section": section, "name": name, "value": value, "unit": unit,
                             "target": target, "reached": reached, "rounds": rounds})

    def line(self, section, name, text, value, unit, target=None, least=True, rounds=None):
        """Prints one row; target: at least (or at most) this value."""
        reached = None
        note = ""
        if target is not None:
            reached = value >= target if least else value <= target
            note = f"{'>=' if least else '<='} {target:g} {'yes' if reached else 'NO'}"
        print(f"  {name:<40} {text:>24}  {note}", flush=True)
        self.record(section, name, value, unit, target, reached, rounds)

    # -- running -------------------------------------------------------------------------------
    def command(self, words, pinned=True, environment=None, check=True):
        if pinned:
            words = ["taskset", "-c", str(self.core)] + [str(w) for w in words]
        done = subprocess.run([str(w) for w in words], cwd=SOURCE, capture_output=True, text=True,
                              env={**os.environ, **(environment or {})}, check=False)
        if check and done.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))}\nended with {done.returncode}:\n"
                     f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done

    def data(self, shape, rows, classes):
        path = self.folder / f"{shape}.h5"
        if not path.exists():
            self.command([self.build / "sw2-data", "generate", path, "--shape", shape, "--rows",
                          rows, "--classes", classes])
        return path

    def sw2(self, network, options=(), ranks=1, threads=1):
        """Images a second: median over spells of steps, the first left out (kernels are made)."""
        recipe, shape, rows, batch, steps, classes, _, _ = NETWORKS[network]
        out = self.folder / "run"
        shutil.rmtree(out, ignore_errors=True)
        every = max(1, steps * ranks * threads // 8)
        words = [self.build / "sw2-train", SOURCE / "scripts/bench" / f"{recipe}.yaml", "--out",
                 out, "-q", "-o", f"data.train={self.data(shape, rows, classes)}:/train", "-o",
                 "data.test=", "-o", f"train.steps={steps * ranks * threads}", "-o",
                 f"train.log_every={every}", "-o", "train.checkpoint_every=0", *options]
        if ranks > 1:
            words = ["mpirun", "-np", ranks, "--bind-to", "core"] + words
        if threads > 1:
            words += ["--threads", threads]
        self.command(words, pinned=ranks * threads == 1)
        spells = []
        before = None
        for text in (out / "metrics.jsonl").read_text().splitlines():
            event = json.loads(text)
            if event.get("type") != "step":
                continue
            now = (event["step"], event["seconds"])
            if before and now[1] > before[1]:
                spells.append((now[0] - before[0]) * batch / (now[1] - before[1]))
            before = now
        return median(spells[1:] if len(spells) > 3 else spells)

    def torch(self, network, processes=1, precision="fp32"):
        done = self.command([self.args.python, SOURCE / "scripts/torch_bench.py", "--threads", 1,
                             "--processes", processes, "--precision", precision, network],
                            pinned=processes == 1, check=False)
        found = re.search(r'"median_images_per_s": *([0-9.]+)', done.stdout)
        return float(found.group(1)) if found else None

    # -- sections ------------------------------------------------------------------------------
    def probe(self):
        program = self.build / "tests/bench_conv"
        if not program.exists():
            return None
        done = self.command([program, "--probe"])
        return float(re.search(r"([0-9.]+) GFLOP/s", done.stdout).group(1))

    def kernels(self):
        print("Convolution kernels against oneDNN, one core, GFLOP/s")
        program = self.build / "tests/bench_conv"
        if not program.exists():
            print("  not built: libdnnl-dev is missing")
            return
        at = self.folder / "conv.json"
        done = self.command([program, "--json", at], environment={"OMP_NUM_THREADS": "1"})
        print(done.stdout)
        cells = json.loads(at.read_text()).get("cells", [])
        ratios = [cell["ratio"] for cell in cells]
        mean, least = statistics.geometric_mean(ratios), min(ratios)
        self.line("kernels", "all cells, geometric mean", f"{mean:5.2f}x", mean, "times oneDNN", 1)
        self.line("kernels", "all cells, least", f"{least:5.2f}x", least, "times oneDNN", 0.95)
        for cell in cells:
            name = cell.pop("name")
            if "1->32" in name or "56, 1x1" in name: # where oneDNN is weak
                top = cell["peak"] / cell["onednn_direct"]
                self.line("kernels", name, f"{cell['ratio']:5.2f}x (peak {top:5.2f}x)",
                          cell["ratio"], "times oneDNN", 1.3)
            self.record("kernels", name, cell, "GFLOP/s")

    def step(self):
        print("Whole training step, one core, images/s (and times PyTorch fp32)")
        for network, (_, _, _, batch, _, _, target, best) in NETWORKS.items():
            cases = {mode: lambda o=options: self.sw2(network, o)
                     for mode, options in MODES.items()}
            cases["PyTorch"] = lambda: self.torch(network)
            cases["PyTorch bf16"] = lambda: self.torch(network, precision="bf16")
            rounds = max(2, self.args.rounds - 1) if network == "resnet18" else self.args.rounds
            cases["FMA peak, GFLOP/s"] = self.probe
            seen = interleave(cases, rounds)
            print(f" {network}, batch {batch}")
            peer = seen["PyTorch"]
            for name, figures in seen.items():
                times = ratio(figures, peer)
                is_mode = name in MODES
                shown = f"{median(figures):9.1f}" + (f"  {times:5.2f}x" if is_mode else " " * 8)
                self.line("step", f"{network} {name}", shown, times if is_mode else median(figures),
                          "times PyTorch" if is_mode else "images/s",
                          target if name == "fp32 direct" else None, rounds=figures)
            top = max(ratio(seen[mode], peer) for mode in MODES)
            self.line("step", f"{network} best mode", f"{top:5.2f}x", top, "times PyTorch", best)
            if network in ("resnet20w64", "resnet18"):
                gain = ratio(seen["bf16"], seen["fp32 direct"])
                self.line("step", f"{network} bf16 / fp32", f"{gain:5.2f}x", gain, "times fp32",
                          1.6)

    def ranks(self):
        print("Two ranks at the same global batch, images/s")
        if self.cores < 2:
            print("  only one core")
            return
        for network in ("resnet20", "smallcnn"):
            fp32 = MODES["fp32 direct"]
            cases = {
                "one rank": lambda: self.sw2(network, fp32),
                "two ranks": lambda: self.sw2(network, fp32, ranks=2),
                "two threads": lambda: self.sw2(network, fp32, threads=2),
                "two ranks, Winograd": lambda: self.sw2(network, MODES["Winograd"], ranks=2),
                "two ranks, bf16": lambda: self.sw2(network, MODES["bf16"], ranks=2),
                "PyTorch DDP": lambda: self.torch(network, processes=2),
            }
            seen = interleave(cases, self.args.rounds)
            for name, figures in seen.items():
                self.line("ranks", f"{network} {name}", f"{median(figures):9.1f}", median(figures),
                          "images/s", rounds=figures)
            two = ratio(seen["two ranks"], seen["one rank"])
            self.line("ranks", f"{network} two ranks / one", f"{two:5.2f}x", two, "times", 1.9)
            threads = ratio(seen["two threads"], seen["two ranks"])
            self.line("ranks", f"{network} threads / ranks", f"{threads:5.2f}x", threads, "times",
                      0.95)
            for name in ("two ranks", "two ranks, Winograd", "two ranks, bf16"):
                ddp = ratio(seen[name], seen["PyTorch DDP"])
                best = name != "two ranks"
                self.line("ranks", f"{network} {name} / DDP", f"{ddp:5.2f}x", ddp, "times",
                          2.2 if network == "resnet20" and best else None)

    def share(self):
        print("What is not convolution or dense in ResNet-20's step, and the sum that is exposed")
        out = self.folder / "profile"
        for ranks in (1, 2):
            if ranks > self.cores:
                break
            shutil.rmtree(out, ignore_errors=True)
            words = [self.build / "sw2-train", SOURCE / "scripts/bench/resnet20_projection.yaml",
                     "--out", out, "-q", "--profile", "-o",
                     f"data.train={self.data('32x32x3', 10000, 10)}:/train", "-o", "data.test=",
                     "-o", f"train.steps={40 * ranks}", "-o", "train.checkpoint_every=0", "-o",
                     "train.winograd=off"]
            if ranks > 1:
                words = ["mpirun", "-np", ranks, "--bind-to", "core"] + words
            self.command(words, pinned=ranks == 1)
            table = (out / "profile.txt").read_text()
            if ranks == 1:
                value = float(re.search(r"not convolution or dense: *([0-9.]+) %", table)[1])
                self.line("share", "not convolution or dense", f"{value:5.1f} %", value, "%", 15,
                          least=False)
            else:
                value = float(re.search(r"wait for the sum over ranks +[0-9.]+ +([0-9.]+)%",
                                        table)[1])
                self.line("share", "sum not hidden, two ranks", f"{value:5.1f} %", value, "%", 5,
                          least=False)

    def sum(self):
        print("Canonical sum against MPI_Allreduce (times its time)")
        program = self.build / "tests/bench_reduce"
        for ranks in (2, 3, 4, 8):
            at = self.folder / f"reduce{ranks}.json"
            self.command(["mpirun", "-q", "-np", ranks, "--oversubscribe", program, "--json", at],
                         pinned=False)
            for row in json.loads(at.read_text())["sizes"]:
                size = row["bytes"] / 1024
                target = 1.1 if row["bytes"] >= 1 << 20 else None
                self.line("sum", f"{ranks} ranks, {size:.0f} KiB", f"{row['ratio']:5.2f}x",
                          row["ratio"], "times", target, least=False)

    def start(self):
        print("Cold start")
        times = [self.first_step() for _ in range(9)]
        self.line("start", "digits, exec to the first step done", f"{median(times):5.1f} ms",
                  median(times), "ms", 50, least=False, rounds=times)
        self.mnist()

    def first_step(self):
        """Milliseconds from exec to the line that says that the first step is done."""
        out = self.folder / "start"
        shutil.rmtree(out, ignore_errors=True)
        words = [str(self.build / "sw2-train"), "--out", str(out), "-o", "train.steps=44", "-o",
                 "train.log_every=1"]
        begin = time.monotonic()
        with subprocess.Popen(words, cwd=SOURCE, stdout=subprocess.PIPE, text=True) as process:
            for text in process.stdout:
                if " step 1/" in text:
                    took = 1000 * (time.monotonic() - begin)
                    process.stdout.read()
                    return took
        return sys.exit("the first step of the digits was never shown")

    def mnist(self):
        data = self.args.mnist or self.folder / "mnist.h5"
        source = SOURCE / "../shared/data/mnist"
        if not pathlib.Path(data).exists() and source.exists():
            self.command([self.build / "sw2-data", "import", source, data])
        if not pathlib.Path(data).exists() or self.cores < 2:
            print("  MNIST to 99 %: give --mnist FILE.h5, made by sw2-data import")
            return
        done = self.command(["bash", SOURCE / "scripts/mnist_fast.sh", data], pinned=False,
                            environment={"BUILD": str(self.build)}, check=False)
        rows = [line.split() for line in done.stdout.splitlines()]
        rows = [row for row in rows if len(row) == 4 and row[0] in ("threads", "ranks")]
        for way in ("threads", "ranks"):
            seconds = [float(row[2]) for row in rows if row[0] == way]
            self.line("start", f"MNIST, cold start to the end, 2 {way}",
                      f"{median(seconds):5.2f} s", median(seconds), "s", 3, least=False,
                      rounds=seconds)
        lowest = min(float(row[3]) for row in rows)
        self.line("start", "MNIST, lowest test accuracy of 5 seeds", f"{lowest:5.2f} %", lowest,
                  "%", 99)

    def memory(self):
        print("Memory: planned and measured")
        script = SOURCE / "scripts/bench_memory.sh"
        at = self.folder / "memory.json"
        done = self.command(["bash", script, "--json", at], pinned=False,
                            environment={"BUILD": str(self.build)})
        print(done.stdout.rstrip())
        for row in json.loads(at.read_text()):
            self.record("memory", row.get("name", "run"), row, "bytes")

    def loader(self):
        print("Loader alone, one core")
        print(self.command([self.build / "tests/bench_loader"]).stdout.rstrip())


SECTIONS = ["step", "ranks", "share", "kernels", "sum", "start", "memory", "loader"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--json", default=None)
    parser.add_argument("--mnist", default=None)
    args = parser.parse_args()
    bench = Bench(args)
    begin = time.monotonic()
    wanted = args.only.split(",")
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown section {unknown[0]}: {', '.join(SECTIONS)}")
    for name in wanted:
        getattr(bench, name)()
        print(flush=True)
    seconds = time.monotonic() - begin
    missed = [r["name"] for r in bench.records if r["reached"] is False]
    print(f"{len(bench.records)} figures in {seconds:.0f} s; targets missed: "
          f"{', '.join(missed) if missed else 'none'}")
    at = pathlib.Path(args.json) if args.json else bench.folder / "bench.json"
    at.write_text(json.dumps({"seconds": seconds, "python": args.python,
                              "records": bench.records}, indent=1) + "\n")
    print(f"written: {at}")


if __name__ == "__main__":
    main()

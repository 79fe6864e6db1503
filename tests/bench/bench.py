"""Alternates work of ours with PyTorch's, run by run, and prints the ratio.

    bench.py BIN unet|sdxl-unet|vae [--peer PYTHON] [--size N] [--rows N] [--form FORM]
    bench.py BIN ops [--peer PYTHON] [--only TEXT] [--plot FILE.png]
             [--passes N] [--json]

BIN is the folder of the bench programs, PYTHON an interpreter with torch and diffusers.
Absolute times of a shared machine mean little; the ratio of runs taken in turn does: ratio
is the peer's time over ours, the median of the pairs. spread is that of our times, (third
quartile - first) / median. --json prints one object a line: work, ours_s, peer_s (medians),
ratio, spread, fma_peak_gflops (of norms copy_gb_per_s) and more. Of whole parts both outputs
are compared: an answer that is wrong has no speed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4
REST_S = 0.05  # between runs: OpenMP's threads spin for a while after the last
CONFIGS = {"unet": "sd15_unet", "sdxl-unet": "sdxl_unet", "vae": "sd15_vae"}
SIZES = {"unet": 64, "sdxl-unet": 128, "vae": 64}
# Work of one pass at that size, in TFLOP (multiplications and additions).
WORK = {"unet": 0.803, "sdxl-unet": 6.761, "vae": 2.515}


class Runner:
    """A program that works once for each empty line and answers with its seconds."""

    def __init__(self, command):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def line(self):
        return self.process.stdout.readline()

    def ask(self, text=""):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def seconds(self):
        self.ask()
        text = self.line()
        if not text:
            sys.exit(f"{self.process.args[0]} ended with {self.process.wait()}")
        return float(text)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def alternate(runners, passes):
    """Medians, ratio and spread of runs taken in turn."""
    times = {name: [] for name in runners}
    for _ in range(passes):
        for name, runner in runners.items():
            time.sleep(REST_S)
            times[name].append(runner.seconds())
    result = {f"{name}_s": statistics.median(times[name]) for name in runners}
    if "peer" in runners:
        result["ratio"] = statistics.median(p / o for o, p in zip(times["ours"], times["peer"]))
    quartiles = statistics.quantiles(times["ours"], n=4) if passes > 1 else [0, 0, 0]
    result["spread"] = (quartiles[2] - quartiles[0]) / result["ours_s"]
    return result


def distance(found, want):
    found, want = (np.fromfile(path, np.float32).astype(np.float64) for path in (found, want))
    if not (np.isfinite(found).all() and np.isfinite(want).all()):
        sys.exit("an output has values that are not finite")
    return np.linalg.norm(found - want) / np.linalg.norm(want)


def fma_peak(options):
    """GFLOPS the device reaches with multiplications and additions alone, right now."""
    command = [f"{options.bin}/bench_ops", "--json", "--only", "gemm 1 x 1280"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return max(json.loads(line).get("fma_peak_gflops", 0) for line in lines.splitlines())


def measure_part(options, folder):
    part = "vae" if options.part == "vae" else "unet"
    size = options.size or SIZES[options.part]
    config = str(HERE / f"{CONFIGS[options.part]}.json")
    shared = [part, config, "--size", str(size), "--rows", str(options.rows)]
    ours = Runner([f"{options.bin}/bench_model", *shared, "--steps-from-stdin",
                   "--out", f"{folder}/ours"])
    ours.seconds()  # kernels are built, the result is written
    result = {"work": options.part, "size": size, "rows": options.rows}
    runners = {"ours": ours}
    if options.peer:
        runners["peer"] = Runner([options.peer, str(HERE / "peer_torch.py"), *shared,
                                  "--form", options.form, "--out", f"{folder}/peer"])
        runners["peer"].line()
        result["distance"] = distance(f"{folder}/ours", f"{folder}/peer")
    result |= alternate(runners, options.passes)
    for runner in runners.values():
        runner.close()
    result["fma_peak_gflops"] = fma_peak(options)
    if size != SIZES[options.part]:
        return result
    for name in runners:
        result[f"{name}_gflops"] = WORK[options.part] * options.rows * 1e3 / result[f"{name}_s"]
    if options.peer and result["peer_gflops"] < result["fma_peak_gflops"] / 2:
        print("the peer is under half of the FMA peak: its time is no baseline", file=sys.stderr)
    return result


def measure_ops(options):
    """Each work that bench_ops knows, as results come."""
    only = ["--only", options.only] if options.only else []
    runners = {"ours": Runner([f"{options.bin}/bench_ops", "--steps-from-stdin", *only])}
    if options.peer:
        runners["peer"] = Runner([options.peer, str(HERE / "peer_ops.py")])
    while header := runners["ours"].line():
        work = json.loads(header)
        if options.peer:
            runners["peer"].ask(header.strip())
            runners["peer"].line()
        result = work | alternate(runners, options.passes)
        for name in runners:
            rate, amount = ("gflops", "operations") if "operations" in work else (
                "gb_per_s", "bytes")
            result[f"{name}_{rate}"] = work[amount] / result[f"{name}_s"] * 1e-9
        runners["ours"].ask("next")
        yield result
    for runner in runners.values():
        runner.close()


def plot(results, path):
    """Bars of both speeds, shape by shape, under the FMA peak."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    results = [r for r in results if "operations" in r]
    peak = statistics.median(r["fma_peak_gflops"] for r in results)
    figure, axes = pyplot.subplots(figsize=(11, 0.3 * len(results) + 1.5))
    names = [r["work"] for r in results]
    rows = np.arange(len(results))
    axes.barh(rows - 0.2, [r["ours_gflops"] for r in results], 0.4, label="clfarm")
    if "peer_gflops" in results[0]:
        axes.barh(rows + 0.2, [r["peer_gflops"] for r in results], 0.4, label="PyTorch")
    axes.axvline(peak, color="black", linestyle="--", label=f"FMA peak {peak:.0f}")
    axes.set_yticks(rows, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("GFLOP/s (of a convolution: of its definition)")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def show(result, options):
    if options.json:
        print(json.dumps(result), flush=True)
    elif options.part == "ops":
        ratio = f"{result['ratio']:6.2f}" if "ratio" in result else ""
        rate, unit, roof, of = "ours_gflops", "GFLOP/s", "fma_peak_gflops", "peak"
        if rate not in result:
            rate, unit, roof, of = "ours_gb_per_s", "GB/s   ", "copy_gb_per_s", "copy"
        print(f"{result['work']:40} {result['ours_s'] * 1e3:9.3f} ms {result[rate]:8.1f}"
              f" {unit} {result[rate] / result[roof]:5.2f} of {of}"
              f" {result['spread']:5.2f} {ratio}", flush=True)
    else:
        for key, value in result.items():
            print(f"{key:16} {value:.4g}" if isinstance(value, float) else f"{key:16} {value}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bin")
    parser.add_argument("part", choices=[*CONFIGS, "ops"])
    parser.add_argument("--peer", help="a Python with torch and diffusers")
    parser.add_argument("--size", type=int, help="in latents, both ways")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--form", default="channels_last",
                        choices=["channels_last", "nchw", "compile"])
    parser.add_argument("--only", help="ops whose name holds this")
    parser.add_argument("--plot", help="ops: a picture of the speeds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    if options.part == "ops":
        results = []
        for result in measure_ops(options):
            show(result, options)
            results.append(result)
        if options.plot:
            plot([r for r in results if r["op"] in ("linear", "conv")], options.plot)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        result = measure_part(options, folder)
    show(result, options)
    return 1 if result.get("distance", 0) > TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())

"""Alternates a model part of ours with PyTorch's, pass by pass, and prints the ratio.

    bench.py BIN unet|vae [--peer PYTHON] [--size N] [--rows N] [--passes N] [--form FORM]
             [--json]

BIN is the folder of bench_model, PYTHON an interpreter with torch and diffusers. Absolute
times of a shared machine mean little; the ratio of passes taken in turn does. Both outputs
are compared: an answer that is wrong has no speed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4
# Work of one pass at 64x64 latents, in TFLOP (multiplications and additions).
WORK = {"unet": 0.803, "vae": 2.515}


class Runner:
    def __init__(self, command):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            sys.exit(f"{self.process.args[0]} ended with {self.process.wait()}")
        return text

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.line())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def distance(found, want):
    found, want = (np.fromfile(path, np.float32).astype(np.float64) for path in (found, want))
    if not (np.isfinite(found).all() and np.isfinite(want).all()):
        sys.exit("an output has values that are not finite")
    return np.linalg.norm(found - want) / np.linalg.norm(want)


def fma_peak(options):
    """GFLOPS the device reaches with multiplications and additions alone, right now."""
    command = [f"{options.bin}/bench_ops", "--json", "--only", "layer_norm 64^2"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return max(json.loads(line).get("fma_peak_gflops", 0) for line in lines.splitlines())


def measure(options, folder):
    config = str(HERE / f"sd15_{options.part}.json")
    shared = [options.part, config, "--size", str(options.size), "--rows", str(options.rows)]
    ours = Runner([f"{options.bin}/bench_model", *shared, "--steps-from-stdin",
                   "--out", f"{folder}/ours"])
    ours.seconds()  # kernels are built, the result is written
    result = {"work": options.part, "size": options.size, "rows": options.rows}
    times = {"ours": [], "peer": []}
    runners = {"ours": ours}
    if options.peer:
        runners["peer"] = Runner([options.peer, str(HERE / "peer_torch.py"), *shared,
                                  "--form", options.form, "--out", f"{folder}/peer"])
        runners["peer"].line()
        result["distance"] = distance(f"{folder}/ours", f"{folder}/peer")
    for _ in range(options.passes):
        for name, runner in runners.items():
            times[name].append(runner.seconds())
    for name, runner in runners.items():
        runner.close()
        result[f"{name}_s"] = min(times[name])
    if options.peer:
        result["ratio"] = statistics.median(p / o for o, p in zip(times["ours"], times["peer"]))
    if options.size != 64:
        return result
    work = WORK[options.part] * options.rows * 1e3
    result["fma_peak_gflops"] = fma_peak(options)
    for name in runners:
        result[f"{name}_gflops"] = work / result[f"{name}_s"]
    if options.peer and result["peer_gflops"] < result["fma_peak_gflops"] / 2:
        print("the peer is under half of the FMA peak: its time is no baseline", file=sys.stderr)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin")
    parser.add_argument("part", choices=["unet", "vae"])
    parser.add_argument("--peer", help="a Python with torch and diffusers")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--form", default="channels_last",
                        choices=["channels_last", "nchw", "compile"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options, folder)
    if options.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:12} {value:.4g}" if isinstance(value, float) else f"{key:12} {value}")
    return 1 if result.get("distance", 0) > TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Whole images through a farm of one worker, in turns with a diffusers pipeline.

    image.py BIN [--peer PYTHON] [--model PATH] [--size N] [--steps N] [--passes N]
             [--tasks N] [--json]

Without a model: the bundled one, or, where there is a peer to make it, one of SD 1.5's sizes and
random weights (kept in build/bench). Three things are measured:

    first step   from the assignment of an image, of a new prompt, to an idle worker whose model
                 is loaded to its first step, and to the device's first command before that
    next step    from one image's pixels to the first step of the next, of a prompt of its own
                 that was there by then, in a job of --tasks images, one at a time
    overhead     of that job: what passed between its submit and its last commit over what its
                 tasks took on the device, less 1; and how long the device had nothing to do
                 though there was work
    ratio        the peer's seconds for an image over ours, from submit to commit, in turns

and both pictures are compared: the mean difference of a channel, of 255.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]
SAMPLER = "EulerDiscreteScheduler"
PROMPT = "a red apple on a table"


class Ours:
    def __init__(self, options, folder):
        os.environ["FARM_BIN"] = str(options.bin)
        import farm  # reads where the programs are
        self.until, self.options, self.seed = farm.until, options, 0
        self.folder = folder
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
        self.farm = farm.Farm(folder, cache / "clfarm-bench")
        self.farm.start_coordinator()
        self.farm.ctl("model", "add", options.model, "--name", "model", patience=900)
        self.worker = self.farm.worker("one", "--batch", 1, "--log", "debug")
        self.until(lambda: [n["state"] for n in self.farm.ctl_json("nodes")] == ["ok"],
                   "the worker is there", 900)

    def render(self, *prompts):
        """An image of each: seconds from the submit to the last commit; those of the tasks on
        the device."""
        seed, self.seed = self.seed, self.seed + 1
        size = f"{self.options.size}x{self.options.size}"
        began = time.monotonic()
        job = self.farm.ctl(
            "submit", "--print-id", "--model", "model", "--size", size, "--steps",
            self.options.steps, "--sampler", SAMPLER, "--syntax", "plain", "--seed", seed,
            "--yes", *prompts).strip()
        self.farm.ctl("wait", job, patience=3600)
        took = time.monotonic() - began
        return job, took, sum(task["result"]["seconds"] for task in self.farm.tasks(job))

    def seconds(self):
        """Of an image of a prompt of its own."""
        return self.render(f"{PROMPT}, number {self.seed}")[1]

    def picture(self):
        job = self.render(PROMPT)[0]
        self.farm.ctl("fetch", job, "-o", self.folder / job)
        return next((self.folder / job).glob("*.png"))

    def first_steps(self):
        """Of each batch so far, ms: to its first step, and to the device's first command."""
        found = re.findall(r"first step after ([\d.]+) ms, the first command after ([\d.]+)",
                           self.worker.log())
        return [(float(step), float(command)) for step, command in found]

    def close(self):
        """What the worker says of the device's idle time, in percent."""
        self.worker.stop(120)
        said = re.findall(r"\(([\d.]+) %\); first steps", self.worker.log())
        return float(said[-1]) if said else None


class Peer:
    def __init__(self, options, folder):
        self.out = folder / "peer.png"
        self.process = subprocess.Popen(
            [options.peer, HERE / "peer_image.py", options.model, "--size", str(options.size),
             "--steps", str(options.steps), "--sampler", SAMPLER, "--prompt", PROMPT, "--out",
             self.out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def difference(options, ours, theirs):
    done = subprocess.run([options.peer, HERE / "peer_image.py", "--compare", ours, theirs],
                          check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(options, folder, opened):
    ours = Ours(options, folder)
    opened.callback(ours.farm.close)
    result = {"work": "image", "model": pathlib.Path(options.model).name,
              "size": options.size, "steps": options.steps}
    picture = ours.picture()  # seed 0: loads the model, plans, builds kernels
    peer = Peer(options, folder) if options.peer else None
    if peer:
        opened.callback(peer.process.kill)
        result["difference"] = difference(options, picture, peer.out)
    warm = len(ours.first_steps())
    times, theirs = [], []
    for _ in range(options.passes):
        times.append(ours.seconds())
        if peer:
            theirs.append(peer.seconds())
    steps = ours.first_steps()[warm:]
    result["ours_s"] = statistics.median(times)
    if peer:
        peer.close()
        result["peer_s"] = statistics.median(theirs)
        result["ratio"] = statistics.median(p / o for o, p in zip(times, theirs))
    result["first_step_ms"] = statistics.median(step for step, _ in steps)
    result["first_step_most_ms"] = max(step for step, _ in steps)
    result["first_command_ms"] = statistics.median(command for _, command in steps)
    begun = len(ours.first_steps())
    _, took, device = ours.render(*(f"{PROMPT}, {n} of many" for n in range(options.tasks)))
    following = [step for step, _ in ours.first_steps()[begun + 1:]]
    result["next_step_ms"] = statistics.median(following)
    result["next_step_most_ms"] = max(following)
    result |= {"tasks": options.tasks, "tasks_s": took, "device_s": device,
               "overhead": took / device - 1}
    result["idle_percent"] = ours.close()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("bin", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--peer", help="a Python with torch and diffusers")
    parser.add_argument("--model", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.tasks < 2:
        parser.error("--tasks: 2 or more, so that one follows another")
    if not options.model and options.peer:
        options.model = SOURCE / "build/bench/sd15"
        if not (options.model / "model_index.json").exists():
            subprocess.run([options.peer, HERE / "peer_image.py", options.model, "--make"],
                           check=True)
    options.model = options.model or SOURCE / "models/emoji"
    for ended in (signal.SIGTERM, signal.SIGHUP):  # as by Ctrl-C: what was started is ended
        signal.signal(ended, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        result = measure(options, pathlib.Path(folder), opened)
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key:20} {value:.4g}" if isinstance(value, float) else f"{key:20} {value}")


main()

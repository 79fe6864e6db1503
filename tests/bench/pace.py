#!/usr/bin/env python3
"""Two real workers, one slowed, against the best schedule there is.

    FARM_BIN=build/dev/bin pace.py

Both render the tiny model; in each step they sleep, one five times as long as the other. The
coordinator knows no speed when a job comes, models are loaded before. What a task took is what
the workers measured; the best schedule gives each a whole number of tasks. 60 tasks may take
1.03 times as long as that, 12 tasks one slow task longer. A slow machine makes no difference
as long as both workers get their turn: run it where nothing else runs.
"""
import os
import pathlib
import sqlite3
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from farm import TINY, Farm, until  # noqa: E402

STEPS, SLEEP_MS, FACTOR = 5, 200, 5


def forget_speeds(farm):
    """As if nothing had ever been rendered; both workers connect again."""
    farm.coordinator.stop()
    with sqlite3.connect(farm.folder / "state/clfarm/coordinator/farm.db") as database:
        database.execute("DELETE FROM speed")
    farm.start_coordinator()
    ready(farm)


def ready(farm):
    until(lambda: [n["state"] for n in farm.ctl_json("nodes")] == ["ok"] * 2, "both work",
          900)


def run(farm, tasks, seed):
    """Seconds from the submit to the last result; the mean seconds of a task by node."""
    began = time.monotonic()
    job = farm.submit("--steps", STEPS, "--seed", f"{seed}..{seed + tasks - 1}", "--yes", "a cat")
    farm.ctl("wait", job, patience=600)
    took = time.monotonic() - began
    spent = {}
    for task in farm.tasks(job):
        spent.setdefault(task["node"], []).append(task["result"]["seconds"])
    return took, {node: sum(each) / len(each) for node, each in spent.items()}, \
        {node: len(each) for node, each in spent.items()}


def best(tasks, one, other):
    return min(max(n * one, (tasks - n) * other) for n in range(tasks + 1))


def measure(farm, tasks, seed):
    forget_speeds(farm)
    took, seconds, shares = run(farm, tasks, seed)
    fast = min(seconds.values())
    slow = max(seconds.values()) if len(seconds) > 1 else FACTOR * fast
    ideal = best(tasks, fast, slow)
    print(f"{tasks} tasks, {fast:.3f} s and {slow:.3f} s each, {sorted(shares.values())}: "
          f"{took:.2f} s, the best schedule {ideal:.2f} s: {took / ideal:.3f}", flush=True)
    return took, ideal, slow


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        farm = Farm(folder, pathlib.Path(os.environ.get("XDG_CACHE_HOME", folder / "kernels")))
        try:
            farm.start_coordinator()
            farm.ctl("model", "add", TINY, "--name", "tiny")
            for name, sleep in (("fast", SLEEP_MS), ("slow", FACTOR * SLEEP_MS)):
                farm.worker(name, "--batch", 1, FARM_DELAY=f"worker-step:{sleep}")
            ready(farm)
            run(farm, 8, 1000)  # loads the model and builds kernels
            took, ideal, _ = measure(farm, 60, 0)
            ok = took <= 1.03 * ideal
            took, ideal, slow = measure(farm, 12, 2000)
            return 0 if ok and took <= ideal + slow else 1
        finally:
            farm.close()


sys.exit(main())

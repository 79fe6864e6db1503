"""A whole farm of real processes in a temporary folder, on loopback.

Every farm has its own home, state and ports; kernels built once are shared by all of a
run. Processes are ended by their pid when the farm closes.
"""
import json
import os
import pathlib
import signal
import struct
import subprocess
import time

from ports import free_port

BIN = pathlib.Path(os.environ["FARM_BIN"])
SOURCE = pathlib.Path(__file__).resolve().parents[2]
TINY = SOURCE / "tests/golden/tiny"
PATIENCE = 240  # seconds; for what should take a few, on a machine that is slow or busy


def until(condition, what, seconds=PATIENCE):
    """Waits until condition() is true and gives its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"after {seconds} s still not: {what}")


def unsigned(png):
    """A picture without its provenance, which tells who rendered it and when."""
    found = png.index(b"tEXtclfarm") - 4
    (size,) = struct.unpack(">I", png[found:found + 4])
    return png[:found] + png[found + 12 + size:]


def children(pid):
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


class Process:
    """One program with its log file."""

    def __init__(self, command, log, env):
        self.log_path = log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                [str(part) for part in command], env=env, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out)
        self.pid = self.popen.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.running():
            os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self, seconds=PATIENCE):
        self.signal(signal.SIGTERM)
        return self.popen.wait(seconds)


class Farm:
    def __init__(self, folder, shared):
        self.folder = folder
        self.ports = free_port(), free_port()
        self.env = dict(os.environ, HOME=str(folder), CLFARM_YES="1", NO_COLOR="1",
                        XDG_STATE_HOME=str(folder / "state"),
                        XDG_CONFIG_HOME=str(folder / "config"),
                        CLFARM_WORKER_TUNE="no", XDG_CACHE_HOME=str(shared),
                        POCL_CACHE_DIR=str(shared / "pocl"))
        self.env.setdefault(
            "LSAN_OPTIONS", f"suppressions={SOURCE}/tests/leaks.supp:print_suppressions=0")
        self.processes = []
        self.coordinator = None

    def start(self, command, name, **env):
        process = Process(command, self.folder / f"{name}.log", dict(self.env, **env))
        self.processes.append(process)
        return process

    def start_coordinator(self, reserve=0, **env):
        address = self.folder / "state/clfarm/coordinator/address"
        address.unlink(missing_ok=True)
        self.coordinator = self.start(
            [BIN / "farm-coordinator", "--bind", "tcp://127.0.0.1",
             "--port", self.ports[0], "--bulk-port", self.ports[1],
             "--heartbeat-ms", 300, "--suspect-ms", 2000, "--lease-ms", 8000,
             "--reserve-mib", reserve], "coordinator", **env)
        until(lambda: address.exists() or not self.coordinator.running(),
              "the coordinator is up")
        assert self.coordinator.running(), self.coordinator.log()
        return self.coordinator

    def ctl(self, *arguments, status=0, patience=PATIENCE, **more):
        """Runs farmctl and gives its output."""
        done = subprocess.run(
            [str(BIN / "farmctl"), *map(str, arguments)], env=self.env, text=True,
            capture_output=True, timeout=patience, **more)
        assert done.returncode == status, \
            f"farmctl {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if status == 0 else done.stderr

    def ctl_json(self, *arguments):
        return json.loads(self.ctl(*arguments, "--json"))

    def token(self, role="worker", *more):
        return self.ctl("token", "new", "--role", role, *more).strip()

    def worker_state(self, name):
        return self.folder / name

    def run_worker(self, name, *arguments, given=None):
        """Runs a farm-worker command to its end."""
        return subprocess.run(
            [str(BIN / "farm-worker"), "--state", str(self.worker_state(name)),
             *map(str, arguments)], env=self.env, text=True, input=given,
            capture_output=True, timeout=PATIENCE)

    def join(self, name):
        done = self.run_worker(name, "join", "-", given=self.token())
        assert done.returncode == 0, done.stderr

    def start_worker(self, name, *settings, **env):
        return self.start(
            [BIN / "farm-worker", "--state", self.worker_state(name),
             "--cache", self.folder / f"{name}.cache", *settings], name, **env)

    def worker(self, name, *settings, **env):
        """Joins and starts one."""
        self.join(name)
        return self.start_worker(name, *settings, **env)

    def submit(self, *arguments):
        return self.ctl("submit", "--print-id", "--model", "tiny", "--size", "64x64",
                        *arguments).strip()

    def tasks(self, job):
        return self.ctl_json("show", job)["task"]

    def done_count(self, job):
        return sum(task["state"] == "done" for task in self.tasks(job))

    def fetch(self, job, folder):
        """Every file of the job by its name."""
        self.ctl("fetch", job, "-o", folder)
        return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}

    def close(self):
        for process in reversed(self.processes):
            if not process.running():
                continue
            pids = children(process.pid)
            process.kill()
            for pid in pids:
                until(lambda pid=pid: not alive(pid), f"{pid} ends with its host")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def processes(folder, program):
    """Pids of the program with the folder on its command line."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].endswith(program) and any(str(folder) in word for word in words):
            found.append(int(path.parent.name))
    return found


def parent(pid):
    status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return int(status.rsplit(")", 1)[1].split()[1])

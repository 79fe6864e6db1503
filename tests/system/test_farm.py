"""The whole path through real processes, and what survives their deaths."""
import json
import os
import re
import signal
import struct
from collections import Counter

import pytest

from farm import BIN, TINY, alive, children, unsigned, until

SWEEP = ("--steps", 4, "--seed", "0..5", "--latents", "a cat", "a dog")
TASKS = 12


def assert_complete(farm, job, tasks=TASKS):
    """Every task is done once, and every file is there and distinct."""
    farm.ctl("wait", job)
    rows = farm.tasks(job)
    assert [row["index"] for row in rows] == list(range(tasks))
    assert all(row["state"] == "done" for row in rows), rows
    files = farm.fetch(job, farm.folder / f"out-{job[:8]}")
    pictures = [name for name in files if name.endswith(".png")]
    latents = [name for name in files if name.endswith(".safetensors")]
    assert len(pictures) == len(latents) == tasks
    assert len({files[name] for name in pictures}) == tasks
    return files


def images_of(farm):
    return {node["name"]: node["images"] for node in farm.ctl_json("nodes")}


def test_a_sweep_comes_back_as_pictures_and_latents(farm):
    farm.worker("one")
    job = farm.submit(*SWEEP)
    files = assert_complete(farm, job)
    for name, content in files.items():
        if name.endswith(".png"):
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert struct.unpack(">II", content[16:24]) == (64, 64)
            assert b"Steps: 4" in content
        elif name.endswith(".safetensors"):
            assert b'"latents"' in content and b"[1,4," in content.replace(b" ", b"")


def test_a_fetched_picture_tells_where_it_comes_from_until_it_is_changed(farm):
    farm.worker("one")
    job = farm.submit("--steps", 1, "--seed", "0..1", "a cat")
    farm.ctl("wait", job)
    out = farm.folder / "out"
    farm.ctl("fetch", job, "-o", out)
    first, second = sorted(out.iterdir())
    origin = farm.ctl_json("info", first)["provenance"]
    assert origin["verified"], origin
    assert "verified" in farm.ctl("info", first)
    assert len(origin["models"]) == 1 and origin["engine"].startswith("farm-worker")
    before = first.stat().st_mtime_ns
    assert farm.ctl_json("fetch", job, "-o", out)["already_there"] == 2
    assert first.stat().st_mtime_ns == before
    original, other = first.read_bytes(), second.read_bytes()
    end = other.index(b"tEXtclfarm") - 4
    end += 12 + struct.unpack(">I", other[end:end + 4])[0]
    start = original.index(b"tEXtclfarm") - 4
    size = 12 + struct.unpack(">I", original[start:start + 4])[0]
    first.write_bytes(original[:start] + other[end - size:end] + original[start + size:])
    farm.ctl("info", first, status=1)
    assert farm.ctl_json("fetch", job, "-o", out)["already_there"] == 1
    assert first.read_bytes() == original


@pytest.mark.parametrize("fault", [
    "worker-mid-fetch", "worker-mid-denoise", "worker-between-blobs-and-record",
    "worker-after-spool", "worker-after-commit-sent", "worker-before-forget"])
def test_a_worker_killed_at_any_step_costs_no_image(farm, fault):
    flag = farm.folder / "fault"
    worker = farm.worker("one", FARM_FAULT=f"{fault}:{flag}")
    job = farm.submit(*SWEEP)
    assert_complete(farm, job)
    assert flag.exists(), worker.log()
    assert sum(images_of(farm).values()) == TASKS
    spool = farm.worker_state("one") / "spool/0"
    until(lambda: not list(spool.glob("*.commit")), "the restarted worker forgot them all")


def test_a_worker_killed_whole_in_mid_job_costs_no_image(farm):
    worker = farm.worker("one")
    job = farm.submit(*SWEEP)
    until(lambda: farm.done_count(job) >= 1, "the first image is done")
    inner = children(worker.pid)
    worker.kill()
    until(lambda: not any(alive(pid) for pid in inner), "children die with the host")
    farm.start_worker("one")
    assert_complete(farm, job)


def test_a_coordinator_killed_in_mid_job_loses_nothing(farm):
    farm.worker("one")
    job = farm.submit(*SWEEP)
    until(lambda: farm.done_count(job) >= 1, "the first image is done")
    farm.coordinator.kill()
    farm.start_coordinator()
    assert farm.done_count(job) >= 1
    assert_complete(farm, job)


def rendered(farm, *more):
    """The sweep's files; pictures without what tells who rendered them."""
    files = assert_complete(farm, farm.submit(*SWEEP, *more))
    return {name: unsigned(content) if name.endswith(".png") else content
            for name, content in files.items()}


def test_one_image_or_four_at_once_here_or_in_a_private_farm_are_the_same_bytes(farm, local):
    farm.worker("one", "--batch", 1)
    alone = rendered(farm)
    (first,) = images_of(farm)
    farm.ctl("drain", first)
    two = farm.worker("two", "--batch", 4, "--log", "debug", FARM_DELAY="worker-finish:600")
    assert rendered(farm, "--force") == alone
    said = re.findall("first step after|files are made", two.log())
    assert said.count("files are made") == TASKS
    made, begun = ([at for at, what in enumerate(said) if what.startswith(how)]
                   for how in ("files", "first"))
    assert begun[1] < made[3], "the second batch waited for the first one's files"
    assert re.search(r"texts of \d images ahead in [\d.]+ ms$", two.log(), re.M)
    (second,) = set(images_of(farm)) - {first}
    assert images_of(farm) == {first: TASKS, second: TASKS}
    out = farm.folder / "private"
    farm.ctl("render", "--local", "--model", TINY, "--size", "64x64", *SWEEP, "-o", out)
    assert {path.name: unsigned(path.read_bytes()) if path.suffix == ".png"
            else path.read_bytes() for path in out.iterdir()} == alone


def test_a_worker_tells_what_each_kernel_took_and_what_memory_it_planned(farm):
    worker = farm.worker("one", "--profile", "--trace", farm.folder / "trace")
    assert_complete(farm, farm.submit("cat", "--seed", 1, "--steps", 2, "--latents"), 1)
    node = until(lambda: [n for n in farm.ctl_json("nodes") if n["memory"]], "it is told")[0]
    said = f"{node['memory'] // 10**6}/{node['device']['memory'] // 10**6}"
    assert said in farm.ctl("nodes").split()
    assert worker.stop() == 0
    rates = {}  # of each op: calls, seconds, share, GFLOP/s and GB/s, each with its share of peak
    for line in re.findall(r"^(\S.*?) +(\d+ +[\d.]+ +[\d.]+ %.*)$", worker.log(), re.M):
        rates[line[0]] = [float(number) for number in line[1].replace("%", "").split()]
    assert all(len(rates[op]) == 7 for op in ("linear", "conv 3x3", "attention"))
    events = json.loads((farm.folder / "trace.0").read_text())["traceEvents"]
    assert {name: values[0] for name, values in rates.items()} == Counter(
        event["name"] for event in events)
    assert all(event.keys() >= {"name", "ph", "ts", "dur", "pid", "tid"} and event["ph"] == "X"
               and event["dur"] >= 0 for event in events)
    times = [event["ts"] for event in events]
    assert times[0] == 0 and times == sorted(times)
    planned = re.search(r" at (\d+x\d+): .* (\d+\.\d) of the device's", worker.log())
    done = farm.run_worker("one", "plan", TINY, planned[1], "--json")
    plan = json.loads(done.stdout)[0]
    assert f"{plan['whole'] / 2**20:.1f}" == planned[2]
    assert plan["whole"] == node["memory"]
    assert plan["whole"] == plan["weights"] + sum(
        part["arena"] + part["beside"] for part in plan["parts"].values())
    wrong = farm.run_worker("one", "plan", TINY, "65x64")
    assert wrong.returncode == 2 and "multiples of" in wrong.stderr


def test_a_worker_whose_key_nobody_knows_gets_nothing(farm):
    farm.join("known")
    stranger = farm.worker_state("stranger")
    stranger.mkdir()
    (stranger / "farm.conf").write_bytes(
        (farm.worker_state("known") / "farm.conf").read_bytes())
    other = farm.run_worker("stranger", "join", "clfarm1-nonsense")
    assert other.returncode == 2
    make_key(farm, stranger)
    worker = farm.start_worker("stranger")
    until(lambda: "does not know this key" in worker.log(), "the stranger is refused")
    assert farm.ctl_json("nodes") == []


def make_key(farm, folder):
    """A key pair of the right form that no farm ever saw: made by a join nobody answers."""
    token = farm.token()
    farm.coordinator.kill()
    done = farm.run_worker(folder.name, "join", "-", given=token)
    assert done.returncode == 3, done.stderr
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    farm.start_coordinator()


def test_sigterm_lets_a_worker_finish_and_give_back(farm):
    one = farm.worker("one")
    job = farm.submit("--steps", 40, "--seed", "0..39", "--latents", "a cat")
    until(lambda: farm.done_count(job) >= 1, "the first image is done")
    assert one.stop() == 0, one.log()
    states = [task["state"] for task in farm.tasks(job)]
    assert set(states) == {"done", "ready"}, states
    farm.worker("two")
    assert_complete(farm, job, 40)


def test_a_device_that_hangs_is_opened_anew(farm):
    worker = farm.worker("one", "--watchdog-first-s", 15, "--watchdog-least-s", 2,
                         FARM_FAULT=f"worker-hangs:{farm.folder / 'fault'}")
    job = farm.submit("--steps", 2, "--seed", "0..3", "--latents", "a cat")
    assert_complete(farm, job, 4)
    assert "no sign of life" in worker.log()


def test_without_a_device_it_says_how_to_get_one(farm):
    farm.join("one")
    farm.env["OCL_ICD_VENDORS"] = str(farm.folder)
    done = farm.run_worker("one")
    assert done.returncode == 2
    assert "no OpenCL device" in done.stderr and "pocl-opencl-icd" in done.stderr
    assert farm.run_worker("one", "devices").returncode == 2


def test_a_token_works_once(farm):
    token = farm.token()
    assert farm.run_worker("one", "join", token).returncode == 0
    again = farm.run_worker("two", "join", token)
    assert again.returncode == 4, again.stderr
    assert "token" in again.stderr


def test_joining_says_what_is_wrong(farm):
    token = farm.token("worker", "--ttl", "1s")
    until(lambda: farm.run_worker("late", "join", token).returncode == 2,
          "the token is expired")
    assert "expired" in farm.run_worker("late2", "join", token).stderr
    bare = farm.run_worker("never")
    assert bare.returncode == 2 and "farm-worker join" in bare.stderr
    key = farm.worker_state("one")
    farm.join("one")
    os.chmod(key / "key", 0o644)
    wide = farm.run_worker("one")
    assert wide.returncode != 0 and "chmod" in wide.stderr


def test_two_workers_do_not_share_a_state_folder(farm):
    farm.worker("one")
    until(lambda: farm.ctl_json("nodes"), "the first is connected")
    second = farm.run_worker("one")
    assert second.returncode == 2 and "--state" in second.stderr


def test_a_farm_in_five_commands(bare_farm, built_kernels):
    """As the README shows it, with two machines played by two state folders."""
    farm = bare_farm
    farm.start_coordinator()
    for node in ("node", "other"):
        token = farm.ctl("token", "new", "--role", "worker").strip()
        assert farm.run_worker(node, "join", token).returncode == 0
        farm.start_worker(node)
    farm.ctl("submit", "cat face", "red apple, {noto|twemoji} style", "--seed", "0..3",
             "--steps", 2)
    farm.ctl("wait", "last", patience=900)
    assert len(farm.fetch("last", farm.folder / "pictures")) == 12


def assigned(farm):
    text = farm.ctl("metrics")
    return int(text.split("\nclfarm_tasks_assigned_total ")[1].split()[0])


def test_a_fast_node_gets_its_share_and_tries_again_what_a_slow_one_holds_last(farm):
    """Speeds are unknown at first; a slow node must not keep the last picture waiting."""
    farm.worker("fast", "--batch", 1)
    farm.worker("slow", "--batch", 1, FARM_DELAY="worker-step:4000")
    until(lambda: [n["state"] for n in farm.ctl_json("nodes")] == ["ok"] * 2, "both work")
    job = farm.submit("--steps", 4, "--seed", "0..11", "a cat")
    farm.ctl("wait", job)
    tasks = farm.tasks(job)
    assert [task["state"] for task in tasks] == ["done"] * TASKS
    assert max(images_of(farm).values()) >= TASKS - 2
    assert assigned(farm) > TASKS

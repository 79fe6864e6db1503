"""Pictures half way: kept by the farm, gone on with elsewhere, and seen while they are made."""
import base64
import contextlib
import json
import math
import os
import pty
import re
import sqlite3
import struct
import subprocess

from zmq.utils import z85

import peer as peers
from farm import BIN, alive, children, unsigned, until

LONG = ("--steps", 120, "--seed", "0..1", "--latents", "--checkpoint-every", 5, "a cat")


def checkpoints(farm):
    """The steps that the farm's stored checkpoints are of."""
    path = farm.folder / "state/clfarm/coordinator/farm.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return [step for (step,) in database.execute("SELECT step FROM checkpoint")]


def contents(farm, job, count=4):
    farm.ctl("wait", job)
    files = farm.fetch(job, farm.folder / f"out-{job}")
    assert len(files) == count
    return {name: unsigned(content) if name.endswith(".png") else content
            for name, content in files.items()}


def begun_at(worker):
    return [int(step) for step in re.findall(r"goes on from step (\d+) of", worker.log())]


def test_another_worker_goes_on_where_one_was_killed_and_makes_the_same_bytes(farm):
    one = farm.worker("one", "--batch", 2)
    job = farm.submit(*LONG)
    until(lambda: [step for step in checkpoints(farm) if step >= 10] * 2, "it is half way")
    inner = children(one.pid)
    one.kill()
    until(lambda: not any(map(alive, inner)), "its children die with it")
    farm.coordinator.kill()
    farm.start_coordinator()
    steps = checkpoints(farm)
    assert len(steps) == 2 and min(steps) >= 5
    two = farm.worker("two", "--batch", 2)
    halves = contents(farm, job)
    assert begun_at(two) == steps, two.log()
    assert checkpoints(farm) == []
    assert halves == contents(farm, farm.submit(*LONG, "--force"))
    assert begun_at(two) == steps


def test_a_worker_that_leaves_decoding_to_others_makes_the_same_bytes(farm):
    one = farm.worker("one", "--batch", 2, "--decode", "others")
    wanted = ("--steps", 12, "--seed", "0..7", "--latents", "a cat")
    alone = contents(farm, farm.submit(*wanted), 16)  # with nobody else it decodes
    two = farm.worker("two", "--batch", 2)
    until(lambda: [node["state"] for node in farm.ctl_json("nodes")] == ["ok"] * 2,
          "both are here")
    job = farm.submit(*wanted, "--force")
    assert contents(farm, job, 16) == alone
    tasks = farm.tasks(job)
    handed = [task for task in tasks
              if "handed on, to be decoded by" in task["history"][0]["ended"]]
    assert handed and all(len(task["history"]) == 2 for task in handed), tasks
    assert all(task["node"] != task["history"][0]["node"] for task in handed)
    assert begun_at(two) == [12] * len(handed) and begun_at(one) == []
    assert checkpoints(farm) == []


def test_sigterm_hands_over_what_is_half_done(farm):
    one = farm.worker("one", "--drain-s", 1, "--batch", 2)
    job = farm.submit("--steps", 400, *LONG[2:])
    until(lambda: checkpoints(farm), "it has begun")
    assert one.stop() == 0, one.log()
    steps = checkpoints(farm)
    assert len(steps) == 2 and {task["state"] for task in farm.tasks(job)} == {"ready"}
    two = farm.worker("two", "--batch", 2)
    until(lambda: len(begun_at(two)) == 2, "the other goes on")
    assert begun_at(two) == steps


def impostor(farm):
    """A member of role worker that is no worker of ours."""
    lines = (farm.folder / "state/clfarm/coordinator/address").read_text().splitlines()
    peer = peers.Farm(farm.folder)
    peer.address, peer.server, peer.bulk_port = lines[0], lines[1].encode(), int(lines[3])
    return peer, peer.join(farm.token())


def spoil(whole, how):
    """A snapshot as another would send it: of a task whose key was not to be had."""
    return {"truncated": whole[:-4], "nonsense": b"\x00" * 100, "another task's": whole,
            "no numbers": whole[:-4] + struct.pack("<f", math.nan)}[how]


def snapshot(seed, steps, step, side):
    """As worker/sd/snapshot.h has it, with a tag of zeros and latents of zeros."""
    numbers = (1, 4, side, side, step, steps, 0, seed)
    return b"clfarm half\n" + struct.pack("<8Q", *numbers) + bytes(32 + 5 * 4 * side * side * 4)


def on_a_terminal(farm, wanted, *command, **env):
    """Runs farmctl on a terminal until those bytes are seen there; all that was."""
    ours, its = pty.openpty()
    process = subprocess.Popen([str(word) for word in (BIN / "farmctl", *command)],
                               env=dict(farm.env, **env), stdin=its, stdout=its, stderr=its)
    os.close(its)
    os.set_blocking(ours, False)
    seen = b""

    def read():
        nonlocal seen
        with contextlib.suppress(BlockingIOError, OSError):
            seen += os.read(ours, 1 << 16)
        return wanted in seen

    until(read, f"{wanted} on the terminal")
    process.kill()
    process.wait()
    os.close(ours)
    return seen


def test_previews_show_what_is_being_made_to_whoever_watches(farm):
    worker = farm.worker("one", "--batch", 2, FARM_DELAY="worker-step:50")
    out = farm.folder / "out"
    render = farm.start(
        [BIN / "farmctl", "render", "--model", "tiny", "--size", "64x48", "--steps", 600,
         "--seed", "5..6", "--preview", "-o", out, "a cat"], "render")
    shown = out / "previews/00001-6.png"
    first = until(lambda: shown.exists() and shown.read_bytes(), "there is a preview")
    assert struct.unpack(">II", first[16:24]) == (8, 6)
    until(lambda: shown.read_bytes() != first, "a newer one took its place")
    assert (out / "previews/00000-5.png").exists()
    assert farm.done_count("last") == 0
    watch = farm.start([BIN / "farmctl", "watch", "last", "--json", "--preview", "-o",
                        farm.folder / "other"], "watch")
    until(lambda: '"preview"' in watch.log(), "a second watcher sees it, too")
    lines = map(json.loads, filter(lambda line: line.startswith("{"), watch.log().splitlines()))
    news = next(line["preview"] for line in lines if "preview" in line)
    assert news["steps"] == 600 and 0 < news["step"] < 600
    assert (farm.folder / "other/previews" / f"{news['name']}.png").exists()
    seen = on_a_terminal(farm, b"a=p,", "watch", "last", "--preview", "-o",
                         farm.folder / "third", TERM="xterm-kitty")
    _, _, picture = seen.partition(b"\x1b_Ga=T,f=100,")  # one that was moved was put before
    data = picture.partition(b";")[2].partition(b"\x1b\\")[0]
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert worker.running() and render.running()
    farm.ctl("cancel", "last")


def test_a_snapshot_that_is_none_of_the_task_is_refused_and_it_begins_anew(farm):
    one = farm.worker("one")
    node = until(lambda: farm.ctl_json("nodes"), "it is here")[0]
    farm.ctl("drain", node["name"])
    stranger, key = impostor(farm)
    worker = stranger.peer(key)
    worker.hello(device=peers.pb.Device(name=b"forger", kind=node["device"]["kind"].encode()))
    hows = ("truncated", "nonsense", "another task's", "no numbers")
    job = farm.submit("--steps", 8, "--seed", "0..3", "--checkpoint-every", 4, "a cat")
    worker.ready(4, batch=4)
    attempts = worker.wait("assign").attempts
    assert len(attempts) == 4
    bulk = stranger.bulk(key)
    for attempt, how in zip(attempts, hows):
        content = spoil(snapshot(attempt.index, 8, 4, 8), how)
        blob = peers.blake2b(content)
        bulk.send(content, offer=peers.pb.Offer(blob=blob, size=len(content)))
        bulk.wait("stored")
        worker.send(checkpoint=peers.pb.Checkpoint(attempt=attempt.id, step=4, blob=blob,
                                                   size=len(content)))
    until(lambda: len(checkpoints(farm)) == 4, "the farm took them")
    worker.ready(0)
    worker.send(returned=peers.pb.Returned(attempts=[attempt.id for attempt in attempts]))
    farm.ctl("undrain", node["name"])
    farm.ctl("wait", job)
    log = one.log()
    assert log.count("begins anew: snapshot: ") == 4, log
    assert "not as long as its size says" in log and "these bytes are none" in log
    assert "of another task" in log and "a value that is not finite" in log
    assert farm.done_count(job) == 4 and begun_at(one) == []


def test_a_second_attempt_gets_the_snapshot_from_the_worker_that_made_it(farm):
    """Two attempts at one task: the later is an impostor's, so fast that it is given one."""
    stranger, key = impostor(farm)
    quick = stranger.peer(key)
    farm.worker("one")
    node = until(lambda: farm.ctl_json("nodes"), "it is here")[0]
    farm.ctl("drain", node["name"])
    quick.hello(device=peers.pb.Device(name=b"quick", kind=node["device"]["kind"].encode()))
    quick.ready(1)
    farm.submit("--steps", 1, "--seed", 1, "a dog")
    attempt = quick.wait("assign").attempts[0]
    picture = b"a picture"
    bulk = stranger.bulk(key)
    bulk.send(picture, offer=peers.pb.Offer(blob=peers.blake2b(picture), size=len(picture)))
    bulk.wait("stored")
    result = peers.pb.Result(png=peers.blake2b(picture), png_size=len(picture), seconds=1e-6,
                             pixels=bytes(32))
    quick.ask(commit=peers.pb.Commit(attempt=attempt.id, job=attempt.job, index=attempt.index,
                                     key=attempt.key, result=result))
    quick.ready(0)
    farm.ctl("undrain", node["name"])
    farm.submit("--steps", 900, "--seed", 1, "--checkpoint-every", 300, "a cat")
    until(lambda: checkpoints(farm), "it is half way")
    quick.ready(1)
    given = quick.wait("assign").attempts[0].checkpoint
    fetching = peers.pb.Have(model=given.blob, pieces=b"\0", fetching=True)
    (source,) = until(lambda: quick.ask(have=fetching).sources, "it is granted")
    other = peers.Peer(source.address.decode(), z85.encode(source.key), key)
    other.send(want=peers.pb.Want(blob=given.blob, offset=0, length=given.size))
    _, chunk, content, _ = other.receive()
    assert chunk.blob == given.blob and peers.blake2b(content) == given.blob
    assert content.startswith(b"clfarm half\n")
    other.send(want=peers.pb.Want(blob=peers.blake2b(picture), offset=0, length=1))
    assert "no grant" in other.wait("refused").text.decode()
    other.close()

"""The private farm of --local: real daemons, found, shared, kept and ended."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import time

from farm import BIN, PATIENCE, TINY, alive, parent, processes, until


def test_commands_at_the_same_time_share_one_private_farm(local):
    commands = [subprocess.Popen([BIN / "farmctl", "jobs", "--local", "--json"],
                                 env=local.env, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE) for _ in range(4)]
    for command in commands:
        out, complaint = command.communicate(timeout=PATIENCE)
        assert command.returncode == 0, complaint
        assert out.strip() == b"[]"
    assert len(processes(local.folder, "farm-coordinator")) == 1
    assert [model["name"] for model in local.ctl_json("models", "--local")] == ["emoji"]


def test_a_job_that_was_canceled_is_told_in_one_line(local):
    for _ in range(2):  # by a farmctl that started the farm, and one that found it
        job = local.ctl("submit", "--local", "--print-id", "--seed", "1..99", "a cat").strip()
        local.ctl("cancel", "--local", job)
        complaint = local.ctl("wait", "--local", job, status=1).strip()
        assert re.fullmatch(f"farmctl: job {job[:8]} canceled: \\d+ of 99 images done", complaint)


def test_whoever_ends_the_keeper_ends_the_farm_and_the_next_waits_for_that(local):
    local.ctl("jobs", "--local")
    (coordinator,) = processes(local.folder, "farm-coordinator")
    workers = until(lambda: processes(local.folder, "farm-worker"), "a worker started")
    os.kill(coordinator, signal.SIGSTOP)  # it takes long to end
    os.kill(parent(coordinator), signal.SIGKILL)
    command = local.start([BIN / "farmctl", "jobs", "--local", "--json"], "jobs")
    time.sleep(1)
    assert command.popen.poll() is None, command.log()
    os.kill(coordinator, signal.SIGCONT)
    for pid in [coordinator, *workers]:
        until(lambda pid=pid: not alive(pid), f"{pid} ended")
    assert command.popen.wait(PATIENCE) == 0, command.log()
    assert command.log().splitlines()[-1] == "[]"


def test_a_farm_that_is_ending_is_waited_for_and_started_again(local):
    local.ctl("jobs", "--local")
    (coordinator,) = processes(local.folder, "farm-coordinator")
    keeper = parent(coordinator)
    host = until(lambda: [pid for pid in processes(local.folder, "farm-worker")
                          if parent(pid) == keeper], "a worker started")[0]
    os.kill(host, signal.SIGSTOP)  # it takes long to end
    os.kill(keeper, signal.SIGTERM)
    address = local.folder / "state/clfarm/local/address"
    until(lambda: not address.exists(), "the farm begins to end")
    assert alive(coordinator), "it was to be found until it was gone"
    command = local.start([BIN / "farmctl", "jobs", "--local", "--json"], "jobs")
    time.sleep(1)
    assert command.popen.poll() is None, command.log()
    os.kill(host, signal.SIGCONT)
    assert command.popen.wait(PATIENCE) == 0, command.log()
    assert not alive(keeper) and not alive(coordinator)


def test_a_farm_whose_port_was_taken_meanwhile_renders_after_its_next_start(local):
    def render(seed):
        local.ctl("render", "--local", "--model", TINY, "--size", "64x64", "--steps", "1",
                  "--seed", seed, "-o", local.folder / "out", "x")
        return (local.folder / "state/clfarm/local/address").read_text().split()[0]

    address = render(1)
    (coordinator,) = processes(local.folder, "farm-coordinator")
    os.kill(parent(coordinator), signal.SIGTERM)
    until(lambda: not processes(local.folder, "farm-worker") and
          not processes(local.folder, "farm-coordinator"), "it ended")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else has it already
            taken.bind(("127.0.0.1", int(address.rsplit(":", 1)[1])))
            taken.listen()
        assert render(2) != address
    assert len(list((local.folder / "out").glob("*.png"))) == 2


def test_a_render_rides_out_the_death_of_its_coordinator(local):
    render = local.start([BIN / "farmctl", "render", "--local", "--model", TINY, "--size",
                          "64x64", "--steps", "3", "--seed", "0..19", "-o",
                          local.folder / "out", "x"], "render")
    until(lambda: list((local.folder / "out").glob("*.png")), "the first picture came")
    (coordinator,) = processes(local.folder, "farm-coordinator")
    os.kill(coordinator, signal.SIGKILL)
    assert render.popen.wait(PATIENCE) == 0, render.log()
    assert len(list((local.folder / "out").glob("*.png"))) == 20
    (again,) = processes(local.folder, "farm-coordinator")
    assert again != coordinator

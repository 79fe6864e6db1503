"""Running a farm: settings checked, lines and numbers for machines, backups, old files."""
import json
import os
import pathlib
import subprocess

import pytest

from farm import until
from peer import BIN, Farm, commit, job, pb

SOURCE = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def farm(tmp_path):
    farm = Farm(tmp_path / "state").start()
    yield farm
    farm.stop()


def coordinator(*arguments, status=0):
    done = subprocess.run([BIN / "farm-coordinator", *map(str, arguments)], text=True,
                          capture_output=True)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def render(farm, admin, worker, prompts=(b"a cat",), count=2):
    """Submits and commits made-up pictures; gives the job's id."""
    id = admin.ask(submit=pb.Submit(id=os.urandom(16), job=job(prompts, ((0, count),)))).job
    left = count * len(prompts)
    while left:
        worker.send(ready=pb.Ready(credit=4, batch=2))
        for attempt in worker.wait("assign").attempts:
            assert commit(farm, worker, attempt).answer == pb.COMMIT_ACCEPTED
            left -= 1
    return id


def show(admin, id):
    return admin.ask(job_show=pb.JobShow(job=id.hex().encode(), limit=1000))


def test_settings_are_checked_without_starting(tmp_path):
    config = tmp_path / "farm.conf"
    config.write_text("port = 7777\n")
    assert "7777" in coordinator("--config", config, "--check-config", "--state", tmp_path / "s")
    assert not (tmp_path / "s").exists()
    config.write_text("prot = 7777\n")
    assert "prot" in coordinator("--config", config, "--check-config", status=2)
    coordinator("--check-config", "--bind", "nonsense", status=2)


def test_json_lines_say_what_they_are_about(tmp_path):
    farm = Farm(tmp_path / "state", "--log-format", "json", "--log", "debug").start()
    admin = farm.admin()
    farm.add_model(admin)
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER, name=b"iris"), credit=1)
    id = admin.ask(submit=pb.Submit(id=bytes(range(16)), job=job())).job
    attempt = worker.wait("assign").attempts[0]
    worker.send(failed=pb.Failed(attempt=attempt.id, kind=7, text=b'it "burns"\n'))
    until(lambda: "burns" in farm.read_log(), "it is logged")
    farm.stop()
    lines = [json.loads(line) for line in farm.read_log().splitlines()]
    assert all({"time", "level", "program", "text"} <= set(line) for line in lines)
    line = next(line for line in lines if "burns" in line["text"])
    assert (line["node"], line["job"], line["task"]) == ("iris", id.hex(), "0")
    assert line["attempt"] == f"{attempt.id.epoch}-{attempt.id.counter}"


def samples(text):
    """OpenMetrics text as {name with labels: value}; its form is checked."""
    lines = text.splitlines()
    assert lines[-1] == "# EOF"
    values, families = {}, set()
    for line in lines[:-1]:
        if line.startswith("# TYPE "):
            family = line.split()[2]
            assert family not in families
            families.add(family)
        elif not line.startswith("# "):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
            assert any(name.startswith(family) for family in families), line
    return values


def test_metrics_count_what_happens(farm):
    admin = farm.admin()
    farm.add_model(admin)
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER, name=b"iris"))
    before = samples(admin.ask(metrics_get=pb.MetricsGet()).text.decode())
    render(farm, admin, worker)
    render(farm, admin, worker, (b"a dog", b"a cow"), 1)
    admin.ask(submit=pb.Submit(id=os.urandom(16), job=job()))
    now = samples(admin.ask(metrics_get=pb.MetricsGet()).text.decode())
    assert now["clfarm_jobs_submitted_total"] - before["clfarm_jobs_submitted_total"] == 3
    assert now["clfarm_commits_accepted_total"] == 4
    assert now["clfarm_tasks_done_total"] >= 4
    assert now['clfarm_node_up{node="iris"}'] == 1
    assert now["clfarm_render_seconds_count"] == 4
    assert now["clfarm_render_seconds_sum"] == pytest.approx(2)
    assert now['clfarm_commit_seconds_bucket{le="+Inf"}'] == now["clfarm_commit_seconds_count"]
    assert now["clfarm_jobs_open"] == 1


@pytest.mark.parametrize("unit", ["farm-coordinator", "farm-worker"])
def test_service_files_name_settings_that_exist(unit):
    text = (SOURCE / f"config/{unit}.service").read_text()
    listed = subprocess.run([BIN / unit, "--help"], capture_output=True, text=True).stdout
    for line in text.splitlines():
        for word in line.split() if line.startswith("Environment=") else ():
            name = word.removeprefix("Environment=").split("=")[0]
            assert name.startswith("CLFARM_")
            assert "--" + name.split("_", 2)[2].lower().replace("_", "-") in listed

"""Running a farm: settings checked, lines and numbers for machines, backups, old files."""
import json
import os
import pathlib
import re
import subprocess
import time

import pytest

from farm import until
from peer import BIN, PATIENCE, Farm, blake2b, commit, job, pb

SOURCE = pathlib.Path(__file__).resolve().parents[3]


def coordinator(*arguments, status=0):
    done = subprocess.run([BIN / "farm-coordinator", *map(str, arguments)], text=True,
                          capture_output=True)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def committed(farm, worker, attempt):
    """Commits until that is answered: files of no grace may go before their result comes."""
    while (answer := commit(farm, worker, attempt).answer) == pb.COMMIT_RETRY:
        pass
    return answer


def render(farm, admin, worker, prompts=(b"a cat",), count=2):
    """Submits and commits made-up pictures; gives the job's id."""
    id = admin.ask(submit=pb.Submit(id=os.urandom(16), job=job(prompts, ((0, count),)))).job
    left = count * len(prompts)
    received = getattr(worker, "received", 0)
    while left:
        worker.send(ready=pb.Ready(credit=4, batch=2, received=received))
        for attempt in worker.wait("assign").attempts:
            assert committed(farm, worker, attempt) == pb.COMMIT_ACCEPTED
            left -= 1
            received += 1
    worker.received = received
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
    assert now["clfarm_assign_seconds_count"] >= 2
    assert now["clfarm_assign_seconds_sum"] > 0
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


def hold(farm, admin, worker, seconds):
    """Jobs one after the other for so long; gives their ids."""
    ids, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(ids) < 3:
        prompt = os.urandom(8).hex().encode()  # else the results would be known
        ids.append(render(farm, admin, worker, (prompt,), 2))
    return ids


def pictures(admin, ids):
    return {(id, task.index): task.result.png for id in ids for task in show(admin, id).tasks
            if task.state == pb.TASK_DONE}


def restored(farm, folder, *options):
    again = Farm(folder, *options)
    again.start()
    again.admin_key = farm.admin_key
    return again


def test_a_backup_made_under_load_is_a_whole_farm_of_one_moment(farm, tmp_path):
    admin = farm.admin()
    farm.add_model(admin)
    key = farm.member(admin, pb.ROLE_WORKER, name=b"iris")
    worker = farm.worker(key)
    before = pictures(admin, hold(farm, admin, worker, 0.1))
    backup = subprocess.Popen([BIN / "farm-coordinator", "--state", farm.folder, "--backup",
                               "--folder", tmp_path / "backup"])
    during = hold(farm, admin, worker, 2)
    assert backup.wait(PATIENCE) == 0
    open_job = admin.ask(submit=pb.Submit(id=os.urandom(16), job=job((b"later",)))).job
    farm.stop()

    said = coordinator("--state", tmp_path / "again", "--restore", "--folder",
                       tmp_path / "backup")
    assert "nothing is missing" in said
    coordinator("--state", tmp_path / "again", "--check")
    again = restored(farm, tmp_path / "again")
    admin = again.admin()
    jobs = {job.job for job in admin.ask(job_list=pb.JobList()).jobs}
    known = pictures(admin, jobs)
    assert set(before.items()) <= set(known.items())
    assert open_job not in jobs
    assert {id for id, _ in known} <= {id for id, _ in before} | set(during)
    bulk = again.bulk(again.admin_key)
    for png in known.values():
        bulk.ask(want=pb.Want(blob=png, offset=0, length=1))
    worker = again.worker(key)  # members, and the farm's own keys, are the same
    render(again, admin, worker, (b"after",), 1)
    again.stop()


def test_a_backup_that_lacks_a_file_says_so_and_its_tasks_are_rendered_again(farm, tmp_path):
    admin = farm.admin()
    farm.add_model(admin)
    key = farm.member(admin, pb.ROLE_WORKER)
    worker = farm.worker(key)
    id = render(farm, admin, worker)
    lost = show(admin, id).tasks[1].result.png.hex()
    kept = show(admin, id).tasks[0].result.png
    coordinator("--state", farm.folder, "--backup", "--folder", tmp_path / "backup")
    farm.stop()
    (tmp_path / f"backup/blobs/{lost[:2]}/{lost}").unlink()
    said = coordinator("--state", tmp_path / "again", "--restore", "--folder",
                       tmp_path / "backup")
    assert "1 files are missing" in said and "1 tasks are ready again" in said
    again = restored(farm, tmp_path / "again")
    admin = again.admin()
    tasks = show(admin, id).tasks
    assert tasks[0].state == pb.TASK_DONE and tasks[0].result.png == kept
    assert tasks[1].state == pb.TASK_READY
    worker = again.worker(key, credit=1)
    attempt = worker.wait("assign").attempts[0]
    assert attempt.index == 1
    assert commit(again, worker, attempt).answer == pb.COMMIT_ACCEPTED
    assert show(admin, id).summary.state == pb.JOB_DONE
    again.stop()


def test_a_backup_that_was_killed_is_none_and_can_be_made_again(farm, tmp_path):
    farm.admin()
    backup = tmp_path / "backup"
    command = [BIN / "farm-coordinator", "--state", farm.folder, "--backup", "--folder", backup]
    killed = subprocess.run(command, env={**os.environ, "FARM_FAULT": "backup-after-database"})
    assert killed.returncode == -9
    assert "no whole backup" in coordinator("--state", tmp_path / "again", "--restore",
                                            "--folder", backup, status=2)
    coordinator(*command[1:])
    coordinator("--state", tmp_path / "other", "--restore", "--folder", backup)


def test_a_damaged_backup_is_refused_and_a_farm_is_not_overwritten(farm, tmp_path):
    farm.admin()
    backup = tmp_path / "backup"
    coordinator("--state", farm.folder, "--backup", "--folder", backup)
    assert "holds a backup already" in coordinator(
        "--state", farm.folder, "--backup", "--folder", backup, status=2)
    assert "holds a farm" in coordinator("--state", farm.folder, "--restore", "--folder", backup,
                                         status=2)
    key = (backup / "server.key").read_text()
    (backup / "server.key").write_text(key.replace("clfarm", "Clfarm"))
    assert "damaged" in coordinator("--state", tmp_path / "again", "--restore", "--folder",
                                    backup, status=2)
    (backup / "MANIFEST").unlink()
    assert "no whole backup" in coordinator("--state", tmp_path / "other", "--restore",
                                            "--folder", backup, status=2)
    assert (backup / "signing.key").stat().st_mode & 0o777 == 0o600


def test_files_that_nothing_names_go_after_the_grace_period_and_no_others(tmp_path):
    farm = Farm(tmp_path / "state", "--grace-h", "0").start()
    admin = farm.admin()
    farm.add_model(admin)
    key = farm.member(admin, pb.ROLE_WORKER)
    worker = farm.worker(key)
    orphan = b"nobody will commit this"
    bulk = farm.bulk(key)
    bulk.send(orphan, offer=pb.Offer(blob=blake2b(orphan), size=len(orphan)))
    bulk.wait("stored")
    id = render(farm, admin, worker)
    name = blake2b(orphan).hex()
    until(lambda: not (farm.folder / f"blobs/{name[:2]}/{name}").exists(), "it is removed")
    time.sleep(2)  # a round more
    for png in pictures(admin, [id]).values():
        bulk.ask(want=pb.Want(blob=png, offset=0, length=1))
    farm.stop()
    assert "nothing is missing" in coordinator("--state", farm.folder, "--repair")


def test_a_damaged_file_is_set_aside_and_its_task_can_be_rendered_again(tmp_path):
    farm = Farm(tmp_path / "state", "--grace-h", "0", "--scrub-days", "1").start()
    admin = farm.admin()
    farm.add_model(admin)
    key = farm.member(admin, pb.ROLE_WORKER)
    id = render(farm, admin, farm.worker(key))
    png = show(admin, id).tasks[0].result.png.hex()
    blob = farm.folder / f"blobs/{png[:2]}/{png}"
    blob.chmod(0o600)
    blob.write_bytes(b"rotten")
    farm.stop()
    # --grace-h 0 makes rounds a second long, so that a scrub of a day reads one folder in each
    # of 86,400; the check at hand does not wait for it.
    said = coordinator("--state", farm.folder, "--repair")
    assert "1 of them were damaged" in said and "1 tasks are ready again" in said
    farm.start()
    admin = farm.admin()
    assert show(admin, id).tasks[0].state == pb.TASK_READY
    attempt = farm.worker(key, credit=1).wait("assign").attempts[0]
    assert committed(farm, farm.peers[-1], attempt) == pb.COMMIT_ACCEPTED
    farm.stop()


def test_every_promise_names_a_test_that_exists():
    text = (SOURCE / "tests/PROMISES.md").read_text()
    named = re.findall(r"`(unit|system)/([a-z_/]+)(?:\.py)?(?:::([a-z0-9_]+))?`", text)
    assert len(named) > 30
    for kind, file, test in named:
        path = SOURCE / f"tests/{kind}/{file}.{'c' if kind == 'unit' else 'py'}"
        assert path.exists(), path
        assert not test or f"def {test}(" in path.read_text(), test
    written = "".join(path.read_text() for path in (SOURCE / "tests/system").rglob("*.py"))
    attacks = (SOURCE / "tests/ATTACKS.md").read_text()
    for test in re.findall(r"\btest_[a-z0-9_]+\b(?!\.py)", attacks):
        assert f"def {test}(" in written, test

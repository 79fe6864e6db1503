"""The coordinator as its peers see it: real process, CURVE, real disk."""
import contextlib
import os
import random
import subprocess
import threading
import time

import pytest

import peer as peers
from farm import until
from peer import (BIN, INPUT, NOT_FOUND, PATIENCE, Farm, Refused, assigned, blake2b, commit, job,
                  pb, submit)


def show(peer, name=b"last", limit=1000):
    return peer.ask(job_show=pb.JobShow(job=name, limit=limit))


def test_a_submitted_job_survives_kill_9_and_is_the_same_job_when_sent_again(farm, admin):
    id = os.urandom(16)
    accepted = submit(admin, job(), id)
    farm.kill()
    assert (accepted.tasks, accepted.existing) == (4, False)
    farm.start()
    admin = farm.admin()
    again = submit(admin, job(), id)
    assert (again.tasks, again.existing) == (4, True)
    assert len(admin.ask(job_list=pb.JobList()).jobs) == 1


def test_200_submits_of_one_id_make_one_job_and_another_content_is_refused(farm, admin):
    id = os.urandom(16)
    for request in range(1, 201):
        admin.send(request=1000 + request, submit=pb.Submit(id=id, job=job()))
    answers = [admin.wait("accepted") for _ in range(200)]
    assert sum(not answer.existing for answer in answers) == 1
    assert len(admin.ask(job_list=pb.JobList()).jobs) == 1
    with pytest.raises(Refused, match="another job"):
        submit(admin, job(prompts=[b"a dog"]), id)


def test_a_million_tasks_are_accepted_at_once(farm, admin):
    before = stored(farm)
    assert submit(admin, job(seeds=[(0, 1000000)])).tasks == 1000000
    assert admin.ask(job_list=pb.JobList()).jobs[0].tasks == 1000000
    assert stored(farm) - before < 1 << 20, "tasks are written that nobody began"


def stored(farm):
    """Bytes of the database and what is on its way into it."""
    return sum(path.stat().st_size for path in farm.folder.glob("farm.db*"))


def test_two_coordinators_on_one_folder_and_a_taken_port_are_clear_errors(farm, tmp_path):
    second = subprocess.run([BIN / "farm-coordinator", "--state", farm.folder], text=True,
                            capture_output=True, timeout=PATIENCE)
    assert second.returncode == 1
    assert f"another coordinator uses {farm.folder}" in second.stderr
    third = subprocess.run([BIN / "farm-coordinator", "--state", tmp_path / "other", "--bind",
                            "tcp://127.0.0.1", "--port", str(farm.port)],
                           text=True, capture_output=True, timeout=PATIENCE)
    assert third.returncode == 1
    assert f"127.0.0.1:{farm.port} is taken" in third.stderr


def test_tasks_are_assigned_rendered_and_committed_once(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=8, batch=2)
    submit(admin, job())
    attempts = assigned(worker, 4)
    assert [a.index for a in attempts] == [0, 1, 2, 3]
    settings = {s.name: s.value for s in attempts[1].settings}
    assert (settings[b"seed"], settings[b"size"], settings[b"precision"]) == (b"1", b"64x64",
                                                                             b"f32")
    for attempt in attempts:
        assert commit(farm, worker, attempt).answer == pb.COMMIT_ACCEPTED
    assert commit(farm, worker, attempts[0]).answer == pb.COMMIT_DUPLICATE
    assert commit(farm, worker, attempts[0], b"other").answer == pb.COMMIT_SUPERSEDED
    detail = show(admin)
    assert (detail.summary.state, detail.summary.done) == (pb.JOB_DONE, 4)
    assert [t.state for t in detail.tasks] == [pb.TASK_DONE] * 4
    png = detail.tasks[2].result.png
    bulk = farm.bulk(admin.key)
    chunk = bulk.ask(want=pb.Want(blob=png, offset=0, length=len(b"picture of ") + 32))
    assert chunk.blob == png
    assert detail.tasks[2].node == b"member"


def test_a_worker_that_asks_again_before_its_work_came_gets_no_more_than_it_asked_for(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=2)
    submit(admin, job(seeds=[(0, 20)]))
    for _ in range(50):  # none of these knows of what is under way
        worker.send(ready=pb.Ready(credit=2, batch=2))
    attempts = assigned(worker, 2)
    show(admin)
    assert worker.receive(0.5) is None, "more was assigned than the worker has room for"
    commit(farm, worker, attempts[0])
    worker.ready(1)
    assert len(assigned(worker, 1)) == 1


def test_a_late_result_without_latents_is_enough_for_a_job_that_asks_for_none(farm, admin):
    late = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=1)
    plain = submit(admin, job(seeds=[(0, 1)])).job.hex().encode()
    attempt, = assigned(late, 1)
    admin.ask(job_steer=pb.JobSteer(job=plain, paused=True))
    late.send(returned=pb.Returned(attempts=[attempt.id]))
    late.ask(pulse=pb.Pulse())
    full = submit(admin, job(seeds=[(0, 1)], latents=True)).job.hex().encode()
    other = farm.worker(farm.member(admin, pb.ROLE_WORKER, name=b"other"), credit=2)
    assert assigned(other, 1)[0].latents
    admin.ask(job_steer=pb.JobSteer(job=plain, paused=False))
    assert commit(farm, late, attempt).answer == pb.COMMIT_ACCEPTED
    assert show(admin, plain).summary.state == pb.JOB_DONE
    assert show(admin, full).summary.state == pb.JOB_OPEN


def test_a_commit_without_its_file_is_to_be_tried_again(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER))
    submit(admin, job(seeds=[(0, 1)]))
    attempt, = assigned(worker, 1)
    assert commit(farm, worker, attempt, stored=False).answer == pb.COMMIT_RETRY
    assert commit(farm, worker, attempt).answer == pb.COMMIT_ACCEPTED


def test_what_was_answered_is_there_after_kill_9_and_the_rest_is_done_once(farm, admin):
    key = farm.member(admin, pb.ROLE_WORKER)
    instance = os.urandom(16)
    worker = farm.worker(key, instance=instance)
    submit(admin, job())
    first, second, third, fourth = assigned(worker, 4)
    commit(farm, worker, first)
    farm.kill()
    farm.start()
    admin = farm.admin()
    worker = farm.worker(key, credit=0, instance=instance)
    # The second of the old attempts is still known, the others the worker lost.
    worker.send(heartbeat=pb.Heartbeat(progress=[pb.Progress(attempt=second.id)]))
    worker.ready(4, 4)
    again = assigned(worker, 2)
    assert {a.index for a in again} == {2, 3}
    assert all(a.id.epoch > first.id.epoch for a in again)
    assert commit(farm, worker, second).answer == pb.COMMIT_ACCEPTED
    # A result of an attempt that is no more still counts: it needs only its task.
    assert commit(farm, worker, third).answer == pb.COMMIT_ACCEPTED
    assert commit(farm, worker, again[0] if again[0].index == 2 else again[1]).answer == \
        pb.COMMIT_DUPLICATE
    assert commit(farm, worker, fourth).answer == pb.COMMIT_ACCEPTED
    assert show(admin).summary.state == pb.JOB_DONE


@pytest.mark.parametrize("fault, survives", [("store-before-commit", False),
                                             ("store-after-commit", True)])
def test_what_is_not_durable_is_not_answered(farm, admin, fault, survives):
    farm.kill()
    farm.environment["FARM_FAULT"] = fault
    farm.start()
    admin, id = farm.admin(), os.urandom(16)
    with pytest.raises(TimeoutError):
        admin.ask(timeout=5, submit=pb.Submit(id=id, job=job()))
    farm.process.wait(PATIENCE)
    del farm.environment["FARM_FAULT"]
    farm.start()
    assert submit(farm.admin(), job(), id).existing == survives


def render_until_killed(farm, key, taken, most):
    """Commits what is assigned, and soon after so many were accepted the coordinator is
    killed: at any moment of the next. Notes what was accepted."""
    worker = farm.worker(key, credit=8, batch=4)
    worker.send(heartbeat=pb.Heartbeat())  # it holds nothing of what it held before
    killer = threading.Timer(random.uniform(0, 0.05), farm.process.kill)
    accepted = 0
    while farm.process.poll() is None:
        for attempt in worker.wait("assign", timeout=1).attempts:
            answer = commit(farm, worker, attempt, timeout=1).answer
            assert answer in (pb.COMMIT_ACCEPTED, pb.COMMIT_DUPLICATE)
            taken[attempt.index] = attempt.key
            worker.ready(8, 4)
            accepted += 1
            if accepted == most:
                killer.start()


def test_no_answered_result_is_lost_however_often_it_is_killed(farm, admin):
    key, taken, tasks = farm.member(admin, pb.ROLE_WORKER), {}, 100
    submit(admin, job(seeds=[(0, tasks)]))
    rounds = 0
    while show(farm.admin(), limit=0).summary.state == pb.JOB_OPEN:
        rounds += 1
        with contextlib.suppress(TimeoutError, Refused):
            render_until_killed(farm, key, taken, random.randrange(1, 30))
        farm.kill()
        farm.start()
    detail = show(farm.admin())
    assert rounds > 1
    assert (detail.summary.state, detail.summary.done) == (pb.JOB_DONE, tasks)
    for index, task_key in taken.items():
        assert detail.tasks[index].result.png == blake2b(b"picture of " + task_key)


def test_a_silent_workers_task_goes_to_another(tmp_path):
    farm = Farm(tmp_path / "state", "--lease-ms", "3000", "--suspect-ms", "1000").start()
    admin = farm.admin()
    farm.add_model(admin)
    silent = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=1)
    submit(admin, job(seeds=[(0, 1)]))
    attempt, = assigned(silent, 1)
    other = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=0)
    other.ready(1, 1)

    def assigned_to_other():
        other.send(heartbeat=pb.Heartbeat())
        with contextlib.suppress(TimeoutError):
            return other.wait("assign", 0.1).attempts[0]

    again = until(assigned_to_other, "another has it")
    assert again.index == attempt.index
    assert commit(farm, silent, attempt).answer == pb.COMMIT_ACCEPTED
    assert other.wait("withdraw").attempts[0] == again.id
    farm.stop()


def test_equal_tasks_of_later_jobs_need_no_second_rendering(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER))
    submit(admin, job(seeds=[(0, 2)]))
    for attempt in assigned(worker, 2):
        commit(farm, worker, attempt)
    submit(admin, job(seeds=[(0, 2)]))
    assert show(admin).summary.state == pb.JOB_DONE
    forced = job(seeds=[(0, 1)])
    forced.force = True
    submit(admin, forced)
    worker.ready(1, 1)
    assert len(assigned(worker, 1)) == 1


def test_errors_of_the_input_end_a_task_and_others_are_tried_again(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=1)
    submit(admin, job(seeds=[(0, 1)]))
    for _ in range(3):
        attempt, = assigned(worker, 1)
        worker.send(failed=pb.Failed(attempt=attempt.id, kind=7, text=b"device is gone"))
        worker.ready(1, 1)
    until(lambda: show(admin).summary.state != pb.JOB_OPEN, "the job has ended")
    task = show(admin).tasks[0]
    assert task.state == pb.TASK_FAILED
    assert b"device is gone" in task.reason
    assert len(task.history) == 3
    submit(admin, job(seeds=[(7, 1)]))
    attempt, = assigned(worker, 1)
    worker.send(failed=pb.Failed(attempt=attempt.id, kind=INPUT, text=b"no such thing"))
    until(lambda: show(admin).summary.state == pb.JOB_FAILED, "the job has failed")


def test_bad_jobs_are_refused_with_what_would_help(farm, admin):
    with pytest.raises(Refused, match='no model "nosuch"; it has tiny') as refused:
        submit(admin, job(model=b"nosuch"))
    assert refused.value.kind == NOT_FOUND
    with pytest.raises(Refused, match="multiples of 8") as refused:
        submit(admin, job(size="65x64"))
    assert refused.value.kind == INPUT
    sweep = job()
    sweep.axes.add(name=b"size", values=[b"64x64", b"64x100"])
    with pytest.raises(Refused, match="64x100"):
        submit(admin, sweep)
    with pytest.raises(Refused, match="sampler"):
        submit(admin, job(sampler="Nonsense"))
    with pytest.raises(Refused, match="no job"):
        show(admin, b"nonsense")


def test_a_watch_begins_with_a_snapshot_and_numbers_what_follows(farm, admin):
    watcher = farm.peer(farm.admin_key)
    watcher.hello()
    watcher.send(request=7, watch=pb.Watch(credit=3))
    seq = watcher.wait("snapshot").seq
    accepted = submit(admin, job(seeds=[(0, 6)]))
    event = watcher.wait("event")
    assert (event.seq, event.job) == (seq + 1, accepted.job)
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=8, batch=8)
    for attempt in assigned(worker, 6):
        commit(farm, worker, attempt)
    time.sleep(0.3)
    seen = [event.seq]
    while message := watcher.receive(0.3):
        if message[0] == "event" and message[1].seq:
            seen.append(message[1].seq)
    assert len(seen) <= 3  # no more than its credit
    watcher.send(credit=pb.Credit(more=1000))
    while not (event.summary.state == pb.JOB_DONE):
        event = watcher.wait("event")
        if event.seq:
            seen.append(event.seq)
    assert seen == list(range(seq + 1, seq + 1 + len(seen)))


def test_a_stalled_watcher_slows_nobody_and_is_told_what_it_lost(farm, admin):
    stalled = farm.peer(farm.admin_key)
    stalled.hello()
    stalled.send(request=7, watch=pb.Watch(credit=1))
    stalled.wait("snapshot")
    for _ in range(9000):
        admin.send(submit=pb.Submit(id=os.urandom(16), job=job(seeds=[(0, 1)])))
    assert admin.ask(timeout=4 * PATIENCE, job_list=pb.JobList(open_only=True)).jobs
    stalled.send(credit=pb.Credit(more=5))
    lost = stalled.wait("lost")
    assert lost.to >= getattr(lost, "from") > 0
    assert len(stalled.wait("snapshot").jobs) >= 1000


def test_stopping_ends_with_0_and_the_check_finds_all_sound(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER))
    submit(admin, job(seeds=[(0, 1)]))
    commit(farm, worker, assigned(worker, 1)[0])
    farm.stop()
    check = subprocess.run([BIN / "farm-coordinator", "--state", farm.folder, "--check"],
                           text=True, capture_output=True, timeout=PATIENCE)
    assert check.returncode == 0, check.stderr
    assert "2 files" in check.stdout
    blob = next(p for p in (farm.folder / "blobs").glob("??/*") if p.stat().st_size)
    blob.chmod(0o600)
    blob.write_bytes(b"rotten")
    check = subprocess.run([BIN / "farm-coordinator", "--state", farm.folder, "--check"],
                           text=True, capture_output=True, timeout=PATIENCE)
    assert check.returncode == 1
    assert f"blob {blob.name} is missing or damaged" in check.stderr


def test_a_private_farm_ends_when_nobody_is_there(tmp_path):
    farm = Farm(tmp_path / "state", "--exit-when-idle-s", "1").start()
    admin = farm.admin()
    time.sleep(2)
    assert farm.process.poll() is None
    admin.ask(pulse=pb.Pulse())
    admin.close()
    farm.peers = []
    assert farm.process.wait(PATIENCE) == 0


def test_a_prompt_the_deny_list_names_is_refused_and_pictures_tell_that_it_was_on(tmp_path):
    rules = tmp_path / "deny"
    rules.write_text("all slow (a+)+$\n")
    check = [BIN / "farm-coordinator", "--check-config", "--deny", rules]
    bad = subprocess.run(check, text=True, capture_output=True, timeout=PATIENCE)
    assert bad.returncode == 2 and "rule slow" in bad.stderr
    rules.write_text("submit no-gore \\bgore\\b\n")
    good = subprocess.run(check, text=True, capture_output=True, timeout=PATIENCE)
    assert "1 rules" in good.stdout
    farm = Farm(tmp_path / "state", "--deny", rules).start()
    admin = farm.admin()
    farm.add_model(admin)
    iris = farm.peer(farm.member(admin, pb.ROLE_SUBMIT, name=b"iris"))
    iris.hello()
    for evil in (job([b"a cat", b"a {cat|GORE}"]), job(negative="gore")):
        with pytest.raises(Refused, match="rule no-gore") as refused:
            submit(iris, evil)
        assert refused.value.kind == INPUT
    assert "denied rule=no-gore by=iris" in (farm.folder / "audit.log").read_text()
    own = submit(iris, pb.Job(deny_list=bytes(32), **{
        field.name: value for field, value in job(seeds=((0, 1),)).ListFields()}))
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER))
    assert commit(farm, worker, assigned(worker, 1)[0]).answer == pb.COMMIT_ACCEPTED
    made = show(iris, own.job.hex().encode()).tasks[0].result.provenance
    assert b"denylist " + blake2b(rules.read_bytes()).hex().encode() in made
    farm.stop()

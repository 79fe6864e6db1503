"""What farmctl's steering commands say to the coordinator, and what comes of it."""
import contextlib
import os
import sqlite3
import time

import pytest

from farm import until
from peer import INPUT, PATIENCE, Refused, commit, job, pb


def submit(peer, content):
    return peer.ask(submit=pb.Submit(id=os.urandom(16), job=content)).job


def state_of(admin, index=0):
    return admin.ask(node_list=pb.NodeList()).nodes[index].state.decode()


def test_a_paused_job_is_given_out_again_when_it_is_resumed(farm, admin):
    def reason():
        return admin.ask(job_show=pb.JobShow(job=b"last", limit=1)).tasks[0].reason

    submit(admin, job(seeds=[(0, 1)]))
    assert reason() == b"no worker is here"
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=0)
    assert not reason()
    admin.ask(job_steer=pb.JobSteer(job=b"last", paused=True))
    assert reason() == b"the job is paused"
    worker.ready(1)
    assert worker.receive(0.4) is None
    farm.kill()
    farm.start()  # it is still paused
    admin = farm.admin()
    worker = farm.worker(worker.key, credit=1)
    assert admin.ask(job_list=pb.JobList()).jobs[0].paused
    assert worker.receive(0.4) is None
    admin.ask(job_steer=pb.JobSteer(job=b"last", paused=False))
    assert worker.wait("assign")


def test_the_job_of_higher_priority_goes_first(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=0)
    usual, urgent = job(seeds=[(0, 2)]), job(seeds=[(10, 2)])
    urgent.priority = 5
    first, second = submit(admin, usual), submit(admin, urgent)
    worker.ready(1)
    assert worker.wait("assign").attempts[0].job == second
    admin.ask(job_steer=pb.JobSteer(job=first.hex().encode(), priority=6))
    worker.ready(1)
    assert worker.wait("assign").attempts[0].job == first
    with pytest.raises(Refused, match="from -1000 to 1000"):
        admin.ask(job_steer=pb.JobSteer(job=b"last", priority=2000))


def test_submitters_get_equal_shares_whoever_came_first(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=0)
    clients = [farm.peer(farm.member(admin, pb.ROLE_SUBMIT)) for _ in range(2)]
    jobs = []
    for number, client in enumerate(clients):
        client.hello()
        jobs.append(submit(client, job(seeds=[(1000 * number, 50)])))
    given = []
    for _ in range(20):
        worker.ready(1)
        attempt, = worker.wait("assign").attempts
        given.append(attempt.job)
        commit(farm, worker, attempt)
    assert given.count(jobs[0]) == given.count(jobs[1]) == 10


def test_a_drained_node_gets_no_work_until_it_is_released_over_restarts(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER, b"iris"), credit=1)
    submit(admin, job(seeds=[(0, 3)]))
    attempt, = worker.wait("assign").attempts
    admin.ask(node_steer=pb.NodeSteer(node=b"iris", order=pb.NODE_DRAIN))
    assert not worker.wait("drain").over
    assert state_of(admin) == "draining"
    assert commit(farm, worker, attempt).answer == pb.COMMIT_ACCEPTED
    worker.ready(1)
    assert worker.receive(0.4) is None
    farm.kill()
    farm.start()
    admin = farm.admin()
    worker = farm.worker(worker.key, credit=1)
    worker.wait("drain")
    assert worker.receive(0.4) is None
    admin.ask(node_steer=pb.NodeSteer(node=b"iris", order=pb.NODE_RELEASE))
    assert worker.wait("drain").over
    assert worker.wait("assign")


def test_a_blocked_nodes_work_goes_elsewhere_and_its_results_are_discarded(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER, b"iris"), credit=1)
    other = farm.worker(farm.member(admin, pb.ROLE_WORKER, b"oak"), credit=0)
    submit(admin, job(seeds=[(0, 1)]))
    attempt, = worker.wait("assign").attempts
    admin.ask(node_steer=pb.NodeSteer(node=b"iris", order=pb.NODE_BLOCK, text=b"too hot"))
    assert worker.wait("withdraw").attempts[0] == attempt.id
    assert state_of(admin) == "blocked: too hot"
    assert commit(farm, worker, attempt).answer == pb.COMMIT_DISCARD
    other.ready(1)
    again, = other.wait("assign").attempts
    assert again.index == attempt.index
    with pytest.raises(Refused, match='no node "elm"'):
        admin.ask(node_steer=pb.NodeSteer(node=b"elm", order=pb.NODE_DRAIN))


def test_a_worker_is_renamed_and_keeps_its_name(farm, admin):
    farm.worker(farm.member(admin, pb.ROLE_WORKER, b"iris"), credit=0)
    farm.worker(farm.member(admin, pb.ROLE_WORKER, b"oak"), credit=0)
    admin.ask(node_steer=pb.NodeSteer(node=b"iris", order=pb.NODE_RENAME, text=b"elm"))
    names = {node.name for node in admin.ask(node_list=pb.NodeList()).nodes}
    assert names == {b"elm", b"oak"}
    with pytest.raises(Refused, match="taken") as refused:
        admin.ask(node_steer=pb.NodeSteer(node=b"elm", order=pb.NODE_RENAME, text=b"oak"))
    assert refused.value.kind == INPUT
    farm.kill()
    farm.start()
    admin = farm.admin()
    assert {key.name for key in admin.ask(key_list=pb.KeyList()).keys} >= {b"elm", b"oak"}


def test_a_node_whose_faults_others_make_good_is_blocked(farm, admin):
    bad = farm.worker(farm.member(admin, pb.ROLE_WORKER, b"bad"), credit=0)
    good = farm.worker(farm.member(admin, pb.ROLE_WORKER, b"good"), credit=0)
    for number in range(3):
        submit(admin, job(seeds=[(number, 1)]))
        bad.ready(1)
        attempt, = bad.wait("assign").attempts
        bad.send(failed=pb.Failed(attempt=attempt.id, kind=7, text=b"it glows"))
        good.ready(1)
        again, = good.wait("assign").attempts
        assert commit(farm, good, again).answer == pb.COMMIT_ACCEPTED
    nodes = {n.name: n.state.decode() for n in admin.ask(node_list=pb.NodeList()).nodes}
    assert nodes[b"bad"].startswith("blocked: 3 tasks in a row failed there")
    assert "it glows" in nodes[b"bad"]
    assert nodes[b"good"] == "ok"


def speeds_kept(farm):
    with contextlib.closing(sqlite3.connect(farm.folder / "farm.db")) as database:
        return database.execute("SELECT count(*) FROM speed").fetchone()[0]


def test_measured_speeds_survive_kill_9(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=1)
    submit(admin, job(seeds=[(0, 1)]))
    attempt, = worker.wait("assign").attempts
    commit(farm, worker, attempt)  # 64 x 64 x 20 steps in half a second
    speed = 64 * 64 * 20 / 0.5
    assert admin.ask(node_list=pb.NodeList()).nodes[0].step_pixels_per_s == pytest.approx(speed)
    until(lambda: speeds_kept(farm) == 1, "it is noted, as it is every five seconds")
    farm.kill()
    farm.start()
    admin = farm.admin()
    farm.worker(worker.key, credit=0)
    assert admin.ask(node_list=pb.NodeList()).nodes[0].step_pixels_per_s == pytest.approx(speed)


def test_an_idle_fast_node_repeats_what_a_slow_one_holds_and_the_first_result_counts(farm, admin):
    slow = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=0)
    fast = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=1)
    submit(admin, job(seeds=[(0, 1)]))
    attempt, = fast.wait("assign").attempts
    commit(farm, fast, attempt)
    submit(admin, job(seeds=[(5, 1)]))
    slow.ready(1)
    attempt, = slow.wait("assign").attempts
    end = time.monotonic() + PATIENCE
    fast.ready(1)
    again = None
    while not again and time.monotonic() < end:  # half a second is measured, this takes longer
        slow.send(heartbeat=pb.Heartbeat(progress=[pb.Progress(attempt=attempt.id)]))
        fast.send(heartbeat=pb.Heartbeat())
        message = fast.receive(0.2)
        again = message[1] if message and message[0] == "assign" else None
    assert again.attempts[0].index == attempt.index and again.attempts[0].id != attempt.id
    assert commit(farm, fast, again.attempts[0]).answer == pb.COMMIT_ACCEPTED
    assert slow.wait("withdraw").attempts[0] == attempt.id
    assert commit(farm, slow, attempt).answer == pb.COMMIT_DUPLICATE
    summary = admin.ask(job_list=pb.JobList()).jobs[0]
    assert (summary.state, summary.done, summary.leased) == (pb.JOB_DONE, 1, 0)


def ended(admin):
    """The last job's summary, once it has ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        summary = admin.ask(job_list=pb.JobList()).jobs[0]
        if summary.state != pb.JOB_OPEN:
            return summary
        time.sleep(0.02)
    raise TimeoutError("the job does not end")


def test_what_failed_is_tried_again_and_what_was_done_stays(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=2, batch=2)
    submit(admin, job(seeds=[(0, 2)]))
    first, second = worker.wait("assign").attempts
    commit(farm, worker, first)
    worker.send(failed=pb.Failed(attempt=second.id, kind=INPUT, text=b"no such thing"))
    assert ended(admin).failed == 1
    line, = admin.ask(log_list=pb.LogList(of=b"last")).lines
    assert (line.index, line.text, line.fault) == (1, b"no such thing", True)
    assert admin.ask(log_list=pb.LogList(of=b"member")).lines[0].text == b"no such thing"
    admin.ask(job_retry=pb.JobRetry(job=b"last"))
    farm.kill()
    farm.start()  # it is still open
    admin = farm.admin()
    worker = farm.worker(worker.key, credit=2)
    again, = worker.wait("assign").attempts
    assert again.index == 1
    commit(farm, worker, again)
    assert (ended(admin).done, ended(admin).failed) == (2, 0)
    with pytest.raises(Refused, match="no task of the job failed"):
        admin.ask(job_retry=pb.JobRetry(job=b"last"))


def test_a_canceled_job_can_be_gone_on_with(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=1)
    submit(admin, job(seeds=[(0, 3)]))
    attempt, = worker.wait("assign").attempts
    commit(farm, worker, attempt)
    admin.ask(job_cancel=pb.JobCancel(job=b"last"))
    admin.ask(job_retry=pb.JobRetry(job=b"last"))
    summary = admin.ask(job_list=pb.JobList()).jobs[0]
    assert (summary.state, summary.done, summary.canceled) == (pb.JOB_OPEN, 1, 0)
    given = set()
    for _ in range(2):
        worker.ready(1)
        attempt, = worker.wait("assign").attempts
        given.add(attempt.index)
        commit(farm, worker, attempt)
    assert given == {1, 2} and ended(admin).state == pb.JOB_DONE


def test_a_removed_job_is_gone_with_its_results_but_not_with_those_of_others(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=4, batch=4)
    submit(admin, job(seeds=[(0, 4)]))
    with pytest.raises(Refused, match="cancel it before"):
        admin.ask(job_remove=pb.JobRemove(job=b"last"))
    for attempt in worker.wait("assign").attempts:
        commit(farm, worker, attempt)
    first = admin.ask(job_list=pb.JobList()).jobs[0].job
    submit(admin, job(seeds=[(0, 1)]))  # has the first result of that one
    assert ended(admin).done == 1
    use = {u.id: u for u in admin.ask(disk_list=pb.DiskList()).uses}
    assert use[first].files == 4 and use[first].bytes == 4 * (len(b"picture of ") + 32)
    admin.ask(job_remove=pb.JobRemove(job=first.hex().encode()))
    assert len(admin.ask(job_list=pb.JobList()).jobs) == 1
    detail = admin.ask(job_show=pb.JobShow(job=b"last", limit=10))
    assert detail.tasks[0].result.png_size
    submit(admin, job(seeds=[(0, 2)]))  # one is known, one is not any more
    worker.ready(4, 4)
    assert [a.index for a in worker.wait("assign").attempts] == [1]
    farm.kill()
    farm.start()
    assert len(farm.admin().ask(job_list=pb.JobList()).jobs) == 2

"""Jobs that keep to devices of one kind, for pixels that are equal to the last bit."""
import os

from peer import commit, job, pb


def worker_of(farm, admin, kind, key=None):
    return farm.worker(key or farm.member(admin, pb.ROLE_WORKER), 1, 1, kind=kind)


def submit(admin, **more):
    content = job(**more)
    content.same_device_kind = True
    return admin.ask(submit=pb.Submit(id=os.urandom(16), job=content)).job


def kind_of(admin, id):
    return admin.ask(job_show=pb.JobShow(job=id.hex().encode())).summary.device_kind


def test_a_job_keeps_to_the_kind_that_took_its_first_task_over_a_restart_too(farm, admin):
    id = submit(admin)
    assert kind_of(admin, id) == b""
    first = worker_of(farm, admin, b"one")
    attempt = first.wait("assign").attempts[0]
    assert kind_of(admin, id) == b"one"
    other = worker_of(farm, admin, b"other")
    assert other.receive(0.5) is None
    assert commit(farm, first, attempt).answer == pb.COMMIT_ACCEPTED
    farm.kill()
    farm.start()
    admin = farm.admin()
    assert kind_of(admin, id) == b"one"
    assert worker_of(farm, admin, b"other", other.key).receive(0.5) is None
    assert worker_of(farm, admin, b"one", first.key).wait("assign").attempts[0].index == 1


def test_no_result_of_other_devices_is_taken_for_such_a_job(farm, admin):
    plain = admin.ask(submit=pb.Submit(id=os.urandom(16), job=job(seeds=((0, 1),)))).job
    other = worker_of(farm, admin, b"other")
    attempt = other.wait("assign").attempts[0]
    assert attempt.job == plain
    commit(farm, other, attempt)
    id = submit(admin, seeds=((0, 1),))
    attempt = worker_of(farm, admin, b"one").wait("assign").attempts[0]
    assert attempt.job == id


def test_the_only_device_of_the_kind_tries_again_what_it_failed(farm, admin):
    id = submit(admin, seeds=((0, 1),))
    only = worker_of(farm, admin, b"one")
    attempt = only.wait("assign").attempts[0]
    other = worker_of(farm, admin, b"other")
    only.send(failed=pb.Failed(attempt=attempt.id, kind=0, text=b"out of luck"))
    only.ready(1)
    assert only.wait("assign").attempts[0].job == id
    assert other.receive(0.2) is None

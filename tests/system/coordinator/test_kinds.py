"""Jobs that keep to devices of one kind, for pixels that are equal to the last bit."""
import os

import pytest

from farm import until
from peer import DENIED, INPUT, Refused, commit, job, pb


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


IDENTITY = bytes(range(16))


def tuned(shape=b"gemm_gpu 64x64x64/1 f32 f32", variant=b"large/8", gain=1.5, at=1700000000):
    return pb.Tuned(shape=shape, variant=variant, gain=gain, at=at)


def rows_of(admin):
    return admin.ask(node_list=pb.NodeList(tuning=True)).tuned


def known(worker, identity=IDENTITY):
    return worker.ask(tuning=pb.Tuning(identity=identity, ask=True)).results


def test_what_a_device_measured_goes_to_others_of_its_kind_and_identity_alone(farm, admin):
    key = farm.member(admin, pb.ROLE_WORKER)
    first = farm.worker(key, index=0, kind=b"card")
    assert not known(first)
    told = [tuned(), tuned(shape=b"gemm_gpu 64x64x128/1 f32 f32", variant=b"default", gain=1)]
    first.send(tuning=pb.Tuning(identity=IDENTITY, results=told))
    first.send(tuning=pb.Tuning(identity=IDENTITY, results=[tuned(variant=b"small")]))
    until(lambda: [row.variant for row in rows_of(admin)] == [b"default", b"small"],
          "both are kept")
    rows = rows_of(admin)
    assert all(row.kind == b"card" and row.identity == IDENTITY and row.node for row in rows)
    farm.kill()
    farm.start()
    same = farm.worker(key, index=1, kind=b"card")
    other = farm.worker(key, index=2, kind=b"other card")
    assert {row.variant: row.gain for row in known(same)} == {b"default": 1, b"small": 1.5}
    assert not known(same, bytes(16)) and not known(other)


def test_what_no_device_measures_is_refused(farm, admin):
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), kind=b"card")
    for bad in ({"identity": b"short"}, {"results": [tuned()] * 513},
                {"results": [tuned(shape=b"")]}, {"results": [tuned(shape=b"a" * 96)]},
                {"results": [tuned(variant=b"a" * 16)]}, {"results": [tuned(variant=b"\n")]},
                {"results": [tuned(gain=0.5)]}, {"results": [tuned(gain=1e9)]},
                {"results": [tuned(gain=float("nan"))]}):
        worker.send(tuning=pb.Tuning(**{"identity": IDENTITY, "ask": True, **bad}))
        assert worker.wait("refused").kind == INPUT
    submitter = farm.peer(farm.member(admin, pb.ROLE_SUBMIT))
    submitter.hello()
    with pytest.raises(Refused) as refused:
        submitter.ask(tuning=pb.Tuning(identity=IDENTITY, results=[tuned()]))
    assert refused.value.kind == DENIED and not rows_of(admin)

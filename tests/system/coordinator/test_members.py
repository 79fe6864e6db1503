"""Members of a farm: their keys, roles and tokens, and what the audit says of them."""
import hashlib

import pytest
import zmq

import peer as peers
from farm import until
from peer import BUSY, DENIED, INPUT, Key, Refused, assigned, blake2b, commit, job, pb, submit


def test_a_role_may_do_what_it_may_and_no_more(farm, admin):
    observer = farm.peer(farm.member(admin, pb.ROLE_OBSERVER))
    with pytest.raises(Refused, match="before a hello"):
        observer.ask(job_list=pb.JobList())
    observer.hello()
    observer.ask(job_list=pb.JobList())
    for body in (dict(submit=pb.Submit(id=bytes(16), job=job())), dict(key_list=pb.KeyList()),
                 dict(token_new=pb.TokenNew(role=pb.ROLE_ADMIN)), dict(ready=pb.Ready()),
                 dict(key_revoke=pb.KeyRevoke(key=b"admin"))):
        with pytest.raises(Refused) as refused:
            observer.ask(**body)
        assert refused.value.kind == DENIED


def test_a_submitter_sees_and_cancels_its_own_jobs_only(farm, admin):
    mine = submit(admin, job()).job
    other = farm.peer(farm.member(admin, pb.ROLE_SUBMIT))
    other.hello()
    own = submit(other, job(prompts=[b"a dog"])).job
    assert [j.job for j in other.ask(job_list=pb.JobList()).jobs] == [own]
    with pytest.raises(Refused):
        other.ask(job_cancel=pb.JobCancel(job=mine.hex().encode()))
    with pytest.raises(Refused):
        other.ask(watch=pb.Watch(job=mine, credit=5))
    other.ask(job_cancel=pb.JobCancel(job=own.hex()[:8].encode()))
    assert len(admin.ask(job_list=pb.JobList()).jobs) == 2


def test_a_key_that_is_not_known_gets_nothing(farm):
    stranger = farm.peer(Key())
    stranger.send(hello=pb.Hello(version=1, instance=bytes(16)))
    assert stranger.receive(1) is None
    plain = zmq.Context.instance().socket(zmq.DEALER)
    plain.linger = 0
    plain.connect(farm.address)
    plain.send(pb.Envelope(hello=pb.Hello(version=1, instance=bytes(16))).SerializeToString())
    assert not plain.poll(1000)
    plain.close()


def test_another_protocol_version_is_refused_with_both_named(farm, admin):
    peer = farm.peer(farm.admin_key)
    with pytest.raises(Refused, match="version 1, you speak 2") as refused:
        peer.hello(version=2)
    assert refused.value.kind == INPUT


def test_a_token_is_used_once_and_the_same_join_may_be_repeated(farm, admin):
    text = admin.ask(token_new=pb.TokenNew(role=pb.ROLE_WORKER)).text.decode()
    key = farm.join(text)
    farm.join(text, key)
    with pytest.raises(Refused, match="used by another key") as refused:
        farm.join(text)
    assert refused.value.kind == DENIED
    farm.worker(key)
    with pytest.raises(TimeoutError):  # the token died with that hello
        peer = farm.peer(peers.Token(text).key)
        peer.ask(timeout=1, join=pb.Join(public_key=bytes(32), proof=bytes(48), nonce=bytes(24)))
    assert "token-used-again" in (farm.folder / "audit.log").read_text()


def test_a_revoked_worker_is_refused_at_once_and_its_task_goes_on(farm, admin):
    key = farm.member(admin, pb.ROLE_WORKER)
    worker = farm.worker(key, credit=1)
    other = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=0)
    submit(admin, job(seeds=[(0, 1)]))
    attempt, = assigned(worker, 1)
    other.ready(1, 1)
    admin.ask(key_revoke=pb.KeyRevoke(key=key.public))
    with pytest.raises(Refused) as refused:
        commit(farm, worker, attempt, stored=False)
    assert refused.value.kind == DENIED
    bulk = farm.bulk(key)
    bulk.send(b"x", offer=pb.Offer(blob=bytes(32), size=1))
    assert assigned(other, 1)[0].index == attempt.index
    assert bulk.receive(0.5) is None


def test_a_device_is_driven_by_one_living_instance(farm, admin):
    key = farm.member(admin, pb.ROLE_WORKER)
    first = farm.worker(key, host=b"iris.lan")
    second = farm.peer(key)
    with pytest.raises(Refused, match="in use by iris.lan") as refused:
        second.hello(device=pb.Device(index=0))
    assert refused.value.kind == BUSY
    second.hello(device=pb.Device(index=1))
    first.close()
    until(lambda: takes(farm.peer(key), 0), "that the first is gone is noticed")


def takes(peer, device):
    try:
        return peer.hello(device=pb.Device(index=device))
    except Refused as refused:
        assert refused.kind == BUSY


def test_the_audit_tells_every_change_of_membership_and_work_and_can_be_checked(farm):
    admin = farm.admin()
    key = farm.member(admin, pb.ROLE_SUBMIT, name=b"iris")
    farm.add_model(admin)
    admin.ask(submit=pb.Submit(id=bytes(16), job=job()))
    admin.ask(job_cancel=pb.JobCancel(job=b"last"))
    admin.ask(key_role=pb.KeyRole(key=b"iris", role=pb.ROLE_OBSERVER))
    admin.ask(key_revoke=pb.KeyRevoke(key=b"iris"))
    text, size = b"", 1
    while len(text) < size:
        part = admin.ask(audit_get=pb.AuditGet(offset=len(text)))
        text, size = text + part.text, part.size
    assert text == (farm.folder / "audit.log").read_bytes()
    words = [line.split()[1] for line in text.decode().splitlines()]
    assert words == ["token", "joined", "token", "joined", "model", "model", "submitted",
                     "canceled", "role-changed", "revoked"]
    last = b""
    for line in text.splitlines():
        line, _, mark = line.rpartition(b"#")
        last = hashlib.blake2b(last + line + b"#", digest_size=16).hexdigest().encode()
        assert last == mark
    assert key.public.decode() in text.decode()


def test_a_key_that_gets_another_role_may_do_that_and_no_more(farm):
    admin = farm.admin()
    key = farm.member(admin, pb.ROLE_SUBMIT, name=b"iris")
    farm.add_model(admin)
    peer = farm.peer(key)
    assert peer.hello().role == pb.ROLE_SUBMIT
    admin.ask(key_role=pb.KeyRole(key=b"iris", role=pb.ROLE_OBSERVER))
    with pytest.raises(Refused):
        peer.ask(pulse=pb.Pulse())
    assert peer.hello().role == pb.ROLE_OBSERVER
    with pytest.raises(Refused, match="role") as refused:
        peer.ask(submit=pb.Submit(id=bytes(16), job=job()))
    assert refused.value.kind == DENIED
    with pytest.raises(Refused, match="only administrator"):
        admin.ask(key_role=pb.KeyRole(key=b"admin", role=pb.ROLE_WORKER))

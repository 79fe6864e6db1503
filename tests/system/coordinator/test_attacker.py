"""An attacker with a libzmq and protobuf of its own, against a farm that must serve others.

A worker and a client of the farm go on throughout each attack: the worker's lease must hold,
a job must be taken and committed afterwards. What was tried must stand in log or audit.
"""
import contextlib
import os
import resource
import socket
import sqlite3
import threading
import time

import pytest
import zmq

from farm import until
from peer import (BUSY, DENIED, INPUT, NOT_FOUND, Farm, Key, Peer, Refused, blake2b, commit,
                  job, pb)


class Bystanders:
    """A worker that renders and heartbeats, in a thread, while others attack."""

    def __init__(self, farm):
        self.farm, self.admin = farm, farm.admin()
        farm.add_model(self.admin)
        self.key = farm.member(self.admin, pb.ROLE_WORKER, name=b"honest")
        self.instance = os.urandom(16)
        self.worker = farm.worker(self.key, credit=1, batch=1, instance=self.instance)
        self.id = self.submit()
        self.held = self.worker.wait("assign").attempts[0]
        self.lost, self.stop = [], threading.Event()
        self.thread = threading.Thread(target=self.beat)
        self.thread.start()

    def submit(self):
        return self.admin.ask(submit=pb.Submit(id=os.urandom(16), job=job(seeds=((0, 1),)))).job

    def beat(self):
        progress = pb.Progress(attempt=self.held.id, state=pb.ATTEMPT_RENDERING)
        while not self.stop.wait(0.3):
            self.worker.send(heartbeat=pb.Heartbeat(progress=[progress]))
            while message := self.worker.receive(0):
                if message[0] == "withdraw":
                    self.lost.append(message[1])

    def check(self, reconnected=False):
        """The lease of before the attack still holds, and new work is done."""
        self.stop.set()
        self.thread.join()
        assert not self.lost, self.farm.read_log()
        if reconnected:
            self.worker = self.farm.worker(self.key, credit=0, instance=self.instance)
            self.admin = self.farm.admin()
        assert commit(self.farm, self.worker, self.held).answer == pb.COMMIT_ACCEPTED
        show = self.admin.ask(job_show=pb.JobShow(job=self.id.hex().encode(), limit=1))
        assert show.tasks[0].state == pb.TASK_DONE and show.tasks[0].attempts == 1

    def told(self):
        return self.farm.read_log() + (self.farm.folder / "audit.log").read_text()


@pytest.fixture
def farm(tmp_path):
    farm = Farm(tmp_path / "state", "--lease-ms", "4000", "--memory-mib", "700").start()
    yield farm
    farm.stop()


@pytest.fixture
def others(farm):
    others = Bystanders(farm)
    yield others
    others.stop.set()
    others.thread.join()


def stolen(farm, others, role=pb.ROLE_WORKER):
    """The key of a member the attacker has got hold of, greeted."""
    key = farm.member(others.admin, role, name=b"stolen")
    peer = farm.peer(key)
    peer.hello()
    return key, peer


def test_strangers_knock_in_vain_and_are_logged(farm, others):
    for _ in range(200):
        stranger = farm.peer(Key())
        stranger.send(request=1, hello=pb.Hello(version=1, instance=bytes(16)))
    assert farm.peers[-1].receive(1) is None
    until(lambda: "the gate refused" in others.told(), "it is logged")
    others.check()


def test_a_stolen_worker_key_cannot_act_as_a_client_or_administrator(farm, others):
    _, peer = stolen(farm, others)
    for body in (dict(submit=pb.Submit(id=os.urandom(16), job=job())),
                 dict(job_cancel=pb.JobCancel(job=b"last")),
                 dict(job_show=pb.JobShow(job=b"last")),
                 dict(token_new=pb.TokenNew(role=pb.ROLE_ADMIN)),
                 dict(key_list=pb.KeyList()), dict(key_revoke=pb.KeyRevoke(key=b"admin")),
                 dict(key_role=pb.KeyRole(key=b"stolen", role=pb.ROLE_ADMIN)),
                 dict(audit_get=pb.AuditGet()),
                 dict(model_add=pb.ModelAdd(manifest=pb.Manifest(name=b"x"))),
                 dict(watch=pb.Watch(credit=1))):
        with pytest.raises(Refused) as refused:
            peer.ask(**body)
        assert refused.value.kind == DENIED, body
    assert "refused what=submit by=stolen" in others.told()
    others.check()


def test_a_stolen_submit_key_sees_and_cancels_nothing_of_others(farm, others):
    _, peer = stolen(farm, others, pb.ROLE_SUBMIT)
    name = others.id.hex().encode()
    for body in (dict(job_show=pb.JobShow(job=name)), dict(job_cancel=pb.JobCancel(job=name)),
                 dict(watch=pb.Watch(job=others.id, credit=1))):
        with pytest.raises(Refused) as refused:
            peer.ask(**body)
        assert refused.value.kind == NOT_FOUND
    assert not peer.ask(job_list=pb.JobList()).jobs
    others.check()


def test_a_worker_cannot_claim_what_it_was_not_given_nor_sign(farm, others):
    key, _ = stolen(farm, others)
    liar = farm.worker(key, credit=0)
    held = others.held
    liar.send(failed=pb.Failed(attempt=held.id, kind=INPUT, text=b"it cannot be rendered"))
    liar.send(returned=pb.Returned(attempts=[held.id]))
    result = pb.Result(png=bytes(32), png_size=5, pixels=bytes(32), seconds=1, step_pixels=1,
                       provenance=b"clfarm provenance 1\nforged")
    claim = pb.Commit(attempt=held.id, job=held.job, index=held.index, key=held.key,
                      result=result)
    assert liar.ask(commit=claim).answer == pb.COMMIT_RETRY  # no such file was stored
    other_task = pb.Commit(attempt=pb.AttemptId(epoch=1, counter=1), job=bytes(16), index=0,
                           key=bytes(32), result=result)
    assert liar.ask(commit=other_task).answer == pb.COMMIT_RETRY
    others.check()
    tasks = others.admin.ask(job_show=pb.JobShow(job=others.id.hex().encode(), limit=1)).tasks
    assert b"forged" not in tasks[0].result.provenance
    assert z85_of(others.key) in tasks[0].result.provenance


def z85_of(key):
    return key.public


def test_a_commit_that_is_replayed_changes_nothing(farm, others):
    others.stop.set()
    others.thread.join()
    assert commit(farm, others.worker, others.held).answer == pb.COMMIT_ACCEPTED
    for _ in range(50):
        assert commit(farm, others.worker, others.held, stored=False).answer in (
            pb.COMMIT_DUPLICATE, pb.COMMIT_DISCARD)
    for other in range(20):
        answer = commit(farm, others.worker, others.held, content=b"other pixels %d" % other)
        assert answer.answer == pb.COMMIT_SUPERSEDED
    with contextlib.closing(sqlite3.connect(farm.folder / "farm.db")) as database:
        evidence, = database.execute("SELECT count(*) FROM result WHERE superseded").fetchone()
    assert evidence == 16
    task = others.admin.ask(job_show=pb.JobShow(job=others.id.hex().encode(), limit=1)).tasks[0]
    assert task.result.png == blake2b(b"picture of " + others.held.key)


def test_bytes_under_a_forged_hash_are_not_taken(farm, others):
    key, peer = stolen(farm, others)
    bulk = farm.bulk(key)
    bulk.send(b"evil", request=1, offer=pb.Offer(blob=blake2b(b"good"), size=4))
    name, refused, _, _ = bulk.receive()
    assert name == "refused" and b"hash" in refused.text
    with pytest.raises(Refused) as gone:
        bulk.ask(want=pb.Want(blob=blake2b(b"good"), offset=0, length=4))
    assert gone.value.kind == NOT_FOUND
    others.check()


def test_checkpoints_and_previews_of_one_gone_bad_change_nothing_of_others(farm, others):
    _, client = stolen(farm, others, pb.ROLE_SUBMIT)
    held = others.held
    for body in (dict(checkpoint=pb.Checkpoint(attempt=held.id, step=1)),
                 dict(preview=pb.Preview(attempt=held.id, png=b"x"))):
        with pytest.raises(Refused) as refused:
            client.ask(**body)
        assert refused.value.kind == DENIED
    assert "refused what=checkpoint by=stolen" in others.told()
    key = farm.member(others.admin, pb.ROLE_WORKER, name=b"liar")
    liar = farm.peer(key)
    liar.hello(device=pb.Device(name=b"../..", kind=b"../../test", hands_on=True))
    own = job(seeds=((7, 1),))
    own.checkpoint_every = 1
    others.admin.ask(submit=pb.Submit(id=os.urandom(16), job=own))
    liar.ready(1)
    attempt = liar.wait("assign").attempts[0]
    assert not attempt.hand_on  # nobody else is of that kind
    bulk = farm.bulk(key)
    half = b"half a picture"
    bulk.send(half, offer=pb.Offer(blob=blake2b(half), size=len(half)))
    bulk.wait("stored")
    bulk.send(b"evil", offer=pb.Offer(blob=blake2b(b"good"), size=4))
    assert b"hash" in bulk.wait("refused").text

    def tell(of, **more):
        told = dict(attempt=of, step=1, blob=blake2b(half), size=len(half))
        liar.send(checkpoint=pb.Checkpoint(**{**told, **more}))

    tell(held.id)  # another's task: no effect
    liar.send(preview=pb.Preview(attempt=held.id, step=1, steps=2, png=bytes(9)))
    for more in ({"blob": blake2b(b"good"), "size": 4}, {"size": 1 << 63}, {"size": 1},
                 {"blob": b"../../../../../../../../../../etc"}):
        tell(attempt.id, **more)
        liar.wait("refused")
    for _ in range(300):
        liar.send(preview=pb.Preview(attempt=attempt.id, step=1, steps=2, png=bytes(65536)))
    liar.send(preview=pb.Preview(attempt=attempt.id, step=1, steps=2, png=bytes(65537)))
    assert b"at most 65536" in liar.wait("refused").text
    tell(attempt.id)
    liar.send(returned=pb.Returned(attempts=[held.id, attempt.id]))  # it hands nothing on
    tell(attempt.id, step=9)  # replayed, the attempt has ended
    liar.ask(pulse=pb.Pulse())
    with contextlib.closing(sqlite3.connect(farm.folder / "farm.db")) as database:
        kept = database.execute("SELECT key, step FROM checkpoint").fetchall()
    assert kept == [(attempt.key, 1)]
    others.check()


def test_names_never_become_paths(farm, others):
    evil = [b"../../../../tmp/clfarm-evil", b"/etc/passwd", b"a/../../b", b"..", b"a\\..\\b"]
    for path in evil:
        data = b"x"
        file = pb.ModelFile(path=path, size=1, blob=blake2b(data), sha256=bytes(32),
                            pieces=[blake2b(data)])
        for name in (b"fine", path):
            manifest = pb.Manifest(name=name, kind=b"diffusers", files=[file], factor=8,
                                   width=64, height=64, family=b"sd1")
            with pytest.raises(Refused) as refused:
                others.admin.ask(model_add=pb.ModelAdd(manifest=manifest))
            assert refused.value.kind == INPUT
        for body in (dict(job_show=pb.JobShow(job=path)), dict(key_revoke=pb.KeyRevoke(key=path)),
                     dict(submit=pb.Submit(id=os.urandom(16), job=job(model=path)))):
            with pytest.raises(Refused):
                others.admin.ask(**body)
    key = farm.join(others.admin.ask(token_new=pb.TokenNew(role=pb.ROLE_WORKER)).text.decode(),
                    name=b"../../evil")
    farm.worker(key, host=b"../../etc").send(ready=pb.Ready())
    names = [key.name for key in others.admin.ask(key_list=pb.KeyList()).keys]
    assert not any(b"/" in name for name in names)
    assert not os.path.exists("/tmp/clfarm-evil")
    others.check()


def test_a_cloned_key_does_not_take_the_place_of_the_one_that_lives(farm, others):
    clone = farm.peer(others.key)
    with pytest.raises(Refused, match="in use") as refused:
        clone.hello(device=pb.Device(index=0, name=b"test device", kind=b"test"), host=b"evil")
    assert refused.value.kind == BUSY
    assert "cloned key=honest" in others.told()
    others.check()


def test_one_key_that_floods_is_slowed_and_nobody_else(farm, others):
    key, _ = stolen(farm, others)
    flood = [farm.peer(key) for _ in range(4)]
    for peer in flood:
        peer.hello()
    refused = 0
    for round in range(4):
        for peer in flood:
            for request in range(2000):
                peer.send(request=request + 1, pulse=pb.Pulse())
        others.admin.ask(node_list=pb.NodeList())
    for peer in flood:
        while message := peer.receive(0.5):
            refused += message[0] == "refused" and message[1].kind == BUSY
    assert refused > 0
    assert "more than 2000 messages a second" in others.told()
    others.check()


def hand_shakes(port, count):
    """Connections that begin a CURVE handshake and say no more."""
    opened = []
    greeting = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
        opened.append(one)
    time.sleep(1)
    for one in opened:
        try:
            one.send(greeting)
        except OSError:
            pass
    return opened


def test_thousands_of_half_open_handshakes_hold_nobody_up(farm, others):
    opened = hand_shakes(farm.port, 1500) + hand_shakes(farm.bulk_port, 1500)
    late = farm.peer(farm.member(others.admin, pb.ROLE_OBSERVER))
    late.hello()
    for one in opened:
        one.close()
    until(lambda: "ended before their handshake did" in others.told(), "it is logged")
    others.check()


def test_ten_thousand_connections_leave_established_workers_their_leases(farm, others):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(10000, hard - 2000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened = []
    try:
        for at in range(wanted):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", farm.port if at % 2 else farm.bulk_port))
            opened.append(one)
        time.sleep(6)  # past the lease of 4 s
        others.admin.ask(node_list=pb.NodeList())
    finally:
        for one in opened:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    others.check()


def test_a_message_of_endless_parts_costs_the_connections_and_no_work(farm, others):
    """libzmq keeps the parts until the last one: all that helps is to close the socket."""
    key, _ = stolen(farm, others)
    bomb = Peer(farm.address, farm.server, key)
    part = zmq.Frame(os.urandom(512 << 10))
    for _ in range(3000):
        bomb.socket.send(part, zmq.SNDMORE, copy=False)
    bomb.socket.send(part)  # now it leaves: 1.5 GiB before the receiver sees any of it
    until(lambda: "connections are closed once" in farm.read_log(), "the bomb was noticed")
    assert farm.process.poll() is None, farm.read_log()
    bomb.close()
    until(lambda: memory(farm, "VmRSS") < 700, "the memory is given back")
    assert memory(farm, "VmHWM") < 1500  # less than was sent, and what was there before
    others.check(reconnected=True)


def memory(farm, of):
    """MiB of the coordinator."""
    with open(f"/proc/{farm.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith(of))


def test_oversized_messages_end_their_connection_and_nothing_else(farm, others):
    key, peer = stolen(farm, others)
    for size in ((1 << 20) + 1, 64 << 20):
        evil = farm.peer(key)
        evil.hello()
        evil.socket.send(bytes(size))
        with pytest.raises((TimeoutError, Refused)):
            evil.ask(timeout=1, pulse=pb.Pulse())
    peer.ask(pulse=pb.Pulse())
    others.check()

"""What a farm gives to whoever is no member, and to members who misbehave: nothing.

After each test the coordinator must still answer, and end with 0: under LeakSanitizer that
means that what it was sent left nothing behind.
"""
import os
import socket
import time

import pytest
import zmq

from peer import BUSY, DENIED, FRAME, PATIENCE, Farm, Key, Peer, Refused, Token, blake2b, pb

QUIET = 1.5  # seconds; a member is answered in milliseconds
BOTH_PORTS = pytest.mark.parametrize("port", ["control", "bulk"])


@pytest.fixture
def farm(tmp_path):
    farm = Farm(tmp_path / "state").start()
    yield farm
    farm.admin().ask(node_list=pb.NodeList())
    farm.stop()


@pytest.fixture
def member(farm):
    """The key of a worker."""
    return farm.member(farm.admin(), pb.ROLE_WORKER)


def number(farm, port):
    return farm.port if port == "control" else farm.bulk_port


def connect(farm, port, key):
    peer = Peer(f"tcp://127.0.0.1:{number(farm, port)}", farm.server, key)
    farm.peers.append(peer)
    return peer


def plain_socket(farm, port, **options):
    one = zmq.Context.instance().socket(zmq.DEALER)
    one.linger = 0
    for name, value in options.items():
        setattr(one, name, value)
    one.connect(f"tcp://127.0.0.1:{number(farm, port)}")
    return one


def greetings():
    """What each port answers to a member."""
    hello = pb.Hello(version=1, host=b"x", instance=os.urandom(16), program=b"x")
    want = pb.Want(blob=bytes(32), length=1)
    return [pb.Envelope(request=1, hello=hello).SerializeToString(),
            pb.Envelope(request=2, want=want).SerializeToString()]


def answers(peer, seconds=QUIET):
    """The names of what comes until the peer was left alone for so long."""
    names = []
    while message := peer.receive(seconds):
        names.append(message[0])
    return names


@BOTH_PORTS
@pytest.mark.parametrize("options", [
    {}, {"plain_username": b"admin", "plain_password": b"admin"}], ids=["null", "plain"])
def test_a_peer_without_curve_gets_nothing(farm, port, options):
    with plain_socket(farm, port, **options) as one:
        for frame in greetings():
            one.send(frame)
        assert not one.poll(QUIET * 1000)


@BOTH_PORTS
def test_a_peer_with_an_unknown_key_gets_nothing(farm, port):
    stranger = connect(farm, port, Key())
    for frame in greetings():
        stranger.socket.send(frame)
    assert answers(stranger) == []


@BOTH_PORTS
def test_a_join_key_may_do_nothing_but_join(farm, port):
    token = farm.admin().ask(token_new=pb.TokenNew(role=pb.ROLE_ADMIN, ttl_s=60))
    joiner = connect(farm, port, Token(token.text.decode()).key)
    for frame in greetings():
        joiner.socket.send(frame)
    joiner.send(request=3, key_list=pb.KeyList())
    joiner.send(request=4, token_new=pb.TokenNew(role=pb.ROLE_ADMIN, ttl_s=60))
    joiner.send(b"x", request=5, offer=pb.Offer(blob=blake2b(b"x"), size=1))
    assert set(answers(joiner)) <= {"refused"}


def test_a_member_must_say_hello_first(farm, member):
    silent = connect(farm, "control", member)
    with pytest.raises(Refused, match="hello"):
        silent.ask(pulse=pb.Pulse())


@BOTH_PORTS
@pytest.mark.parametrize("frames", [
    [b"\xff" * 100],
    [b""],
    [b"", b"", b""],
    [os.urandom(1000), os.urandom(1000)],
    [b"\xc2\x02\x02\x0a\x00" * 30000],
], ids=["no-envelope", "empty", "three-frames", "random", "many-fields"])
def test_garbage_from_a_member_harms_nobody(farm, member, port, frames):
    one = connect(farm, port, member)
    if port == "control":
        one.hello()
    for _ in range(20):
        one.socket.send_multipart(frames)
    assert set(answers(one)) <= {"refused"}


@BOTH_PORTS
def test_an_oversized_message_harms_nobody(farm, member, port):
    one = connect(farm, port, member)
    one.socket.send(bytes(64 << 20))
    one.socket.send_multipart([greetings()[0], bytes(64 << 20)])
    one.socket.send_multipart([bytes(1000)] * 2000)
    assert set(answers(one)) <= {"refused"}


def test_bytes_that_nobody_asked_for_or_that_are_others_are_not_stored(farm, member):
    one = connect(farm, "bulk", member)
    blob = os.urandom(32)
    one.send(b"hello", chunk=pb.Chunk(blob=blob, offset=0, size=5))
    one.send(b"hello", request=1, offer=pb.Offer(blob=blob, size=5))
    one.send(b"hello", request=2, offer=pb.Offer(blob=blob, size=1 << 60))
    assert "stored" not in answers(one)
    one.send(request=3, want=pb.Want(blob=blob, offset=0, length=5))
    assert answers(one) == ["refused"]


@pytest.mark.parametrize("offset, length", [
    (0, FRAME + 1), (6, 5), (11, 0), (2**64 - 1, 5), (2**63, FRAME)])
def test_a_range_outside_a_blob_is_refused(farm, member, offset, length):
    one = connect(farm, "bulk", member)
    data = b"0123456789"
    one.send(data, offer=pb.Offer(blob=blake2b(data), size=len(data)))
    one.wait("stored")
    with pytest.raises(Refused) as refused:
        one.ask(want=pb.Want(blob=blake2b(data), offset=offset, length=length))
    assert refused.value.kind != BUSY


@BOTH_PORTS
def test_bytes_that_are_no_zmtp_harm_nobody(farm, port):
    with socket.create_connection(("127.0.0.1", number(farm, port))) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: farm\r\n\r\n" + os.urandom(4096))
        wait_for_end(raw)


def wait_for_end(raw):
    raw.settimeout(PATIENCE)
    try:
        while raw.recv(4096):
            pass
    except ConnectionError:
        pass


def test_connections_that_say_nothing_are_closed(farm):
    idle = [socket.create_connection(("127.0.0.1", farm.port)) for _ in range(50)]
    for one in idle:
        wait_for_end(one)
        one.close()


def test_a_revoked_key_gets_nothing_within_a_second(farm, member):
    admin, one = farm.admin(), connect(farm, "control", member)
    bulk = connect(farm, "bulk", member)
    one.hello()
    one.ask(pulse=pb.Pulse())
    admin.ask(key_revoke=pb.KeyRevoke(key=member.public))
    time.sleep(1)
    with pytest.raises((Refused, TimeoutError)) as refused:
        one.ask(timeout=QUIET, pulse=pb.Pulse())
    assert getattr(refused.value, "kind", DENIED) == DENIED
    bulk.send(b"x", request=1, offer=pb.Offer(blob=blake2b(b"x"), size=1))
    assert "stored" not in answers(bulk)
    again = connect(farm, "control", member)
    again.socket.send(greetings()[0])
    assert answers(again) == []


def test_a_peer_that_asks_and_never_reads_slows_nobody(farm, member):
    admin, deaf = farm.admin(), connect(farm, "control", member)
    deaf.hello()
    for request in range(1, 20001):
        deaf.send(request=request, pulse=pb.Pulse())
    admin.ask(node_list=pb.NodeList())

"""The bulk port in the hands of peers that are slow, that die, and that come back."""
import hashlib
import os
import time

import pytest

from farm import until
from peer import BUSY, FRAME, Farm, Refused, blake2b, commit, job, pb

PIECE = 4 << 20
SIZE = 3 * PIECE + 1000
WINDOW = 8


def announce(admin, data):
    """Tells the farm of a model of that one file; gives its id."""
    pieces = [blake2b(data[at:at + PIECE]) for at in range(0, len(data), PIECE)]
    file = pb.ModelFile(path=b"weights.bin", size=len(data), blob=blake2b(data), pieces=pieces,
                        sha256=hashlib.sha256(data).digest())
    manifest = pb.Manifest(name=b"large", kind=b"diffusers", files=[file], factor=8, width=64,
                           height=64, family=b"sd1", reason=b"test")
    return admin.ask(model_add=pb.ModelAdd(manifest=manifest))


def upload(bulk, data, most=None):
    """Answers what is wanted, `most` ranges of it; the number of ranges sent."""
    bulk.send(data[:FRAME], offer=pb.Offer(blob=blake2b(data), size=len(data)))
    sent = 1
    while most is None or sent < most:
        name, body, _, request = bulk.receive()
        if name == "stored":
            return sent
        assert name == "want", body
        chunk = pb.Chunk(blob=body.blob, offset=body.offset, size=len(data))
        bulk.send(data[body.offset:body.offset + body.length], request, chunk=chunk)
        sent += 1
    return sent


def await_taken(bulk):
    """Waits until all that was sent has been taken: it was answered by as many wants, of which
    the farm keeps WINDOW under way."""
    for _ in range(WINDOW):
        assert bulk.receive()[0] == "want"


def frames(size):
    return (size + FRAME - 1) // FRAME


def test_an_upload_goes_on_over_a_new_connection(farm):
    admin, data = farm.admin(), os.urandom(SIZE)
    announce(admin, data)
    first = farm.bulk(admin.key)
    upload(first, data, 30)
    await_taken(first)
    first.close()
    farm.peers.remove(first)
    rest = upload(farm.bulk(admin.key), data)
    assert rest <= frames(SIZE) - 30 + 1  # the offer's own
    assert not announce(admin, data).missing


def test_an_upload_goes_on_after_kill_9_of_the_coordinator(farm):
    admin, data = farm.admin(), os.urandom(SIZE)
    announce(admin, data)
    bulk = farm.bulk(admin.key)
    upload(bulk, data, frames(2 * PIECE) + 4)
    await_taken(bulk)
    farm.kill()
    farm.start()
    admin = farm.admin()
    rest = upload(farm.bulk(admin.key), data)
    assert rest <= frames(SIZE - 2 * PIECE) + 1  # two pieces were whole and verified
    assert not announce(admin, data).missing


def test_two_that_send_the_same_file_at_once_disturb_nobody(farm):
    admin, data = farm.admin(), os.urandom(SIZE)
    other = farm.member(admin, pb.ROLE_SUBMIT)
    announce(admin, data)
    first, second = farm.bulk(admin.key), farm.bulk(other)
    upload(first, data, 10)
    upload(second, data)
    assert not announce(admin, data).missing


def test_every_range_asked_for_comes_to_one_that_reads_slowly(farm):
    admin, data = farm.admin(), os.urandom(SIZE)
    announce(admin, data)
    bulk = farm.bulk(admin.key)
    upload(bulk, data)
    slow = farm.bulk(admin.key)
    wanted = [at for at in range(0, SIZE, FRAME)]
    for at in wanted:  # far more than a queue holds
        slow.send(request=at + 1, want=pb.Want(blob=blake2b(data), offset=at,
                                               length=min(FRAME, SIZE - at)))
    time.sleep(2)
    came = set()
    until(lambda: take(slow, came) or len(came) == len(wanted), "all ranges came")
    assert came == set(wanted)


def take(peer, came):
    while message := peer.receive(0.1):
        assert message[0] == "chunk", message[1]
        came.add(message[1].offset)


def test_nobody_fills_the_disk_with_files_that_nothing_names(tmp_path):
    farm = Farm(tmp_path / "state", "--worker-mib", "2").start()
    admin = farm.admin()
    farm.add_model(admin)
    worker = farm.worker(farm.member(admin, pb.ROLE_WORKER), credit=1)
    other = farm.bulk(farm.member(admin, pb.ROLE_WORKER))
    bulk = farm.bulk(worker.key)
    data = [os.urandom(900 << 10) for _ in range(4)]
    for file in data[:2]:
        upload(bulk, file)
    upload(bulk, data[0])  # what is here costs nothing
    with pytest.raises(Refused, match="belong to no result") as refused:
        bulk.ask(offer=pb.Offer(blob=blake2b(data[2]), size=len(data[2])))
    assert refused.value.kind == BUSY
    upload(other, data[2])
    admin.ask(submit=pb.Submit(id=bytes(16), job=job(seeds=((0, 1),))))
    held = worker.wait("assign").attempts[0]
    answer = commit(farm, worker, held, content=data[0], stored=False)
    assert answer.answer == pb.COMMIT_ACCEPTED  # its file is a result's now
    upload(bulk, data[3])
    farm.stop()

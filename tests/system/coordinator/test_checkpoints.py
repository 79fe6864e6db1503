"""Images half way, as the coordinator keeps them, gives them on and shows them."""
import contextlib
import os
import time

import pytest

from farm import until
from peer import PATIENCE, blake2b, commit, job, pb


def submit(admin, every=5, tasks=1, first=0):
    content = job(seeds=[(first, tasks)])
    content.checkpoint_every = every
    return admin.ask(submit=pb.Submit(id=os.urandom(16), job=content)).job


def worker_of(farm, key, kind=b"test", credit=1):
    worker = farm.peer(key)
    worker.hello(device=pb.Device(name=b"test device", kind=kind))
    worker.ready(credit)
    return worker


def upload(farm, worker, content):
    bulk = farm.bulk(worker.key)
    bulk.send(content, offer=pb.Offer(blob=blake2b(content), size=len(content)))
    bulk.wait("stored")


def tell(worker, attempt, step, content, size=None):
    worker.send(checkpoint=pb.Checkpoint(attempt=attempt.id, step=step, blob=blake2b(content),
                                         size=size or len(content)))


def until_gone(path):
    until(lambda: not path.exists(), f"{path} is gone")


def path_of(farm, content):
    name = blake2b(content).hex()
    return farm.folder / "blobs" / name[:2] / name


def test_the_newest_goes_to_the_next_attempt_on_a_device_of_that_kind(farm, admin):
    first, second = (farm.member(admin, pb.ROLE_WORKER) for _ in range(2))
    submit(admin)
    worker = worker_of(farm, first)
    attempt = worker.wait("assign").attempts[0]
    assert attempt.checkpoint_every == 5 and not attempt.HasField("checkpoint")
    for step, content in ((5, b"half"), (10, b"more than half")):
        upload(farm, worker, content)
        tell(worker, attempt, step, content)
    until_gone(path_of(farm, b"half"))  # it was replaced
    farm.kill()  # what was told is remembered
    farm.start()
    admin = farm.admin()
    worker = worker_of(farm, first, credit=0)
    worker.send(returned=pb.Returned(attempts=[attempt.id]))
    other = worker_of(farm, second, kind=b"another kind")
    begun = other.wait("assign").attempts[0]
    assert not begun.HasField("checkpoint")
    other.send(returned=pb.Returned(attempts=[begun.id]))
    other.close()
    worker.ready(1)
    again = worker.wait("assign").attempts[0]
    assert (again.checkpoint.step, again.checkpoint.size) == (10, 14)
    assert again.checkpoint.blob == blake2b(b"more than half")
    assert again.checkpoint.attempt == attempt.id
    assert commit(farm, worker, again).answer == pb.COMMIT_ACCEPTED
    until_gone(path_of(farm, b"more than half"))  # the task ended


def test_what_is_not_there_with_that_size_is_refused(farm, admin):
    worker = worker_of(farm, farm.member(admin, pb.ROLE_WORKER))
    submit(admin)
    attempt = worker.wait("assign").attempts[0]
    tell(worker, attempt, 5, b"never offered")
    assert b"no such file" in worker.wait("refused").text
    upload(farm, worker, b"half")
    tell(worker, attempt, 5, b"half", size=5)
    assert b"of 5 bytes" in worker.wait("refused").text
    tell(worker, attempt, 5, b"half", size=1 << 40)
    assert b"at most" in worker.wait("refused").text
    worker.send(checkpoint=pb.Checkpoint(attempt=attempt.id, step=5, blob=b"short"))
    assert b"expected 32" in worker.wait("refused").text
    worker.send(returned=pb.Returned(attempts=[attempt.id]))
    worker.ready(1)
    assert not worker.wait("assign").attempts[0].HasField("checkpoint")


def test_one_of_no_use_is_given_to_nobody_again(farm, admin):
    worker = worker_of(farm, farm.member(admin, pb.ROLE_WORKER))
    submit(admin)
    attempt = worker.wait("assign").attempts[0]
    upload(farm, worker, b"half")
    tell(worker, attempt, 5, b"half")
    for given in (True, False):
        worker.send(returned=pb.Returned(attempts=[attempt.id]))
        worker.ready(1)
        attempt = worker.wait("assign").attempts[0]
        assert attempt.HasField("checkpoint") == given
        worker.send(checkpoint=pb.Checkpoint(attempt=attempt.id, step=5))
    until_gone(path_of(farm, b"half"))


def test_a_blocked_node_s_is_given_to_nobody(farm, admin):
    worker, other = (worker_of(farm, farm.member(admin, pb.ROLE_WORKER), credit=c)
                     for c in (1, 0))
    submit(admin)
    attempt = worker.wait("assign").attempts[0]
    upload(farm, worker, b"half")
    tell(worker, attempt, 5, b"half")
    node = next(n.name for n in admin.ask(node_list=pb.NodeList()).nodes if n.leased)
    admin.ask(node_steer=pb.NodeSteer(node=node, order=pb.NODE_BLOCK, text=b"a test"))
    other.ready(1)
    assert not other.wait("assign").attempts[0].HasField("checkpoint")
    until_gone(path_of(farm, b"half"))


def decoders(farm, admin):
    """A worker that hands on, with credit, and one of its kind that decodes."""
    keys = [farm.member(admin, pb.ROLE_WORKER) for _ in range(2)]
    first, second = map(farm.peer, keys)
    first.hello(device=pb.Device(name=b"first", kind=b"test", hands_on=True))
    second.hello(device=pb.Device(name=b"second", kind=b"test"))
    first.ready(1)
    return first, second


def until_assigned(worker):
    """The next attempt; the worker is heard of meanwhile."""
    for _ in range(120):
        worker.send(heartbeat=pb.Heartbeat())
        with contextlib.suppress(TimeoutError):
            return worker.wait("assign", 0.5).attempts[0]
    raise TimeoutError("nothing was assigned")


def test_what_is_handed_on_is_kept_for_one_that_decodes_until_that_is_gone(farm, admin):
    first, second = decoders(farm, admin)
    submit(admin, every=0)
    attempt = first.wait("assign").attempts[0]
    assert attempt.hand_on and not attempt.checkpoint_every
    upload(farm, first, b"the last latents")
    tell(first, attempt, 20, b"the last latents")
    first.send(returned=pb.Returned(attempts=[attempt.id]))
    first.ready(1)
    with pytest.raises(TimeoutError):
        first.wait("assign", 1)
    second.ready(1)
    decoding = second.wait("assign").attempts[0]
    assert decoding.checkpoint.blob == blake2b(b"the last latents") and not decoding.hand_on
    second.send(returned=pb.Returned(attempts=[decoding.id]))
    second.ready(0)
    own = first.wait("assign").attempts[0]  # it came back: it is anybody's
    assert own.checkpoint.step == 20 and not own.hand_on
    assert commit(farm, first, own).answer == pb.COMMIT_ACCEPTED
    submit(admin, every=0, first=1)
    first.ready(1)
    attempt = first.wait("assign").attempts[0]
    assert attempt.hand_on
    upload(farm, first, b"others")
    tell(first, attempt, 20, b"others")
    first.send(returned=pb.Returned(attempts=[attempt.id]))
    first.ready(1)
    second.close()
    assert until_assigned(first).checkpoint.blob == blake2b(b"others")


def test_who_hands_nothing_on_is_not_asked_to_again(farm, admin):
    first, _ = decoders(farm, admin)
    submit(admin, every=0)
    attempt = first.wait("assign").attempts[0]
    assert attempt.hand_on
    first.send(returned=pb.Returned(attempts=[attempt.id]))
    first.ready(1)
    again = first.wait("assign").attempts[0]
    assert again.index == attempt.index and not again.hand_on
    assert commit(farm, first, again).answer == pb.COMMIT_ACCEPTED


def test_a_worker_speaks_of_its_own_attempts_only(farm, admin):
    worker, other = (worker_of(farm, farm.member(admin, pb.ROLE_WORKER)) for _ in range(2))
    submit(admin, tasks=2)
    own, others = worker.wait("assign").attempts[0], other.wait("assign").attempts[0]
    upload(farm, worker, b"half")
    tell(worker, others, 5, b"half")
    other.send(returned=pb.Returned(attempts=[others.id]))
    other.ready(1)
    assert not other.wait("assign").attempts[0].HasField("checkpoint")
    assert commit(farm, worker, own).answer == pb.COMMIT_ACCEPTED


def test_a_file_of_a_model_that_was_named_as_a_checkpoint_stays(farm, admin):
    worker = worker_of(farm, farm.member(admin, pb.ROLE_WORKER))
    submit(admin)
    attempt = worker.wait("assign").attempts[0]
    weights = b"weights of tiny"
    tell(worker, attempt, 5, weights)
    assert commit(farm, worker, attempt).answer == pb.COMMIT_ACCEPTED
    time.sleep(3)
    assert path_of(farm, weights).exists()


def show(worker, attempt, step, content=b"a small picture"):
    worker.send(preview=pb.Preview(attempt=attempt.id, step=step, steps=20, png=content))


def watch(farm, admin, job_id, previews):
    watcher = farm.peer(admin.key)
    watcher.hello()
    watcher.send(watch=pb.Watch(job=job_id, credit=0, previews=previews))
    watcher.wait("snapshot")
    return watcher


def steps_seen(watcher, least=0):
    """Of the previews that come: so many at least, and those of half a second more."""
    seen = []
    while message := watcher.receive(0.5 if len(seen) >= least else PATIENCE):
        if message[0] == "event" and message[1].HasField("preview"):
            assert message[1].preview.index == 0 and not message[1].seq
            seen.append(message[1].preview.step)
    return seen


def test_previews_are_asked_for_while_somebody_watches_and_the_newest_is_shown(farm, admin):
    worker = worker_of(farm, farm.member(admin, pb.ROLE_WORKER))
    own = submit(admin)
    attempt = worker.wait("assign").attempts[0]
    blind = watch(farm, admin, own, 0)
    with pytest.raises(TimeoutError):
        worker.wait("preview_ask", 1.5)
    watcher = watch(farm, admin, own, 2)
    assert worker.wait("preview_ask").attempt == attempt.id
    for step in range(1, 7):  # all come in one turn, or each in its own
        show(worker, attempt, step)
    worker.ask(pulse=pb.Pulse())  # all have come by now
    seen = steps_seen(watcher, 1)
    assert 1 <= len(seen) <= 2 and seen == sorted(seen), seen
    watcher.send(credit=pb.Credit(previews=1))
    assert seen[-1] == 6 or steps_seen(watcher, 1)[-1] == 6
    assert steps_seen(blind) == []
    show(worker, attempt, 7, b"x" * ((64 << 10) + 1))
    assert b"at most 65536" in worker.wait("refused").text


def test_previews_of_a_job_are_its_submitters_and_its_workers_alone(farm, admin):
    worker, other = (worker_of(farm, farm.member(admin, pb.ROLE_WORKER), credit=c)
                     for c in (1, 0))
    stranger = farm.peer(farm.member(admin, pb.ROLE_SUBMIT))
    stranger.hello()
    own = submit(admin)
    attempt = worker.wait("assign").attempts[0]
    stranger.send(watch=pb.Watch(credit=9, previews=9))
    stranger.wait("snapshot")
    watcher = watch(farm, admin, own, 9)
    show(other, attempt, 1)
    other.ask(pulse=pb.Pulse())
    show(worker, attempt, 2)
    assert steps_seen(watcher, 1) == [2]
    assert steps_seen(stranger) == []

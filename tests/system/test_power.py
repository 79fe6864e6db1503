"""Power cuts, at every answer and at many other moments: what was answered is there.

The programs run with tests/power/shim.c before libc; power.py rebuilds their folders without
what was not synced, and with an arbitrary part of it.
"""
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess

from farm import until
from peer import BIN, Farm, blake2b, commit, job, pb
from power import rebuild, snapshot

POINTS = 200
SHIM = BIN / "libpowershim.so"


def under_shim(state, journal):
    options = os.environ.get("ASAN_OPTIONS", "")
    return {"LD_PRELOAD": str(SHIM), "POWER_FOLDER": str(state), "POWER_JOURNAL": str(journal),
            "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0"}


class Answers:
    """What was answered, and how long the journal was by then."""

    def __init__(self, journal):
        self.journal = journal
        self.jobs, self.results, self.keys, self.files = [], [], [], []

    def add(self, answers, what):
        answers.append((os.path.getsize(self.journal), what))


def work(farm, answers):
    admin = farm.admin()
    farm.add_model(admin)
    key = farm.member(admin, pb.ROLE_WORKER, name=b"iris")
    answers.add(answers.keys, key.raw())
    worker, bulk = farm.worker(key), farm.bulk(key)
    received = 0
    for number in range(12):
        id = os.urandom(16)
        admin.ask(submit=pb.Submit(id=id, job=job((b"cat %d" % number,), ((0, 2),))))
        answers.add(answers.jobs, id)
        left = 2
        while left:
            worker.send(ready=pb.Ready(credit=4, batch=2, received=received))
            for attempt in worker.wait("assign").attempts:
                content = os.urandom(random.choice((100, 5000, 200000)))
                blob = blake2b(content)
                bulk.send(content, offer=pb.Offer(blob=blob, size=len(content)))
                assert bulk.wait("stored").blob == blob
                answers.add(answers.files, blob)
                answer = commit(farm, worker, attempt, content, stored=False).answer
                assert answer == pb.COMMIT_ACCEPTED
                answers.add(answers.results, (attempt.key, blob))
                received += 1
                left -= 1
    return key


def check(folder, answers, end):
    """Every answer of before the cut is in the database, with its file."""
    database = sqlite3.connect(folder / "farm.db")
    assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    found = {row for row in database.execute("SELECT key, png FROM result")}
    blobs = {row[0] for row in database.execute("SELECT id FROM blob")}
    jobs = {row[0] for row in database.execute("SELECT id FROM job")}
    keys = {row[0] for row in database.execute("SELECT public_key FROM key")}
    database.close()
    assert {what for at, what in answers.results if at <= end} <= found
    assert {what for at, what in answers.jobs if at <= end} <= jobs
    assert {what for at, what in answers.keys if at <= end} <= keys
    stored = {what for at, what in answers.files if at <= end}
    for id in blobs | stored:  # a row, or a Stored, means: file and name are on disk
        data = (folder / "blobs" / id.hex()[:2] / id.hex()).read_bytes()
        assert hashlib.blake2b(data, digest_size=32).digest() == id


def test_no_answered_result_file_job_or_key_is_lost_by_a_power_cut(tmp_path):
    state, journal = tmp_path / "state", tmp_path / "journal"
    farm = Farm(state, **under_shim(state, journal))
    farm.start()
    answers = Answers(journal)
    try:
        key = work(farm, answers)
    finally:
        farm.kill()
    total = os.path.getsize(journal)
    rng = random.Random(1)
    ends = [at for group in (answers.jobs, answers.results, answers.keys, answers.files)
            for at, _ in group]
    first = min(ends)
    ends += [rng.randrange(first, total) for _ in range(POINTS - len(ends))]
    for number, end in enumerate(ends):
        folder = tmp_path / f"cut{number}"
        keep = (lambda: False) if number % 2 else (lambda: rng.random() < 0.5)
        rebuild(journal, state, end, folder, keep)
        check(folder, answers, end)
        if number % 40 == 0:
            goes_on(folder, farm, key, answers, end)
        shutil.rmtree(folder)


def goes_on(folder, farm, key, answers, end):
    """The real coordinator takes up what is left, and works."""
    done = subprocess.run([BIN / "farm-coordinator", "--state", folder, "--repair"],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "nothing is missing" in done.stdout, done
    again = Farm(folder).start()
    again.admin_key = farm.admin_key
    admin = again.admin()
    for id in [id for at, id in answers.jobs if at <= end]:
        admin.ask(job_show=pb.JobShow(job=id.hex().encode(), limit=2))
    worker = again.worker(key, credit=1, batch=1)
    admin.ask(submit=pb.Submit(id=os.urandom(16), job=job((b"after",), ((0, 1),))))
    received = 0
    while True:
        attempt = worker.wait("assign").attempts[0]
        received += 1
        assert commit(again, worker, attempt).answer == pb.COMMIT_ACCEPTED
        if attempt.settings and any(s.value == b"after" for s in attempt.settings):
            break
        worker.send(ready=pb.Ready(credit=1, batch=1, received=received))
    again.stop()


def test_what_is_not_synced_is_lost_by_a_cut(tmp_path):
    """The shim and the rebuilding can fail: a program that does not sync loses everything."""
    state, journal = tmp_path / "state", tmp_path / "journal"
    state.mkdir()
    for sync in ("", "sync"):
        script = f"""
import os
f = os.open("{state}/file{sync}", os.O_CREAT | os.O_WRONLY)
os.write(f, b"hello")
if "{sync}":
    os.fsync(f)
    os.fsync(os.open("{state}", os.O_RDONLY))
os.write(f, b" more")
"""
        subprocess.run(["/usr/bin/python3", "-c", script], check=True,
                       env={**os.environ, **under_shim(state, journal)})
    rebuild(journal, state, os.path.getsize(journal), tmp_path / "cut")
    assert (tmp_path / "cut/file").read_bytes() == b""  # its name came with the other's
    assert (tmp_path / "cut/filesync").read_bytes() == b"hello"
    rebuild(journal, state, os.path.getsize(journal) // 2, tmp_path / "half")
    assert not list((tmp_path / "half").iterdir())


def test_a_result_in_the_spool_survives_a_power_cut_of_its_worker(farm):
    """The worker dies by a cut right after it sent its first Commit."""
    farm.join("one")
    state, journal = farm.worker_state("one"), farm.folder / "journal"
    base = snapshot(state)
    worker = farm.start_worker("one", FARM_FAULT="worker-after-commit-sent",  # each time
                               **under_shim(state, journal))
    job = farm.submit("--steps", 2, "--seed", "0..1", "a cat")
    until(lambda: "worker-after-commit-sent: killing" in worker.log(), "a result was sent")
    worker.kill()
    end = os.path.getsize(journal)
    shutil.move(state, farm.folder / "before")
    rebuild(journal, state, end, state, base=base)
    assert list((state / "spool/0").glob("*.commit")), "the record of the result is gone"
    farm.start_worker("one")
    farm.ctl("wait", job,)
    assert farm.done_count(job) == 2

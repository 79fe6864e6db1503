"""State folders as earlier releases left them, after kill -9: what they hold must be there.

state_N/ is the folder of a farm whose database had schema N: its tables as SQL, its key,
its audit, and in state.json the secrets of its members and the content of its blobs. It was
written by the release that knew schema N as the newest.
"""
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess

import pytest

from peer import BIN, Farm, Key, blake2b, commit, pb
from zmq.utils import z85

HERE = pathlib.Path(__file__).parent
VERSIONS = sorted(int(path.name.removeprefix("state_")) for path in HERE.glob("state_*"))
JOB = bytes(range(16)).hex().encode()


def bring_back(version, folder):
    """Makes the state folder; gives what state.json says."""
    old = HERE / f"state_{version}"
    folder.mkdir(mode=0o700)
    for name in ("server.key", "signing.key", "audit.log"):
        if (old / name).exists():
            shutil.copy(old / name, folder / name)
            os.chmod(folder / name, 0o600)
    database = sqlite3.connect(folder / "farm.db")
    database.executescript((old / "farm.sql").read_text())
    database.close()
    told = json.loads((old / "state.json").read_text())
    for content in map(bytes.fromhex, told["blobs"]):
        name = blake2b(content).hex()
        (folder / "blobs" / name[:2]).mkdir(parents=True, exist_ok=True)
        (folder / "blobs" / name[:2] / name).write_bytes(content)
    return told


def without_family(folder):
    """Models as they were stored before a manifest named its family."""
    with sqlite3.connect(folder / "farm.db") as database:
        for key, packed in database.execute("SELECT id, manifest FROM model").fetchall():
            manifest = pb.Manifest.FromString(packed)
            assert manifest.family
            manifest.ClearField("family")
            manifest.ClearField("reason")
            database.execute("UPDATE model SET manifest = ? WHERE id = ?",
                             (manifest.SerializeToString(), key))


@pytest.mark.parametrize("family", ["named", "unnamed"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_farm_of_an_earlier_schema_goes_on_where_it_was_killed(tmp_path, version, family):
    told = bring_back(version, tmp_path / "state")
    if family == "unnamed":
        without_family(tmp_path / "state")
    farm = Farm(tmp_path / "state").start()
    farm.admin_key = Key(z85.decode(told["admin"].encode()))
    admin = farm.admin()
    keys = {key.name: key.revoked for key in admin.ask(key_list=pb.KeyList()).keys}
    assert keys[b"iris"] == 0 and keys[b"left"] > 0
    tasks = admin.ask(job_show=pb.JobShow(job=JOB, limit=9)).tasks
    assert [task.state for task in tasks] == [2, 3, 1, 0]
    assert tasks[0].result.png == blake2b(bytes.fromhex(told["blobs"][1]))
    (model,) = admin.ask(model_list=pb.ModelList()).models
    assert model.complete and bool(model.manifest.family) == (family == "named")
    worker = farm.worker(Key(z85.decode(told["worker"].encode())), credit=1)
    attempt = worker.wait("assign").attempts[0]
    assert worker.ask(model_get=pb.ModelGet(id=attempt.model)).signature
    assert commit(farm, worker, attempt).answer == pb.COMMIT_ACCEPTED
    tasks = admin.ask(job_show=pb.JobShow(job=JOB, limit=9)).tasks
    assert tasks[attempt.index].result.provenance.startswith(b"clfarm provenance 1\n")
    assert bool(tasks[0].result.provenance) == (version > 1)
    farm.stop()
    subprocess.run([BIN / "farm-coordinator", "--state", farm.folder, "--check"], check=True)


def test_a_database_of_a_newer_schema_is_refused_by_its_number(tmp_path):
    bring_back(1, tmp_path / "state")
    database = sqlite3.connect(tmp_path / "state/farm.db")
    database.execute("PRAGMA user_version = 999")
    database.close()
    done = subprocess.run([BIN / "farm-coordinator", "--state", tmp_path / "state"],
                          capture_output=True, text=True)
    assert done.returncode == 2 and "schema 999" in done.stderr

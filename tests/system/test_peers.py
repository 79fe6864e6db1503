"""Workers that give each other pieces of a model: real processes on loopback."""
import hashlib
import os
import pathlib
import signal
import subprocess

import pytest

from farm import PATIENCE, until
from peer import BIN, DENIED, FRAME, Farm, Key, Peer, Refused, Token, blake2b, pb
from zmq.utils import z85

PIECE = 4 << 20
SIZE = 10 * PIECE + 12345


class Fetcher:
    """`farm-worker fetch MODEL stay`."""

    def __init__(self, farm, admin, name, model, stay=True, **environment):
        self.name, self.farm = name, farm
        self.state = pathlib.Path(f"{farm.folder}.{name}")
        self.cache = pathlib.Path(f"{farm.folder}.{name}.cache")
        self.log_path = pathlib.Path(f"{farm.folder}.{name}.log")
        token = admin.ask(token_new=pb.TokenNew(role=pb.ROLE_WORKER, name=name.encode()))
        subprocess.run([BIN / "farm-worker", "--state", self.state, "join", "-"],
                       input=token.text, check=True, capture_output=True)
        self.command = [BIN / "farm-worker", "--state", self.state, "--cache", self.cache,
                        "--log", "debug", "fetch", model.hex()] + ["stay"] * stay
        self.environment = environment
        self.start()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log,
                                            env={**os.environ, **self.environment})

    def log(self):
        return self.log_path.read_text(errors="replace")

    def is_whole(self):
        assert self.process.poll() in (None, 0), self.log()
        return "the model is here" in self.log()

    def key(self):
        secret = [line for line in (self.state / "key").read_text().splitlines()
                  if not line.startswith("#")][0]
        return Key(z85.decode(secret.encode()))

    def port(self):
        """Where it serves others: the listening socket of the process."""
        inodes = {os.readlink(link).split("[")[1][:-1]
                  for link in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()
                  if os.readlink(link).startswith("socket:")}
        for line in open("/proc/net/tcp", encoding="ascii").read().splitlines()[1:]:
            field = line.split()
            if field[3] == "0A" and field[9] in inodes:
                return int(field[1].split(":")[1], 16)
        raise AssertionError("it listens nowhere")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE) in (0, 1), self.log()


@pytest.fixture
def farm(tmp_path):
    farm = Farm(tmp_path / "state", "--log", "debug").start()
    farm.fetchers = []
    yield farm
    for fetcher in farm.fetchers:
        fetcher.stop()
    farm.stop()


def fetcher(farm, admin, name, model, **more):
    one = Fetcher(farm, admin, name, model, **more)
    farm.fetchers.append(one)
    return one


def add_large_model(farm, admin, size=SIZE):
    weights = os.urandom(size)
    files = []
    for path, data in ((b"empty.txt", b""), (b"same.bin", weights), (b"weights.bin", weights)):
        files.append(pb.ModelFile(
            path=path, size=len(data), blob=blake2b(data), sha256=hashlib.sha256(data).digest(),
            pieces=[blake2b(data[at:at + PIECE]) for at in range(0, len(data), PIECE)]))
    manifest = pb.Manifest(name=b"large", kind=b"diffusers", files=files, factor=8, width=64,
                           height=64, family=b"sd1", reason=b"test")
    imported = farm.folder / "import"
    imported.mkdir(exist_ok=True)
    (imported / blake2b(weights).hex()).write_bytes(weights)
    (imported / blake2b(b"").hex()).write_bytes(b"")
    state = admin.ask(timeout=PATIENCE, model_add=pb.ModelAdd(manifest=manifest))
    assert not state.missing
    return state.id, weights


def cached(one, weights):
    name = blake2b(weights).hex()
    return (one.cache / "blobs" / name[:2] / name).read_bytes() == weights


def test_one_that_joins_later_gets_the_model_from_another_worker(farm):
    admin = farm.admin()
    model, weights = add_large_model(farm, admin)
    first = fetcher(farm, admin, "one", model)
    until(first.is_whole, "the first has it")
    blobs = farm.folder / "blobs"
    blobs.rename(farm.folder / "hidden")  # the coordinator has nothing to give any more
    blobs.mkdir()
    second = fetcher(farm, admin, "two", model)
    until(second.is_whole, "the second has it")
    blobs.rmdir()
    (farm.folder / "hidden").rename(blobs)
    assert cached(first, weights) and cached(second, weights)


def test_four_that_begin_together_all_get_it(farm):
    admin = farm.admin()
    model, weights = add_large_model(farm, admin)
    group = [fetcher(farm, admin, f"w{i}", model) for i in range(4)]
    for one in group:
        until(one.is_whole, f"{one.name} has it")
        assert cached(one, weights)


def test_a_wrong_piece_is_refused_its_sender_left_and_noted(farm):
    admin = farm.admin()
    model, weights = add_large_model(farm, admin)
    liar = fetcher(farm, admin, "liar", model, FARM_FAULT="worker-serves-wrong-piece")
    until(liar.is_whole, "the liar has it")
    honest = fetcher(farm, admin, "honest", model)
    until(honest.is_whole, "the other has it, from the coordinator")
    assert cached(honest, weights)
    assert "sent a wrong piece and is left" in honest.log()
    until(lambda: "wrong-piece from=liar by=honest" in
          (farm.folder / "audit.log").read_text(), "the audit tells it")


def test_a_fetch_cut_by_kill_9_goes_on_where_it_was(farm):
    admin = farm.admin()
    model, weights = add_large_model(farm, admin)
    flag = pathlib.Path(f"{farm.folder}.flag")
    one = fetcher(farm, admin, "one", model, FARM_FAULT=f"worker-mid-fetch:{flag}")
    one.process.wait(PATIENCE)
    assert flag.exists()
    one.start()
    until(one.is_whole, "it has it")
    assert cached(one, weights)


def test_only_who_was_granted_gets_pieces_and_only_of_that_model(farm):
    admin = farm.admin()
    model, weights = add_large_model(farm, admin)
    one = fetcher(farm, admin, "one", model)
    until(one.is_whole, "it has it")
    address, server = f"tcp://127.0.0.1:{one.port()}", one.key().public
    want = pb.Want(blob=blake2b(weights), offset=0, length=FRAME)

    member = farm.member(admin, pb.ROLE_WORKER, name=b"other")
    stranger = Peer(address, server, member)
    farm.peers.append(stranger)
    stranger.send(want=want, request=1)
    assert stranger.receive(1.5) is None  # a member, but not granted: no handshake

    control = farm.peer(member)
    control.hello(peer_port=1)
    control.send(request=1, have=pb.Have(model=model, pieces=bytes(3), fetching=True))
    control.wait("peers")
    until(lambda: control.ask(have=pb.Have(model=model, pieces=bytes(3), fetching=True)).sources,
          "it was granted")
    granted = Peer(address, server, member)
    farm.peers.append(granted)
    chunk = granted.ask(want=want)
    assert chunk.blob == blake2b(weights)
    with pytest.raises(Refused) as refused:
        granted.ask(want=pb.Want(blob=blake2b(b"secret"), offset=0, length=6))
    assert refused.value.kind == DENIED
    with pytest.raises(Refused):
        granted.ask(offer=pb.Offer(blob=blake2b(b"x"), size=1))

    admin.ask(key_revoke=pb.KeyRevoke(key=b"other"))
    until(lambda: refuses(granted, want), "the grant ended")
    again = Peer(address, server, member)
    farm.peers.append(again)
    again.send(want=want, request=1)
    assert again.receive(1.5) is None


def refuses(peer, want):
    try:
        peer.ask(timeout=1, want=want)
    except (Refused, TimeoutError):
        return True
    return False


def test_a_worker_that_claims_pieces_that_do_not_fit_is_refused(farm):
    admin = farm.admin()
    model, _ = add_large_model(farm, admin)
    peer = farm.peer(farm.member(admin, pb.ROLE_WORKER))
    peer.hello(peer_port=99999, peer_address=b"tcp://../../x y")
    with pytest.raises(Refused, match="expected"):
        peer.ask(have=pb.Have(model=model, pieces=bytes(1000), fetching=True))
    with pytest.raises(Refused, match="no such model"):
        peer.ask(have=pb.Have(model=bytes(32), fetching=True))

"""A coordinator to test, and peers that speak its protocol without our code.

Peers are plain pyzmq sockets with CURVE and messages generated from farm.proto, so that what
they see is what anybody could see.
"""
import base64
import ctypes
import hashlib
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time

import zmq
from zmq.utils import z85

from ports import free_port

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("FARM_BIN", SOURCE / "build/dev/bin"))
FRAME = 256 << 10
PATIENCE = 60  # seconds; for what should take a moment, on a machine that is slow or busy

_generated = tempfile.TemporaryDirectory()
subprocess.run(["protoc", f"-I{SOURCE}/proto", f"--python_out={_generated.name}", "farm.proto"],
               check=True)
sys.path.insert(0, _generated.name)
import farm_pb2 as pb  # noqa: E402  (made a moment ago)

_sodium = ctypes.CDLL("libsodium.so.23")


def blake2b(data):
    return hashlib.blake2b(data, digest_size=32).digest()


class Key:
    def __init__(self, secret=None):
        if secret:
            self.secret = z85.encode(secret)
            self.public = zmq.curve_public(self.secret)
        else:
            self.public, self.secret = zmq.curve_keypair()

    def raw(self):
        return z85.decode(self.public)


class Token:
    """The text of a token, read as proto/keys.c writes it."""

    def __init__(self, text):
        body = text.strip().removeprefix("clfarm1-")
        data = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        count, at = data[0], 1
        self.addresses = []
        for _ in range(count):
            size = data[at]
            self.addresses.append(data[at + 1:at + 1 + size].decode())
            at += 1 + size
        self.server = z85.encode(data[at:at + 32])
        self.expires = struct.unpack(">Q", data[at + 32:at + 40])[0]
        self.key = Key(data[at + 40:at + 72])


class Refused(Exception):
    def __init__(self, refused):
        super().__init__(refused.text.decode())
        self.kind = refused.kind


INPUT, UNREACHABLE, DENIED, NOT_FOUND, BUSY = 1, 2, 3, 4, 5


class Peer:
    """One connection to one port of a coordinator."""

    def __init__(self, address, server, key, context=None):
        self.context = context or zmq.Context.instance()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.curve_serverkey = server
        self.socket.curve_publickey = key.public
        self.socket.curve_secretkey = key.secret
        self.socket.connect(address)
        self.key = key
        self.requests = 0
        self.received = 0
        self.kept = []

    def close(self):
        self.socket.close()

    def send(self, payload=None, request=0, **body):
        envelope = pb.Envelope(request=request, **body)
        frames = [envelope.SerializeToString()] + ([payload] if payload is not None else [])
        self.socket.send_multipart(frames)

    def receive(self, timeout=PATIENCE):
        """The next message as (name, body, payload, request); None when none comes."""
        if not self.socket.poll(timeout * 1000):
            return None
        frames = self.socket.recv_multipart()
        envelope = pb.Envelope.FromString(frames[0])
        name = envelope.WhichOneof("body")
        if name == "assign":
            self.received += len(envelope.assign.attempts)
        return (name, getattr(envelope, name), frames[1] if len(frames) > 1 else None,
                envelope.request)

    def wait(self, wanted, timeout=PATIENCE):
        """The next message of that name; others are kept for later waits."""
        for index, message in enumerate(self.kept):
            if message[0] == wanted:
                return self.kept.pop(index)[1]
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            message = self.receive(max(0.0, end - time.monotonic()))
            if message and message[0] == wanted:
                return message[1]
            if message:
                self.kept.append(message)
        raise TimeoutError(f"no {wanted}; came: {[m[0] for m in self.kept]}")

    def ask(self, timeout=PATIENCE, payload=None, **body):
        """Sends a request and gives its answer's body; raises Refused."""
        self.requests += 1
        self.send(payload, self.requests, **body)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            message = self.receive(max(0.0, end - time.monotonic()))
            if message and message[3] == self.requests:
                if message[0] == "refused":
                    raise Refused(message[1])
                return message[1]
            if message:
                self.kept.append(message)
        raise TimeoutError(f"no answer to {list(body)}")

    def ready(self, credit, batch=1, models=()):
        """As a worker: takes so many attempts beside those that came."""
        self.send(ready=pb.Ready(credit=credit, batch=batch, models=models,
                                 received=self.received))

    def hello(self, **more):
        hello = dict(version=1, host=b"testhost", instance=os.urandom(16), program=b"pytest")
        hello.update(more)
        return self.ask(hello=pb.Hello(**hello))


class Farm:
    """A coordinator process on a state folder, stopped by kill -9 or politely."""

    def __init__(self, folder, *options, **environment):
        self.folder = pathlib.Path(folder)
        self.options = options
        self.environment = environment
        self.process = None
        self.port, self.bulk_port = free_port(), free_port()
        self.peers = []

    def start(self):
        address = self.folder / "address"
        address.unlink(missing_ok=True)
        self.log = open(str(self.folder) + ".log", "ab")
        self.process = subprocess.Popen(
            [BIN / "farm-coordinator", "--state", self.folder, "--bind", "tcp://127.0.0.1",
             "--port", str(self.port), "--bulk-port", str(self.bulk_port), "--reserve-mib", "1",
             *self.options],
            stderr=self.log, env={**os.environ, **self.environment})
        end = time.monotonic() + PATIENCE
        while not address.exists():
            assert self.process.poll() is None, self.read_log()
            assert time.monotonic() < end, "the coordinator does not come up"
            time.sleep(0.01)
        lines = address.read_text().splitlines()
        self.address, self.server = lines[0], lines[1].encode()
        assert self.port == int(lines[0].rsplit(":")[-1]) and self.bulk_port == int(lines[3])
        return self

    def read_log(self):
        return pathlib.Path(str(self.folder) + ".log").read_text(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        for peer in self.peers:
            peer.close()
        self.peers = []
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE) == 0, self.read_log()

    def peer(self, key, context=None):
        peer = Peer(self.address, self.server, key, context)
        self.peers.append(peer)
        return peer

    def bulk(self, key):
        peer = Peer(f"tcp://127.0.0.1:{self.bulk_port}", self.server, key)
        self.peers.append(peer)
        return peer

    def join(self, token, key=None, name=b"tester"):
        """Joins with a token's text; gives the member's key."""
        key = key or Key()
        token = Token(token)
        nonce, proof = os.urandom(24), ctypes.create_string_buffer(48)
        _sodium.crypto_box_easy(proof, token.key.raw(), ctypes.c_ulonglong(32), nonce,
                                z85.decode(token.server), z85.decode(key.secret))
        peer = Peer(self.address, self.server, token.key)
        try:
            peer.ask(join=pb.Join(public_key=key.raw(), name=name, proof=proof.raw, nonce=nonce))
        finally:
            peer.close()
        return key

    def admin(self):
        """A greeted administrator: the first joins with the token of the first start."""
        if not hasattr(self, "admin_key"):
            self.admin_key = self.join((self.folder / "admin.token").read_text(), name=b"admin")
        peer = self.peer(self.admin_key)
        peer.hello()
        return peer

    def member(self, admin, role, name=b"member"):
        return self.join(admin.ask(token_new=pb.TokenNew(role=role)).text.decode(), name=name)

    def worker(self, key, credit=4, batch=2, index=0, kind=b"test", **hello):
        """A greeted worker with credit that renders nothing by itself."""
        peer = self.peer(key)
        peer.hello(device=pb.Device(index=index, name=b"test device", kind=kind), **hello)
        peer.ready(credit, batch)
        return peer

    def add_model(self, admin, name=b"tiny"):
        """A model of one small file, complete when this returns."""
        data = b"weights of " + name
        file = pb.ModelFile(path=b"model.bin", size=len(data), blob=blake2b(data),
                            sha256=hashlib.sha256(data).digest(), pieces=[blake2b(data)])
        manifest = pb.Manifest(name=name, kind=b"diffusers", files=[file], factor=8, width=64,
                               height=64, family=b"sd1", reason=b"test")
        state = admin.ask(model_add=pb.ModelAdd(manifest=manifest))
        bulk = self.bulk(admin.key)
        for blob in state.missing:
            bulk.send(data, offer=pb.Offer(blob=blob, size=len(data)))
            assert bulk.wait("stored").blob == blob
        state = admin.ask(model_add=pb.ModelAdd(manifest=manifest))
        assert not state.missing
        return state.id


def job(prompts=(b"a cat",), seeds=((0, 4),), model=b"tiny", latents=False, **settings):
    settings = {"model": model, **{k: str(v).encode() for k, v in settings.items()}}
    return pb.Job(prompts=prompts, latents=latents,
                  seeds=[pb.SeedRange(first=f, count=c) for f, c in seeds],
                  settings=[pb.Setting(name=k.replace("_", "-").encode(), value=v)
                            for k, v in settings.items()])


def commit(farm, worker, attempt, content=None, stored=True, timeout=PATIENCE):
    """Uploads a made-up picture for the attempt and commits it; gives the answer."""
    data = content or b"picture of " + attempt.key
    if stored:
        bulk = farm.bulk(worker.key)
        bulk.send(data, offer=pb.Offer(blob=blake2b(data), size=len(data)))
        bulk.wait("stored", timeout)
        bulk.close()
        farm.peers.remove(bulk)
    result = pb.Result(png=blake2b(data), png_size=len(data), pixels=blake2b(b"pixels" + data),
                       seconds=0.5, step_pixels=64 * 64 * 20)
    return worker.ask(timeout, commit=pb.Commit(
        attempt=attempt.id, job=attempt.job, index=attempt.index, key=attempt.key, result=result))


def submit(peer, content, id=None):
    return peer.ask(submit=pb.Submit(id=id or os.urandom(16), job=content))


def assigned(worker, count):
    """Waits until that many attempts were assigned."""
    attempts = []
    while len(attempts) < count:
        attempts += worker.wait("assign").attempts
    return attempts

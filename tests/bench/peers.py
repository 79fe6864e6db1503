"""A model to many workers over links that are each as narrow as an office's.

Every process has a network namespace of its own, with a shaped link to a common switch:
root is needed. First one worker fetches the model alone, then all at once, each with an
empty cache; the coordinator's link is counted.

    sudo tests/bench/peers.py BIN [--peers 20] [--mib 256] [--mbit 40]
"""
import argparse
import ctypes
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

CLONE_NEWNET = 0x40000000
PIECE = 4 << 20


def run(*command):
    subprocess.run([str(part) for part in command], check=True)


# Removes namespaces, and what still runs in them, when its input ends: when we do, however.
REMOVE = """
import os, signal, subprocess, sys
sys.stdin.read()
for name in sys.argv[2:]:
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout
    for pid in pids.split():
        if pid != sys.argv[1]:
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
"""


class Network:
    """Namespaces on one switch; the first is the coordinator's."""

    def __init__(self, hosts, mbit):
        self.prefix = f"clf{os.getpid() % 10000}"
        self.names = [f"{self.prefix}-{host}" for host in range(hosts)]
        self.switch = f"{self.prefix}-sw"
        self.remover = subprocess.Popen(
            [sys.executable, "-c", REMOVE, str(os.getpid()), *self.names, self.switch],
            stdin=subprocess.PIPE, start_new_session=True)
        run("ip", "netns", "add", self.switch)
        inside = ("ip", "netns", "exec", self.switch)
        run(*inside, "ip", "link", "add", "switch", "type", "bridge")
        run(*inside, "ip", "link", "set", "switch", "up")
        for host, name in enumerate(self.names):
            run("ip", "netns", "add", name)
            run("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer",
                f"port{host}", "netns", self.switch)
            run(*inside, "ip", "link", "set", f"port{host}", "master", "switch", "up")
            own = ("ip", "netns", "exec", name)
            run(*own, "ip", "addr", "add", f"{self.address(host)}/16", "dev", "eth0")
            run(*own, "ip", "link", "set", "eth0", "up")
            run(*own, "ip", "link", "set", "lo", "up")
            for end in ((*own, "eth0"), (*inside, f"port{host}")):
                run(*end[:-1], "tc", "qdisc", "add", "dev", end[-1], "root", "tbf", "rate",
                    f"{mbit}mbit", "burst", "64kb", "latency", "100ms")

    @staticmethod
    def address(host):
        return f"10.77.{host // 200}.{host % 200 + 1}"

    def sent(self, host=0):
        """Bytes the host sent; 0 is the coordinator."""
        path = "/sys/class/net/eth0/statistics/tx_bytes"
        done = subprocess.run(["ip", "netns", "exec", self.names[host], "cat", path],
                              capture_output=True, text=True, check=True)
        return int(done.stdout)

    def enter(self):
        """This thread, and what it starts, joins the coordinator's namespace."""
        with open(f"/run/netns/{self.names[0]}", encoding="ascii") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def close(self):
        self.remover.communicate()


def add_model(pb, farm, admin, mib):
    data = os.urandom(mib << 20)
    blob = hashlib.blake2b(data, digest_size=32).digest()
    pieces = [hashlib.blake2b(data[at:at + PIECE], digest_size=32).digest()
              for at in range(0, len(data), PIECE)]
    file = pb.ModelFile(path=b"weights.bin", size=len(data), blob=blob, pieces=pieces,
                        sha256=hashlib.sha256(data).digest())
    manifest = pb.Manifest(name=os.urandom(4).hex().encode(), kind=b"diffusers", files=[file],
                           factor=8, width=64, height=64, family=b"sd1", reason=b"bench")
    (farm.folder / "import").mkdir(exist_ok=True)
    (farm.folder / "import" / blob.hex()).write_bytes(data)
    state = admin.ask(timeout=120, model_add=pb.ModelAdd(manifest=manifest))
    assert not state.missing
    return state.id


def join(pb, bin_dir, admin, network, host, folder):
    token = admin.ask(token_new=pb.TokenNew(role=pb.ROLE_WORKER)).text
    command = ["ip", "netns", "exec", network.names[host], bin_dir / "farm-worker",
               "--state", folder / f"w{host}", "join", "-"]
    subprocess.run(command, input=token, check=True, capture_output=True)


def fetch(bin_dir, network, hosts, folder, model):
    """Seconds until the last of them has it; all begin with an empty cache and stay."""
    workers = []
    started = time.monotonic()
    for host in hosts:
        log = open(folder / f"w{host}.log", "wb")
        workers.append(subprocess.Popen(
            ["ip", "netns", "exec", network.names[host], bin_dir / "farm-worker", "--state",
             folder / f"w{host}", "--cache", folder / f"w{host}.{model.hex()[:8]}", "fetch",
             model.hex(), "stay"], stdout=log, stderr=log))
    whole = set()
    while len(whole) < len(workers):
        time.sleep(0.1)
        for host, worker in zip(hosts, workers):
            text = (folder / f"w{host}.log").read_text()
            assert worker.poll() is None, text
            if "the model is here" in text:
                whole.add(host)
    seconds = time.monotonic() - started
    for worker in workers:
        worker.terminate()
        worker.wait()
    return seconds


def measure(options, network, folder):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
    os.environ["FARM_BIN"] = str(options.bin)
    network.enter()
    import peer  # its sockets belong to the namespace that was entered
    farm = peer.Farm(folder / "state", "--bind", f"tcp://{network.address(0)}")
    farm.start()
    admin = farm.admin()
    for host in range(1, options.peers + 1):
        join(peer.pb, options.bin, admin, network, host, folder)
    size = options.mib << 20
    alone = fetch(options.bin, network, [1], folder,
                  add_model(peer.pb, farm, admin, options.mib))
    model = add_model(peer.pb, farm, admin, options.mib)
    before = network.sent()
    together = fetch(options.bin, network, range(1, options.peers + 1), folder, model)
    copies = (network.sent() - before) / size
    farm.stop()
    print(f"{options.mib} MiB over links of {options.mbit} Mbit/s")
    print(f"1 worker    {alone:6.1f} s  {size * 8e-6 / alone:6.1f} Mbit/s")
    print(f"{options.peers} workers  {together:6.1f} s  {together / alone:6.2f} times that")
    print(f"coordinator sent {copies:.2f} copies")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--peers", type=int, default=20)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--mbit", type=int, default=40)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench peers: namespaces and shaped links need root")
    for ended in (signal.SIGTERM, signal.SIGHUP):  # as by Ctrl-C: what was made is removed
        signal.signal(ended, lambda *_: sys.exit(1))
    network = Network(options.peers + 1, options.mbit)
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(options, network, pathlib.Path(folder))
    finally:
        network.close()


main()

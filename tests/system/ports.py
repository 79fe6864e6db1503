"""Ports of loopback for the daemons of one run, tests of which run side by side."""
import os
import random
import socket

_given = set()
_random = random.SystemRandom()


def free_port():
    """A free port that no other process of this run is given, nor the kernel gives to a
    connection: it is still free when the daemon binds it, and when that starts again."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = 16 * _random.randrange(640, 2000) + worker % 16
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port

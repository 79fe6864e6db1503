import contextlib
import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import farm as farms  # noqa: E402


@pytest.fixture(scope="session")
def shared():
    """Where built kernels are kept, from run to run: building them takes minutes."""
    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME", farms.BIN.parent / "kernels"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def built_kernels(shared, tmp_path_factory):
    """Renders once, so that no test waits for what only the first of all has to wait for."""
    farm = farms.Farm(tmp_path_factory.mktemp("first"), shared)
    try:
        farm.start_coordinator()
        farm.ctl("model", "add", farms.TINY, "--name", "tiny")
        farm.worker("one")
        for size in (1, 4):
            job = farm.submit("--steps", 1, "--seed", f"1..{size}", "a cat")
            farm.ctl("wait", job, patience=900)
    finally:
        farm.close()


@pytest.fixture
def bare_farm(tmp_path, shared, request):
    """A folder to start processes in."""
    farm = farms.Farm(tmp_path, shared)
    yield farm
    farm.close()


@pytest.fixture
def farm(bare_farm, built_kernels):
    """A coordinator that knows the tiny model; no worker yet."""
    bare_farm.start_coordinator()
    bare_farm.ctl("model", "add", farms.TINY, "--name", "tiny")
    return bare_farm


@pytest.fixture
def local(bare_farm):
    """The folder in which --local makes its private farm, which ends with the test."""
    yield bare_farm
    private = bare_farm.folder / "state/clfarm/local"
    for pid in farms.processes(private, "farm-coordinator"):
        with contextlib.suppress(OSError):  # it is ending already
            if (keeper := farms.parent(pid)) > 1:
                os.kill(keeper, signal.SIGTERM)
    farms.until(lambda: not farms.processes(private, "farm-coordinator"), "it ended")

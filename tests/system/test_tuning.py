"""What one worker measures while it is idle, another of its kind starts with."""
import pathlib
import re
import time

from farm import until


def cache_of(farm, name):
    """A cache of the worker's own, but for kernels, which all share."""
    own = farm.folder / f"{name}.home/clfarm"
    own.mkdir(parents=True)
    kernels = pathlib.Path(farm.env["XDG_CACHE_HOME"]) / "clfarm/kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    (own / "kernels").symlink_to(kernels)
    return {"XDG_CACHE_HOME": str(own.parent), "CLFARM_WORKER_TUNE": "yes"}


def render(farm, seed):
    job = farm.submit("--seed", seed, "--steps", 2, "--force", "a cat")
    farm.ctl("wait", job)
    return [task["result"]["pixels"] for task in farm.tasks(job)]


def test_the_first_worker_tunes_and_a_second_of_its_kind_starts_tuned(farm):
    caches = {name: cache_of(farm, name) for name in ("first", "second")}
    first = farm.worker("first", **caches["first"])
    untuned = render(farm, 7)
    until(lambda: " tuned " in first.log(), "the first worker has tuned")
    assert first.stop() == 0

    again = farm.start_worker("first", **caches["first"])
    count = int(until(lambda: re.search(r"known for (\d+) classes", again.log()),
                      "the first knows them")[1])
    until(lambda: len(farm.ctl_json("nodes", "--tuning")) == count, "it told all of them")
    (node,) = farm.ctl_json("nodes")
    assert again.stop() == 0
    known = farm.ctl_json("nodes", "--tuning")
    assert count and all(
        one["node"] == node["name"] and one["gain"] >= 1 and one["at"] > 1700000000
        and one["shape"].startswith("gemm_") and one["kind"] == node["device"]["kind"]
        for one in known)
    table = farm.ctl("nodes", "--tuning")
    assert known[0]["shape"] in table and "VARIANT" in table

    second = farm.worker("second", **caches["second"])
    until(lambda: f"took {len(known)} results" in second.log(), "the second was told")
    assert render(farm, 7) == untuned
    time.sleep(3)  # in which an idle worker begins to tune
    assert second.stop() == 0
    assert " tuned " not in second.log()
    assert farm.ctl_json("nodes", "--tuning") == known

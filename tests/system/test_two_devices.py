"""A farm of two unlike devices: run by `./dev intel-cpu`, skipped where there is only one."""
import io
import json
import subprocess

import numpy
import pytest
from PIL import Image

from farm import BIN, SOURCE, until

TASKS = 8
SWEEP = ("--latents", "--seed", "0..3", "--steps", 20, "--cfg", 4, "a cat", "a dog")


def devices():
    done = subprocess.run([BIN / "farm-worker", "devices", "--json"], capture_output=True,
                          text=True, check=False)
    return json.loads(done.stdout)["devices"] if done.returncode == 0 else []


def pixels(png):
    return numpy.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)


def latents(safetensors):
    header = int.from_bytes(safetensors[:8], "little")
    return numpy.frombuffer(safetensors[8 + header:], "<f4").astype(float)


@pytest.mark.skipif(len(devices()) < 2, reason="needs two OpenCL devices")
def test_two_unlike_devices_make_the_same_pictures_within_tolerance(bare_farm):
    farm = bare_farm
    farm.start_coordinator()
    farm.ctl("model", "add", SOURCE / "models/emoji", "--name", "model")
    submit = ("submit", "--print-id", "--model", "model", *SWEEP)
    farm.worker("first", "--devices", 0)
    alone = farm.ctl(*submit).strip()
    farm.ctl("wait", alone, patience=900)
    first = farm.ctl_json("nodes")[0]["name"]
    farm.worker("second", "--devices", 1)
    until(lambda: sum(node["state"] == "ok" for node in farm.ctl_json("nodes")) == 2,
          "both devices are ready", 600)
    farm.ctl("drain", first)
    again = farm.ctl(*submit, "--force").strip()
    farm.ctl("wait", again, patience=900)

    nodes = farm.ctl_json("nodes")
    assert len({node["device"]["name"] for node in nodes}) == 2
    assert {task["node"] for task in farm.tasks(alone)} == {first}
    second = {node["name"] for node in nodes} - {first}
    assert {task["node"] for task in farm.tasks(again)} == second
    one = farm.fetch(alone, farm.folder / "alone")
    two = farm.fetch(again, farm.folder / "again")
    assert one.keys() == two.keys() and len(one) == 2 * TASKS
    for name, content in one.items():
        if name.endswith(".png"):
            assert abs(pixels(content) - pixels(two[name])).mean() <= 0.6, name
        else:
            a, b = latents(content), latents(two[name])
            assert numpy.linalg.norm(a - b) <= 2e-3 * numpy.linalg.norm(a), name

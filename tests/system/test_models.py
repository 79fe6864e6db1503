"""Models in one file, from farmctl to the picture."""
import json
import math
from pathlib import Path

import invented

FAMILIES = Path(__file__).parents[1] / "golden/families"


def single_file(name, folder):
    golden = json.loads((FAMILIES / f"{name}.json").read_text())
    path = folder / f"{name}.safetensors"
    invented.write(path, golden["files"]["model.safetensors"]["tensors"])
    return path, golden["runs"]


def distance(found, want):
    return math.dist(found, want) / math.hypot(*want)


def test_a_single_file_gives_the_latents_diffusers_gives(farm):
    path, runs = single_file("sd1_single", farm.folder)
    assert "model " in farm.ctl("model", "add", path, "--name", "mine")
    model = next(m for m in farm.ctl_json("models") if m["name"] == "mine")
    assert model["family"] == "sd1"
    assert "cond_stage_model.transformer" in model["reason"]
    farm.worker("one")
    run = runs[0]
    asked = {key: run[key] for key in ("sampler", "steps", "cfg", "seed")}
    asked |= {"model": "mine", "size": f"{run['width']}x{run['height']}", "syntax": "plain"}
    options = [word for key, value in asked.items() for word in (f"--{key}", value)]
    job = farm.ctl("submit", "--print-id", *options, "--latents", run["prompt"]).strip()
    farm.ctl("wait", job)
    farm.fetch(job, farm.folder / "out")
    found = invented.read(next((farm.folder / "out").rglob("*.safetensors")), "latents")
    want = invented.read(FAMILIES / "sd1_single.safetensors", "0.latents")
    assert distance(found, want) < 2e-3


def test_a_pickled_checkpoint_is_refused_with_the_way_out(farm):
    path = farm.folder / "model.ckpt"
    path.write_bytes(b"PK\3\4")
    said = farm.ctl("model", "add", path, status=2)
    assert "is a pickle" in said and "safetensors.torch.save_file" in said


def test_a_file_of_something_else_is_of_no_family(farm):
    path = farm.folder / "lora.safetensors"
    invented.write(path, [["lora_unet.down.weight", "F32", [4], 0, 0]])
    assert "of no family we know" in farm.ctl("model", "add", path, status=2)

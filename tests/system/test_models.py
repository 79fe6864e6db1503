"""Models in one file, from farmctl to the picture."""
import json
import math
from pathlib import Path

import invented
from farm import SOURCE

FAMILIES = Path(__file__).parents[1] / "golden/families"


def single_file(name, folder):
    golden = json.loads((FAMILIES / f"{name}.json").read_text())
    path = folder / f"{name}.safetensors"
    invented.write(path, golden["files"]["model.safetensors"]["tensors"])
    return path, golden["runs"]


def folder(name, into):
    """The model folder of that family; its runs."""
    golden = json.loads((FAMILIES / f"{name}.json").read_text())
    for file, what in golden["files"].items():
        path = into / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if "json" in what:
            path.write_text(json.dumps(what["json"]))
        elif "copy" in what:
            path.write_bytes((SOURCE / "models/emoji" / what["copy"]).read_bytes())
        else:
            invented.write(path, what["tensors"])
    return into / name, golden["runs"]


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


def test_a_model_that_is_told_its_guidance_follows_each_tasks_own(farm):
    path, runs = folder("lcm", farm.folder)
    farm.worker("one")
    first = runs[0]
    job = farm.ctl("submit", "--print-id", "--model", path, "--syntax", "plain", "--latents",
                   "--sampler", first["sampler"], "--steps", first["steps"], "--seed",
                   f"{first['seed']},7", "--axis", f"cfg=1,{first['cfg']}", "--size",
                   f"{first['width']}x{first['height']}", first["prompt"]).strip()
    farm.ctl("wait", job)
    farm.fetch(job, farm.folder / "out")
    files = sorted((farm.folder / "out").rglob("*.safetensors"))
    assert len(files) == 4  # cfg 1 and 8.5, of each two seeds
    want = invented.read(FAMILIES / "lcm.safetensors", "0.latents")
    far = [distance(invented.read(file, "latents"), want) for file in files]
    assert far[2] < 2e-3 and min(far[0], far[1], far[3]) > 0.05


def test_a_refiner_goes_on_and_its_picture_tells_so(farm):
    base, _ = folder("sdxl", farm.folder)
    refiner, _ = folder("refiner", farm.folder)
    farm.ctl("model", "add", refiner, "--name", "second")
    farm.worker("one")
    run = json.loads((FAMILIES / "refined.json").read_text())["runs"][0]
    asked = {key: run[key] for key in ("sampler", "steps", "cfg", "seed")}
    asked |= {"model": base, "size": f"{run['width']}x{run['height']}", "syntax": "plain"}
    options = [word for key, value in asked.items() for word in (f"--{key}", value)]
    job = farm.ctl("submit", "--print-id", "--latents", *options, "--refiner",
                   f"second:{run['at']}", run["prompt"]).strip()
    farm.ctl("wait", job)
    farm.fetch(job, farm.folder / "out")
    found = invented.read(next((farm.folder / "out").rglob("*.safetensors")), "latents")
    want = invented.read(FAMILIES / "refined.safetensors", "0.latents")
    assert distance(found, want) < 2e-3
    told = farm.ctl_json("info", next((farm.folder / "out").rglob("*.png")))
    assert told["fields"]["Refiner"].startswith("second [")
    assert told["fields"]["Refiner switch at"] == "0.8"
    assert len(told["provenance"]["models"]) == 2
    (farm.folder / "again.json").write_text(json.dumps(told["job"]))
    again = farm.ctl("submit", "--print-id", "--from", farm.folder / "again.json").strip()
    farm.ctl("wait", again)
    farm.fetch(again, farm.folder / "again")
    same = farm.ctl_json("info", next((farm.folder / "again").rglob("*.png")))
    assert same["provenance"]["task"] == told["provenance"]["task"]
    said = farm.ctl("submit", "--model", base, "--refiner", "third", "x", status=2)
    assert 'refiner: model: the farm has no model "third"' in said


def test_a_pickled_checkpoint_is_refused_with_the_way_out(farm):
    path = farm.folder / "model.ckpt"
    path.write_bytes(b"PK\3\4")
    said = farm.ctl("model", "add", path, status=2)
    assert "is a pickle" in said and "safetensors.torch.save_file" in said


def test_a_file_of_something_else_is_of_no_family(farm):
    path = farm.folder / "lora.safetensors"
    invented.write(path, [["lora_unet.down.weight", "F32", [4], 0, 0]])
    assert "of no family we know" in farm.ctl("model", "add", path, status=2)

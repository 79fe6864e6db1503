"""LoRA, textual inversion and other VAEs, from the command line to a picture."""
import json
import struct
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ASKED = ("--seed", 42, "--steps", 4, "--cfg", 5, "--sampler", "EulerDiscreteScheduler",
         "--negative", "blue", "--latents")


def tensor(content, name):
    """A float32 tensor of a safetensors file."""
    size, = struct.unpack_from("<Q", content)
    entry = json.loads(content[8:8 + size])[name]
    start, end = entry["data_offsets"]
    return struct.unpack_from(f"<{(end - start) // 4}f", content, 8 + size + start)


def distance(found, want):
    far = sum((a - b) ** 2 for a, b in zip(found, want)) / sum(b * b for b in want)
    return far ** 0.5


def latents_of(farm, job, index=0):
    files = farm.fetch(job, farm.folder / f"out-{job[:8]}")
    names = sorted(name for name in files if name.endswith(".safetensors"))
    return tensor(files[names[index]], "latents")


def golden(name):
    return tensor((GOLDEN / "lora/runs.safetensors").read_bytes(), name)


def test_a_lora_is_rendered_with_where_the_option_or_a_prompt_names_it(farm):
    farm.worker("one")
    kohya = GOLDEN / "lora/kohya.safetensors"
    by_option = farm.submit(*ASKED, "--lora", kohya, "a red apple")
    by_tag = farm.submit(*ASKED, "--lora", f"{kohya}:0",
                         "a red apple{<lora:kohya>|}")
    several = farm.submit(*ASKED, "--lora", f"{kohya}:0.6",
                          "--lora", f"{GOLDEN}/lora/peft.safetensors:0.5",
                          "--lora", f"{GOLDEN}/lora/locon.safetensors:0.3", "a red apple")
    for job in (by_option, by_tag, several):
        farm.ctl("wait", job)
    assert distance(latents_of(farm, by_option), golden("0.latents")) < 2e-4
    assert distance(latents_of(farm, by_tag), golden("0.latents")) < 2e-4
    assert distance(latents_of(farm, by_tag, 1), golden("none.latents")) < 2e-4
    assert distance(latents_of(farm, several), golden("4.latents")) < 2e-4


def test_a_lora_of_another_model_fails_the_task_with_its_key(farm):
    farm.worker("one")
    embedding = GOLDEN / "embeddings/stylish.safetensors"
    job = farm.submit(*ASKED, "--embedding", GOLDEN / "lora/kohya.safetensors", "a cat")
    farm.ctl("wait", job, status=1)
    assert "kohya.safetensors: " in farm.tasks(job)[0]["reason"]
    assert "kohya.safetensors: " in farm.ctl_json("jobs")[0]["trouble"]
    _, _, errors = farm.ctl("top", "--once").partition("LAST ERRORS\n")
    assert "kohya.safetensors: " in errors
    first = farm.submit(*ASKED, "--embedding", embedding, "a stylish cat")
    second = farm.submit(*ASKED, "a stylish cat")
    for job in (first, second):
        farm.ctl("wait", job)
    assert distance(latents_of(farm, first), latents_of(farm, second)) > 0.01


def test_another_vae_changes_pixels_and_not_latents(farm):
    farm.worker("one")
    own = farm.submit(*ASKED, "a red apple")
    other = farm.submit(*ASKED, "--vae", GOLDEN / "vae/other.safetensors", "a red apple")
    for job in (own, other):
        farm.ctl("wait", job)
    assert latents_of(farm, own) == latents_of(farm, other)
    pictures = [farm.fetch(job, farm.folder / f"out-{job[:8]}") for job in (own, other)]
    first, second = ({name: data for name, data in files.items() if name.endswith(".png")}
                     for files in pictures)
    assert first.keys() == second.keys() and first != second

"""Files that a job brings along: from the command line to a worker."""
import hashlib
import json
import struct
import zlib

from farm import SOURCE, TINY, until

GOLDEN = SOURCE / "tests/golden"


def png(width, height, rgb):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))
    lines = b"".join(b"\0" + bytes(rgb) * width for _ in range(height))
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def manifest_id(picture):
    blob = hashlib.blake2b(picture, digest_size=32).digest()
    return hashlib.blake2b(b"picture\0" + struct.pack(">Q", len(picture)) + blob,
                           digest_size=32).hexdigest()


def test_an_axis_of_pictures_reaches_the_worker_by_content(farm):
    pictures = [png(64, 64, (200, 30, 40)), png(64, 64, (20, 30, 240))]
    for name, data in zip(("red.png", "blue.png"), pictures):
        (farm.folder / name).write_bytes(data)
    axis = f"init={farm.folder}/red.png,{farm.folder}/blue.png"
    farm.worker("one")
    job = farm.submit("--axis", axis, "--seed", "1", "--steps", "4", "a cat")
    asked = farm.ctl_json("show", job)
    assert asked["specification"]["axis"]["init"] == [manifest_id(p) for p in pictures]
    farm.ctl("wait", job)
    made = [file for name, file in sorted(farm.fetch(job, farm.folder / "out").items())
            if name.endswith(".png")]
    assert len(made) == 2 and made[0] != made[1]
    assert manifest_id(pictures[0]).encode() in made[0]
    assert b"Denoising strength: 0.8" in made[0]
    stored = {path.name for path in (farm.folder / "one.cache/blobs").rglob("*")}
    for data in pictures:
        assert hashlib.blake2b(data, digest_size=32).hexdigest() in stored


def test_a_file_the_farm_does_not_have_is_refused_at_submit(farm):
    assert 'no picture "nosuch"' in farm.ctl(
        "submit", "--model", "tiny", "--init", "nosuch", "a cat", status=2)
    assert "nosuch.png: No such file" in farm.ctl(
        "submit", "--model", "tiny", "--init", "nosuch.png", "a cat", status=2)


def test_the_part_round_a_mask_is_repainted_and_put_back(farm):
    (farm.folder / "picture.png").write_bytes(png(150, 93, (200, 30, 40)))
    (farm.folder / "mask.png").write_bytes(png(150, 93, (0, 0, 0)))
    farm.worker("one")
    job = farm.submit(
        "--init", f"{farm.folder}/picture.png", "--mask", f"{farm.folder}/mask.png",
        "--mask-invert", "--inpaint-full-res", "--inpaint-padding", "8", "--inpaint-fill",
        "latent noise", "--sampler", "Euler a", "--size", "64x64", "--seed", "1", "--steps", "2",
        "a cat")
    farm.ctl("wait", job)
    made = next(file for name, file in farm.fetch(job, farm.folder / "out").items()
                if name.endswith(".png"))
    assert struct.unpack(">II", made[16:24]) == (150, 93)
    for field in (b"Size: 64x64", b"Masked content: latent noise", b"Inpaint area: Only masked",
                  b"Mask mode: Inpaint not masked", b"Masked area padding: 8"):
        assert field + b", " in made


def test_a_second_pass_is_rendered_and_reads_back_as_a_job(farm):
    farm.worker("one")
    job = farm.submit("--hires", "1.5", "--hires-upscaler", "Lanczos", "--hires-steps", "2",
                      "--sampler", "Euler a", "--seed", "1", "--steps", "3", "--size", "64x64",
                      "a cat")
    farm.ctl("wait", job)
    name, made = next((name, file) for name, file in farm.fetch(job, farm.folder / "out").items()
                      if name.endswith(".png"))
    assert struct.unpack(">II", made[16:24]) == (96, 96)
    assert (b"Size: 64x64, " in made and b"Denoising strength: 0.7, Hires upscale: 1.5, "
            b"Hires upscaler: Lanczos" in made and b"Hires steps: 2" in made)
    asked = farm.ctl_json("info", farm.folder / "out" / name)
    assert asked["job"]["hires"] == "1.5" and asked["job"]["strength"] == "0.7"


def test_a_safety_checker_judges_what_members_render_and_is_named_in_its_provenance(farm):
    weights = GOLDEN / "safety/strict.safetensors"
    farm.ctl("model", "add", weights, "--kind", "safety-checker")
    assert 'kind: "checker", expected' in farm.ctl(
        "model", "add", weights, "--kind", "checker", status=2)
    farm.worker("one")
    farm.coordinator.stop()
    farm.start_coordinator(CLFARM_COORDINATOR_SAFETY_CHECKER="strict")

    def render(*who):
        job = farm.ctl("submit", *who, "--print-id", "--model", "tiny", "--size", "64x64",
                       "--steps", "1", "--seed", "1", "a cat").strip()
        farm.ctl("wait", job, *who)
        farm.ctl("fetch", job, *who, "-o", farm.folder / job)
        png, = (farm.folder / job).iterdir()
        flagged = b"Flagged: by the safety checker" in png.read_bytes()
        return flagged, len(farm.ctl_json("info", png, *who)["provenance"]["models"])

    assert render() == (False, 1)
    farm.ctl("join", "-", "--as", "guest", input=farm.token("submit"))
    assert render("--farm", "guest") == (True, 2)
    plan = farm.run_worker("one", "plan", TINY, "64x64", "--safety-checker", weights, "--json")
    whole = json.loads(plan.stdout)[0]["whole"]
    until(lambda: farm.ctl_json("nodes", "--farm", "guest")[0]["memory"] == whole,
          "the checker counts")

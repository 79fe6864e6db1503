"""What a machine or a person gets wrong: each time one sentence that helps, and nothing lost.

Wrong arguments of farmctl stand in test_client.py, what strangers send in test_outsiders.py.
"""
import contextlib
import json
import os
import shutil
import struct
import subprocess

import pytest

from farm import BIN, PATIENCE, TINY, until

FAILED, USAGE, DENIED = 1, 2, 4
UNET = "unet/diffusion_pytorch_model.safetensors"


def last_line(text):
    return text.strip().splitlines()[-1]


# ---- models


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def lie_about_size(path):
    data = path.read_bytes()
    path.write_bytes(struct.pack("<Q", 1 << 60) + data[8:])


def edit_header(path, change):
    """change(header) alters what the file says of its tensors; their bytes stay."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size:])


def rename_a_tensor(path):
    def change(header):
        header["conv_in.other"] = header.pop("conv_in.weight")
    edit_header(path, change)


def point_outside(path):
    def change(header):
        header["conv_in.bias"]["data_offsets"][1] += 1 << 40
    edit_header(path, change)


def unfinish(path):
    path.write_text('{"in_channels": 4,')


@pytest.mark.parametrize("name, damage, says", [
    (UNET, cut_short, "diffusion_pytorch_model.safetensors"),
    (UNET, lie_about_size, "header"),
    (UNET, rename_a_tensor, "conv_in.weight"),
    (UNET, point_outside, "conv_in.bias"),
    ("unet/config.json", unfinish, "unet/config.json"),
    ("text_encoder/config.json", unfinish, "text_encoder/config.json"),
    ("scheduler/scheduler_config.json", unfinish, "scheduler_config.json"),
    ("vae/diffusion_pytorch_model.safetensors", cut_short, "vae"),
    ("tokenizer/vocab.json", unfinish, "vocab.json"),
])
def test_a_broken_model_is_named_and_the_worker_goes_on(farm, name, damage, says):
    worker = farm.worker("one")
    model = farm.folder / "model"
    shutil.copytree(TINY, model)
    damage(model / name)
    done = subprocess.run(
        [BIN / "farmctl", "render", "--model", model, "--size", "64x64", "--steps", "1",
         "-o", farm.folder / "out", "x"], env=farm.env, capture_output=True, text=True,
        timeout=PATIENCE)
    assert done.returncode in (FAILED, USAGE), done.stderr
    assert says in done.stderr, done.stderr
    assert not list((farm.folder / "out").glob("*.png"))
    farm.ctl("wait", farm.submit("--steps", 1, "y"))
    assert worker.running()


# ---- disks


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of its own; tests that need one are skipped where none may be mounted."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "clfarm-test",
                           folder], capture_output=True)
    if made.returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """Takes what is free; the file to delete again."""
    path = folder / "ballast"
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


def test_pictures_that_do_not_fit_are_fetched_when_there_is_room(farm):
    farm.worker("one")
    job = farm.submit("--steps", 1, "--seed", "0..3", "x")
    farm.ctl("wait", job)
    with small_disk(farm.folder / "out", "1m") as out:
        ballast = fill(out)
        assert "no space left" in farm.ctl("fetch", job, "-o", out, status=USAGE)
        ballast.unlink()
        farm.ctl("fetch", job, "-o", out)
        assert len(list(out.glob("*.png"))) == 4
        subprocess.run(["pngcheck", "-q", *out.glob("*.png")], check=True)


def test_a_worker_whose_disk_is_full_goes_on_when_there_is_room(farm):
    farm.join("one")
    state = farm.worker_state("one")
    key = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    with small_disk(state, "2m"):
        for name, content in key.items():
            (state / name).write_bytes(content)
            (state / name).chmod(0o600)
        ballast = fill(state)
        worker = farm.start_worker("one")
        job = farm.submit("--steps", 1, "--seed", "0..3", "x")
        until(lambda: "No space left" in worker.log() or "disk" in worker.log(),
              "the worker says so")
        ballast.unlink()
        farm.ctl("wait", job)
        assert farm.done_count(job) == 4
        worker.kill()


def test_no_work_is_taken_below_the_reserve(bare_farm, built_kernels):
    farm = bare_farm
    with small_disk(farm.folder / "state", "48m"):
        farm.start_coordinator()
        farm.ctl("model", "add", TINY, "--name", "tiny")
        kept = farm.submit("kept")
        farm.coordinator.stop()
        farm.start_coordinator(reserve=64)
        said = farm.ctl("submit", "--model", "tiny", "x", status=FAILED)
        assert "reserve" in said and "MiB" in said
        assert [job["job"] for job in farm.ctl_json("jobs")] == [kept]


# ---- what lies in a state folder


def test_a_damaged_database_is_refused_and_left_alone(farm):
    farm.submit("x")
    farm.coordinator.stop()
    (database,) = (farm.folder / "state/clfarm/coordinator").glob("*.db")
    whole = database.read_bytes()
    page = len(whole) // 4096 // 2 * 4096
    damaged = whole[:page] + os.urandom(4096) + whole[page + 4096:]
    database.write_bytes(damaged)
    done = subprocess.run(
        [BIN / "farm-coordinator", "--bind", "tcp://127.0.0.1", "--port", "0",
         "--bulk-port", "0", "--check"], env=farm.env, capture_output=True, text=True,
        timeout=PATIENCE)
    assert done.returncode != 0
    assert str(database) in done.stderr and "backup" in done.stderr
    assert database.read_bytes() == damaged


def test_a_database_that_is_gone_is_not_begun_anew(farm):
    farm.submit("x")
    farm.coordinator.stop()
    (database,) = (farm.folder / "state/clfarm/coordinator").glob("*.db")
    aside = database.with_suffix(".aside")
    database.rename(aside)
    gone = farm.start([BIN / "farm-coordinator", "--bind", "tcp://127.0.0.1", "--port",
                       farm.ports[0], "--bulk-port", farm.ports[1]], "gone")
    assert gone.popen.wait(PATIENCE) != 0
    assert str(database) in gone.log()
    aside.rename(database)
    farm.start_coordinator()
    assert len(farm.ctl_json("jobs")) == 1


def test_a_damaged_result_is_named_and_the_others_are_fetched(farm):
    farm.worker("one")
    job = farm.submit("--steps", 1, "--seed", "0..2", "x")
    farm.ctl("wait", job)
    state = farm.folder / "state/clfarm/coordinator"
    pictures = sorted((path for path in state.rglob("*") if path.is_file()
                       and path.read_bytes().startswith(b"\x89PNG")))
    assert len(pictures) == 3
    blob = pictures[0]
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    out = farm.folder / "out"
    said = farm.ctl("fetch", job, "-o", out, status=FAILED)
    fetched = sorted(os.listdir(out))
    (missing,) = {f"0000{i}-{i}.png" for i in range(3)} - set(fetched)
    assert len(fetched) == 2 and missing in said


def test_damaged_kernels_are_built_again(bare_farm, shared, built_kernels):
    farm = bare_farm
    own = farm.folder / "kernels"
    shutil.copytree(shared / "clfarm", own / "clfarm")
    farm.env["XDG_CACHE_HOME"] = str(own)
    kernels = [path for path in (own / "clfarm/kernels").rglob("*") if path.is_file()]
    assert kernels
    for path in kernels:
        data = path.read_bytes()
        path.write_bytes(data[:len(data) // 2] + b"damage" * 9)
    farm.start_coordinator()
    farm.ctl("model", "add", TINY, "--name", "tiny")
    farm.worker("one")
    farm.ctl("wait", farm.submit("--steps", 1, "x"), patience=600)


# ---- settings and folders


@pytest.mark.parametrize("program", ["farm-coordinator", "farm-worker"])
@pytest.mark.parametrize("text, says", [
    ("nonsense = 1\n", "nonsense"),
    ("log = loud\n", "loud"),
    ("log\n", "conf"),
    ("log = info\n    deeper = 1\n", "deeper"),
    ("\x00\xff", "conf"),
])
def test_a_broken_settings_file_is_named(bare_farm, program, text, says):
    conf = bare_farm.folder / "broken.conf"
    conf.write_bytes(text.encode("latin-1"))
    done = subprocess.run([BIN / program, "--config", conf], env=bare_farm.env,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == USAGE, done
    assert str(conf) in done.stderr and says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("program", ["farm-coordinator", "farm-worker"])
@pytest.mark.parametrize("arguments, says", [
    (["--config", "/nonexistent.conf"], "/nonexistent.conf"),
    (["--bogus"], "--bogus"),
    (["--log"], "--log"),
    (["--log", "loud"], "loud"),
    (["--state", "/dev/null/below"], "/dev/null/below"),
])
def test_wrong_settings_are_one_sentence(bare_farm, program, arguments, says):
    done = subprocess.run([BIN / program, *arguments], env=bare_farm.env,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode not in (0, -6, -11), done
    assert says in last_line(done.stderr)


def test_ports_out_of_range_are_refused(bare_farm):
    done = subprocess.run([BIN / "farm-coordinator", "--port", "70000"],
                          env=bare_farm.env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == USAGE and "65535" in done.stderr


# ---- keys


def the_only_farm(farm):
    farm.ctl("jobs")
    (folder,) = (farm.folder / "config/clfarm/farms").iterdir()
    return folder


def test_a_revoked_member_is_told_so(farm):
    own = the_only_farm(farm)
    farm.env["CLFARM_FARM"] = own.name
    farm.ctl("join", "-", "--as", "other", input=farm.token("submit"))
    name = next(key["name"] for key in farm.ctl_json("keys") if key["role"] == "submit")
    farm.ctl("jobs", "--farm", "other")
    farm.ctl("revoke", name)
    assert "revoked" in farm.ctl("jobs", "--farm", "other", status=DENIED)


def test_another_farms_key_is_not_trusted(farm):
    """farm.conf names the server's key: an impostor at the address gets nothing."""
    conf = the_only_farm(farm) / "farm.conf"
    address, key, *rest = conf.read_text().splitlines()
    flipped = key[:-5] + ("12345" if key[-5:] != "12345" else "54321")
    conf.write_text("\n".join([address, flipped, *rest]) + "\n")
    assert "key" in farm.ctl("jobs", status=DENIED)

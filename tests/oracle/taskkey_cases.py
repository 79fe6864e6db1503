"""taskkey.json: task keys by Python's hashlib, from the canonical text written beside them.

An option added to proto/job/option_table.c gets a line in LATE; then `python
tests/oracle/taskkey_cases.py tests/golden` makes the file again. Needs no PyTorch.
"""
import hashlib
import json
import pathlib
import sys

# Every option that decides the pixels, with its default as the key's text has it.
DEFAULTS = {
    "aesthetic": 6.0,
    "class": "0",
    "crop": "0,0",
    "empty-negative": "none",
    "original-size": "auto",
    "prediction": "auto",
    "batch": "1",
    "batch-index": "0",
    "ensd": "0",
    "guidance-rescale": 0.0,
    "seed-resize": "auto",
    "variation": "",
    "zsnr": "auto",
    "cfg": 7.0,
    "clip-skip": "1",
    "embedding": "",
    "eta": 0.0,
    "image": "",
    "image-cfg": 1.5,
    "init": "",
    "inpaint-fill": "original",
    "lora": "",
    "mask": "",
    "mask-blur": 0.0,
    "model": "emoji",
    "negative": "",
    "precision": "auto",
    "prompt": "",
    "rng": "torch-cpu",
    "sampler": "DPM++ 2M",
    "schedule": "Automatic",
    "seed": "0",
    "size": "auto",
    "steps": "20",
    "strength": 0.0,
    "tile": "off",
    "syntax": "auto",
    "vae": "",
}
# Options of later have a line only where they are set to another than their default.
LATE = {
    "hires": "",
    "hires-cfg": 0.0,
    "hires-sampler": "same",
    "hires-schedule": "same",
    "hires-steps": "0",
    "hires-upscaler": "Latent",
    "inpaint-full-res": "off",
    "inpaint-padding": "32",
    "mask-invert": "off",
    "refiner": "",
    "safety-checker": "",
}
ENGINE = 7

CASES = [
    ({}, None),
    ({"prompt": "cat face, noto style", "seed": "7", "cfg": "4", "size": "64x64",
      "model": "ab" * 32}, None),
    ({"prompt": "two\nlines \\ and a backslash\nsteps=3", "negative": "é 猫"}, None),
    ({"cfg": "7.1", "eta": "0.3", "sampler": "DDIM", "schedule": "Karras", "steps": "50",
      "seed": "18446744073709551615", "clip-skip": "2", "precision": "f16"}, None),
    ({"prompt": "cat"}, "000102030405060708090a0b0c0d0e0f"),
    ({"prompt": "cat", "class": "3", "crop": "8,16", "original-size": "1024x768",
      "aesthetic": "7.5", "prediction": "v", "zsnr": "on", "empty-negative": "text"}, None),
    ({"prompt": "cat", "safety-checker": "60" * 32}, None),
    ({"prompt": "cat", "init": "5e" * 32, "mask": "5f" * 32, "strength": "0.75"}, None),
    ({"prompt": "cat", "hires": "1.5", "hires-cfg": "3.5", "hires-steps": "0",
      "hires-upscaler": "Lanczos"}, None),
    ({"prompt": "cat", "hires": "768x1024", "hires-sampler": "Euler a",
      "inpaint-padding": "64", "inpaint-full-res": "on", "mask-invert": "off"}, None),
    ({"prompt": "cat", "refiner": "5d" * 32 + ":0.7"}, None),
]


def hexadecimal(number):
    """C's %a: Python's float.hex without the zeros at the end."""
    mantissa, exponent = float(number).hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}"


def canonical(settings, salt):
    lines = []
    for name, default in sorted({**DEFAULTS, **LATE}.items()):
        value = settings.get(name, default)
        if name in LATE and type(default)(value) == default:
            continue
        if isinstance(default, float):
            value = hexadecimal(value)
        lines.append(f"{name}=" + value.replace("\\", "\\\\").replace("\n", "\\n"))
    lines.append(f"engine={ENGINE}")
    if salt:
        lines.append(f"salt={salt}")
    return "\n".join(lines) + "\n"


def make(folder):
    vectors = []
    for settings, salt in CASES:
        text = canonical(settings, salt)
        key = hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
        vectors.append({"settings": settings, "salt": salt, "text": text, "key": key})
    path = pathlib.Path(folder) / "taskkey.json"
    path.write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    make(sys.argv[1])

"""A full-size SD 1.5 UNet and VAE of random weights, beside PyTorch: ./dev test --big.

    big.py BIN PYTHON [--f16]

BIN holds bench_model, PYTHON has torch and diffusers. Weights are scaled so that what comes out
of every layer has a deviation of about one: nothing is hidden by what is small, nothing overflows.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).parent
PARTS = (("unet", 64), ("vae", 32))  # latents, both ways


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL)


def distance(part, side, binaries, python, half, place):
    config, scales = HERE / f"sd15_{part}.json", place / "scales"
    wanted, found = place / "wanted", place / "found"
    asked = (part, config, "--size", side, "--scales", scales)
    run(python, HERE / "peer_torch.py", *asked, "--out", wanted)
    run(binaries / "bench_model", *asked, "--passes", 0, "--out", found,
        *(["--f16"] if half else []))
    want, have = (np.fromfile(path, np.float32).astype(np.float64) for path in (wanted, found))
    assert want.shape == have.shape and 0.3 < want.std() < 3, want.std()
    return np.linalg.norm(have - want) / np.linalg.norm(want)


def main():
    binaries, python = pathlib.Path(sys.argv[1]), sys.argv[2]
    half = "--f16" in sys.argv[3:]
    most, failed = (2e-2 if half else 1e-4), False
    for part, side in PARTS:
        with tempfile.TemporaryDirectory() as place:
            far = distance(part, side, binaries, python, half, pathlib.Path(place))
        failed = failed or not far < most
        print(f"{part} of SD 1.5, {side}x{side} latents: relative L2 {far:.2g} from PyTorch's, "
              f"at most {most:g}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()

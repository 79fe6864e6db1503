"""Makes tests/golden/ with PyTorch, transformers and diffusers (README.md)."""

import argparse
import os
from pathlib import Path

# One instruction set and one thread, so that machines agree on the bits.
os.environ.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_CBWR="AVX2,STRICT")
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", DIFFUSERS_VERBOSITY="error")

import torch  # noqa: E402

import adapter_cases  # noqa: E402
import convention_cases  # noqa: E402
import family_cases  # noqa: E402
import k_cases  # noqa: E402
import lora_cases  # noqa: E402
import model_cases  # noqa: E402
import noise_cases  # noqa: E402
import picture_cases  # noqa: E402
import prediction_cases  # noqa: E402
import refiner_cases  # noqa: E402
import run_cases  # noqa: E402
import safety_cases  # noqa: E402
import sampler_cases  # noqa: E402
import sweep_cases  # noqa: E402
import taskkey_cases  # noqa: E402
import tiny_model  # noqa: E402
import token_cases  # noqa: E402
import vae_cases  # noqa: E402
import variant_model  # noqa: E402
import webui_cases  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "tests/golden")
    into = parser.parse_args().into
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    emoji = ROOT / "models/emoji"
    tiny_model.make(into / "tiny", emoji / "tokenizer")
    variant_model.make(into / "variant", emoji / "tokenizer")
    cases = []
    for name, folder in (("tiny", into / "tiny"), ("emoji", emoji)):
        cases += model_cases.make(name, folder, into)
        cases += run_cases.make(name, folder, into)
    cases += model_cases.make("variant", into / "variant", into)
    lora_cases.make(into)
    vae_cases.make(into)
    safety_cases.make(into)
    sampler_cases.make(into, emoji)
    k_cases.make(into)
    convention_cases.make(into)
    prediction_cases.make(into)
    noise_cases.make(into)
    token_cases.make(into, emoji)
    taskkey_cases.make(into)
    tiny_model.write_json(into / "manifest.json", cases)
    family_cases.make(into, emoji)
    adapter_cases.make(into, emoji)
    refiner_cases.make(into, emoji)
    sweep_cases.make(into)
    tiny_model.write_json(into / "pictures.json", picture_cases.make(into))
    webui_cases.make(into)


if __name__ == "__main__":
    main()

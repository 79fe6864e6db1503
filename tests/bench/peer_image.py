"""The peer of image.py: a diffusers pipeline in float32.

    peer_image.py FOLDER --make
    peer_image.py FOLDER --size N --steps N --sampler CLASS --prompt TEXT --out FILE.png
    peer_image.py --compare A.png B.png

The first makes a model of SD 1.5's sizes with random weights. The second renders seed 0 into
--out, then an image for each line read, and prints its seconds.
"""
import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import diffusers
import numpy as np
import torch
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

HERE = Path(__file__).resolve().parent
EMOJI = HERE.parents[1] / "models/emoji"
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
        "num_hidden_layers": 12, "projection_dim": 768, "vocab_size": 49408,
        "max_position_embeddings": 77, "hidden_act": "quick_gelu", "eos_token_id": 49407}


def make(folder):
    """Half the floats' bytes: the peer widens them as the worker does."""
    torch.manual_seed(1)
    for name, kind in (("unet", diffusers.UNet2DConditionModel),
                       ("vae", diffusers.AutoencoderKL)):
        config = json.loads((HERE / f"sd15_{name}.json").read_text())
        kind.from_config(config).half().save_pretrained(folder / name)
    CLIPTextModel(CLIPTextConfig(**TEXT)).half().save_pretrained(folder / "text_encoder")
    for part in ("tokenizer", "scheduler"):
        shutil.copytree(EMOJI / part, folder / part, dirs_exist_ok=True)
    shutil.copy(EMOJI / "model_index.json", folder)  # the last: it says that all is there


def compare(ours, theirs):
    a, b = (np.asarray(Image.open(path).convert("RGB"), np.float64) for path in (ours, theirs))
    print(f"{np.abs(a - b).mean():.6f}")


def render(pipeline, options, seed):
    return pipeline(options.prompt, negative_prompt="", height=options.size, width=options.size,
                    num_inference_steps=options.steps, guidance_scale=options.cfg,
                    generator=torch.Generator().manual_seed(seed)).images[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--compare", nargs=2)
    parser.add_argument("--size", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--cfg", type=float, default=7)
    parser.add_argument("--sampler")
    parser.add_argument("--prompt")
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    if options.compare:
        compare(*options.compare)
        return
    if options.make:
        make(options.folder)
        return
    diffusers.utils.logging.disable_progress_bar()
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        options.folder, torch_dtype=torch.float32, safety_checker=None)
    pipeline.scheduler = getattr(diffusers, options.sampler).from_config(
        pipeline.scheduler.config)
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    pipeline.set_progress_bar_config(disable=True)
    render(pipeline, options, 0).save(options.out)
    print("ready", flush=True)
    for seed, _ in enumerate(sys.stdin, 1):
        start = time.perf_counter()
        render(pipeline, options, seed)
        print(f"{time.perf_counter() - start:.6f}", flush=True)


main()

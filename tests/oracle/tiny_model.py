"""A Stable Diffusion 1.x model of random weights, small enough to lie in the tree.

Built to be awkward where SD 1.5 is: four levels, head widths of 5 and 10, channel counts that are
no multiple of 16, a number of heads for each level, layers of two. Weights are scaled so that
each part's output is of order one and differs from place to place and prompt to prompt.
"""

import hashlib
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

MERGES = 500
WIDTH = 32

SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.42.1",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_tokenizer(source, folder):
    """CLIP's tokenizer with its first merges only: bytes, bytes at a word's end, merges."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = (source / "merges.txt").read_text().splitlines()[1 : 1 + MERGES]
    whole = json.loads((source / "vocab.json").read_text())
    tokens = [token for token, i in sorted(whole.items(), key=lambda item: item[1])][:512]
    tokens += ["".join(merge.split()) for merge in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False) + "\n")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(source / name, folder / name)
    return len(tokens)


def fill(model, seed, gains):
    """Every weight from its own generator, named by the weight, so that order is nothing."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            key = hashlib.sha256(f"{seed} {name}".encode()).digest()[:4]
            generator = torch.Generator().manual_seed(int.from_bytes(key, "little"))
            values = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1:
                values = 0.1 * values + (1 if "norm" in name and name.endswith("weight") else 0)
            else:
                gain = next((g for part, g in gains.items() if part in name), 1.0)
                values *= gain / (weight.numel() / weight.shape[0]) ** 0.5
            weight.copy_(values)


def save_part(model, folder, name, dtype, prefix="", extra=None):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {prefix + k: v.detach().to(dtype).contiguous() for k, v in model.state_dict().items()}
    tensors.update(extra or {})
    save_file(tensors, folder / name, metadata={"format": "pt"})
    (folder / name).chmod(0o644)


def make(folder, tokenizer):
    """Writes the whole diffusers folder; `tokenizer` is the folder of CLIP's tokenizer."""
    shutil.rmtree(folder, ignore_errors=True)
    vocabulary = write_tokenizer(tokenizer, folder / "tokenizer")
    write_json(folder / "model_index.json", INDEX)
    write_json(folder / "scheduler/scheduler_config.json", SCHEDULER)

    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )
    fill(text, "text", {"token_embedding": 4.0, "position_embedding": 2.0, "q_proj": 1.5})
    text.config.architectures = ["CLIPTextModel"]
    text.config.save_pretrained(folder / "text_encoder")
    # The names and the extra tensor of the files Stable Diffusion was published in.
    prefix = "" if any(k.startswith("text_model.") for k in text.state_dict()) else "text_model."
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    save_part(text, folder / "text_encoder", "model.safetensors", torch.float32, prefix, positions)

    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(20, 20, 30, 40),
        layers_per_block=2,
        norm_num_groups=10,
        cross_attention_dim=WIDTH,
        attention_head_dim=(2, 4, 3, 4),
    )
    fill(unet, "unet", {"to_q": 2.0, "conv_out": 1.5})
    unet.save_config(folder / "unet")
    save_part(unet, folder / "unet", "diffusion_pytorch_model.safetensors", torch.float16)

    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 12, 16, 24),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.18215,
    )
    fill(vae, "vae", {"decoder.conv_out": 0.7})
    vae.save_config(folder / "vae")
    save_part(vae, folder / "vae", "diffusion_pytorch_model.safetensors", torch.float16)

"""Another autoencoder for the model tiny, in both layouts, and a picture decoded by it."""

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline
from safetensors.torch import save_file

import tiny_model
from family_ldm import vae_name
from lora_cases import run
from run_cases import lend_text_model, pixels


def make(into):
    folder = into / "vae"
    folder.mkdir(exist_ok=True)
    pipe = StableDiffusionPipeline.from_pretrained(into / "tiny", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    if not hasattr(pipe.text_encoder, "text_model"):
        lend_text_model(pipe.text_encoder)
    vae = AutoencoderKL.from_config(pipe.vae.config)
    tiny_model.fill(vae, "other vae", {"decoder.conv_out": 0.7})
    tiny_model.save_part(vae, folder, "other.safetensors", torch.float16)
    halves = {name: value.half() for name, value in vae.state_dict().items()}
    vae.load_state_dict({name: value.float() for name, value in halves.items()})
    single = {vae_name(name, vae.config): value for name, value in halves.items()}
    for name, value in single.items():
        if ".mid.attn_1." in name and value.dim() == 2:
            single[name] = value[:, :, None, None].contiguous()
    save_file(single, folder / "single.safetensors")
    (folder / "single.safetensors").chmod(0o644)
    pipe.vae = vae
    save_file({"pixels": pixels(pipe, run(pipe))}, folder / "pixels.safetensors")
    (folder / "pixels.safetensors").chmod(0o644)


if __name__ == "__main__":
    from pathlib import Path

    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    make(Path(__file__).resolve().parents[1] / "golden")

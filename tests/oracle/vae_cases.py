"""Another autoencoder for the model tiny, in both layouts, and a picture decoded by it; the same
with a TAESD, by which a picture is encoded too."""

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from PIL import Image
from safetensors.torch import save_file

import tiny_model
from family_ldm import vae_name
from lora_cases import CFG, NEGATIVE, PROMPT, SEED, STEPS, run
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
    found = {"pixels": pixels(pipe, run(pipe))} | tiny_runs(pipe, folder)
    save_file(found, folder / "pixels.safetensors")
    (folder / "pixels.safetensors").chmod(0o644)


def tiny_runs(pipe, folder):
    """TAESD in diffusers' names, and its decoder in the original's, whose first layer clamps."""
    channels, blocks = (8,) * 4, (1, 2, 1, 1)
    taesd = AutoencoderTiny(
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks,
    )
    tiny_model.fill(taesd, "taesd", {"weight": 1.4})
    halves = {name: value.half() for name, value in taesd.state_dict().items()}
    taesd.load_state_dict({name: value.float() for name, value in halves.items()})
    decoder = {}
    for name, value in halves.items():
        side, _, at, rest = name.split(".", 3)
        if side == "decoder":
            decoder[f"{int(at) + 1}.{rest}"] = value
    for name, tensors in (("taesd", halves), ("taesd_decoder", decoder)):
        save_file(tensors, folder / f"{name}.safetensors")
        (folder / f"{name}.safetensors").chmod(0o644)
    pipe.vae = taesd
    found = {"taesd": pixels(pipe, run(pipe))}
    edit = StableDiffusionImg2ImgPipeline(**pipe.components)
    edit.set_progress_bar_config(disable=True)
    start = Image.fromarray(found["taesd"].numpy().astype("uint8"))
    latents = edit(
        PROMPT,
        image=start,
        strength=0.75,
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        guidance_scale=CFG,
        generator=torch.Generator().manual_seed(SEED),
        output_type="latent",
    ).images
    print("taesd", found["taesd"].float().std(), latents.std())
    return found | {"taesd.latents": latents.contiguous()}


if __name__ == "__main__":
    from pathlib import Path

    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    make(Path(__file__).resolve().parents[1] / "golden")

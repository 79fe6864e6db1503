"""Passes and whole runs of the tiny models of family_models.py, by diffusers.

families/NAME.json: the model's files and what was asked; families/NAME.safetensors: what came out.
"""

import tempfile
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderTiny,
    LatentConsistencyModelPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors.torch import save_file

import family_models
import invent
from model_cases import normal
from run_cases import lend_text_model, pixels

PROMPT = "a red apple, noto style!"
USUAL = {
    "prompt": PROMPT,
    "negative": None,
    "seed": 42,
    "steps": 4,
    "cfg": 5.0,
    "width": 16,
    "height": 16,
    "sampler": "EulerDiscreteScheduler",
    "clip_skip": 1,
}
PIPELINES = {"sdxl": StableDiffusionXLPipeline, "refiner": StableDiffusionXLImg2ImgPipeline}
MODES = {
    "inpaint": StableDiffusionInpaintPipeline,
    "edit": StableDiffusionInstructPix2PixPipeline,
    "img2img": StableDiffusionImg2ImgPipeline,
    "img2img xl": StableDiffusionXLImg2ImgPipeline,
    "lcm": LatentConsistencyModelPipeline,
}


def is_xl(pipe):
    return getattr(pipe, "text_encoder_2", None) is not None


def text_outputs(pipe, prompt):
    """Each encoder's vectors as the pipeline takes them, and the pooled one."""
    found = {}
    for i, (tokenizer, encoder) in enumerate(
        [
            (getattr(pipe, "tokenizer", None), getattr(pipe, "text_encoder", None)),
            (getattr(pipe, "tokenizer_2", None), getattr(pipe, "text_encoder_2", None)),
        ]
    ):
        if encoder is None:
            continue
        ids = tokenizer(
            prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids
        out = encoder(ids, output_hidden_states=True)
        name = f"{prompt[:5].strip()}.{i}"
        found[f"{name}.z"] = out.hidden_states[-2] if is_xl(pipe) else out.last_hidden_state
        if is_xl(pipe) and i:
            found[f"{name}.pooled"] = out.text_embeds
    return found


def unet_outputs(pipe):
    config = pipe.unet.config
    sample = normal(9, 1, config.in_channels, 9, 13)
    context = normal(10, 1, 77, config.cross_attention_dim)
    more, tensors = {}, {"unet.sample": sample, "unet.context": context}
    if config.addition_embed_type:
        ids = torch.tensor([[1024.0, 900, 8, 0, 6]])
        if config.projection_class_embeddings_input_dim == 64:
            ids = torch.tensor([[1024.0, 900, 8, 0, 1024, 512]])
        pooled = normal(11, 1, 16)
        tensors |= {"unet.pooled": pooled, "unet.ids": ids}
        more["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": ids}
    if config.time_cond_proj_dim:
        more["timestep_cond"] = pipe.get_guidance_scale_embedding(
            torch.tensor([8.5 - 1]), embedding_dim=config.time_cond_proj_dim
        )
    out = pipe.unet(sample, 500.5, encoder_hidden_states=context, **more).sample
    return {**tensors, "unet.out": out}


def vae_outputs(pipe):
    latents = normal(5, 1, 4, 5, 7)
    picture = normal(6, 1, 3, 10, 14).clamp(-1, 1)
    encoded = pipe.vae.encode(picture)
    tiny = isinstance(pipe.vae, AutoencoderTiny)
    return {
        "vae.latents": latents,
        "vae.picture": picture,
        "vae.decoded": pipe.vae.decode(latents).sample,
        "vae.moments": encoded.latents if tiny else encoded.latent_dist.parameters,
    }


def picture(width, height, name="picture"):
    """The bytes k of that name (invent.py), as unsigned ones."""
    values = invent.values(name, height * width * 3).view(np.uint8)
    return Image.fromarray(values.reshape(height, width, 3))


def requests(family, mode):
    if family == "refiner":  # renders only from a picture
        yield {"strength": 0.6, "steps": 5}
        yield {"strength": 0.8, "negative": "blue", "sampler": "DDIMScheduler", "aesthetic": 4.5}
        return
    if mode == "lcm":
        yield {"sampler": "LCMScheduler", "cfg": 8.5}
        yield {"sampler": "LCMScheduler", "cfg": 1.5, "steps": 2}
        yield {"sampler": "DDIMScheduler", "cfg": 3.0, "steps": 20, "width": 24}
        return
    if mode in ("inpaint", "edit"):
        yield {"mode": mode, "strength": 1.0}
        yield {"mode": mode, "strength": 1.0, "sampler": "DDIMScheduler", "negative": "blue"}
    if mode == "inpaint":
        yield {"mode": mode, "strength": 0.7, "steps": 5}
    if mode in ("inpaint", "edit"):
        return
    yield {}
    yield {"sampler": "DPMSolverMultistepScheduler", "steps": 20}
    if mode == "img2img":
        yield {"mode": mode, "strength": 0.6, "steps": 5}
    if mode:
        return
    yield {"sampler": "DDIMScheduler", "width": 40, "height": 24, "negative": "blue"}
    yield {"negative": "", "seed": 7}
    yield {"cfg": 1.0, "sampler": "EulerAncestralDiscreteScheduler"}
    yield {"clip_skip": 2, "sampler": "DDIMScheduler"}
    if family == "sdxl":
        yield {"original_width": 40, "original_height": 20, "crop_x": 3, "crop_y": 5}


def run(pipe, request):
    # Clip skip of ours is on both prompts; diffusers' leaves the negative alone.
    more = {"clip_skip": request["clip_skip"] - 1 or None}
    if more["clip_skip"]:
        request["cfg"] = 1.0
    if "original_width" in request:
        more["original_size"] = (request["original_height"], request["original_width"])
        more["crops_coords_top_left"] = (request["crop_y"], request["crop_x"])
    mode, size = request.get("mode"), (request["width"], request["height"])
    if "strength" in request:
        more["image"] = picture(*size)
        more["strength"] = request["strength"]
    if mode == "inpaint":
        more["mask_image"] = picture(*size, "mask")
    elif mode == "edit":
        more = {"image": picture(*size), "image_guidance_scale": 1.5}
    elif "strength" in request and is_xl(pipe):
        more["aesthetic_score"] = request.get("aesthetic", 6.0)
    if mode != "edit" and (mode == "inpaint" or "strength" not in request):
        more |= {"width": request["width"], "height": request["height"]}
    if mode:
        cls = MODES["img2img xl" if mode == "img2img" and is_xl(pipe) else mode]
        pipe = pipe if isinstance(pipe, cls) else cls(**pipe.components)
        pipe.set_progress_bar_config(disable=True)
    if isinstance(pipe, LatentConsistencyModelPipeline) and request["sampler"] != "LCMScheduler":
        pipe = StableDiffusionPipeline(**pipe.components, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
    if request["negative"] is not None:
        more["negative_prompt"] = request["negative"]
    return pipe(
        request["prompt"],
        num_inference_steps=request["steps"],
        guidance_scale=request["cfg"],
        generator=torch.Generator().manual_seed(request["seed"]),
        output_type="latent",
        **more,
    ).images


def as_decoded(pipe, latents):
    """Latents that the VAE's scaling factor alone makes what SDXL's pipelines decode."""
    config = pipe.vae.config
    if not getattr(config, "latents_mean", None):
        return latents
    mean = torch.tensor(config.latents_mean).view(1, -1, 1, 1)
    deviation = torch.tensor(config.latents_std).view(1, -1, 1, 1)
    return latents * deviation + mean * config.scaling_factor


def runs(pipe, family, mode):
    tensors, cases = {}, []
    pipe.set_progress_bar_config(disable=True)
    if not hasattr(pipe.text_encoder, "text_model") and not is_xl(pipe):
        lend_text_model(pipe.text_encoder)
    config = pipe.scheduler.config
    for i, more in enumerate(requests(family, mode)):
        request = {**USUAL, **more}
        pipe.scheduler = getattr(diffusers, request["sampler"]).from_config(config)
        latents = run(pipe, request)
        tensors[f"{i}.latents"] = latents.clone()
        if request["steps"] == 20:
            tensors[f"{i}.pixels"] = pixels(pipe, as_decoded(pipe, latents))
        cases.append(request)
    return tensors, cases


def check_loaded(pipe, parts, files):
    """from_single_file leaves what it does not find as it is: every value must be the file's."""
    stored = torch.cat([t.flatten().float() for t in invent.tensors(files).values()]).unique()
    for name in parts:
        for key, value in getattr(pipe, name).state_dict().items():
            if "position_ids" in key:
                continue
            assert torch.isfinite(value).all(), key
            assert torch.isin(value.float(), stored).all(), (name, key)


def load(family, layout, parts, files, change, bundled, place):
    """The pipeline of a model's files, which are put into that folder."""
    cls = MODES.get(change.get("mode"), PIPELINES.get(family, StableDiffusionPipeline))
    if change.get("mode") == "img2img" or family == "sdxl":
        cls = PIPELINES.get(family, StableDiffusionPipeline)
    family_models.lay_out(files, bundled, place / "model")
    if layout != "single":
        return cls.from_pretrained(place / "model", torch_dtype=torch.float32)
    config = family_models.folder_of(family, parts, "F32", change)
    config = {k: v for k, v in config.items() if "tensors" not in v}
    family_models.lay_out(config, bundled, place / "config")
    pipe = cls.from_single_file(
        str(place / "model/model.safetensors"),
        config=str(place / "config"),
        torch_dtype=torch.float32,
        safety_checker=None,
    )
    check_loaded(pipe, parts, files["model.safetensors"]["tensors"])
    return pipe


def files_of(family, layout, dtype, extra, change):
    parts = family_models.changed(getattr(family_models, f"{family}_parts")(), change)
    if layout == "single":
        return parts, family_models.single_of(family, parts, dtype, **extra)
    return parts, family_models.folder_of(family, parts, dtype, change)


def load_named(name, bundled):
    """The pipeline of one of MODELS."""
    _, family, layout, dtype, extra, change = next(row for row in MODELS if row[0] == name)
    parts, files = files_of(family, layout, dtype, extra, change)
    with tempfile.TemporaryDirectory() as place:
        pipe = load(family, layout, parts, files, change, bundled, Path(place))
    pipe.set_progress_bar_config(disable=True)
    if not hasattr(pipe.text_encoder, "text_model") and not is_xl(pipe):
        lend_text_model(pipe.text_encoder)
    return pipe


def make_one(name, family, layout, parts, files, change, bundled, into):
    with tempfile.TemporaryDirectory() as place:
        pipe = load(family, layout, parts, files, change, bundled, Path(place))
        tensors = unet_outputs(pipe) | vae_outputs(pipe)
        tensors |= text_outputs(pipe, PROMPT) | text_outputs(pipe, "")
        found, cases = runs(pipe, family, change.get("mode"))
    tensors = {k: v.contiguous().clone() for k, v in (tensors | found).items()}
    save_file(tensors, into / f"{name}.safetensors")
    (into / f"{name}.safetensors").chmod(0o644)
    for key, value in tensors.items():
        print(f"{name} {key} {tuple(value.shape)} {value.float().std():.3f}")
    invent.write_json(
        into / f"{name}.json",
        {"family": family, "prompt": PROMPT, "files": files, "runs": cases},
    )


def pixel_runs(unet, config, table):
    """DDPMPipeline's loop, with a class where the model takes one."""
    tensors, cases = {}, []
    for i, more in enumerate(
        [
            {"sampler": "DDPMScheduler", "steps": 5},
            {"sampler": "DDPMScheduler", "steps": 20, "seed": 7, "class": 3},
            {"sampler": "DDIMScheduler", "steps": 4, "class": 1},
            {"sampler": "DDIMScheduler", "steps": 3, "width": 24, "height": 12},
        ]
    ):
        side = unet.config.sample_size
        request = {"seed": 42, "width": side, "height": side, "class": 0, **more}
        scheduler = getattr(diffusers, request["sampler"]).from_config(config)
        scheduler.set_timesteps(request["steps"])
        generator = torch.Generator().manual_seed(request["seed"])
        shape = (1, unet.config.out_channels, request["height"], request["width"])
        x = torch.randn(shape, generator=generator)
        label = torch.tensor([request["class"]])
        for t in scheduler.timesteps:
            e = predict_pixels(unet, x, t, label, table)
            x = scheduler.step(e, t, x, generator=generator).prev_sample
        tensors[f"{i}.latents"] = x.clone()
        cases.append(request)
    return tensors, cases


def predict_pixels(unet, x, t, label, table):
    if table is not None:
        more = table[label].view(1, -1, 1, 1).expand(-1, -1, *x.shape[2:])
        return unet(torch.cat([x, more], 1), t).sample
    if unet.config.num_class_embeds:
        return unet(x, t, class_labels=label).sample
    return unet(x, t).sample


def make_pixels(name, bundled, into):
    parts = family_models.pixels_parts(name)
    files = family_models.pixels_of(name, parts)
    with tempfile.TemporaryDirectory() as place:
        family_models.lay_out(files, bundled, Path(place) / "model")
        pipe = diffusers.DDPMPipeline.from_pretrained(Path(place) / "model")
    table = None
    if "class_emb.safetensors" in files:
        table = invent.tensors(files["class_emb.safetensors"]["tensors"])["class_emb.weight"]
    sample = normal(9, 1, pipe.unet.config.out_channels, 12, 20)
    out = predict_pixels(pipe.unet, sample, 500, torch.tensor([3]), table)
    found, cases = pixel_runs(pipe.unet, pipe.scheduler.config, table)
    tensors = {"unet.sample": sample, "unet.out": out} | found
    save_file({k: v.contiguous() for k, v in tensors.items()}, into / f"{name}.safetensors")
    (into / f"{name}.safetensors").chmod(0o644)
    for key, value in tensors.items():
        print(f"{name} {key} {tuple(value.shape)} {value.float().std():.3f}")
    golden = {"family": "pixels", "files": files, "runs": cases}
    invent.write_json(into / f"{name}.json", golden)


SMALL_TAESD = {
    "encoder_block_out_channels": (16, 16),
    "decoder_block_out_channels": (16, 16),
    "num_encoder_blocks": (1, 2),
    "num_decoder_blocks": (2, 1),
}
NORMALISED = {"latents_mean": [0.3, -0.2, 0.1, 0.0], "latents_std": [0.8, 1.2, 0.5, 1.0]}
LCM = {
    "unet": {"time_cond_proj_dim": 17},
    "scheduler": {
        "_class_name": "LCMScheduler",
        "original_inference_steps": 50,
        "prediction_type": "epsilon",
        "timestep_scaling": 10.0,
    },
    "mode": "lcm",
}
NINE = {"in_channels": 9}
EPSILON = {"prediction_type": "epsilon"}
ZERO_V = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
MODELS = (
    ("sdxl", "sdxl", "folder", "F16", {}, {}),
    ("sdxl_single", "sdxl", "single", "F16", {}, {}),
    ("refiner", "refiner", "folder", "F16", {}, {}),
    ("refiner_single", "refiner", "single", "BF16", {}, {}),
    ("sd1_single", "sd1", "single", "F32", {"global_step": 470000}, {}),
    ("sd2_single", "sd2", "single", "BF16", {"global_step": 110000}, {}),
    ("sd1_inpaint_single", "sd1", "single", "F16", {}, {"unet": NINE, "mode": "inpaint"}),
    ("sd1_edit_single", "sd1", "single", "F16", {}, {"unet": {"in_channels": 8}, "mode": "edit"}),
    (
        "sd2_base_single", "sd2", "single", "F16", {"global_step": 875000},
        {"scheduler": EPSILON, "mode": "few"},
    ),
    (
        "sd2_inpaint_single", "sd2", "single", "F16", {},
        {"unet": NINE, "scheduler": EPSILON, "mode": "inpaint"},
    ),
    (
        "sdxl_v_single", "sdxl", "single", "F16", {"v_pred": 0, "ztsnr": 0},
        {"scheduler": ZERO_V, "mode": "few"},
    ),
    ("sdxl_normalised", "sdxl", "folder", "F16", {}, {"vae": NORMALISED, "mode": "img2img"}),
    ("lcm", "sd1", "folder", "F16", {}, {**LCM, "class": "LatentConsistencyModelPipeline"}),
    ("lcm_xl", "sdxl", "folder", "F16", {}, {**LCM, "unet": {"time_cond_proj_dim": 16}}),
    ("sd1_taesd", "sd1", "folder", "F16", {}, {"taesd": SMALL_TAESD, "mode": "img2img"}),
)


def make(into, bundled, only=()):
    (into / "families").mkdir(exist_ok=True, parents=True)
    for name, family, layout, dtype, extra, change in MODELS:
        if only and name not in only:
            continue
        parts, files = files_of(family, layout, dtype, extra, change)
        make_one(name, family, layout, parts, files, change, bundled, into / "families")
    for name in ("pixels_root", "pixels_class", "pixels_channels"):
        if not only or name in only:
            make_pixels(name, bundled, into / "families")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    root = Path(__file__).resolve().parents[2]
    make(root / "tests/golden", root / "models/emoji")

"""Runs that take pictures: image to image, inpainting, InstructPix2Pix, and Pillow's resizing.

The pictures are made here from formulas, so that they need no place in the tree but the golden
file: whole numbers 0..255, [h, w, 3]. UNets with 8 and 9 input channels are the tiny model's
with a first convolution of their own.
"""

import shutil
import struct

import diffusers
import numpy
import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image, ImageFilter, ImageOps
from safetensors.torch import save_file

import tiny_model
from run_cases import PROMPT, SAMPLERS, lend_text_model, pixels, set_scheduler

USUAL = {
    "prompt": PROMPT,
    "negative": "",
    "seed": 42,
    "steps": 10,
    "cfg": 7.0,
    "width": 64,
    "height": 64,
    "sampler": "DDIMScheduler",
    "schedule": "Automatic",
    "eta": 0.0,
    "clip_skip": 1,
}


def picture(width, height, phase=0.0):
    """Smooth colours with an edge and some texture."""
    y, x = numpy.mgrid[0:height, 0:width]
    u, v = x / width, y / height
    red = 127 + 120 * numpy.sin(7 * u + 3 * v + phase)
    green = 255 * ((u - 0.5) ** 2 + (v - 0.4) ** 2 < 0.09) + 40 * v
    blue = 128 + 100 * numpy.cos(20 * v + phase) * u
    rgb = numpy.stack([red, green, blue], axis=-1)
    return numpy.clip(rgb, 0, 255).astype(numpy.uint8)


def mask(width, height):
    """A disc with a soft edge, and a bar."""
    y, x = numpy.mgrid[0:height, 0:width]
    u, v = x / width, y / height
    disc = numpy.clip(12 * (0.28 - numpy.hypot(u - 0.55, v - 0.45)) + 0.5, 0, 1)
    bar = (v > 0.8) & (u < 0.5)
    grey = (255 * numpy.maximum(disc, bar)).astype(numpy.uint8)
    return numpy.repeat(grey[..., None], 3, axis=2)


def channels_of(folder, channels):
    """A UNet of so many channels in a folder of its own; its other parts are the tiny model's."""
    shutil.rmtree(folder, ignore_errors=True)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(20, 30),
        layers_per_block=1,
        norm_num_groups=10,
        cross_attention_dim=tiny_model.WIDTH,
        attention_head_dim=2,
    )
    tiny_model.fill(unet, f"unet{channels}", {"to_q": 2.0, "conv_out": 1.5})
    unet.save_config(folder / "unet")
    tiny_model.save_part(
        unet, folder / "unet", "diffusion_pytorch_model.safetensors", torch.float16
    )


def requests():
    square = {"picture": (64, 64)}
    for sampler in SAMPLERS:
        for strength in (0.3, 0.75, 1.0):
            yield "tiny", "img2img", {**USUAL, **square, "sampler": sampler, "strength": strength}
            yield "tiny", "inpaint", {**USUAL, **square, "sampler": sampler, "strength": strength}
            yield "inpaint", "inpaint", {
                **USUAL, **square, "sampler": sampler, "strength": strength}
        yield "edit", "edit", {**USUAL, **square, "sampler": sampler, "image_cfg": 1.5}
    odd = {"picture": (150, 93), "width": 104, "height": 72, "steps": 5}
    yield "tiny", "img2img", {**USUAL, **odd, "strength": 0.6, "cfg": 1.0}
    yield "tiny", "img2img", {
        **USUAL, **square, "strength": 0.5, "sampler": "DPMSolverMultistepScheduler",
        "schedule": "Karras"}
    yield "tiny", "img2img", {**USUAL, **square, "strength": 0.8, "eta": 0.5}
    yield "tiny", "inpaint", {**USUAL, **odd, "strength": 1.0, "mask_blur": 6.0}
    yield "inpaint", "inpaint", {**USUAL, **odd, "strength": 0.9, "mask_blur": 2.5}
    part = {**odd, "picture": (75, 47), "padding": 5, "mask_blur": 2.0}
    yield "tiny", "inpaint", {**USUAL, **part, "strength": 0.8}
    yield "inpaint", "inpaint", {**USUAL, **part, "strength": 1.0, "width": 64}
    yield "edit", "edit", {**USUAL, **odd, "image_cfg": 1.0, "cfg": 3.0}
    yield "edit", "edit", {**USUAL, **square, "image_cfg": 0.9}
    yield "edit", "edit", {**USUAL, **square, "image_cfg": 1.5, "cfg": 1.0}


def run(pipes, model, mode, request):
    pipe = pipes[model, mode]
    width, height = request["picture"]
    image = Image.fromarray(picture(width, height))
    wanted = (request["width"], request["height"])
    common = {
        "prompt": request["prompt"],
        "negative_prompt": request["negative"],
        "num_inference_steps": request["steps"],
        "guidance_scale": request["cfg"],
        "generator": torch.Generator().manual_seed(request["seed"]),
        "output_type": "latent",
    }
    if mode == "img2img":
        image = image.resize(wanted, resample=Image.LANCZOS)
        return pipe(image=image, strength=request["strength"], eta=request["eta"], **common).images
    if mode == "edit":
        image = image.resize(wanted, resample=Image.LANCZOS)
        return pipe(image=image, image_guidance_scale=request["image_cfg"], **common).images
    covered = Image.fromarray(mask(width, height)[..., 0])
    if request.get("mask_blur"):
        covered = covered.filter(ImageFilter.GaussianBlur(request["mask_blur"]))
    if "padding" in request:
        return run_part(pipe, image, covered, request, common)
    return pipe(
        image=image, mask_image=covered, strength=request["strength"], width=wanted[0],
        height=wanted[1], **common).images


def run_part(pipe, image, covered, request, common):
    """Of the part round the mask: the last latents, and the picture that takes it in."""
    seen = {}

    def keep(pipe, step, timestep, values):
        seen["latents"] = values["latents"]
        return {}

    shown = pipe(
        image=image, mask_image=covered, strength=request["strength"], width=request["width"],
        height=request["height"], padding_mask_crop=request["padding"],
        callback_on_step_end=keep, **{**common, "output_type": "pil"}).images[0]
    seen["latents"].shown = torch.from_numpy(numpy.array(shown)).half()
    return seen["latents"]


def load(tiny, folder, kind):
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    pipe = StableDiffusionPipeline.from_pretrained(tiny, dtype=torch.float32, unet=unet)
    if not hasattr(pipe.text_encoder, "text_model"):
        lend_text_model(pipe.text_encoder)
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    pipe = kind(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def runs(folders, tensors, file):
    kinds = {
        ("tiny", "img2img"): StableDiffusionImg2ImgPipeline,
        ("tiny", "inpaint"): StableDiffusionInpaintPipeline,
        ("inpaint", "inpaint"): StableDiffusionInpaintPipeline,
        ("edit", "edit"): StableDiffusionInstructPix2PixPipeline,
    }
    pipes = {key: load(folders["tiny"], folders[key[0]], kind) for key, kind in kinds.items()}
    cases = []
    for i, (model, mode, request) in enumerate(requests()):
        pipe = pipes[model, mode]
        set_scheduler(pipe, diffusers.DDIMScheduler.load_config(
            folders["tiny"] / "scheduler"), request)
        latents = run(pipes, model, mode, request)
        width, height = request["picture"]
        name = f"{width}x{height}"
        tensors[f"{name}.picture"] = torch.from_numpy(picture(width, height)).half()
        tensors[f"{name}.mask"] = torch.from_numpy(mask(width, height)).half()
        tensors[f"{i}.latents"] = latents.clone(memory_format=torch.contiguous_format)
        inputs = {"picture": f"{name}.picture"}
        outputs = {"latents": f"{i}.latents"}
        if mode == "inpaint":
            inputs["mask"] = f"{name}.mask"
        if "padding" in request:
            outputs["pixels"] = f"{i}.pixels"
            tensors[f"{i}.pixels"] = latents.shown
        elif i % 12 == 0:
            outputs["pixels"] = f"{i}.pixels"
            tensors[f"{i}.pixels"] = pixels(pipe, latents)
        case = {k: v for k, v in request.items() if k != "picture"}
        cases.append({"model": model, "kind": "picture run", "mode": mode, "file": file,
                      **case, "inputs": inputs, "outputs": outputs})
    return cases


def tiles(folder, tensors, file):
    """The tiny VAE with enable_tiling: more than one tile each way, the last ones narrow."""
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    vae.enable_tiling()
    generator = torch.Generator().manual_seed(5)
    cases = []
    for h, w in ((13, 20), (8, 9), (7, 15)):
        latents = torch.randn((1, 4, h, w), generator=generator)
        image = torch.from_numpy(picture(8 * w, 8 * h, 0.5)).permute(2, 0, 1)[None] / 127.5 - 1
        name = f"tiles.{h}x{w}"
        tensors[f"{name}.latents"] = latents
        tensors[f"{name}.pixels"] = vae.decode(latents).sample.contiguous()
        tensors[f"{name}.picture"] = image.contiguous()
        tensors[f"{name}.moments"] = vae.encode(image).latent_dist.parameters.contiguous()
        cases.append({"kind": "tiles", "model": "tiny", "file": file, "h": h, "w": w,
                      "inputs": {k: f"{name}.{k}" for k in ("latents", "picture")},
                      "outputs": {k: f"{name}.{k}" for k in ("pixels", "moments")}})
    return cases


FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC,
           "lanczos": Image.LANCZOS}


def resizing(tensors, file):
    """Pillow's own bytes: sizes up, down, one way only, and to a single row."""
    cases = []
    source = Image.fromarray(picture(61, 37, 1.0))
    tensors["resize.picture"] = torch.from_numpy(numpy.array(source)).half()
    for name, kind in FILTERS.items():
        for width, height in ((64, 64), (20, 11), (61, 80), (7, 37), (122, 74), (5, 1)):
            key = f"resize.{name}.{width}x{height}"
            made = source.resize((width, height), resample=kind)
            tensors[key] = torch.from_numpy(numpy.array(made)).half()
            cases.append({"kind": "resize", "file": file, "filter": name, "width": width,
                          "height": height, "inputs": {"picture": "resize.picture"},
                          "outputs": {"picture": key}})
    for radius in (0.5, 1.0, 2.0, 3.7, 12.0, 50.0):
        key = f"blur.{radius}"
        made = source.filter(ImageFilter.GaussianBlur(radius))
        tensors[key] = torch.from_numpy(numpy.array(made)).half()
        cases.append({"kind": "blur", "file": file, "radius": radius,
                      "inputs": {"picture": "resize.picture"}, "outputs": {"picture": key}})
    return cases


def files(into):
    """Picture files of every kind, and what Pillow makes of them."""
    folder = into / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rgb = Image.fromarray(picture(23, 17, 2.0))
    alpha = Image.fromarray(mask(23, 17)[..., 0])
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    palette = rgb.quantize(16)
    wide = Image.fromarray(
        (numpy.arange(23 * 17, dtype=numpy.uint16) * 167).reshape(17, 23))
    exif = Image.Exif()
    made = {
        "rgb.png": (rgb, {}), "rgba.png": (rgba, {}), "grey.png": (rgb.convert("L"), {}),
        "grey_alpha.png": (rgba.convert("LA"), {}), "palette.png": (palette, {"bits": 4}),
        "bits1.png": (rgb.convert("1"), {}), "wide.png": (wide, {}),
        "rgb.jpg": (rgb, {"quality": 90}), "grey.jpg": (rgb.convert("L"), {"quality": 90}),
        "half.jpg": (rgb, {"quality": 75, "subsampling": 2}),
        "steps.jpg": (rgb, {"progressive": True}), "inks.jpg": (rgb.convert("CMYK"), {}),
    }
    for turn in range(1, 9):
        exif[0x112] = turn
        made[f"turn{turn}.jpg"] = (rgb, {"quality": 95, "exif": exif.tobytes()})
    exif[0x112] = 6
    made["turn6.png"] = (rgb, {"exif": exif.tobytes()})
    for name, (image, options) in made.items():
        image.save(folder / name, **options)
        with Image.open(folder / name) as opened:
            seen = ImageOps.exif_transpose(opened)
            if name == "wide.png":
                values = numpy.rint(numpy.array(seen).astype(float) / 257)
                seen = Image.fromarray(values.astype(numpy.uint8))
            if "A" in seen.mode:
                seen = seen.convert("RGBA")
                float_alpha = numpy.array(seen)[..., 3:] / 255.0
                values = numpy.array(seen)[..., :3] * float_alpha + 255 * (1 - float_alpha)
                seen = Image.fromarray(numpy.floor(values + 0.5).astype(numpy.uint8))
            seen = seen.convert("RGB")
            size = struct.pack("<HH", *seen.size)
            (folder / f"{name}.rgb").write_bytes(size + seen.tobytes())


def make(into):
    folders = {"tiny": into / "tiny", "inpaint": into / "inpaint", "edit": into / "edit"}
    channels_of(folders["inpaint"], 9)
    channels_of(folders["edit"], 8)
    file, tensors = "picture_runs.safetensors", {}
    cases = runs(folders, tensors, file)
    cases += resizing(tensors, file)
    cases += tiles(folders["tiny"], tensors, file)
    save_file(tensors, into / file)
    (into / file).chmod(0o644)
    files(into)
    return cases


if __name__ == "__main__":
    import pathlib
    import sys

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    golden = pathlib.Path(sys.argv[1])
    tiny_model.write_json(golden / "pictures.json", make(golden))

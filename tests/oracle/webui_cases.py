"""Whole runs of stable-diffusion-webui on tiny models: its upscale pass, image to image,
inpainting.

Its processing.py, masking.py, sd_samplers_*.py and upscaler.py, written again around diffusers'
UNet and VAE, k-diffusion's sampling.py and external.py, Pillow and OpenCV. Two things differ:
final pictures are rounded, where webui cuts off, and what webui draws from PyTorch's own
generator is its mean where nobody set that generator; after the first pass of two, whose
noise set it, it is drawn from one of the image's seed.
"""

import json

import cv2
import numpy
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image, ImageFilter, ImageOps
from safetensors.torch import save_file

import tiny_model
import k_webui
from k_webui import NOISY, SAMPLERS, TIMED, external, sampling, sigmas_of
from picture_cases import mask, picture
from run_cases import lend_text_model

FILE = "webui_runs.safetensors"
USUAL = {
    "prompt": "a red apple, noto style",
    "negative": "blue background",
    "seed": 42,
    "steps": 6,
    "cfg": 5.0,
    "width": 64,
    "height": 64,
    "sampler": "Euler a",
    "schedule": "Automatic",
}
LATENT_MODES = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}


class Inner:
    """Latent-diffusion's model as CompVisDenoiser takes it."""

    def __init__(self, unet, alphas):
        self.unet, self.alphas_cumprod = unet, alphas

    def apply_model(self, x, t, cond, extra=None):
        x = x if extra is None else torch.cat([x, extra.expand(len(x), -1, -1, -1)], dim=1)
        return self.unet(x, t, encoder_hidden_states=cond).sample


class Guided:
    """CFGDenoiser: guidance, and known latents outside the mask at each call."""

    def __init__(self, denoiser, conds, cfg, inpainting):
        self.denoiser, self.conds, self.cfg = denoiser, conds, cfg
        self.inpainting = inpainting

    def __call__(self, x, sigma, **_):
        extra = self.inpainting.extra if self.inpainting else None
        pair = torch.cat([x, x])
        denoised = self.denoiser(pair, sigma.expand(2), cond=self.conds, extra=extra)
        plain, prompted = denoised.chunk(2)
        denoised = plain + (prompted - plain) * self.cfg
        if self.inpainting:
            known = self.inpainting
            denoised = denoised * known.nmask + known.latents * (1 - known.nmask)
        return denoised


class TimedInner(k_webui.Inner):
    """What samplers over timesteps call: guided, and what it says without the prompt."""

    def __init__(self, config, inner, conds, cfg, extra):
        super().__init__(config)
        self.inner, self.conds, self.cfg, self.extra = inner, conds, cfg, extra

    def apply_model(self, x, t, cond=None):
        pair, times = torch.cat([x, x]).float(), torch.full((2,), float(t))
        made = self.inner.apply_model(pair, times, self.conds, self.extra)
        self.plain, prompted = made.double().chunk(2)
        return self.plain + (prompted - self.plain) * self.cfg


class ImageRng:
    def __init__(self, seed, shape, ensd=0):
        self.generator, self.shape = torch.Generator().manual_seed(seed), shape
        self.seed, self.ensd, self.is_first = seed, ensd, True

    def next(self, *_):
        noise = torch.randn(self.shape, generator=self.generator)
        if self.is_first and self.ensd:
            self.generator = torch.Generator().manual_seed(self.seed + self.ensd)
        self.is_first = False
        return noise


class Inpainting:
    """What processing.py keeps of a mask: latents, where they are repainted, conditioning."""

    latents = nmask = extra = None


class Webui:
    def __init__(self, folder, unet=None, is_v=False):
        options = {"dtype": torch.float32}
        if unet:
            options["unet"] = UNet2DConditionModel.from_pretrained(unet, torch_dtype=torch.float32)
        self.pipe = StableDiffusionPipeline.from_pretrained(folder, **options)
        self.unet, self.vae = self.pipe.unet, self.pipe.vae
        if not hasattr(self.pipe.text_encoder, "text_model"):
            lend_text_model(self.pipe.text_encoder)
        config = self.pipe.scheduler.config
        ends = config.beta_start**0.5, config.beta_end**0.5
        betas = numpy.linspace(*ends, config.num_train_timesteps) ** 2
        alphas = torch.tensor(numpy.cumprod(1 - betas), dtype=torch.float32)
        self.config = {**config, "prediction_type": "v_prediction" if is_v else "epsilon"}
        self.inner = Inner(self.unet, alphas)
        made = external.CompVisVDenoiser if is_v else external.CompVisDenoiser
        self.denoiser = made(self.inner, False, "cpu")

    def conds(self, request):
        with_prompt, without = self.pipe.encode_prompt(
            request["prompt"], "cpu", 1, True, negative_prompt=request["negative"])
        return torch.cat([without, with_prompt])

    def sigmas(self, sampler, schedule, steps):
        _, automatic, discards = SAMPLERS[sampler]
        chosen = automatic if schedule == "Automatic" else schedule
        sigmas = sigmas_of(self.denoiser, chosen, steps + discards, False)
        return torch.cat([sigmas[:-2], sigmas[-1:]]) if discards else sigmas

    def run(self, request, conds, x, sigmas, rng, inpainting=None):
        function, _, _ = SAMPLERS[request["sampler"]]
        model = Guided(self.denoiser, conds, request["cfg"], inpainting)
        options = {"noise_sampler": rng.next} if request["sampler"] in NOISY else {}
        if "SDE" in request["sampler"]:
            least, most = sigmas[sigmas > 0].min(), sigmas.max()
            seed = [request["seed"]]
            options["noise_sampler"] = sampling.BrownianTreeNoiseSampler(x, least, most, seed=seed)
        return function(model, x, sigmas, disable=True, **options)

    def run_timed(self, request, conds, latents, known):
        """DDIM and its like see the known latents outside the mask; LCM denoises to them."""
        def blend(x):
            return x * known.nmask + known.latents * (1 - known.nmask)

        world = k_webui.World(
            latents.shape, request["seed"], lambda: latents,
            lambda config, cfg: TimedInner(config, self.inner, conds, cfg, known.extra),
            blend, blend)
        _, _, made = k_webui.run_timed(
            self.config, request["sampler"], request["steps"], request["strength"],
            request["cfg"], 0, world)
        return made.float()

    def from_latents(self, request, conds, latents, steps, fixed, rng, inpainting=None):
        if request["sampler"] in TIMED:
            return self.run_timed(request, conds, latents, inpainting)
        strength = min(request["strength"], 0.999)
        total = int(steps / strength) if fixed else steps
        last = steps - 1 if fixed else int(strength * steps)
        sigmas = self.sigmas(request["sampler"], request["schedule"], total)[total - last - 1 :]
        x = latents + rng.next() * sigmas[0]
        return self.run(request, conds, x, sigmas, rng, inpainting)

    def decode(self, latents):
        return self.vae.decode(latents / self.vae.config.scaling_factor).sample

    def encode(self, image, own):
        """image: 0..1, [h, w, 3]; `own` stands for PyTorch's own generator."""
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] * 2 - 1
        return self.posterior(pixels, own)

    def posterior(self, pixels, own):
        found = self.vae.encode(pixels).latent_dist
        return (found.sample(own) if own else found.mean) * self.vae.config.scaling_factor

    def pixels(self, latents):
        unit = (self.decode(latents)[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1)
        return (unit * 255).round().to(torch.uint8).numpy()


def resize_image(image, width, height, upscaler):
    """images.resize_image of mode 0 and Upscaler.upscale."""
    filters = {"Lanczos": Image.LANCZOS, "Nearest": Image.NEAREST}
    scale = max(width / image.width, height / image.height)
    if scale > 1 and upscaler in filters:
        wide, high = image.width * scale, image.height * scale
        image = image.resize((int(wide), int(high)), resample=filters[upscaler])
        size = int(wide // 8 * 8), int(high // 8 * 8)
        image = image if image.size == size else image.resize(size, resample=Image.LANCZOS)
    if image.size != (width, height):
        image = image.resize((width, height), resample=Image.LANCZOS)
    return image


def target(request):
    """Size of the enlarged picture, and latents to cut off."""
    width, height = request["width"], request["height"]
    if "hires_scale" in request:
        scale = request["hires_scale"]
        return int(width * scale), int(height * scale), 0, 0
    wide, high = request["hires_width"], request["hires_height"]
    if width / height < wide / high:
        up = wide, wide * height // width
    else:
        up = high * width // height, high
    return *up, (up[0] - wide) // 8, (up[1] - high) // 8


def hires(webui, request):
    conds = webui.conds(request)
    shape = (1, 4, request["height"] // 8, request["width"] // 8)
    rng = ImageRng(request["seed"], shape, request.get("ensd", 0))
    sigmas = webui.sigmas(request["sampler"], request["schedule"], request["steps"])
    first = webui.run(request, conds, rng.next() * sigmas[0], sigmas, rng)
    width, height, over_w, over_h = target(request)
    upscaler = request["hires_upscaler"]
    if upscaler in LATENT_MODES:
        mode, smooth = LATENT_MODES[upscaler]
        latents = torch.nn.functional.interpolate(
            first, size=(height // 8, width // 8), mode=mode, antialias=smooth)
    else:
        unit = ((webui.decode(first)[0] + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
        image = Image.fromarray((255.0 * unit).astype(numpy.uint8))
        image = resize_image(image, width, height, upscaler)
        own = torch.Generator().manual_seed(request["seed"])
        latents = webui.encode(numpy.array(image).astype(numpy.float32) / 255, own)
    high, wide = latents.shape[2:]
    latents = latents[:, :, over_h // 2 : high - (over_h + 1) // 2,
                      over_w // 2 : wide - (over_w + 1) // 2]
    others = {name: request[f"hires_{name}"] for name in ("sampler", "schedule", "cfg")
              if f"hires_{name}" in request}
    rng = ImageRng(request["seed"], latents.shape, request.get("ensd", 0))
    steps = request.get("hires_steps") or request["steps"]
    return webui.from_latents({**request, **others}, conds, latents, steps, True, rng)


def blurred(image, radius):
    """The mask as init() blurs it: one way, then the other."""
    kernel = 2 * int(2.5 * radius + 0.5) + 1
    image = numpy.array(image)
    image = cv2.GaussianBlur(image, (kernel, 1), radius)
    return Image.fromarray(cv2.GaussianBlur(image, (1, kernel), radius))


def crop_region(covered, padding, width, height):
    """masking.get_crop_region and expand_crop_region."""
    rows, columns = numpy.nonzero(covered.any(1))[0], numpy.nonzero(covered.any(0))[0]
    high, wide = covered.shape
    x1, x2 = max(columns[0] - padding, 0), min(columns[-1] + 1 + padding, wide)
    y1, y2 = max(rows[0] - padding, 0), min(rows[-1] + 1 + padding, high)
    ratio = width / height
    if (x2 - x1) / (y2 - y1) > ratio:
        y1, y2 = widened(y1, y2, (x2 - x1) / ratio, high)
    else:
        x1, x2 = widened(x1, x2, (y2 - y1) * ratio, wide)
    return int(x1), int(y1), int(x2), int(y2)


def widened(low, high, wanted, size):
    more = int(wanted - (high - low))
    low -= more // 2
    high += more - more // 2
    if high >= size:
        low, high = low - (high - size), size
    if low < 0:
        low, high = 0, high - low
    return low, min(high, size)


def resize_and_fill(image, width, height):
    """images.resize_image of mode 2."""
    ratio, own = width / height, image.width / image.height
    wide = width if ratio < own else image.width * height // image.height
    high = height if ratio >= own else image.height * width // image.width
    resized = image.resize((wide, high), resample=Image.LANCZOS)
    made = Image.new("RGB", (width, height))
    made.paste(resized, box=(width // 2 - wide // 2, height // 2 - high // 2))
    above, left = height // 2 - high // 2, width // 2 - wide // 2
    if ratio < own and above > 0:
        made.paste(resized.resize((width, above), box=(0, 0, width, 0)), box=(0, 0))
        made.paste(resized.resize((width, above), box=(0, high, width, high)),
                   box=(0, above + high))
    elif ratio > own and left > 0:
        made.paste(resized.resize((left, height), box=(0, 0, 0, height)), box=(0, 0))
        made.paste(resized.resize((left, height), box=(wide, 0, wide, height)),
                   box=(left + wide, 0))
    return made


def resize_and_crop(image, width, height):
    """images.resize_image of mode 1."""
    ratio, own = width / height, image.width / image.height
    wide = width if ratio > own else image.width * height // image.height
    high = height if ratio <= own else image.height * width // image.width
    made = Image.new("RGB", (width, height))
    made.paste(image.resize((wide, high), resample=Image.LANCZOS),
               box=(width // 2 - wide // 2, height // 2 - high // 2))
    return made


def without(image, covered):
    made = Image.new("RGBa", image.size)
    made.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(covered.convert("L")))
    return made


def filled(image, covered):
    """masking.fill."""
    made, rest = Image.new("RGBA", image.size), without(image, covered)
    for radius, repeats in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        smooth = rest.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            made.alpha_composite(smooth)
    return made.convert("RGB")


def with_overlay(image, overlay, box):
    """apply_overlay."""
    if box:
        base = Image.new("RGBA", overlay.size)
        base.paste(resize_and_crop(image, box[2] - box[0], box[3] - box[1]), box[:2])
        image = base
    image = image.convert("RGBA")
    image.alpha_composite(overlay)
    return image.convert("RGB")


def img2img(webui, request):
    """StableDiffusionProcessingImg2Img: latents, and the picture as it is shown."""
    width, height, seed = request["width"], request["height"], request["seed"]
    image = Image.fromarray(picture(*request["picture"]))
    covered = box = overlay = known = None
    if request.get("mask"):
        covered = Image.fromarray(mask(*request["picture"])[..., 0])
        if request.get("mask_invert"):
            covered = ImageOps.invert(covered)
        if request["mask_blur"]:
            covered = blurred(covered, request["mask_blur"])
        shown = covered
        if "padding" in request:
            box = crop_region(numpy.array(covered), request["padding"], width, height)
            covered = resize_and_fill(covered.crop(box), width, height)
        else:
            covered = covered.resize((width, height), resample=Image.LANCZOS)
            twice = numpy.clip(numpy.array(covered).astype(numpy.float32) * 2, 0, 255)
            shown = Image.fromarray(twice.astype(numpy.uint8))
    if not box and image.size != (width, height):
        image = image.resize((width, height), resample=Image.LANCZOS)
    if covered:
        overlay = without(image, shown).convert("RGBA")
    if box:
        image = resize_and_fill(image.crop(box), width, height)
    if covered and request["fill"] != "original":
        image = filled(image, covered)
    unit = numpy.array(image).astype(numpy.float32) / 255
    latents = webui.encode(unit, None)
    shape = latents.shape
    if covered:
        known = Inpainting()
        small = covered.convert("RGB").resize((shape[3], shape[2]))
        known.nmask = torch.from_numpy(
            numpy.around(numpy.array(small, dtype=numpy.float32)[..., 0] / 255))
        if request["fill"] == "latent-noise":
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
            latents = latents * (1 - known.nmask) + noise * known.nmask
        if request["fill"] == "latent-nothing":
            latents = latents * (1 - known.nmask)
        known.latents = latents
        if webui.unet.config.in_channels == 9:
            whole = numpy.array(covered.convert("L")).astype(numpy.float32) / 255
            whole = torch.round(torch.from_numpy(whole))[None, None]
            pixels = torch.from_numpy(unit).permute(2, 0, 1)[None] * 2 - 1
            masked = webui.posterior(pixels * (1 - whole), None)
            small = torch.nn.functional.interpolate(whole, size=shape[2:])
            known.extra = torch.cat([small, masked], dim=1)
    rng = ImageRng(seed, shape)
    made = webui.from_latents(
        request, webui.conds(request), latents, request["steps"], False, rng, known)
    if covered:
        made = made * known.nmask + latents * (1 - known.nmask)
    shown = Image.fromarray(webui.pixels(made))
    if covered:
        shown = with_overlay(shown, overlay, box)
    return made, numpy.array(shown)


def img2img_requests():
    whole = {**USUAL, "mode": "img2img", "picture": (64, 64), "strength": 0.6}
    for sampler in ("Euler", "DPM++ 2M", "DPM++ SDE"):
        yield "tiny", {**whole, "sampler": sampler}
    yield "tiny", {**whole, "picture": (75, 47), "width": 104, "height": 72, "strength": 1.0}
    part = {**whole, "mode": "inpaint", "mask": True, "mask_blur": 4, "fill": "original",
            "strength": 0.75}
    for sampler in ("Euler", "Heun", "LMS", "DPM2", "DPM++ 2M", "DPM++ 2S a", "DPM++ 2M SDE"):
        yield "tiny", {**part, "sampler": sampler}
    for fill in ("original", "fill", "latent-noise", "latent-nothing"):
        yield "tiny", {**part, "fill": fill, "strength": 1.0}
        yield "inpaint", {**part, "fill": fill, "picture": (50, 36), "mask_blur": 2}
    close = {**part, "picture": (75, 47), "padding": 6}
    yield "tiny", close
    yield "tiny", {**close, "width": 104, "height": 40, "padding": 0, "fill": "fill"}
    yield "tiny", {**close, "width": 40, "height": 96, "mask_blur": 0, "padding": 32}
    yield "inpaint", {**close, "picture": (49, 75), "mask_invert": True, "mask_blur": 7}
    yield "tiny", {**part, "mask_invert": True, "cfg": 1.0}
    for sampler in TIMED:
        yield "tiny", {**part, "sampler": sampler}
    for sampler in ("Euler", "DPM++ 2M", "DDIM", "PLMS", "UniPC"):
        yield "v", {**part, "sampler": sampler, "prediction": "v"}
    yield "inpaint", {**part, "sampler": "DDIM"}


def hires_requests():
    twice = {**USUAL, "mode": "hires", "hires_scale": 1.5, "strength": 0.7}
    for upscaler in LATENT_MODES:
        yield {**twice, "hires_upscaler": upscaler}
    for upscaler in ("Lanczos", "Nearest", "None"):
        yield {**twice, "hires_upscaler": upscaler, "sampler": "DPM++ 2M"}
    latent = {**twice, "hires_upscaler": "Latent"}
    for sampler in ("Euler", "Heun", "DPM2 a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 3M SDE"):
        yield {**latent, "sampler": sampler, "steps": 5}
    yield {**latent, "hires_steps": 4, "hires_sampler": "DPM++ 2M", "hires_schedule": "Karras"}
    yield {**latent, "hires_cfg": 2.0, "ensd": 31337, "hires_scale": 1.3, "strength": 0.45}
    cut = {**latent, "hires_width": 104, "hires_height": 72, "hires_steps": 3}
    del cut["hires_scale"]
    yield cut
    yield {**cut, "hires_width": 72, "hires_height": 120}


def make(into):
    torch.set_grad_enabled(False)
    webuis = {"tiny": Webui(into / "tiny"), "v": Webui(into / "tiny", is_v=True),
              "inpaint": Webui(into / "tiny", into / "inpaint/unet")}
    tensors, cases = {}, []
    asked = [("tiny", request) for request in hires_requests()]
    for i, (model, request) in enumerate([*asked, *img2img_requests()]):
        inputs, shown = {}, None
        if request["mode"] == "hires":
            latents = hires(webuis[model], request)
            if request["hires_upscaler"] == "Lanczos":
                shown = webuis[model].pixels(latents)
        else:
            latents, shown = img2img(webuis[model], request)
            if "padding" not in request and request.get("fill") != "fill":
                shown = None
            width, height = request["picture"]
            inputs["picture"] = f"{width}x{height}.picture"
            tensors[inputs["picture"]] = torch.from_numpy(picture(width, height)).half()
        if request.get("mask"):
            inputs["mask"] = f"{width}x{height}.mask"
            tensors[inputs["mask"]] = torch.from_numpy(mask(width, height)).half()
        outputs = {"latents": f"{i}.latents"}
        tensors[f"{i}.latents"] = latents.contiguous().clone()
        if shown is not None:
            outputs["pixels"] = f"{i}.pixels"
            tensors[f"{i}.pixels"] = torch.from_numpy(shown).half().contiguous()
        case = {name: value for name, value in request.items() if name not in ("picture", "mask")}
        model = "inpaint" if model == "inpaint" else "tiny"
        cases.append({"model": model, "kind": "webui run", "file": FILE, **case,
                      "inputs": inputs, "outputs": outputs})
    save_file(tensors, into / FILE)
    (into / FILE).chmod(0o644)
    tiny_model.write_json(into / "webui.json", cases)


if __name__ == "__main__":
    import pathlib
    import sys

    torch.set_num_threads(1)
    make(pathlib.Path(sys.argv[1]))

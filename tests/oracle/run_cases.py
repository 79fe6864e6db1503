"""Whole runs of StableDiffusionPipeline: latents as the sampler left them, and pixels.

Every sampler at three lengths, two sizes (one odd in latents) and two guidances; then single
cases for what else a request can say. The scheduler is made as users make it:
Class.from_config(pipe.scheduler.config).
"""

from types import SimpleNamespace

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from sampler_cases import scheduler_of

SAMPLERS = (
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
)
# once each: their steps' formulas are tested elsewhere, here that the device takes them
MORE_SAMPLERS = (
    "DDPMScheduler",
    "DEISMultistepScheduler(solver_order=3)",
    "DPMSolverMultistepScheduler(algorithm_type=sde-dpmsolver++,solver_order=3)",
    "DPMSolverSinglestepScheduler(solver_order=3)",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "UniPCMultistepScheduler(solver_order=3)",
)
WITH_KARRAS = ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler")
PROMPT = "a red apple, noto style"
SIZES = {"tiny": ((64, 64), (104, 72)), "emoji": ((64, 64), (56, 40))}
USUAL = {
    "prompt": PROMPT,
    "negative": "",
    "seed": 42,
    "steps": 5,
    "cfg": 7.0,
    "sampler": "DDIMScheduler",
    "schedule": "Automatic",
    "eta": 0.0,
    "clip_skip": 1,
}


def requests(name):
    small = dict(zip(("width", "height"), SIZES[name][0]))
    for sampler in SAMPLERS:
        for width, height in SIZES[name]:
            for cfg in (1.0, 7.0):
                for steps in (1, 5, 20):
                    shape = {"width": width, "height": height}
                    yield {**USUAL, **shape, "sampler": sampler, "cfg": cfg, "steps": steps}
    for sampler in WITH_KARRAS:
        for steps in (5, 20):
            yield {**USUAL, **small, "sampler": sampler, "schedule": "Karras", "steps": steps}
    yield {**USUAL, **small, "eta": 0.5}
    yield {**USUAL, **small, "negative": "blue background, octopus"}
    yield {**USUAL, **small, "prompt": "cat " * 100}
    yield {**USUAL, **small, "clip_skip": 2, "cfg": 1.0}
    yield {**USUAL, **small, "seed": 5 * 2**32 + 7}
    if name == "tiny":
        for sampler in MORE_SAMPLERS:
            yield {**USUAL, **small, "sampler": sampler}


def set_scheduler(pipe, config, request):
    options = {}
    if request["schedule"] == "Karras":
        options["use_karras_sigmas"] = True
    pipe.scheduler = scheduler_of({**config, **options}, request["sampler"], "Automatic")


def run(pipe, request):
    skip = request["clip_skip"] - 1
    return pipe(
        request["prompt"],
        negative_prompt=request["negative"],
        num_inference_steps=request["steps"],
        guidance_scale=request["cfg"],
        width=request["width"],
        height=request["height"],
        eta=request["eta"],
        clip_skip=skip or None,
        generator=torch.Generator().manual_seed(request["seed"]),
        output_type="latent",
    ).images


def pixels(pipe, latents):
    """0..255 as whole numbers, [h, w, 3]."""
    decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    picture = pipe.image_processor.postprocess(decoded, output_type="np")[0]
    return torch.from_numpy((picture * 255).round()).half().contiguous()


def lend_text_model(encoder):
    """diffusers 0.42.1 looks for the final norm where older transformers had it."""
    found = SimpleNamespace(final_layer_norm=encoder.final_layer_norm)
    object.__setattr__(encoder, "text_model", found)


def make(name, folder, into):
    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    if not hasattr(pipe.text_encoder, "text_model"):
        lend_text_model(pipe.text_encoder)
    config = pipe.scheduler.config
    file, tensors, cases = f"{name}_runs.safetensors", {}, []
    for i, request in enumerate(requests(name)):
        set_scheduler(pipe, config, request)
        latents = run(pipe, request)
        outputs = {"latents": f"{i}.latents"}
        tensors[f"{i}.latents"] = latents.clone()
        if request["steps"] == 20 and request["cfg"] > 1:
            outputs["pixels"] = f"{i}.pixels"
            tensors[f"{i}.pixels"] = pixels(pipe, latents)
        cases.append({"model": name, "kind": "run", "file": file, **request, "outputs": outputs})
    save_file(tensors, into / file)
    (into / file).chmod(0o644)
    return cases

"""diffusers' schedulers around a model that is a formula, so that only they are tested.

A sampler is named as clfarm's users name it: Class or Class(key=value,...).
"""

import inspect
import json
import math

import diffusers
import torch

import tiny_model

SHAPE = (1, 1, 4, 5)
STEPS = (1, 2, 3, 5, 20)
SEED = 3

CURVES = {
    "Karras": "use_karras_sigmas",
    "Exponential": "use_exponential_sigmas",
    "Beta": "use_beta_sigmas",
}
CLASSES = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
WITHOUT_CURVES = (
    "DDIMScheduler",
    "DDPMScheduler",
    "EulerAncestralDiscreteScheduler",
    "LCMScheduler",
    "PNDMScheduler",
)
OPTIONS = {
    "DDPMScheduler": ("variance_type=fixed_large", "variance_type=fixed_small_log"),
    "DEISMultistepScheduler": ("solver_order=1", "solver_order=3"),
    "DPMSolverMultistepScheduler": (
        "solver_order=1",
        "solver_order=3",
        "solver_type=heun",
        "euler_at_final=True",
        "lower_order_final=False",
        "final_sigmas_type=sigma_min",
        "algorithm_type=sde-dpmsolver++",
        "algorithm_type=sde-dpmsolver++,solver_order=1",
        "algorithm_type=sde-dpmsolver++,solver_order=3",
        "algorithm_type=sde-dpmsolver++,solver_type=heun",
        "algorithm_type=dpmsolver,final_sigmas_type=sigma_min",
        "algorithm_type=dpmsolver,final_sigmas_type=sigma_min,solver_order=1",
        "algorithm_type=dpmsolver,final_sigmas_type=sigma_min,solver_order=3",
        "algorithm_type=dpmsolver,final_sigmas_type=sigma_min,solver_type=heun",
        "algorithm_type=sde-dpmsolver,final_sigmas_type=sigma_min",
        "algorithm_type=sde-dpmsolver,final_sigmas_type=sigma_min,solver_type=heun",
        "algorithm_type=dpmsolver",
    ),
    "DPMSolverSinglestepScheduler": (
        "solver_order=1",
        "solver_order=3",
        "solver_order=3,solver_type=heun",
        "solver_type=heun",
        "final_sigmas_type=sigma_min",
        "final_sigmas_type=sigma_min,lower_order_final=True",
        "algorithm_type=sde-dpmsolver++",
        "algorithm_type=sde-dpmsolver++,solver_order=3",
        "algorithm_type=sde-dpmsolver++,solver_order=3,solver_type=heun",
        "algorithm_type=dpmsolver,final_sigmas_type=sigma_min,solver_order=3",
        "algorithm_type=dpmsolver,final_sigmas_type=sigma_min,solver_type=heun",
    ),
    "EulerDiscreteScheduler": ("final_sigmas_type=sigma_min",),
    "HeunDiscreteScheduler": ("clip_sample=True",),
    "LCMScheduler": ("original_inference_steps=30",),
    "UniPCMultistepScheduler": (
        "solver_order=1",
        "solver_order=3",
        "solver_type=bh1",
        "solver_type=bh1,final_sigmas_type=sigma_min",
        "solver_type=bh1,solver_order=3,final_sigmas_type=sigma_min",
        "lower_order_final=False,final_sigmas_type=sigma_min",
        "final_sigmas_type=sigma_min,use_karras_sigmas=True",
    ),
}
WITH_ZERO_SNR = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "LCMScheduler",
    "UniPCMultistepScheduler",
)

STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PLAIN = {"skip_prk_steps": True, "set_alpha_to_one": False, "clip_sample": False}
CONFIGS = {
    "sd15": tiny_model.SCHEDULER,
    "sdxl": {**STABLE, **PLAIN, "steps_offset": 1, "timestep_spacing": "leading"},
    "sd2-v": {**STABLE, **PLAIN, "steps_offset": 1, "prediction_type": "v_prediction"},
    "v-trailing": {
        **STABLE,
        **PLAIN,
        "skip_prk_steps": False,
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
    },
    "sample-linspace": {
        "prediction_type": "sample",
        "timestep_spacing": "linspace",
        "clip_sample_range": 0.5,
        "skip_prk_steps": True,
    },
    "cosine-karras": {
        "beta_schedule": "squaredcos_cap_v2",
        "use_karras_sigmas": True,
        "skip_prk_steps": True,
        "set_alpha_to_one": True,
    },
    "short": {**STABLE, "clip_sample": False, "num_train_timesteps": 300},
    "zero-snr": {
        **STABLE,
        **PLAIN,
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": True,
    },
}
WITH_CURVES = ("sd15", "sdxl", "v-trailing")
WITH_STRENGTH = ("sd15", "v-trailing")


def model(x, timestep):
    return torch.tanh(x) + 0.25 * math.sin(float(timestep) / 100) * x


def picture():
    return torch.linspace(-1.5, 1, 20).reshape(SHAPE)


def value_of(text):
    try:
        return json.loads(text.lower())
    except json.JSONDecodeError:
        return text


def scheduler_of(config, sampler, schedule):
    name, _, rest = sampler.rstrip(")").partition("(")
    options = dict(option.split("=") for option in rest.split(",") if option)
    chosen = {key: value_of(value) for key, value in options.items()}
    if schedule != "Automatic" and name not in WITHOUT_CURVES:
        chosen |= {key: curve == schedule for curve, key in CURVES.items()}
    return getattr(diffusers, name).from_config(config, **chosen)


def level(scheduler, timesteps):
    """What add_noise makes of a picture of 1 and of noise of 1."""
    one, zero = torch.ones(1), torch.zeros(1)
    pair = (one, zero), (zero, one)
    return [float(scheduler.add_noise(image, noise, timesteps)) for image, noise in pair]


def run(config, sampler, schedule, steps, eta, strength):
    """What a pipeline does; None where diffusers raises or gives no numbers. With a strength:
    what StableDiffusionImg2ImgPipeline does to a picture, and the levels at which
    StableDiffusionInpaintPipeline puts it back after each step."""
    generator = torch.Generator().manual_seed(SEED)
    try:
        scheduler = scheduler_of(config, sampler, schedule)
        scheduler.noise_sampler_seed = SEED  # else any: ours is the image's
        taken = inspect.signature(scheduler.step).parameters
        options = {"generator": generator} if "generator" in taken else {}
        if "eta" in taken:
            options["eta"] = eta
        scheduler.set_timesteps(steps)
        first = (steps - int(steps * (strength or 1))) * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)  # else a timestep that stands twice is skipped
        timesteps = scheduler.timesteps[first:]
        # Fresh noise is drawn in the sample's type; without any, doubles show the formulas.
        is_sde = sampler.startswith("DPMSolverSDE")
        dtype = torch.float32 if "generator" in taken or is_sde else torch.float64
        noise = torch.randn(SHAPE, generator=generator).to(dtype)
        start, known = [0.0, float(scheduler.init_noise_sigma)], []
        x = noise * scheduler.init_noise_sigma
        if strength:
            start = level(scheduler, timesteps[:1])
            x = scheduler.add_noise(picture().to(dtype), noise, timesteps[:1])
        for i, t in enumerate(timesteps):
            e = model(scheduler.scale_model_input(x, t), t)
            x = scheduler.step(e, t, x, **options).prev_sample
            if strength and i + 1 < len(timesteps):
                known.append(level(scheduler, timesteps[i + 1 : i + 2]))
    except (NotImplementedError, ValueError, IndexError, RuntimeError, UnboundLocalError):
        return None
    if not x.isfinite().all():
        return None
    return {
        "start": start,
        "timesteps": timesteps.tolist(),
        "latents": [float(f"{v:.8g}") for v in x.flatten().tolist()],
        **({"known": known} if strength else {}),
    }


def hangs_on_a_bit(name, sampler, steps):
    """Where sigma_down is a difference of floats equal to the last bits, which PyTorch's
    square root gets wrong one time in five."""
    is_steep = name == "cosine-karras" or (name in ("sd15", "sd2-v") and steps in (2, 3))
    return sampler == "KDPM2AncestralDiscreteScheduler" and is_steep


def requests(configs):
    """Configuration, sampler, schedule, steps, eta, strength (None: from noise)."""
    for name, config in configs.items():
        for sampler in CLASSES:
            if name == "zero-snr" and sampler not in WITH_ZERO_SNR:
                continue
            for eta in (0, 0.5) if sampler == "DDIMScheduler" else (0,):
                for steps in STEPS:
                    if hangs_on_a_bit(name, sampler, steps):
                        continue
                    yield name, sampler, "Automatic", steps, eta, None
            if name == "cosine-karras" and sampler not in WITHOUT_CURVES:
                yield name, sampler, "Normal", 20, 0, None
            # PNDM starts a picture's run with Runge-Kutta steps in the middle: refused by us
            is_odd = sampler == "PNDMScheduler" and config.get("skip_prk_steps") is not True
            if name in WITH_STRENGTH and not is_odd:
                for steps, strength in ((20, 1.0), (20, 0.33), (5, 0.8), (5, 0.6), (5, 0.2)):
                    yield name, sampler, "Automatic", steps, 0, strength
            if name in WITH_CURVES and sampler not in WITHOUT_CURVES:
                for schedule in CURVES:
                    for steps in (1, 3, 20):
                        yield name, sampler, schedule, steps, 0, None
    for sampler, all_options in OPTIONS.items():
        for options in all_options:
            for name in ("sd15", "v-trailing"):
                for steps in (2, 3, 5, 6, 20):
                    yield name, f"{sampler}({options})", "Automatic", steps, 0, None
                yield name, f"{sampler}({options})", "Automatic", 5, 0, 0.6


def make(into, emoji):
    configs = dict(CONFIGS)
    configs["emoji"] = json.loads((emoji / "scheduler/scheduler_config.json").read_text())
    cases = []
    for request in requests(configs):
        name, sampler, schedule, steps, eta, strength = request
        found = run(configs[name], *request[1:])
        asked = {"config": name, "sampler": sampler, "schedule": schedule, "steps": steps}
        cases.append({**asked, "eta": eta, "strength": strength, **(found or {"fails": True})})
    whole = {"seed": SEED, "configs": configs, "cases": cases}
    lines = json.dumps(whole).replace('{"config":', '\n{"config":')
    (into / "samplers.json").write_text(lines + "\n")

"""diffusers' schedulers around a model that is a formula, so that only they are tested."""

import json
import math

import diffusers
import torch

import tiny_model

SHAPE = (1, 1, 4, 5)
STEPS = (1, 2, 3, 5, 20)
SEED = 3

SAMPLERS = {
    "Euler": "EulerDiscreteScheduler",
    "Euler a": "EulerAncestralDiscreteScheduler",
    "DPM++ 2M": "DPMSolverMultistepScheduler",
    "DDIM": "DDIMScheduler",
    "PNDM": "PNDMScheduler",
}
WITH_KARRAS = ("Euler", "DPM++ 2M")

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
}


def model(x, timestep):
    return torch.tanh(x) + 0.25 * math.sin(float(timestep) / 100) * x


def scheduler_of(config, label, schedule):
    chosen = {"Automatic": {}, "Normal": False, "Karras": True}[schedule]
    if schedule != "Automatic":
        chosen = {"use_karras_sigmas": chosen} if label in WITH_KARRAS else {}
    return getattr(diffusers, SAMPLERS[label]).from_config(config, **chosen)


def picture():
    return torch.linspace(-1.5, 1, 20).reshape(SHAPE)


def level(scheduler, timesteps):
    """What add_noise makes of a picture of 1 and of noise of 1."""
    one, zero = torch.ones(1), torch.zeros(1)
    pair = (one, zero), (zero, one)
    return [float(scheduler.add_noise(image, noise, timesteps)) for image, noise in pair]


def run(config, label, schedule, steps, eta, strength):
    """What a pipeline does; None where diffusers raises or gives no numbers. With a strength:
    what StableDiffusionImg2ImgPipeline does to a picture, and the levels at which
    StableDiffusionInpaintPipeline puts it back after each step."""
    scheduler = scheduler_of(config, label, schedule)
    generator = torch.Generator().manual_seed(SEED)
    options = {"generator": generator} if label in ("Euler a", "DDIM") else {}
    if label == "DDIM":
        options["eta"] = eta
    try:
        scheduler.set_timesteps(steps)
        first = (steps - int(steps * (strength or 1))) * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)  # else a timestep that stands twice is skipped
        timesteps = scheduler.timesteps[first:]
        noise = torch.randn(SHAPE, generator=generator)
        start, known = [0.0, float(scheduler.init_noise_sigma)], []
        x = noise * scheduler.init_noise_sigma
        if strength:
            start = level(scheduler, timesteps[:1])
            x = scheduler.add_noise(picture(), noise, timesteps[:1])
        for i, t in enumerate(timesteps):
            e = model(scheduler.scale_model_input(x, t), t)
            x = scheduler.step(e, t, x, **options).prev_sample
            if strength and i + 1 < len(timesteps):
                known.append(level(scheduler, timesteps[i + 1 : i + 2]))
    except (NotImplementedError, ValueError, IndexError):
        return None
    if not x.isfinite().all():
        return None
    return {
        "start": start,
        "timesteps": timesteps.tolist(),
        "latents": [float(f"{v:.8g}") for v in x.flatten().tolist()],
        **({"known": known} if strength else {}),
    }


def lengths(label, name):
    """Steps and strength; None: from noise."""
    yield from ((steps, None) for steps in STEPS)
    # PNDM starts a picture's run with Runge-Kutta steps in the middle: refused by us
    if name == "sd15" or (name == "v-trailing" and label != "PNDM"):
        yield from ((20, 1.0), (20, 0.33), (5, 0.8), (5, 0.6), (5, 0.2))


def make(into, emoji):
    configs = dict(CONFIGS)
    configs["emoji"] = json.loads((emoji / "scheduler/scheduler_config.json").read_text())
    cases = []
    for name, config in configs.items():
        for label in SAMPLERS:
            schedules = ["Automatic"]
            if label in WITH_KARRAS:
                schedules += ["Karras"] if name != "cosine-karras" else ["Normal"]
            for schedule in schedules:
                for eta in (0, 0.5) if label == "DDIM" else (0,):
                    for steps, strength in lengths(label, name):
                        case = {
                            "config": name,
                            "sampler": label,
                            "class": SAMPLERS[label],
                            "schedule": schedule,
                            "steps": steps,
                            "eta": eta,
                            "strength": strength,
                        }
                        found = run(config, label, schedule, steps, eta, strength)
                        cases.append({**case, **(found or {"fails": True})})
    whole = {"seed": SEED, "configs": configs, "cases": cases}
    lines = json.dumps(whole).replace('{"config":', '\n{"config":')
    (into / "samplers.json").write_text(lines + "\n")

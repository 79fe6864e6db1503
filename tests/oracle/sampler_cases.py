"""diffusers' schedulers around a model that is a formula, so that only they are tested."""

import json
import math

import diffusers
import torch

import tiny_model

SHAPE = (1, 1, 4, 5)
STEPS = (1, 2, 5, 20)
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


def run(config, label, schedule, steps, eta):
    """What a pipeline does; None where diffusers raises or gives no numbers."""
    scheduler = scheduler_of(config, label, schedule)
    generator = torch.Generator().manual_seed(SEED)
    options = {"generator": generator} if label in ("Euler a", "DDIM") else {}
    if label == "DDIM":
        options["eta"] = eta
    try:
        scheduler.set_timesteps(steps)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)  # else a first timestep that stands twice is skipped
        start = float(scheduler.init_noise_sigma)
        x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            e = model(scheduler.scale_model_input(x, t), t)
            x = scheduler.step(e, t, x, **options).prev_sample
    except (NotImplementedError, ValueError, IndexError):
        return None
    if not x.isfinite().all():
        return None
    return {
        "start_scale": start,
        "timesteps": scheduler.timesteps.tolist(),
        "latents": [float(f"{v:.8g}") for v in x.flatten().tolist()],
    }


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
                    for steps in STEPS:
                        case = {
                            "config": name,
                            "sampler": label,
                            "class": SAMPLERS[label],
                            "schedule": schedule,
                            "steps": steps,
                            "eta": eta,
                        }
                        found = run(config, label, schedule, steps, eta)
                        cases.append({**case, **(found or {"fails": True})})
    whole = {"seed": SEED, "configs": configs, "cases": cases}
    lines = json.dumps(whole).replace('{"config":', '\n{"config":')
    (into / "samplers.json").write_text(lines + "\n")

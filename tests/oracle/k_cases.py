"""What k_webui and k_comfy are asked, and their answers as goldens."""

import json
import math

import comfy_samplers
from k_comfy import COMFY, COMFY_OWN, COMFY_SCHEDULES, run_comfy
from k_webui import FORMULA, SAMPLERS, SCHEDULES, TIMED, run, run_timed
from sampler_cases import CONFIGS, SEED


def requests():
    """Configuration, sampler, schedule, steps, strength (None: from noise), and guidance (None:
    the model has no other side) and eta."""
    for sampler in SAMPLERS:
        for name in ("sd15", "sd2-v"):
            # of 2 or 3 steps sigma_down is the difference of two floats nearly the same
            hangs = sampler in ("DPM2 a", "DPM++ 2S a")
            for steps in (1, 4, 5, 20) if hangs else (1, 2, 3, 4, 5, 20):
                yield name, sampler, "Automatic", steps, None
            for steps, strength in ((20, 1.0), (20, 0.33), (5, 0.6), (6, 0.5)):
                yield name, sampler, "Automatic", steps, strength
        if sampler not in ("DPM fast", "DPM adaptive"):
            yield from (("sd15", sampler, schedule, 7, None) for schedule in SCHEDULES)
    for steps, strength in ((30, None), (36, None), (50, None), (60, 0.5)):
        yield "sd15", "Restart", "Automatic", steps, strength
    for sampler in TIMED:
        for name in ("sd15", "sd2-v") if sampler != "LCM" else ("sd15",):
            cfg = 7.0 if sampler == "DDIM CFG++" else None
            for steps in (3, 4, 20, 30, 50):
                yield name, sampler, "Automatic", steps, None, cfg
            for steps, strength in ((20, 1.0), (20, 0.33), (10, 0.6), (6, 0.75)):
                yield name, sampler, "Automatic", steps, strength, cfg
    for sampler in ("DDIM", "DDIM CFG++"):
        yield "sd15", sampler, "Automatic", 10, None, 3.0, 0.5
    for sampler in ("Euler", "DDIM", "euler"):
        for cfg in (-1.0, 0.0, 0.5, 1.0, 3.0):
            yield "sd15", sampler, "Automatic", 5, None, cfg
    for schedule in SCHEDULES:
        for steps in (1, 2, 11, 30):
            yield "sd15", "DPM++ 2M", schedule, steps, None
    for sampler in (*COMFY, *COMFY_OWN[:-2]):
        cfg = 3.0 if sampler.endswith("cfg_pp") else None
        for name in ("sd15", "sd2-v"):
            for steps, strength in ((4, None), (20, None), (7, 1.0), (6, 0.4)):
                yield name, sampler, "Automatic", steps, strength, cfg
    for sampler in comfy_samplers.CFG_PP:
        yield "sd15", sampler, "Automatic", 5, None, 1.0
    for schedule in COMFY_SCHEDULES:
        for steps in (2, 7, 30):
            yield "sd15", "euler", schedule, steps, None


def run_any(config, sampler, schedule, steps, strength, is_xl, cfg, eta, world=FORMULA):
    """By how much picture and noise were multiplied, the model, the last latents."""
    if sampler in TIMED:
        return run_timed(config, sampler, steps, strength, cfg, eta, world)
    made = run if sampler in SAMPLERS else run_comfy
    return made(config, sampler, schedule, steps, strength, is_xl, cfg, world)


def is_own(request):
    """Whether k-diffusion has no such sampler."""
    return request[1] in (*TIMED, "Restart", *COMFY_OWN)


def own_requests():
    return [request for request in requests() if is_own(request)]


def checkout_requests():
    """Of samplers for which nothing stands in."""
    for sampler in ("sa_solver", "sa_solver_pece"):
        for name in ("sd15", "sd2-v"):
            for steps, strength in ((1, None), (2, None), (6, None), (20, None), (6, 0.4)):
                yield name, sampler, "Automatic", steps, strength
        yield "sd15", sampler, "karras", 9, None


def cases(asked):
    made = []
    for request in asked:
        whole = request + (None, 0)[len(request) - 5 :]
        name, sampler, schedule, steps, strength, cfg, eta = whole
        case = {"config": name, "sampler": sampler, "schedule": schedule, "steps": steps}
        case |= {"eta": eta, "strength": strength, "cfg": cfg}
        for is_xl in (False, True) if schedule == "Align Your Steps" else (False,):
            try:
                start, inner, x = run_any(
                    CONFIGS[name], sampler, schedule, steps, strength, is_xl, cfg, eta)
            except UnboundLocalError:  # 2M SDE and 3M SDE of one step
                continue
            found = {"start": start, "timesteps": [float(f"{t:.7g}") for t in inner.asked]}
            found["latents"] = [float(f"{v:.8g}") for v in x.flatten().tolist()]
            if all(math.isfinite(v) for v in found["latents"]):
                made.append({**case, "is_xl": is_xl, **found})
    return made


def write(file, made):
    whole = {"seed": SEED, "configs": {name: CONFIGS[name] for name in ("sd15", "sd2-v")}}
    lines = json.dumps({**whole, "cases": made}).replace('{"config":', '\n{"config":')
    file.write_text(lines + "\n")


def make(into):
    asked = [request for request in requests() if not is_own(request)]
    write(into / "samplers_k.json", cases(asked))

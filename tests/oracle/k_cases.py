"""k-diffusion's samplers around a model that is a formula, as stable-diffusion-webui and
ComfyUI call them: their schedules, their steps from a picture, their noise; and those that these
have of their own.

sampling.py and external.py are loaded by path: their package would import far more.
"""

import importlib.util
import json
import math
import sys
import types

import numpy as np
import scipy.stats
import torch

import comfy_samplers
import webui_samplers
from sampler_cases import CONFIGS, SEED, SHAPE, model, picture


def load_k_diffusion():
    folder = importlib.util.find_spec("k_diffusion").submodule_search_locations[0]
    package = types.ModuleType("k")
    package.__path__ = [folder]
    utils = types.ModuleType("k.utils")
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    package.utils = utils
    sys.modules.update({"k": package, "k.utils": utils, "torchdiffeq": types.ModuleType("none")})
    sys.modules["torchdiffeq"].odeint = None
    for name in ("sampling", "external"):
        spec = importlib.util.spec_from_file_location(f"k.{name}", f"{folder}/{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[f"k.{name}"] = module
        setattr(package, name, module)
        spec.loader.exec_module(module)
    return package.sampling, package.external


sampling, external = load_k_diffusion()

# label: function, schedule of Automatic, whether the next to last sigma is discarded
SAMPLERS = {
    "Euler": (sampling.sample_euler, "Uniform", False),
    "Euler a": (sampling.sample_euler_ancestral, "Uniform", False),
    "Heun": (sampling.sample_heun, "Uniform", False),
    "LMS": (sampling.sample_lms, "Uniform", False),
    "DPM2": (sampling.sample_dpm_2, "Karras", True),
    "DPM2 a": (sampling.sample_dpm_2_ancestral, "Karras", True),
    "DPM++ 2S a": (sampling.sample_dpmpp_2s_ancestral, "Karras", False),
    "DPM++ 2M": (sampling.sample_dpmpp_2m, "Karras", False),
    "DPM++ SDE": (sampling.sample_dpmpp_sde, "Karras", False),
    "DPM++ 2M SDE": (sampling.sample_dpmpp_2m_sde, "Exponential", False),
    "DPM++ 2M SDE Heun": (sampling.sample_dpmpp_2m_sde, "Exponential", False),
    "DPM++ 3M SDE": (sampling.sample_dpmpp_3m_sde, "Exponential", True),
    "DPM fast": (sampling.sample_dpm_fast, "Uniform", False),
    "DPM adaptive": (sampling.sample_dpm_adaptive, "Uniform", False),
    "Restart": (None, "Karras", False),
}
SCHEDULES = (
    "Uniform",
    "Karras",
    "Exponential",
    "Polyexponential",
    "SGM Uniform",
    "KL Optimal",
    "Align Your Steps",
    "Simple",
    "Normal",
    "DDIM",
    "Beta",
    "Turbo",
)
NOISY = ("Euler a", "DPM2 a", "DPM++ 2S a", "DPM fast", "DPM adaptive", "Restart")
# labels with timesteps of their own
TIMED = ("DDIM", "DDIM CFG++", "PLMS", "UniPC", "LCM")


def plain_model(x, timestep):
    """What the model says without the prompt."""
    return 0.7 * torch.tanh(x) - 0.1 * math.cos(float(timestep) / 100) * x


class Inner:
    """What CompVisDenoiser wraps: latent-diffusion's model, its betas in float64. With a `cfg`
    the output is guided; `plain` is the last without the prompt."""

    def __init__(self, config, cfg=None):
        self.cfg, self.plain = cfg, None
        count = config.get("num_train_timesteps", 1000)
        betas = np.linspace(config["beta_start"] ** 0.5, config["beta_end"] ** 0.5, count) ** 2
        self.alphas_cumprod = torch.tensor(np.cumprod(1 - betas), dtype=torch.float32)
        self.asked = []

    def apply_model(self, x, t, cond=None):
        self.asked.append(float(t))
        if self.cfg is None:
            return model(x, t)
        self.plain = plain_model(x, t)
        return self.plain + self.cfg * (model(x, t) - self.plain)


class World:
    """What a run happens in: the shape of latents, a seed, a picture's latents, a model; what
    a mask makes of the latents that it sees and of those that it denoises them to."""

    def __init__(self, shape, seed, picture, inner, see=lambda x: x, hold=lambda x: x):
        self.shape, self.seed, self.picture, self.inner = shape, seed, picture, inner
        self.see, self.hold = see, hold

    def generator(self, more=0):
        return torch.Generator().manual_seed(self.seed + more)

    def draw(self, generator):
        return torch.randn(self.shape, generator=generator, dtype=torch.float32).double()


FORMULA = World(SHAPE, SEED, picture, Inner)


def wrapper(config, cfg, world):
    is_v = config.get("prediction_type") == "v_prediction"
    made = external.CompVisVDenoiser if is_v else external.CompVisDenoiser
    inner = world.inner(config, cfg)
    return inner, made(inner, False, "cpu")


def align_your_steps(n, is_xl):
    known = {
        True: [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
        False: [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
    }[is_xl]
    at = np.linspace(0, 1, n)
    rising = np.interp(at, np.linspace(0, 1, len(known)), np.log(known[::-1]))
    return np.exp(rising)[::-1].copy()


def sigmas_of(denoiser, schedule, n, is_xl):
    low, high = denoiser.sigmas[0].item(), denoiser.sigmas[-1].item()
    first = denoiser.sigma_to_t(torch.tensor(high))
    last = denoiser.sigma_to_t(torch.tensor(low))
    if schedule == "Uniform":
        return denoiser.get_sigmas(n)
    if schedule in ("Karras", "Exponential", "Polyexponential"):
        return getattr(sampling, f"get_sigmas_{schedule.lower()}")(n, low, high)
    if schedule == "KL Optimal":
        share = torch.arange(n + 1) / n
        return torch.tan(share * math.atan(low) + (1 - share) * math.atan(high))
    if schedule == "SGM Uniform":
        found = [denoiser.t_to_sigma(t) for t in torch.linspace(first, last, n + 1)[:-1]]
    if schedule == "Normal":
        found = [denoiser.t_to_sigma(t) for t in torch.linspace(first, last, n)]
    if schedule == "Align Your Steps":
        found = list(align_your_steps(n, is_xl))
    if schedule == "Simple":
        stride = len(denoiser.sigmas) / n
        found = [denoiser.sigmas[-(1 + int(i * stride))] for i in range(n)]
    if schedule == "DDIM":
        stride = max(len(denoiser.sigmas) // n, 1)
        found = list(denoiser.sigmas[1::stride].flip(0))
    if schedule == "Turbo":  # Forge's: as SD Turbo is sampled in 4 steps of 250
        times = np.rint(np.arange(n, 0, -1) * (1000 / n) - 1).clip(0, 999)
        found = list(denoiser.sigmas[torch.tensor(times).long()])
    if schedule == "Beta":
        quantiles = scipy.stats.beta.ppf(1 - np.linspace(0, 1, n), 0.6, 0.6)
        found = list(low + quantiles * (high - low))
    return torch.tensor([float(sigma) for sigma in found] + [0.0])


def ends_of(denoiser, sigmas, strength):
    if strength:
        return sigmas[-2].item(), sigmas[0].item()
    return denoiser.sigmas[0].item(), denoiser.sigmas[-1].item()


def run(config, label, schedule, steps, strength, is_xl, cfg, world):
    function, automatic, discards = SAMPLERS[label]
    inner, denoiser = wrapper(config, cfg, world)
    chosen = automatic if schedule == "Automatic" else schedule
    sigmas = sigmas_of(denoiser, chosen, steps + discards, is_xl)
    if discards:
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    if strength:
        sigmas = sigmas[steps - int(min(strength, 0.999) * steps) - 1 :]
    generator = world.generator()
    noise = world.draw(generator)
    x = noise * sigmas[0] + (world.picture() if strength else 0)
    options = {"extra_args": {"cond": None}}
    if label in NOISY:
        options["noise_sampler"] = lambda *_: world.draw(generator)
    if "SDE" in label:
        least, most = sigmas[sigmas > 0].min(), sigmas.max()
        tree = sampling.BrownianTreeNoiseSampler(noise.float(), least, most, seed=[world.seed])
        options["noise_sampler"] = lambda *pair: tree(*pair).double()
    if label.endswith("Heun") and "SDE" in label:
        options["solver_type"] = "heun"
    if label == "Restart":
        x = webui_samplers.restart(
            lambda y, s: denoiser(y, s * y.new_ones(1), cond=None), x, sigmas,
            options["noise_sampler"])
    elif label == "DPM adaptive":
        ends = ends_of(denoiser, sigmas, strength)
        x = function(denoiser, x, *ends, eta=1.0, disable=True, **options)
    elif label == "DPM fast":
        ends = ends_of(denoiser, sigmas, strength)
        x = function(denoiser, x, *ends, len(sigmas) - 1, eta=1.0, disable=True, **options)
    else:
        x = function(denoiser, x, sigmas, disable=True, **options)
    return [1.0 if strength else 0.0, float(sigmas[0])], inner, x


def run_timed(config, label, steps, strength, cfg, eta, world):
    inner = world.inner(config, cfg / 12.5 if label == "DDIM CFG++" else cfg)
    alphas, is_v = inner.alphas_cumprod, config.get("prediction_type") == "v_prediction"
    generator = world.generator()

    def noise(*_):
        return world.draw(generator)

    def as_noise(out, x, t):
        alpha = float(alphas[int(t)])
        return alpha**0.5 * out + (1 - alpha) ** 0.5 * x if is_v else out

    def predicted(x, t):
        x = world.see(x)
        out = as_noise(inner.apply_model(x, t), x, t)
        inner.direction = as_noise(inner.plain, x, t) if cfg is not None else None
        return out

    first = noise()
    if label == "LCM":
        sigmas = webui_samplers.lcm_sigmas(alphas, steps)
        if strength:
            sigmas = sigmas[steps - int(min(strength, 0.999) * steps) - 1 :]
        start = [1.0 if strength else 0.0, float(sigmas[0])]
        x = webui_samplers.lcm(
            inner.apply_model, start[0] * world.picture() + start[1] * first, sigmas, alphas,
            noise, world.hold)
    else:
        times, x, start = webui_samplers.begin(
            alphas, steps, strength, first, world.picture())
        if label == "PLMS":
            x = webui_samplers.plms(predicted, x, times, alphas)
        elif label == "UniPC":
            x = webui_samplers.unipc(predicted, x, times, alphas, strength is not None)
        else:
            plain = (lambda: inner.direction) if label == "DDIM CFG++" else None
            x = webui_samplers.ddim(predicted, x, times, alphas, noise, eta, plain)
    return start, inner, x


COMFY = {
    "euler": "Euler",
    "ddim": "Euler",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
}
COMFY_SCHEDULES = (
    "normal",
    "karras",
    "exponential",
    "sgm_uniform",
    "simple",
    "ddim_uniform",
    "beta",
    "kl_optimal",
    "linear_quadratic",
)
COMFY_OWN = (*comfy_samplers.SAMPLERS, "uni_pc", "uni_pc_bh2", "sa_solver", "sa_solver_pece")


class ComfyDenoiser:
    """ComfyUI's ModelSamplingDiscrete: whole timesteps, the nearest in log sigma."""

    def __init__(self, config, inner):
        self.inner = inner
        self.is_v = config.get("prediction_type") == "v_prediction"
        self.sigmas = ((1 - self.inner.alphas_cumprod) / self.inner.alphas_cumprod) ** 0.5
        self.log_sigmas = self.sigmas.log()

    def timestep(self, sigma):
        return (sigma.log() - self.log_sigmas).abs().argmin()

    def sigma(self, t):
        low, high = int(t.floor()), int(t.ceil())
        share = t.frac()
        return ((1 - share) * self.log_sigmas[low] + share * self.log_sigmas[high]).exp()

    def __call__(self, x, sigma, **_):
        sigma = torch.as_tensor(sigma)
        out = self.inner.apply_model(x / (sigma**2 + 1) ** 0.5, self.timestep(sigma))
        if self.inner.plain is not None:
            self.uncond = self.denoised(x, sigma, self.inner.plain)
        return self.denoised(x, sigma, out)

    def denoised(self, x, sigma, out):
        if self.is_v:
            return x / (sigma**2 + 1) - out * sigma / (sigma**2 + 1) ** 0.5
        return x - out * sigma


def comfy_sigmas(denoiser, schedule, n):
    sigmas, last = denoiser.sigmas, float(len(denoiser.sigmas) - 1)
    low, high = sigmas[0].item(), sigmas[-1].item()
    if schedule in ("karras", "exponential"):
        return getattr(sampling, f"get_sigmas_{schedule}")(n, low, high)
    if schedule == "normal":
        found = [denoiser.sigma(t) for t in torch.linspace(last, 0, n)]
    if schedule == "sgm_uniform":
        found = [denoiser.sigma(t) for t in torch.linspace(last, 0, n + 1)[:-1]]
    if schedule == "simple":
        found = [sigmas[-(1 + int(i * len(sigmas) / n))] for i in range(n)]
    if schedule == "ddim_uniform":
        found = list(sigmas[1 :: max(len(sigmas) // n, 1)].flip(0))
    if schedule == "beta":
        quantiles = scipy.stats.beta.ppf(1 - np.linspace(0, 1, n, endpoint=False), 0.6, 0.6)
        found = [sigmas[int(t)] for t in dict.fromkeys(np.rint(quantiles * last))]
    if schedule == "kl_optimal":
        share = torch.arange(n, dtype=torch.float) / (n - 1)
        found = (share * math.atan(low) + (1 - share) * math.atan(high)).tan()
    if schedule == "linear_quadratic":
        found = high * linear_quadratic(n)
    return torch.tensor([float(sigma) for sigma in found] + [0.0])


def linear_quadratic(n):
    """Mochi's: a line from 1 down to 0.975 over the first half of the steps, and from there the
    parabola that goes on as steep and comes to 0."""
    if n == 1:
        return torch.ones(1)
    half, fall = n // 2, 0.025
    rest = n - half
    bend = (1 - fall - fall / half * rest) / rest**2
    later = torch.arange(rest).double()
    line = fall / half * torch.arange(half).double()
    return 1 - torch.cat([line, fall + fall / half * later + bend * later**2])


def run_comfy_own(denoiser, name, x, sigmas, noise):
    if name not in ("uni_pc", "uni_pc_bh2"):
        return comfy_samplers.SAMPLERS[name](denoiser, x, sigmas, noise)
    ends = [float(sigma) for sigma in sigmas[:-1]] + [0.001]

    def clean(x, alpha, deviation, i):
        return denoiser(x / alpha, sigmas[i])

    variant, order = ("bh2" if name.endswith("2") else "bh1"), min(3, len(ends) - 2)
    x = x / (1 + ends[0] ** 2) ** 0.5
    return comfy_samplers.unipc(x, ends, variant, order, clean) * (1 + 0.001**2) ** 0.5


def run_comfy(config, name, schedule, steps, strength, is_xl, cfg, world):
    function = SAMPLERS[COMFY[name]][0] if name in COMFY else None
    denoiser = ComfyDenoiser(config, world.inner(config, cfg))
    discards = name in ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2")
    chosen = "normal" if schedule == "Automatic" else schedule
    whole = steps if (strength or 1) > 0.9999 else int(steps / strength)
    sigmas = comfy_sigmas(denoiser, chosen, whole + discards)
    if discards:
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    if strength:
        sigmas = sigmas[-(steps + 1) :]
    noise = world.draw(world.generator())
    is_whole = math.isclose(float(denoiser.sigmas[-1]), float(sigmas[0]), rel_tol=1e-5)
    scale = (1 + sigmas[0] ** 2) ** 0.5 if is_whole else sigmas[0]
    x = noise * scale + (world.picture() if strength else 0)
    generator = world.generator(1)
    options = {}

    def fresh(*_):
        return world.draw(generator)

    if name in COMFY and COMFY[name] in NOISY:
        options["noise_sampler"] = fresh
    if name in COMFY and "sde" in name:
        least, most = sigmas[sigmas > 0].min(), sigmas.max()
        tree = sampling.BrownianTreeNoiseSampler(noise.float(), least, most, seed=world.seed)
        options["noise_sampler"] = lambda *pair: tree(*pair).double()
    if name.endswith("sde_heun"):
        options["solver_type"] = "heun"
    start = torch.tensor([1.0 if strength else 0.0, float(scale)], dtype=torch.float64)
    if name in COMFY_OWN:
        x = run_comfy_own(denoiser, name, x, sigmas, fresh)
        if name.startswith("uni_pc"):
            start /= (1 + sigmas[0].double() ** 2) ** 0.5
    elif name in ("dpm_fast", "dpm_adaptive"):
        steps = () if name == "dpm_adaptive" else (len(sigmas) - 1,)
        x = function(denoiser, x, float(sigmas[-2]), float(sigmas[0]), *steps, disable=True)
    else:
        x = function(denoiser, x, sigmas, disable=True, **options)
    return start.tolist(), denoiser.inner, x


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

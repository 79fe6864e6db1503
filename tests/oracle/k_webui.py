"""k-diffusion's samplers around a model that is a formula, as stable-diffusion-webui calls them:
its schedules, its steps from a picture, its noise; and those that it has of its own.

sampling.py and external.py are loaded by path: their package would import far more.
"""

import importlib.util
import math
import sys
import types

import numpy as np
import scipy.stats
import torch

import webui_samplers
from sampler_cases import SEED, SHAPE, model, picture


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

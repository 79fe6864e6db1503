"""The same as ComfyUI calls them, and those that it has of its own."""

import math

import numpy as np
import scipy.stats
import torch

import comfy_samplers
from k_webui import NOISY, SAMPLERS, sampling

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

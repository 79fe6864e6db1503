"""stable-diffusion-webui's samplers that k-diffusion has not, written from their papers and from
what webui 1.10 gives: DDIM, DDIM CFG++ and PLMS over its timesteps, UniPC over its own, LCM over
the 50 of a distillation, Restart. All in float64 on a model of (x, timestep) that gives noise.
"""

import math

import numpy as np
import torch

import comfy_samplers


def timesteps_of(steps):
    """Rising, from 1 on."""
    return [min(t + 1, 999) for t in range(0, 1000, 1000 // steps)]


def begin(alphas, steps, strength, noise, picture):
    """Timesteps, the first latents, and by how much picture and noise were multiplied."""
    times = timesteps_of(steps)
    if strength is None:
        return times, noise, [0.0, 1.0]
    run = int(min(strength, 0.999) * steps)
    alpha = float(alphas[times[run]])
    scale = [math.sqrt(alpha), math.sqrt(1 - alpha)]
    return times[:run], scale[0] * picture + scale[1] * noise, scale


def transfer(x, e, now, then, direction=None):
    clean = (x - math.sqrt(1 - now) * e) / math.sqrt(now)
    return math.sqrt(then) * clean + math.sqrt(1 - then) * (e if direction is None else direction)


def ddim(model, x, times, alphas, noise, eta, plain=None):
    """Song et al. 2020, formula 12. webui stops before timestep 1."""
    for at, to in zip(times[:0:-1], times[-2::-1]):
        e = model(x, at)
        now, then = float(alphas[at]), float(alphas[to])
        deviation = eta * math.sqrt((1 - then) / (1 - now) * (1 - now / then))
        clean = (x - math.sqrt(1 - now) * e) / math.sqrt(now)
        direction = plain() if plain else e
        x = math.sqrt(then) * clean + math.sqrt(1 - then - deviation**2) * direction
        x = x + deviation * noise()
    return x


def plms(model, x, times, alphas):
    """Liu et al. 2022, with a first step of the mean of both ends."""
    outputs = []
    for at, to in zip(times[:0:-1], times[-2::-1]):
        e, now, then = model(x, at), float(alphas[at]), float(alphas[to])
        outputs.insert(0, e)
        mixed = {
            2: lambda o: (3 * o[0] - o[1]) / 2,
            3: lambda o: (23 * o[0] - 16 * o[1] + 5 * o[2]) / 12,
        }.get(len(outputs), lambda o: (55 * o[0] - 59 * o[1] + 37 * o[2] - 9 * o[3]) / 24)
        if len(outputs) == 1:
            mean = (e + model(transfer(x, e, now, then), to)) / 2
        else:
            mean = mixed(outputs)
        x = transfer(x, mean, now, then)
    return x


def unipc(model, x, times, alphas, from_picture):
    """From 1, or past the last of the times, to 1/1000, in float32; then as timesteps."""
    first = times[-1] / 1000 + 1 / 1000 if from_picture else 1.0
    spread = torch.linspace(first, 1 / 1000, len(times) + 1)
    spread = [float(t) for t in (spread - 1 / 1000) * 1000]
    logs = np.log(alphas.double().numpy())
    made = np.exp(np.interp(spread, np.arange(len(logs)), logs))

    def clean(y, alpha, deviation, i):
        return (y - deviation * model(y, spread[i])) / alpha

    return comfy_samplers.unipc(x, np.sqrt((1 - made) / made), "bh1", 3, clean)


def lcm_grid(alphas):
    """The distillation's 50 sigmas and their timesteps."""
    times = np.arange(19, 1000, 20)
    kept = alphas[torch.tensor(times)]
    return ((1 - kept) / kept) ** 0.5, times


def lcm_sigmas(alphas, steps):
    logs = lcm_grid(alphas)[0].log()
    at = ((torch.linspace(999, 19, steps) - 19) / 20).clamp(0, 49)
    low, share = at.floor().long(), at.frac()
    high = (low + 1).clamp(max=49)
    return torch.cat([((1 - share) * logs[low] + share * logs[high]).exp(), torch.zeros(1)])


def lcm(apply, x, sigmas, alphas, noise, hold):
    """Luo et al. 2023, algorithm 3, over sigma; sigma_data 0.5, timesteps times 10."""
    grid, times = lcm_grid(alphas)
    for sigma, after in zip(sigmas[:-1], sigmas[1:]):
        t = int(times[int((sigma.log() - grid.log()).abs().argmin())])
        scale = (float(sigma) ** 2 + 1) ** 0.5
        clean = x - float(sigma) * apply(x / scale, t)
        far = (10.0 * t) ** 2
        x = hold(10.0 * t / math.sqrt(far + 0.25) * clean + 0.25 / (far + 0.25) * x)
        if after > 0:
            x = x + float(after) * noise()
    return x


def restart_sigmas(sigmas):
    """Xu et al. 2023: the pairs of sigmas that Heun's method goes through."""
    steps = len(sigmas) - 1
    if steps < 20:
        return list(zip(sigmas[:-1], sigmas[1:]))
    again, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    line = karras(steps - again * times, sigmas[-2].item(), sigmas[0].item())
    found = list(zip(line[:-1], line[1:]))
    low, high = (int((line - at).abs().argmin()) for at in (0.1, 2.0))
    if 0 < low and high < low:
        down = karras(again + 1, line[low].item(), line[high].item())[:-1]
        found[low:low] = list(zip(down[:-1], down[1:])) * times
    return found


def karras(n, low, high):
    ramp = torch.linspace(0, 1, n)
    ends = high ** (1 / 7), low ** (1 / 7)
    return torch.cat([(ends[0] + ramp * (ends[1] - ends[0])) ** 7, torch.zeros(1)])


def restart(model, x, sigmas, noise):
    before = None
    for sigma, after in restart_sigmas(sigmas):
        if before is not None and before < sigma:
            x = x + noise() * float((sigma**2 - before**2) ** 0.5)
        slope = (x - model(x, sigma)) / float(sigma)
        to = x + float(after - sigma) * slope
        if after > 0:
            mean = (slope + (to - model(to, after)) / float(after)) / 2
            to = x + float(after - sigma) * mean
        x, before = to, after
    return x

"""ComfyUI's samplers that k-diffusion has not, written from their papers and from what ComfyUI
0.3 gives, in float64 and step by step.

Every function takes a model, x, sigmas (falling, 0 at the end) and `noise`, which draws. A model
is called with x and sigma, gives the guided denoised picture, and leaves what it is without the
prompt in `model.uncond`.
"""

import math

import numpy as np
import torch


def ancestral(sigma, after):
    """How much noise lifts from where a step ends to `after`, and where it ends."""
    up = min(after, (after**2 * (sigma**2 - after**2) / sigma**2) ** 0.5)
    return up, (after**2 - up**2) ** 0.5


def pairs(sigmas):
    values = [float(sigma) for sigma in sigmas]
    return list(zip(values, values[1:]))


def euler_cfg_pp(model, x, sigmas, noise, eta=0.0):
    for sigma, after in pairs(sigmas):
        denoised = model(x, sigma)
        if after == 0:
            return denoised
        up, down = ancestral(sigma, after) if eta else (0.0, after)
        x = denoised + down * (x - model.uncond) / sigma
        if eta:
            x = x + up * noise(sigma, after)
    return x


def euler_ancestral_cfg_pp(model, x, sigmas, noise):
    return euler_cfg_pp(model, x, sigmas, noise, eta=1.0)


def dpmpp_2s_ancestral_cfg_pp(model, x, sigmas, noise):
    for sigma, after in pairs(sigmas):
        denoised = model(x, sigma)
        plain = model.uncond
        extra = denoised - plain
        up, down = ancestral(sigma, after)
        if down == 0:
            x = plain
        else:
            h = math.log(sigma / down)
            between = x * math.exp(-h / 2) - math.expm1(-h / 2) * plain
            model(between, sigma * math.exp(-h / 2))
            x = x * math.exp(-h) - math.expm1(-h) * model.uncond
        if after > 0:
            x = x + up * noise(sigma, after)
        x = x + extra
    return x


def dpmpp_2m_cfg_pp(model, x, sigmas, noise):
    last, before = None, None
    for sigma, after in pairs(sigmas):
        denoised = model(x, sigma)
        plain, ratio = model.uncond, after / sigma
        x = denoised + ratio * (x - plain)
        if last is not None and after > 0:
            r = math.log(before / sigma) / math.log(sigma / after)
            x = x + (1 - ratio) / (2 * r) * (denoised - last)
        last, before = plain, sigma
    return x


def res(model, x, sigmas, noise, eta=0.0, cfg_pp=False):
    """Zhang et al. 2023, the second order of table 3, over t = -log sigma."""
    last, led, before = None, None, None
    for sigma, after in pairs(sigmas):
        denoised = model(x, sigma)
        plain = model.uncond if cfg_pp else denoised
        up, down = ancestral(sigma, after) if eta else (0.0, after)
        if last is None or down == 0:
            x = denoised + down * (x - plain) / sigma
        else:
            t, to, was = -math.log(sigma), -math.log(down), -math.log(led)
            h = to - t
            c2 = (-math.log(before) - was) / h
            phi1 = (math.exp(-h) - 1) / -h
            phi2 = (phi1 - 1) / -h
            x = x + (denoised - plain)
            x = math.exp(-h) * x + h * ((phi1 - phi2 / c2) * plain + phi2 / c2 * last)
        if after > 0 and eta:
            x = x + up * noise(sigma, after)
        last, led, before = plain, down, sigma
    return x


def gradient_estimation(model, x, sigmas, noise, cfg_pp=False):
    last = None
    for sigma, after in pairs(sigmas):
        denoised = model(x, sigma)
        slope = (x - (model.uncond if cfg_pp else denoised)) / sigma
        if after == 0:
            return denoised
        x = denoised + after * slope if cfg_pp else x + (after - sigma) * slope
        if last is not None:
            x = x + (after - sigma) * (slope - last)
        last = slope
    return x


def er_sde(model, x, sigmas, noise):
    """Cui et al. 2023, algorithm 3 with the fifth noise scale."""

    def scale(at):
        return at * (np.exp(at**0.3) + 10)

    outputs, slopes, at = [], [], []
    for sigma, after in pairs(sigmas):
        denoised = model(x, sigma)
        if after == 0:
            return denoised
        ratio, dt = scale(after) / scale(sigma), after - sigma
        points = after + np.arange(200) * (-dt / 200)
        x = ratio * x + (1 - ratio) * denoised
        if outputs:
            slope = (denoised - outputs[-1]) / (sigma - at[-1])
            x = x + (dt + scale(after) * np.sum(1 / scale(points)) * -dt / 200) * slope
            if slopes:
                turn = (slope - slopes[-1]) / ((sigma - at[-2]) / 2)
                area = np.sum((points - sigma) / scale(points)) * -dt / 200
                x = x + (dt**2 / 2 + scale(after) * area) * turn
            slopes.append(slope)
        fresh = after**2 - sigma**2 * ratio**2
        x = x + math.sqrt(max(fresh, 0)) * noise(sigma, after)
        outputs.append(denoised)
        at.append(sigma)
    return x


def phi(order, h):
    """h phi_1(h) and h phi_2(h)."""
    return math.expm1(h) if order == 1 else (math.expm1(h) - h) / h


def seeds_2(model, x, sigmas, noise, r=0.5, eta=1.0, order=1):
    for sigma, after in pairs(sigmas):
        denoised = model(x, sigma)
        if after == 0:
            return denoised
        h = math.log(sigma / after)
        both, middle = h * (eta + 1), sigma * math.exp(-r * h)
        stage = middle / sigma * math.exp(-r * h * eta) * x - phi(1, -r * both) * denoised
        z = 0
        if eta:
            z = math.sqrt(1 - math.exp(-2 * r * h)) * noise(sigma, middle)
        second = model(stage + middle * z, middle)
        x = after / sigma * math.exp(-h * eta) * x
        if order == 1:
            share = 1 / (2 * r)
            x = x - phi(1, -both) * ((1 - share) * denoised + share * second)
        else:
            b2 = phi(2, -both) / r
            x = x - (phi(1, -both) - b2) * denoised - b2 * second
        if eta:
            rest = (1 - r) * h
            z = z * math.exp(-rest) + math.sqrt(1 - math.exp(-2 * rest)) * noise(middle, after)
            x = x + after * z
    return x


def seeds_3(model, x, sigmas, noise):
    for sigma, after in pairs(sigmas):
        denoised = model(x, sigma)
        if after == 0:
            return denoised
        h, z, at = math.log(sigma / after), 0, sigma
        outputs = [denoised]
        for part in (1 / 3, 2 / 3, 1):
            to, y = sigma * math.exp(-part * h), 2 * part * h
            newest = 0 if part == 1 / 3 else {2 / 3: 2, 1: 1.5}[part] * phi(2, -y)
            mixed = (phi(1, -y) - newest) * outputs[0] + newest * outputs[-1]
            lag = math.log(at / to)
            z = z * math.exp(-lag) + math.sqrt(1 - math.exp(-2 * lag)) * noise(at, to)
            stage = to / sigma * math.exp(-part * h) * x - mixed + to * z
            if part < 1:
                outputs.append(model(stage, to))
            at = to
        x = stage
    return x


def exp_heun(model, x, sigmas, noise):
    return seeds_2(model, x, sigmas, noise, r=1.0, eta=0.0, order=2)


def exp_heun_sde(model, x, sigmas, noise):
    return seeds_2(model, x, sigmas, noise, r=1.0, eta=1.0, order=2)


def ddpm(model, x, sigmas, noise):
    """Ho et al. 2020, formulas 11 and 6, on x as the training has it."""
    for sigma, after in pairs(sigmas):
        e = (x - model(x, sigma)) / sigma
        now, then = 1 / (sigma**2 + 1), 1 / (after**2 + 1)
        alpha = now / then
        y = (x * now**0.5 - (1 - alpha) / (1 - now) ** 0.5 * e) / alpha**0.5
        if after > 0:
            y = y + ((1 - alpha) * (1 - then) / (1 - now)) ** 0.5 * noise(sigma, after)
        x = y / then**0.5
    return x


def lcm(model, x, sigmas, noise):
    for sigma, after in pairs(sigmas):
        x = model(x, sigma)
        if after > 0:
            x = x + after * noise(sigma, after)
    return x


def heunpp2(model, x, sigmas, noise):
    """Slopes at this sigma and the one or two after it, the later weighed by their sigmas."""
    ends = [float(sigma) for sigma in sigmas]
    for i, (sigma, after) in enumerate(pairs(sigmas)):
        ahead = [s for s in ends[i + 1 : i + 3] if s > 0]
        slopes, y, at = [], x, sigma
        for to in ahead + [None]:
            slopes.append((y - model(y, at)) / at)
            if to is not None:
                y, at = y + (to - at) * slopes[-1], to
        weights = [to / (ends[0] * len(slopes)) for to in ahead]
        mean = (1 - sum(weights)) * slopes[0] + sum(w * s for w, s in zip(weights, slopes[1:]))
        x = x + (after - sigma) * mean
    return x


def multistep(model, x, sigmas, weigh, most):
    """x + sum of weigh(sigmas, i, order)[k] times the slope k steps before."""
    ends, slopes = [float(sigma) for sigma in sigmas], []
    for i, (sigma, after) in enumerate(pairs(sigmas)):
        slopes.insert(0, (x - model(x, sigma)) / sigma)
        order = 1 if after == 0 else min(most, i + 1)
        weights = weigh(ends, i, order) if order > 1 else [after - sigma]
        x = x + sum(w * s for w, s in zip(weights, slopes))
    return x


def lms(model, x, sigmas, noise):
    """Adams-Bashforth over steps of any length, which ends on the last denoised picture."""

    def weigh(ends, i, order):
        nodes, weights = [ends[i - k] for k in range(order)], []
        for j in range(order):
            others = [node for k, node in enumerate(nodes) if k != j]
            scale = np.prod([nodes[j] - node for node in others])
            area = np.poly1d(others, True).integ()
            weights.append((area(ends[i + 1]) - area(ends[i])) / scale)
        return weights

    return multistep(model, x, sigmas, weigh, 4)


def ipndm(model, x, sigmas, noise):
    known = {2: [3, -1], 3: [23, -16, 5], 4: [55, -59, 37, -9]}

    def weigh(ends, i, order):
        return [(ends[i + 1] - ends[i]) * w / sum(known[order]) for w in known[order]]

    return multistep(model, x, sigmas, weigh, 4)


def ipndm_v(model, x, sigmas, noise):
    """Adams-Bashforth over steps of any length, written as divided differences, but for one
    factor in the third order where ComfyUI's (and diff-sampler's) brackets stand elsewhere."""

    def weigh(ends, i, order):
        h, g = ends[i + 1] - ends[i], [ends[i - k] - ends[i - k - 1] for k in range(order - 1)]
        a = h / (3 * (h + g[0]))
        weights = np.zeros(4)
        weights[:2] += [1 + h / (2 * g[0]), -h / (2 * g[0])]
        if order > 2:
            b = h * (h + g[0]) / (g[0] * (g[0] + g[1]))
            q = g[0] / g[1]
            weights[:3] += (1 - a * b) / 2 * np.array([1, -(1 + q), q])
        if order > 3:
            b = h * (h + g[0]) * (h + sum(g[:2])) / (g[0] * (g[0] + g[1]) * sum(g))
            c = (1 - a) / 2 + (1 - h / (2 * (h + g[0]))) * h / (6 * (h + sum(g[:2])))
            q, p = g[0] / g[1], g[0] * (g[0] + g[1]) / (g[1] * (g[1] + g[2]))
            row = [1, -(1 + q + p), q + p * (1 + g[1] / g[2]), -p * q]
            weights += c * b * np.array(row)
        return [h * w for w in weights[:order]]

    return multistep(model, x, sigmas, weigh, 4)


def deis(model, x, sigmas, noise):
    """Zhang and Chen 2022, tAB-DEIS, with the time and the sum that diff-sampler has: a process
    of sigma 0.002 to 80 over times 0.001 to 1, rectangles at 10000 points."""
    first, last = math.log(0.002**2 + 1), math.log(80.0**2 + 1)
    slope = 2 * (last - first / 0.001) / (1 - 0.001)
    base = last - slope / 2

    def time(sigma):
        return (math.sqrt(base**2 + 2 * slope * math.log(sigma**2 + 1)) - base) / slope

    def weigh(ends, i, order):
        times = [time(ends[i - k]) for k in range(order)]
        at = np.linspace(times[0], time(ends[i + 1]), 10000)
        alpha = np.exp(-(slope * at**2 / 2 + base * at))
        rate = (slope * at + base) / 2 / np.sqrt(alpha * (1 - alpha))
        width = (time(ends[i + 1]) - times[0]) / 10000
        weights = []
        for j in range(order):
            others = [t for k, t in enumerate(times) if k != j]
            shape = np.prod([(at - t) / (times[j] - t) for t in others], axis=0)
            weights.append(float(np.sum(rate * shape) * width))
        return weights

    return multistep(model, x, sigmas, weigh, 3)


def unipc(x, sigmas, variant, order, denoised):
    """Zhao et al. 2023, algorithms 5 to 8 with data prediction; every system of equations is
    solved as it stands. x is variance preserving, sigmas those it is evaluated at and, last, the
    one it ends on. `denoised` makes the clean picture of x, alpha, deviation and the step."""
    ends = [float(sigma) for sigma in sigmas]
    alphas = [1 / math.sqrt(s**2 + 1) for s in ends]
    deviations = [s * a for s, a in zip(ends, alphas)]
    snr = [math.log(a / d) for a, d in zip(alphas, deviations)]
    outputs, steps = [], len(ends) - 1

    def advance(y, i, p, extra=None):
        """From i to i + 1 with the last p outputs and, correcting, the one at i + 1."""
        h = snr[i + 1] - snr[i]
        b = -h if variant == "bh1" else math.expm1(-h)
        ratios = [(snr[i - k] - snr[i]) / h for k in range(1, p)]
        differences = [outputs[-1 - k] - outputs[-1] for k in range(1, p)]
        if extra is not None:
            ratios, differences = ratios + [1.0], differences + [extra - outputs[-1]]
        y = deviations[i + 1] / deviations[i] * y - alphas[i + 1] * math.expm1(-h) * outputs[-1]
        n = len(ratios)
        if not n:
            return y
        sides, term, factorial = [], math.expm1(-h) / -h - 1, 1
        for k in range(1, n + 1):
            sides.append(term * factorial / b)
            factorial *= k + 1
            term = term / -h - 1 / factorial
        matrix = [[r**k for r in ratios] for k in range(n)]
        shares = np.linalg.solve(matrix, sides) if n > 1 else [0.5]
        return y - alphas[i + 1] * b * sum(
            float(s) * d / r for s, d, r in zip(shares, differences, ratios)
        )

    start, used = x, 1
    for i in range(steps):
        made = denoised(x, alphas[i], deviations[i], i)
        if i:
            x = advance(start, i - 1, used, made)
        outputs.append(made)
        used = min(order, steps - i, i + 1)
        start = x
        x = advance(x, i, used)
    return x


CFG_PP = {
    "euler_cfg_pp": euler_cfg_pp,
    "euler_ancestral_cfg_pp": euler_ancestral_cfg_pp,
    "dpmpp_2s_ancestral_cfg_pp": dpmpp_2s_ancestral_cfg_pp,
    "dpmpp_2m_cfg_pp": dpmpp_2m_cfg_pp,
    "res_multistep_cfg_pp": lambda *a: res(*a, cfg_pp=True),
    "res_multistep_ancestral_cfg_pp": lambda *a: res(*a, eta=1.0, cfg_pp=True),
    "gradient_estimation_cfg_pp": lambda *a: gradient_estimation(*a, cfg_pp=True),
}
SAMPLERS = CFG_PP | {
    "heunpp2": heunpp2,
    "exp_heun_2_x0": exp_heun,
    "exp_heun_2_x0_sde": exp_heun_sde,
    "ddpm": ddpm,
    "lcm": lcm,
    "lms": lms,
    "ipndm": ipndm,
    "ipndm_v": ipndm_v,
    "deis": deis,
    "res_multistep": res,
    "res_multistep_ancestral": lambda *a: res(*a, eta=1.0),
    "gradient_estimation": gradient_estimation,
    "er_sde": er_sde,
    "seeds_2": seeds_2,
    "seeds_3": seeds_3,
}

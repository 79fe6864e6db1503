"""Noise beyond one generator's: torchsde's Brownian intervals, ComfyUI's batches, and
stable-diffusion-webui's variations (slerp over dim 1 of [c, h, w]) and seed resize."""

import json

import torch
import torchsde


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def numbers(tensor):
    return [float(f"{v:.9g}") for v in tensor.flatten().tolist()]


def brownian(seed, least, most, shape, pairs):
    tree = torchsde.BrownianInterval(
        t0=least,
        t1=most,
        size=shape,
        entropy=seed,
        tol=1e-6,
        pool_size=24,
        halfway_tree=True,
    )
    draws = []
    for start, end in pairs:
        low, high = torch.tensor(min(start, end)), torch.tensor(max(start, end))
        sign = 1 if start < end else -1
        values = tree(low, high) * sign / (high - low).sqrt()
        draws.append({"from": start, "to": end, "values": numbers(values)})
    return {"seed": seed, "least": least, "most": most, "draws": draws}


def slerp(share, low, high):
    """Shoemake's, each column of dim 1 a vector; linear where all but parallel."""
    unit = [t / torch.linalg.vector_norm(t, dim=1, keepdim=True) for t in (low, high)]
    cosine = (unit[0] * unit[1]).sum(dim=1)
    if cosine.mean() > 0.9995:
        return low * share + high * (1 - share)
    angle = torch.acos(cosine)
    weights = [torch.sin(part * angle) / torch.sin(angle) for part in (1 - share, share)]
    return weights[0].unsqueeze(1) * low + weights[1].unsqueeze(1) * high


def varied(seed, variation_seed, share, size, resize):
    """[2, h, w]; the noise of another size lies in the middle of the seed's own."""
    h, w = size
    drawn_h, drawn_w = resize or size
    noise = normal(seed, 2, drawn_h, drawn_w)
    if share:
        noise = slerp(share, noise, normal(variation_seed, 2, drawn_h, drawn_w))
    if resize:
        whole = normal(seed, 2, h, w)
        y, x = (h - drawn_h) // 2, (w - drawn_w) // 2
        rows = drawn_h if y >= 0 else drawn_h + 2 * y
        columns = drawn_w if x >= 0 else drawn_w + 2 * x
        to_y, to_x, from_y, from_x = max(y, 0), max(x, 0), max(-y, 0), max(-x, 0)
        part = noise[:, from_y : from_y + rows, from_x : from_x + columns]
        whole[:, to_y : to_y + rows, to_x : to_x + columns] = part
        noise = whole
    asked = {"seed": seed, "variation_seed": variation_seed, "variation": share, "size": size}
    return {**asked, "resize": resize or [0, 0], "values": numbers(noise)}


def batch(seed, count, size):
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn((count, 2, *size), generator=generator) for _ in range(2))
    asked = {"seed": seed, "batch": count, "size": size}
    images = [[numbers(first[i]), numbers(second[i])] for i in range(count)]
    return {**asked, "images": images}


def make(into):
    pairs = [(14.6, 7.25), (7.25, 7.2499), (7.2499, 0.9), (0.9, 0.0292), (0.0292, 14.6)]
    pairs.append((1.5, 1.75))
    whole = {
        "brownian": [
            brownian(5, 0.0292, 14.6, (1, 4, 5), pairs),
            brownian(2**40 + 7, 0.25, 3.0, (2, 3, 3), [(3.0, 2.123456), (2.123456, 0.3)]),
        ],
        "varied": [
            varied(3, 4, 0.0, [4, 5], None),
            varied(3, 4, 0.3, [4, 5], None),
            varied(3, 4, 1.0, [4, 5], None),
            varied(3, 3, 0.4, [4, 5], None),
            varied(3, 4, 0.0, [6, 7], [4, 4]),
            varied(3, 4, 0.6, [4, 5], [6, 8]),
            varied(3, 4, 0.6, [4, 8], [7, 5]),
        ],
        "batch": [batch(9, 3, [4, 5]), batch(9, 2, [4, 4])],
    }
    (into / "noise.json").write_text(json.dumps(whole).replace('{"', '\n{"').lstrip() + "\n")

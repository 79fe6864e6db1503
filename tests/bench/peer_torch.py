"""The peer of bench_model: the same part with the same weights and inputs in PyTorch.

    peer_torch.py unet|vae CONFIG [--size N] [--rows N] [--form FORM] [--out FILE]
                  [--scales FILE]

Runs a pass for each line read and prints its seconds; the first pass, whose result goes to
--out as raw float32 [n, h, w, c], is not printed. Forms: channels_last (default), nchw,
compile. --scales writes the powers of two by which each layer's weights are multiplied so that
what comes out of it in that pass has a deviation of 0.7 to 1.4, and takes them.
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel


def name_hash(name):
    hash = 0xCBF29CE484222325
    for byte in name.encode():
        hash = ((hash ^ byte) * 0x100000001B3) % 2**64
    return hash


def uniform(start, count):
    """As invented.c: splitmix64 of start, start + 1, ..., from -1 to 1."""
    at = np.arange(count, dtype=np.uint64) + np.uint64(start)
    at += np.uint64(0x9E3779B97F4A7C15)
    at = (at ^ (at >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    at = (at ^ (at >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    at ^= at >> np.uint64(31)
    return (at >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def fill(model):
    for name, weight in model.named_parameters():
        values = uniform(name_hash(name), weight.numel())
        if weight.dim() > 1:
            values *= np.float32((3 * weight.shape[0] / weight.numel()) ** 0.5)
        else:
            values *= np.float32(0.1)
            if "norm" in name and name.endswith(".weight"):
                values += np.float32(1)
        weight.copy_(torch.from_numpy(values.reshape(weight.shape)))


class Scales:
    """Weighs the layers of a model as the first pass reaches them."""

    def __init__(self, model):
        self.found, self.hooks = {}, []
        for name, layer in model.named_modules():
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                self.hooks.append(layer.register_forward_hook(self.hook(name)))

    def hook(self, name):
        def scale(layer, _, out):
            if name in self.found:
                return out
            self.found[name] = exponent = -round(float(out.float().std().log2()))
            for weights in layer.parameters():
                weights.mul_(2.0**exponent)
            return out * 2.0**exponent

        return scale

    def write(self, path):
        for hook in self.hooks:
            hook.remove()
        lines = (f"{name} {exponent}\n" for name, exponent in sorted(self.found.items()))
        open(path, "w").writelines(lines)


def nhwc_input(*shape):
    i = np.arange(np.prod(shape), dtype=np.uint64)
    values = (i * np.uint64(2654435761) % np.uint64(4096)).astype(np.float32)
    return torch.from_numpy((values / 2048 - 1).reshape(shape))


def make(options):
    config = json.load(open(options.config))
    n, side = options.rows, options.size
    kind = UNet2DConditionModel if options.part == "unet" else AutoencoderKL
    # Weights are filled below; making them random first would take minutes.
    with torch.device("meta"):
        model = kind.from_config(config)
    model = model.to_empty(device="cpu").eval()
    fill(model)
    x = nhwc_input(n, side, side, 4).permute(0, 3, 1, 2)
    x = x.contiguous()
    if options.form != "nchw":
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    if options.part == "vae":
        return model, lambda: model.decode(x).sample
    context = nhwc_input(n, 77, config["cross_attention_dim"])
    whole = torch.compile(model) if options.form == "compile" else model
    return model, lambda: whole(x, 500, encoder_hidden_states=context).sample


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["unet", "vae"])
    parser.add_argument("config")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--form", default="channels_last")
    parser.add_argument("--scales")
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    model, run = make(options)
    if options.scales:
        scales = Scales(model)
        run()
        scales.write(options.scales)
    y = run().permute(0, 2, 3, 1).contiguous().numpy()
    if options.out:
        y.tofile(options.out)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(f"{time.perf_counter() - start:.6f}", flush=True)


if __name__ == "__main__":
    main()

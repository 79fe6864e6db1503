"""The peer of bench_ops --steps-from-stdin: the same operations in PyTorch.

For each line of JSON that describes one it answers "ready", then for each empty line runs it
and prints its seconds. Convolutions are channels_last, the fastest PyTorch has on CPUs.
"""

import json
import sys
import time

import torch
from torch.nn import functional

SILU, QUICK_GELU, GEGLU = 1, 3, 4  # enum activation


def linear(rows, activation, **shape):
    x, w = torch.randn(rows, shape["in"]), torch.randn(shape["out"], shape["in"])

    def run():
        y = functional.linear(x, w)
        if activation == GEGLU:
            value, gate = y.chunk(2, -1)
            return value * functional.gelu(gate)
        if activation == QUICK_GELU:
            return y * torch.sigmoid(1.702 * y)
        return functional.silu(y) if activation == SILU else y
    return run


def conv(side, size, stride, **shape):
    last = torch.channels_last
    x = torch.randn(1, shape["in"], side, side).contiguous(memory_format=last)
    w = torch.randn(shape["out"], shape["in"], size, size).contiguous(memory_format=last)
    return lambda: functional.conv2d(x, w, stride=stride, padding=size // 2)


def attention(queries, keys, width, heads):
    q, k, v = (torch.randn(1, heads, n, width) for n in (queries, keys, keys))
    return lambda: functional.scaled_dot_product_attention(q, k, v)


def group_norm(side, c):
    x = torch.randn(1, c, side, side).contiguous(memory_format=torch.channels_last)
    one = torch.ones(c)
    return lambda: functional.silu(functional.group_norm(x, 32, one, one))


def layer_norm(side, c):
    x, one = torch.randn(side * side, c), torch.ones(c)
    return lambda: functional.layer_norm(x, (c,), one, one)


OPS = {"linear": linear, "conv": conv, "attention": attention, "group_norm": group_norm,
       "layer_norm": layer_norm}


def main():
    torch.set_grad_enabled(False)
    run = None
    for line in sys.stdin:
        if line.strip():
            shape = json.loads(line)
            for name in ("work", "operations", "bytes", "fma_peak_gflops", "copy_gb_per_s"):
                shape.pop(name, None)
            run = OPS[shape.pop("op")](**shape)
            run()
            print("ready", flush=True)
        else:
            start = time.perf_counter()
            run()
            print(f"{time.perf_counter() - start:.6f}", flush=True)


if __name__ == "__main__":
    main()

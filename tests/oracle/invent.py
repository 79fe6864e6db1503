"""Weights that need no file: each value is a pure function of its tensor's name and its place.

A tensor is described by [name, dtype, shape, exponent, offset]. Value i is k / 128 * 2^exponent +
offset, where k is the signed top byte of splitmix64 at (FNV-1a of the name) + i, its lower four
bits zero where there is an offset: so that every value is exact in float16 and bfloat16 too.
tests/gpu/support_family.c makes the same.
"""

import json
import math

import numpy as np
import torch

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


def name_hash(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def values(name, count):
    """The bytes k."""
    at = np.arange(count, dtype=np.uint64) + np.uint64(name_hash(name))
    at = at + np.uint64(0x9E3779B97F4A7C15)
    at = (at ^ (at >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    at = (at ^ (at >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    at = at ^ (at >> np.uint64(31))
    return (at >> np.uint64(56)).astype(np.uint8).view(np.int8)


def tensor(description):
    name, dtype, shape, exponent, offset = description
    if dtype == "I64":  # one number, the offset
        return torch.full(shape, offset, dtype=torch.int64)
    k = values(name, math.prod(shape))
    if offset:
        k = k & np.int8(-16)
    found = k.astype(np.float32) / 128 * np.float32(2.0**exponent) + np.float32(offset)
    return torch.from_numpy(found).reshape(shape).to(DTYPES[dtype])


def describe(name, shape, dtype, gain=1.0, norm=False):
    """Weights are scaled by their fan-in, so that a layer's output is of order one."""
    if len(shape) < 2:
        return [name, dtype, list(shape), -2 if norm else -3, 1 if norm else 0]
    fan_in = math.prod(shape[1:])
    return [name, dtype, list(shape), round(math.log2(gain * math.sqrt(3 / fan_in))), 0]


def tensors(descriptions):
    return {description[0]: tensor(description) for description in descriptions}


def write_json(path, value):
    """One line a tensor."""
    text = json.dumps(value, ensure_ascii=False).replace('], ["', '],\n["')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")

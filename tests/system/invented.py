"""Safetensors files of invented values, as tests/oracle/invent.py describes them; without numpy."""
import json
import math
import struct

MASK = 2**64 - 1
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}


def name_hash(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def signed_byte(at):
    at = at + 0x9E3779B97F4A7C15 & MASK
    at = (at ^ at >> 30) * 0xBF58476D1CE4E5B9 & MASK
    at = (at ^ at >> 27) * 0x94D049BB133111EB & MASK
    byte = (at ^ at >> 31) >> 56
    return byte - 256 if byte > 127 else byte


def spell(dtype, value):
    if dtype == "I64":
        return struct.pack("<q", int(value))
    if dtype == "BF16":
        return struct.pack("<f", value)[2:]
    return struct.pack("<f" if dtype == "F32" else "<e", value)


def tensor(name, dtype, shape, exponent, offset):
    """Only 256 values are possible: each is spelled once."""
    mask = -16 if offset else -1
    table = [spell(dtype, (k & mask) / 128 * 2.0**exponent + offset)
             for k in (*range(128), *range(-128, 0))]
    seed = name_hash(name)
    return b"".join(table[signed_byte(seed + i & MASK)] for i in range(math.prod(shape)))


def write(path, tensors):
    header, at = {}, 0
    for name, dtype, shape, _, _ in tensors:
        end = at + math.prod(shape) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for description in tensors:
            file.write(tensor(*description))


def read(path, name):
    """The values of one F32 tensor."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    begin, end = json.loads(data[8:8 + length])[name]["data_offsets"]
    return struct.unpack(f"<{(end - begin) // 4}f", data[8 + length + begin:8 + length + end])

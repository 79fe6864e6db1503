"""Compares golden data made anew with that of the tree: byte by byte, else by value.

compare.py OLD NEW; files only OLD has are somebody else's.
"""

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

TOLERANCE = 1e-5  # relative L2; another processor rounds otherwise


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def distance(a, b):
    a, b = a.double(), b.double()
    return ((a - b).norm() / a.norm().clamp_min(1e-30)).item()


def difference(old, new):
    """What to say about two unequal files, and whether it is within the tolerance."""
    if old.suffix != ".safetensors":
        return "differs", False
    a, b = load_file(old), load_file(new)
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        return "has other tensors", False
    worst = max(a, key=lambda k: distance(a[k], b[k]))
    far = distance(a[worst], b[worst])
    return f"other bits; farthest {worst} by {far:.1e}", far <= TOLERANCE


def main():
    torch.set_num_threads(1)
    old, new = Path(sys.argv[1]), Path(sys.argv[2])
    made = {path.relative_to(new) for path in new.rglob("*") if path.is_file()}
    kept = {path.relative_to(old) for path in old.rglob("*") if path.is_file()}
    bad = [f"{path}: not in {old}" for path in sorted(made - kept)]
    for path in sorted(made & kept):
        if digest(old / path) != digest(new / path):
            text, near = difference(old / path, new / path)
            print(f"{path}: {text}")
            if not near:
                bad.append(f"{path}: {text}")
    for line in bad:
        print(line, file=sys.stderr)
    print(f"{len(made & kept)} files compared, {len(bad)} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

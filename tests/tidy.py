#!/usr/bin/env python3
"""clang-tidy over the rooms, on every core. What passed is remembered below build/ by the
content of the file and of all it includes, so that only what changed is looked at again."""
import concurrent.futures
import functools
import hashlib
import os
import re
import subprocess
import sys

BUILD = "build/dev"
PASSED = "build/tidy"
ROOMS = ("base/", "config/", "layout/", "proto/", "opencl/", "worker/", "coordinator/", "client/")
EVERYWHERE = (".clang-tidy", "CMakeLists.txt", "proto/farm.proto")


@functools.cache
def included(path):
    """The file and, in turn, all files of the tree that it includes."""
    found = {path}
    with open(path, encoding="utf-8") as file:
        for name in re.findall(r'^#include "([^"]+)"', file.read(), re.MULTILINE):
            if os.path.exists(name):
                found |= included(name)
    return found


def mark_of(path, version):
    digest = hashlib.sha256(version)
    for name in sorted(included(path)) + list(EVERYWHERE):
        with open(name, "rb") as file:
            digest.update(name.encode() + b"\0" + hashlib.sha256(file.read()).digest())
    return os.path.join(PASSED, digest.hexdigest())


def check(job):
    path, mark = job
    result = subprocess.run(["clang-tidy", "--quiet", "-p", BUILD, path],
                            capture_output=True, text=True, check=False)
    if result.returncode == 0:
        open(mark, "w", encoding="utf-8").close()
        return True
    print(result.stdout or result.stderr, end="", flush=True)
    return False


def main():
    os.makedirs(PASSED, exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.c"],
        capture_output=True, text=True, check=True).stdout.split()
    files = [path for path in files if path.startswith(ROOMS) and os.path.exists(path)]
    files.sort(key=os.path.getsize, reverse=True)  # the long ones first: no core waits
    jobs = [(path, mark_of(path, version)) for path in files]
    jobs = [job for job in jobs if not os.path.exists(job[1])]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return 0 if all(list(pool.map(check, jobs))) else 1


sys.exit(main())

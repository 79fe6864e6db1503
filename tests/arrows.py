#!/usr/bin/env python3
"""Each room includes only what CONTRIBUTING.md's table lets it use."""
import re
import subprocess
import sys

MAY_USE = {
    "base": set(),
    "config": {"base"},
    "layout": {"base"},
    "proto": {"layout", "base"},
    "opencl": {"base"},
    "worker/sd": {"opencl", "layout", "base"},
    "worker": {"worker/sd", "opencl", "proto", "config", "base"},
    "coordinator": {"proto", "config", "base"},
    "client": {"proto", "config", "base"},
}
ONLY_IN = {  # a library's header -> the files that may include it
    "sqlite3.h": r"coordinator/store",
    "CL/cl.h": r"opencl/",
    "pcre2.h": r"base/pattern",
    "png.h": r"proto/files/picture",
    "sodium.h": r"proto/|client/|coordinator/|worker/[a-z_]+\.c",
}


def room_of(path):
    return max((room for room in MAY_USE if path.startswith(room + "/")), key=len, default=None)


def main():
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.c", "*.h"],
        capture_output=True, text=True, check=True).stdout.split()
    wrong = []
    for path in files:
        room = room_of(path)
        if room is None:
            continue
        with open(path, encoding="utf-8") as text:
            for number, line in enumerate(text, 1):
                if found := re.match(r'#include "([^"]+)"', line):
                    used = room_of(found[1])
                    if used and used != room and used not in MAY_USE[room]:
                        wrong.append(f"{path}:{number}: {room} may not use {used}")
                    if used is None:
                        wrong.append(f"{path}:{number}: {found[1]} is not named from the root")
                elif found := re.match(r"#include <([^>]+)>", line):
                    if found[1] in ONLY_IN and not re.match(ONLY_IN[found[1]], path):
                        wrong.append(f"{path}:{number}: {found[1]} belongs to {ONLY_IN[found[1]]}")
    print("\n".join(wrong), end="\n" if wrong else "")
    return bool(wrong)


sys.exit(main())

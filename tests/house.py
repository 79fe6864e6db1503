#!/usr/bin/env python3
"""What CONTRIBUTING.md asks of every file and no compiler or linter knows: lengths, no
unfinished business, no paths of one machine, and scripts that parse."""
import os
import re
import subprocess
import sys

LINES = {".c": 500, ".h": 500, ".cl": 300}
COLUMNS = {".py": 100, ".sh": 100, "": 100}  # without an ending: dev, .ci/run
WRITTEN = set(LINES) | set(COLUMNS) | {".cmake", ".md", ".proto", ".sql", ".txt"}
DATA = ("tests/golden/", "tests/fuzz/seeds/", "models/emoji/tokenizer/")
UNWANTED = {
    r"\b([T]ODO|[F]IXME|[X]XX)\b": "unfinished: do it, or say in plain words why not",
    r"(?<![\w.~}\"])/(work|root|home/(?!me/))/?|(?<![\w./-])(\.\./)?[s]hared/":
        "a path of one machine",
}


def complaints(path):
    ending = os.path.splitext(os.path.basename(path))[1]
    if ending not in WRITTEN or path.startswith(DATA) or path == "LICENSE":
        return
    with open(path, encoding="utf-8") as file:
        text = file.read()
    lines = text.splitlines()
    if len(lines) > LINES.get(ending, len(lines)):
        yield f"{path}: {len(lines)} lines, at most {LINES[ending]}"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS.get(ending, len(line)):
            yield f"{path}:{number}: {len(line)} columns, at most {COLUMNS[ending]}"
        for pattern, why in UNWANTED.items():
            if found := re.search(pattern, line):
                yield f"{path}:{number}: {found[0]}: {why}"
    if ending == ".py":
        try:
            compile(text, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            yield f"{path}:{error.lineno}: {error.msg}"


def main():
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True).stdout.splitlines()
    wrong = [line for path in files if os.path.exists(path) for line in complaints(path)]
    print("\n".join(wrong), end="\n" if wrong else "")
    return bool(wrong)


sys.exit(main())

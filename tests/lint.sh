#!/usr/bin/env bash
# What a reader should not have to find: run by ./dev lint.
set -euo pipefail
cd "$(dirname "$0")/.."
listed() { git ls-files --cached --others --exclude-standard "$@"; }
mapfile -t sources < <(listed '*.c' '*.h')

echo "clang-format"
clang-format --dry-run --Werror "${sources[@]}"

echo "arrows between rooms, lengths, paths"
python3 tests/arrows.py
python3 tests/house.py

echo "shellcheck"
shellcheck --severity=warning dev .ci/run tests/lint.sh tests/tsan.sh

# for-each macros of czmq and jansson look to it as if they set nothing.
echo "cppcheck"
listed '*.c' ':!tests' | cppcheck --file-list=- -j "$(nproc)" --quiet --std=c11 \
    --enable=warning,performance --inline-suppr --suppress=missingInclude \
    --suppress=missingIncludeSystem --suppress=uninitvar --error-exitcode=1 -I.

echo "clang-tidy"
[ -f build/dev/build.ninja ] || cmake --preset dev >/dev/null
cmake --build --preset dev --target farm_messages >/dev/null
python3 tests/tidy.py
echo "lint: nothing found"

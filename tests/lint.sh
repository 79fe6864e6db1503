#!/usr/bin/env bash
# What a reader should not have to find: run by ./dev lint.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.c' '*.h')

echo "clang-format"
clang-format --dry-run --Werror "${sources[@]}"

echo "arrows between rooms"
python3 tests/arrows.py

echo "cppcheck"
cppcheck --quiet --std=c11 --enable=warning,performance --inline-suppr \
    --suppress=missingInclude --suppress=missingIncludeSystem --error-exitcode=1 \
    -I. -j 2 base config proto opencl worker coordinator client

echo "clang-tidy"
cmake --preset dev >/dev/null
cmake --build --preset dev --target farm_messages >/dev/null
printf '%s\n' "${sources[@]}" | grep '\.c$' | grep -v ^tests/ |
    xargs -P 2 -n 8 clang-tidy --quiet -p build/dev 2>/dev/null
echo "lint: nothing found"

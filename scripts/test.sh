#!/usr/bin/env bash
# Install with the dev extra, then lint, types and tests; --all adds the slow ones and those on real data.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh dev
marks=(-m "not slow and not data and not browser and not cluster")
if [ "${1:-}" = --all ]; then marks=(); shift; fi
bin=.venv/bin
$bin/ruff check .
$bin/ruff format --check .
$bin/mypy
unset PYTHONDONTWRITEBYTECODE  # the commands that tests start would compile the package each time
OMP_NUM_THREADS=1 $bin/python -m pytest -n 2 "${marks[@]}" "$@"

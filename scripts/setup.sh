#!/usr/bin/env bash
# Makes .venv and installs seq2seq, with the extras in $1 if given, at the exact versions of requirements.lock.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:-}
stamp=.venv/.installed-$extras
if [ -x .venv/bin/python ] && [ -e "$stamp" ] && [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt requirements.lock ]; then
  exit 0
fi
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: Python 3.10 or newer is needed; set PYTHON to one" >&2; exit 2; }
[ -x .venv/bin/python ] || "$python" -m venv .venv
# The pins are one consistent set for Python 3.11 and newer; on 3.10 the ranges of pyproject.toml decide.
pins=(--constraint requirements.lock)
torch=$(grep '^torch==' requirements.lock)
.venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { pins=(); torch="torch>=2.6"; }
echo "installing into .venv (once) ..." >&2
.venv/bin/python -m pip install -qq --disable-pip-version-check "$torch"
.venv/bin/python -m pip install -qq --disable-pip-version-check "${pins[@]}" --editable ".${extras:+[$extras]}"
.venv/bin/python -c 'import seq2seq, torch'
touch "$stamp"

"""Imports point one way, every module imports by itself, and the documented commands exist."""

import ast
from pathlib import Path

import pytest

from tests.support import ROOT

PACKAGE = ROOT / "seq2seq"

# What each place may import of this package; commands stand above everything.
BASE = {"errors", "parts"}
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "parts": {"errors"},
    "data": BASE,
    "models": BASE,
    "decoding": BASE,
    "metrics": BASE,
    "report": set(),
    "optimizers": BASE,
    "schedules": BASE,
    "options": BASE | {"optimizers", "schedules"},
    "rundir": {"errors"},
    "explain": {"parts"},
    "processes": set(),
    "preflight": {"errors", "processes"},
    "launch": {"errors", "explain"},
    "tasks": BASE | {"data", "models", "decoding", "metrics"},
}
COMMANDS = {"train", "evaluate", "predict", "lint", "midi", "launch"}


def imports_of(path: Path) -> set[str]:
    """First names under `seq2seq` that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "seq2seq" else [f"seq2seq.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("seq2seq.")}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    imported = imports_of(path)
    if place in LAYERS:
        assert imported <= LAYERS[place] | {place}
    elif place != "__init__":
        assert not imported & COMMANDS, "nothing imports a command"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "every file says what it is"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.end_lineno - node.body[0].lineno + 1  # type: ignore[operator]
            assert body <= 60, f"{node.name} has {body} lines"


def test_nothing_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert [path for path in FILES if path.stem in vague] == []

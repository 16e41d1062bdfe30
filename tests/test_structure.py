"""Imports point one way, without circles; every folder has its rule; parts have names of their own."""

import ast
import importlib
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import seq2seq
from seq2seq.cli import commands
from seq2seq.configurable import Part, descendants
from tests.support import ROOT

PACKAGE = ROOT / "seq2seq"

# What the modules of each folder may import of this package, besides their neighbours. "data" are the modules directly
# in data/ but for its door, data/datamodule. Commands may import all but each other.
GROUND = {"atomic_files", "configurable", "errors", "pinned_copy", "plain_types", "plugins"}
DATA = GROUND | {"data"}
ALL_DATA = DATA | {"data/tokenizers", "data/batching", "data/corpora", "data/datamodule"}
TASKS = ALL_DATA | {"models", "decoding", "metrics", "tasks"}
RULES: dict[str, set[str]] = {
    "atomic_files": set(),
    "errors": set(),
    "pinned_copy": set(),
    "plugins": set(),
    "configurable": {"errors", "plugins"},
    "plain_types": {"errors"},
    "report": {"atomic_files", "errors", "plain_types"},
    "cluster": {"errors"},
    "decoding": {"errors", "pinned_copy"},
    "models": GROUND,
    "metrics": GROUND,
    "data": GROUND,
    "data/tokenizers": DATA,
    "data/batching": DATA | {"data/tokenizers"},
    "data/corpora": DATA,
    "data/corpora/builtin": DATA | {"data/corpora"},
    "data/checks": DATA | {"data/tokenizers", "data/batching"},
    "data/datamodule": ALL_DATA - {"data/datamodule"} | {"data/corpora/builtin"},  # its default corpus is one of them
    "tasks": TASKS - {"tasks", "data/corpora", "data/datamodule"},
    "runs": TASKS,
    "inference": TASKS | {"runs"},
    "analysis": TASKS | {"runs", "inference", "report"},
    "training": TASKS | {"runs", "inference", "cluster", "data/checks"},
    "device_check": TASKS | {"runs", "training", "analysis", "data/corpora/builtin"},
    "testing": TASKS,
    "cli": TASKS | {"runs", "training/options"},
    "starting": DATA | {"data/corpora"},
    "exporting": TASKS | {"runs", "report"},
    "serving": TASKS | {"inference", "api"},
    "experiments": TASKS | {"cli", "runs", "inference", "training", "analysis", "report", "cluster"},
    "speed": TASKS | {"cli", "runs", "inference", "training", "experiments", "api", "data/corpora/builtin"},
    "api": TASKS | {"runs", "inference", "analysis", "training", "train", "evaluate"},  # the other way into these two
}
COMMANDS = {name for name in commands.found() if (PACKAGE / f"{name}.py").is_file()} | {"__main__", "runs/__main__"}
DOOR = {"": {"api", "cli"}, "data/corpora": {"data/corpora/builtin"}}
"""What the `__init__` of a package may import besides: the Python interface, when it is used, and known help; all corpora."""

FILES = sorted(PACKAGE.rglob("*.py"))
RUNTIME = ROOT / "runtime" / "seq2seq_runtime"
"""A package of its own, which knows nothing of this one."""


def name_of(path: Path) -> str:
    """A file as a dotted name without `seq2seq.`; "" is the package itself."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").strip(".")


MODULES = {name_of(path): path for path in FILES}


def imports_of(path: Path) -> Iterator[str]:
    """The modules of this package that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("seq2seq."):
                inner = name.removeprefix("seq2seq.")
                yield inner if inner in MODULES else inner.rpartition(".")[0]


def folder_of(module: str) -> str:
    """The folder whose rule a module follows."""
    place = module.replace(".", "/")
    if place in ("data/datamodule", *GROUND, *COMMANDS):
        return place
    path = MODULES[module]
    return str(path.parent.relative_to(PACKAGE)).strip(".")


@pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "seq2seq")
def test_imports_point_one_way(module: str) -> None:
    folder = folder_of(module)
    imported = {name: folder_of(name) for name in imports_of(MODULES[module]) if folder_of(name) != folder}
    assert folder in ("", "api") or not COMMANDS & set(imported.values()), "only Python's way in imports a command"
    if folder in COMMANDS:
        return
    door = DOOR.get(folder, set()) if MODULES[module].name == "__init__.py" else set()
    allowed = RULES.get(folder, set()) | door
    assert {name for name, place in imported.items() if not {place, name.replace(".", "/")} & allowed} == set()


def test_every_folder_has_a_rule() -> None:
    assert {folder_of(module) for module in MODULES} == {*RULES, *COMMANDS, ""}


def test_no_circles() -> None:
    after = {
        module: {name for name in imports_of(path) if name != module} for module, path in MODULES.items() if module
    }
    while free := [module for module, needs in after.items() if not needs & set(after)]:
        for module in free:
            del after[module]
    assert sorted(after) == []


def test_the_runtime_needs_three_packages_alone() -> None:
    own, standard = {RUNTIME.name, "numpy", "onnxruntime", "sentencepiece"}, sys.stdlib_module_names
    for path in RUNTIME.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= own | standard, path


@pytest.mark.parametrize("path", [*FILES, *RUNTIME.rglob("*.py")], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "every file says what it is"
    assert len(text.splitlines()) <= 450
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.end_lineno - node.body[0].lineno + 1  # type: ignore[operator]
            assert body <= 50, f"{node.name} has {body} lines"


def test_nothing_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert [path for path in FILES if path.stem in vague] == []


def test_parts_have_different_names() -> None:
    """Files name our parts by class name alone."""
    for module in pkgutil.walk_packages(seq2seq.__path__, "seq2seq."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    names = Counter(kind.__name__ for kind in set(descendants(Part)) if kind.__module__.startswith("seq2seq."))
    assert len(names) > 100
    assert [name for name, count in names.items() if count > 1] == []


def test_classes_have_different_names() -> None:
    classes = Counter(
        node.name for path in FILES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in classes.items() if count > 1] == []


def test_no_test_imports_another() -> None:
    """What two of them need stands in tests/support.py, or in a module beside them that has no tests."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    imported = {name for path in files for name in re.findall(r"^(?:from|import) (tests\S*)", path.read_text(), re.M)}
    assert {name for name in imported if ".test_" in name} == set()

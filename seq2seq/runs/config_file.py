"""A configuration as a file: by name or path, YAML to plain settings and back."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader

from seq2seq.errors import InputError

plain_yaml = get_loader("yaml")
"""With 1e-3 as a number, which YAML 1.1 takes for a text."""

SHIPPED = Path(__file__).parents[1] / "configurations"
"""Those that come with the package; in a checkout a link to configs/."""


def shipped() -> dict[str, Path]:
    """The configurations that come with the package, by name: translation_cldr, papers/cho2014."""
    files = sorted(SHIPPED.rglob("*.yaml"), key=lambda file: (file.parent, file.name))
    return {file.relative_to(SHIPPED).with_suffix("").as_posix(): file for file in files}


def find(name: str) -> Path:
    """The file that `--config` means: a path, or else the name of a configuration that comes with the package."""
    path = Path(name)
    return path if path.suffix or path.is_file() else shipped().get(name, path)


def nearest(path: Path) -> str:
    """The configuration of the package that a missing file may mean, for a message."""
    names = list(shipped())
    asked = path.with_suffix("").as_posix().rpartition("configs/")[2]
    close = difflib.get_close_matches(asked, names, n=1, cutoff=0.7)
    return f"did you mean --config {close[0]}? " if close else ""


def load_yaml(text: str) -> Any:
    """Plain values of YAML; YAMLError for a key that is there twice, of which the first would be lost in silence."""
    try:
        refuse_twice(yaml.compose(text, yaml.SafeLoader))
        return plain_yaml(text)
    except (RecursionError, ValueError, OverflowError) as problem:  # too deep; a date or number that there is not
        raise yaml.YAMLError(" ".join(str(problem).split()) or "it is nested too deeply") from problem


def refuse_twice(root: yaml.Node | None) -> None:
    """Raise YAMLError where a key is in a mapping twice, at any depth."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:  # an alias means a node that has been looked at
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[Any, int] = {}
            for key, value in node.value:
                waiting += [key, value]
                name, line = (key.tag, str(key.value)), key.start_mark.line + 1
                if name in lines and key.value != "<<":
                    raise yaml.YAMLError(f"{key.value} is set in line {lines[name]} and again in line {line}; keep one")
                lines[name] = line


def read_yaml(file: Path) -> dict[str, Any]:
    """A configuration file as plain values."""
    try:
        content = load_yaml(file.read_text(encoding="utf-8"))
    except OSError as problem:
        hint = f"; {nearest(file)}seq2seq configs lists those of the package" if not file.exists() else ""
        raise InputError(f"cannot read the configuration {file}: {problem.strerror or problem}{hint}") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise InputError(f"{file} is no YAML: {' '.join(str(problem).split())}") from problem
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no settings; see configs/ for examples")
    return content


def to_yaml(values: dict[str, Any]) -> str:
    """Settings as YAML in their own order."""
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text

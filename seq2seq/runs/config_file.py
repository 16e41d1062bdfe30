"""A configuration as a file: YAML to plain settings and back."""

from pathlib import Path
from typing import Any

import yaml

from seq2seq.errors import InputError


def read_yaml(file: Path) -> dict[str, Any]:
    """A configuration file as plain values."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(f"cannot read the configuration {file}: {problem.strerror or problem}") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise InputError(f"{file} is no YAML: {' '.join(str(problem).split())}") from problem
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no settings; see configs/ for examples")
    return content


def to_yaml(values: dict[str, Any]) -> str:
    """Settings as YAML in their own order."""
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text

"""Settings as Python gives them, dictionaries and parts, as plain values of a file and of a command line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seq2seq.configurable import Part, Settings, plain
from seq2seq.errors import InputError


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a file has them: parts become plain values, and dotted names groups."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        group, names = result, str(name).split(".")
        for outer in names[:-1]:
            group = group.setdefault(outer, {})
            if not isinstance(group, dict):
                raise InputError(f"{name} is given besides {outer}; give one of them")
        known, given = group.get(names[-1]), as_settings(value)
        group[names[-1]] = {**known, **given} if isinstance(known, dict) and isinstance(given, dict) else given
    return result


def as_settings(value: Any) -> Any:
    """A value as a file has it."""
    if isinstance(value, Settings) or (type(value).__name__.endswith("Options") and isinstance(value, Part)):
        return value.specification()["init_args"]  # a group whose class is not chosen
    if isinstance(value, Part):
        return plain(value)
    if isinstance(value, Mapping):
        return nested(value)
    if isinstance(value, (list, tuple)):
        return [as_settings(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InputError(f"{value!r:.60} is neither a plain value nor a part, such as GRU()")


def as_arguments(settings: Mapping[str, Any]) -> list[str]:
    """The same for a command line."""
    arguments = []
    for name, value in dotted(nested(settings)):
        arguments.append(f"--{name}={value if isinstance(value, str) else json.dumps(value)}")
    return arguments


def dotted(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Groups by dotted names; a part is one value."""
    result: list[tuple[str, Any]] = []
    for name, value in settings.items():
        whole = f"{before}{name}"
        group = isinstance(value, Mapping) and "class_path" not in value
        result += dotted(value, f"{whole}.") if group else [(whole, value)]
    return result

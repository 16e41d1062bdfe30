"""Cases of parametrised tests: which are slow, and which fail until a bug is fixed."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest

slow = pytest.mark.slow


def failing(reason: str, *values: Any, kind: type[Exception] = RuntimeError, marks: Iterable[Any] = ()) -> Any:
    """A case that fails until the bug is fixed."""
    return pytest.param(*values, marks=[pytest.mark.xfail(strict=True, reason=reason, raises=kind), *marks])


def mostly_slow(values: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """All values; those that are not in `fast` belong to the slow tests."""
    return [
        value if value in fast else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=slow)
        for value in values
    ]

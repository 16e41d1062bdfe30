"""Values of a stranger's JSON, each with the type that it must have."""

from collections.abc import Mapping
from typing import Any

from seq2seq_runtime.problems import FileError

MOST = 1 << 31
"""No count in a file is larger."""


class Fields:
    """The entries of one JSON object."""

    def __init__(self, values: object, name: str) -> None:
        """name: of the object, for messages."""
        if not isinstance(values, dict):
            raise FileError(f"{name} is {shown(values)}, which is no object")
        self.values: Mapping[str, Any] = values
        self.name = name

    def value(self, name: str) -> Any:
        """An entry of any type, which must be there."""
        if name not in self.values:
            raise FileError(f"{self.name} has no entry {name!r}")
        return self.values[name]

    def wrong(self, name: str, expected: str) -> FileError:
        """An entry of another type."""
        return FileError(f"{self.name}: {name!r} is {shown(self.values.get(name))}; {expected} is expected")

    def has(self, name: str) -> bool:
        """Whether there is an entry that is not null."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """A string."""
        value = self.value(name)
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def letter(self, name: str) -> str:
        """A string of one character."""
        value = self.text(name)
        if len(value) != 1:
            raise self.wrong(name, "one character")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.value(name)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def whole(self, name: str, low: int = 0, most: int = MOST) -> int:
        """A whole number."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= most:
            raise self.wrong(name, f"a whole number from {low} to {most}")
        return value

    def number(self, name: str, low: float, most: float) -> float:
        """A real number."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= most:
            raise self.wrong(name, f"a number from {low:g} to {most:g}")
        return float(value)

    def strings(self, name: str) -> list[str]:
        """A list of strings."""
        value = self.value(name)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.wrong(name, "a list of strings")
        return value

    def numbers(self, name: str, low: float = -3.4e38, most: float = 3.4e38) -> list[float]:
        """A list of real numbers."""
        value = self.value(name)
        if not isinstance(value, list):
            raise self.wrong(name, "a list of numbers")
        inner = Fields(dict(enumerate(value)), f"{self.name}: {name!r}")
        return [inner.number(place, low, most) for place in inner.values]

    def inner(self, name: str) -> "Fields":
        """An object."""
        return Fields(self.value(name), f"{self.name}: {name!r}")


def shown(value: object) -> str:
    """A value as a message shows it, on one line."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:40]}..."

"""Parts: small classes that a configuration selects by name and a checkpoint stores as JSON."""

import inspect
from collections.abc import Iterator
from typing import Any, TypeVar

from seq2seq.errors import InputError


class Part:
    """A choice with its settings, such as `LSTM(forget_bias=1.0)`.

    Every argument of `__init__` is kept in an attribute of the same name, so that a part describes itself.
    """

    def specification(self) -> dict[str, Any]:
        """Plain JSON from which `build` makes an equal part: {"class_path": ..., "init_args": {...}}."""
        arguments = {name: plain(getattr(self, name)) for name in inspect.signature(type(self)).parameters}
        return {"class_path": f"{type(self).__module__}.{type(self).__qualname__}", "init_args": arguments}

    def __repr__(self) -> str:
        arguments = self.specification()["init_args"]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


class Settings(Part):
    """Settings inside others: a dataclass whose class is not chosen, so that a YAML gives its fields."""


P = TypeVar("P", bound=Part)


def plain(value: Any) -> Any:
    """The JSON form of an argument: parts, also inside lists and dicts, become specifications, tuples become lists."""
    if isinstance(value, Part):
        return value.specification()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return {name: plain(one) for name, one in value.items()} if isinstance(value, dict) else value


def revive(value: Any) -> Any:
    """The argument that `plain` has described."""
    if isinstance(value, dict):
        return build(Part, value) if "class_path" in value else {name: revive(one) for name, one in value.items()}
    return [revive(one) for one in value] if isinstance(value, (list, tuple)) else value


def build(base: type[P], specification: dict[str, Any], **more: Any) -> P:
    """Make the part that `specification` describes; `more` adds arguments that are no JSON (a tokenizer, say).

    Only subclasses of `base` that are already imported are found, never a module that a file names: a checkpoint
    from a stranger cannot make this import or call anything else. A class of your own must be imported first.
    """
    wanted = specification["class_path"]
    for candidate in descendants(base):
        if f"{candidate.__module__}.{candidate.__qualname__}" == wanted:
            break
    else:
        known = ", ".join(sorted(kind.__qualname__ for kind in descendants(base)))
        remedy = "import the module that defines it first (--import MODULE)"
        raise InputError(f"{wanted} is no known {base.__name__} (known: {known}); {remedy}")
    arguments = {name: revive(value) for name, value in specification.get("init_args", {}).items()}
    try:
        return candidate(**arguments, **more)
    except TypeError as problem:
        raise InputError(f"the stored settings of {wanted} do not fit this version: {problem}") from problem


def descendants(base: type[P]) -> Iterator[type[P]]:
    """`base` and every subclass of it that has been imported."""
    yield base
    for child in base.__subclasses__():
        yield from descendants(child)

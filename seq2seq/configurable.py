"""Parts: small classes that a configuration selects by name and a checkpoint stores as JSON."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from seq2seq import plugins
from seq2seq.errors import InputError, UnknownClass


class Part:
    """A choice with its settings, such as `LSTM(forget_bias=1.0)`.

    Every argument of `__init__` is kept in an attribute of the same name, so that a part describes itself.
    """

    writes: ClassVar[tuple[str, ...]] = ()
    """What a subclass must write besides abstract methods, for the contract of its kind."""

    def specification(self) -> dict[str, Any]:
        """Plain JSON from which `build` makes an equal part: {"class_path": ..., "init_args": {...}}."""
        arguments = {name: plain(getattr(self, name)) for name in inspect.signature(type(self)).parameters}
        return {"class_path": stored_name(type(self)), "init_args": arguments}

    def __repr__(self) -> str:
        arguments = self.specification()["init_args"]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


class Settings(Part):
    """Settings inside others: a dataclass whose class is not chosen, so that a YAML gives its fields."""


P = TypeVar("P", bound=Part)


def lacking(kind: type) -> list[str]:
    """What a class must still write before it can be used: abstract methods, and `writes` of the classes above it."""
    names = sorted(getattr(kind, "__abstractmethods__", ()))
    for base in kind.__mro__:
        own = vars(base)
        names += [name for name in own.get("writes", ()) if inspect.getattr_static(kind, name, None) is own.get(name)]
    return names


def refuse_incomplete(kind: type) -> None:
    """Raise InputError for a class that does not keep the contract of its kind."""
    if names := lacking(kind):
        bases = [base.__name__ for base in kind.__mro__[1:] if base.__module__.startswith("seq2seq.")]
        what = f" as a {bases[0]}" if bases else ""
        raise InputError(f"{stored_name(kind)} lacks {', '.join(names)}, which it must write{what}: docs/extending.md")


def plain(value: Any) -> Any:
    """The JSON form of an argument: parts, also inside lists and dicts, become specifications, tuples become lists."""
    if isinstance(value, Part):
        return value.specification()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return {name: plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def revive(value: Any) -> Any:
    """The argument of which `plain` has made JSON."""
    if isinstance(value, dict):
        return build(Part, value) if "class_path" in value else {name: revive(item) for name, item in value.items()}
    return [revive(item) for item in value] if isinstance(value, (list, tuple)) else value


def build(base: type[P], specification: dict[str, Any], **more: Any) -> P:
    """Make the part that `specification` describes; `more` adds arguments that are no JSON (a tokenizer, say).

    Only subclasses of `base` that are already imported or come with an installed plug-in are found, never a module
    that a file names: a checkpoint from a stranger cannot make this import or call anything else. A class of your own
    must be imported first.
    """
    wanted, given = specification.get("class_path"), specification.get("init_args", {})
    candidate = imported(base, wanted)
    if candidate is None and isinstance(wanted, str) and "." in wanted:
        plugins.load()
        candidate = imported(base, wanted)
    if candidate is None:
        known = ", ".join(sorted(kind.__qualname__ for kind in usable(base)))
        raise UnknownClass(f"{wanted} is no known {base.__name__} (known: {known})", str(wanted))
    if not isinstance(given, Mapping):
        raise InputError(f"the stored settings of {wanted} are damaged: {given!r:.80} holds no names")
    refuse_incomplete(candidate)
    arguments = {name: revive(value) for name, value in given.items()}
    refuse_wrong_types(candidate, arguments)
    try:
        return candidate(**arguments, **more)
    except TypeError as problem:
        raise InputError(f"the stored settings of {wanted} do not fit this version: {problem}") from problem


def imported(base: type[P], wanted: Any) -> type[P] | None:
    """The subclass of `base` that has been imported and that `wanted`, read from a file, means."""
    return next((kind for kind in descendants(base) if named(kind, wanted)), None)


def stored_name(kind: type) -> str:
    """How files name a class: our own by its name alone, so that it may move; other people's by import path."""
    return short_name(f"{kind.__module__}.{kind.__qualname__}")


RENAMED = {
    "seq2seq.data.tokenizers.Nothing": "NoSource",
    "seq2seq.metrics.coverage.Coverage": "IntervalCoverage",
    "seq2seq.metrics.edits.WordErrorRate": "SequenceErrorRate",
    "seq2seq.models.tagging.Aligned": "AutoregressiveTagger",
}
"""Import paths in runs made before 0.1.0 whose classes have another name today."""


def short_name(path: str) -> str:
    """The import path of a class as files keep it: of our own the last part."""
    return RENAMED.get(path, path.rpartition(".")[2] if path.startswith("seq2seq.") else path)


def with_short_names(value: Any) -> Any:
    """Plain settings in which our own classes are named without their modules."""
    if isinstance(value, list):
        return [with_short_names(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        name: short_name(item) if name == "class_path" and isinstance(item, str) else with_short_names(item)
        for name, item in value.items()
    }


def flatten(settings: Any, name: str = "") -> dict[str, Any]:
    """Settings by their dotted names, as the command line has them; outer ones first.

    A part is its class's name, followed by its arguments under their own names; a list is one value.
    """
    if not isinstance(settings, Mapping) or not (settings or not name):
        return {name: with_short_names(settings)}
    kind = with_short_names(settings).get("class_path")
    flat = {} if kind is None else {name: kind}
    for inner, value in (settings if kind is None else settings.get("init_args") or {}).items():
        flat |= flatten(value, f"{name}.{inner}" if name else inner)
    return flat


def named(kind: type, path: Any) -> bool:
    """Whether `path`, read from a file, means `kind`."""
    return isinstance(path, str) and short_name(path) == stored_name(kind)


def refuse_wrong_types(kind: type, arguments: Mapping[str, Any]) -> None:
    """Raise InputError for an argument that the signature of `kind` does not allow.

    A text where a part belongs would otherwise travel on to a parser that takes it for the name of a class, imports it
    and calls it.
    """
    try:
        hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    except NameError:  # a module of the user's own, whose annotations cannot be resolved
        return
    for name, value in arguments.items():
        if not fits(value, hints.get(name, Any)):
            raise InputError(f"the stored settings of {kind.__qualname__} are damaged: {name} is {value!r:.80}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the kind that a hint names."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (None, NoneType):
        return value is None
    if origin in (Union, UnionType):
        return any(fits(value, kind) for kind in inner)
    if origin is Literal:
        return value in inner
    if origin in (list, Sequence, tuple):
        return isinstance(value, (list, tuple)) and (origin is tuple or all(fits(item, inner[0]) for item in value))
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(fits(item, inner[1]) for item in value.values())
    if hint is float:
        return isinstance(value, (int, float))
    return isinstance(value, hint) if isinstance(hint, type) and hint is not Any else True


def descendants(base: type[P]) -> Iterator[type[P]]:
    """`base` and every subclass of it that has been imported."""
    yield base
    for child in base.__subclasses__():
        yield from descendants(child)


def usable(base: type[P]) -> list[type[P]]:
    """The classes below `base` that lack nothing: what a configuration may name."""
    return [kind for kind in dict.fromkeys(descendants(base)) if kind is not base and not lacking(kind)]

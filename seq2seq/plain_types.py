"""Plain values from a file, JSON or a checkpoint, checked against type hints once, where they are read."""

from collections.abc import Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from typing_extensions import NotRequired, get_type_hints, is_typeddict

from seq2seq.errors import InputError

NUMBERS = {bool: "true or false", int: "a whole number below 2^63", float: "a number", str: "text"}
"""Plain kinds, and how a message names them."""


def refuse_misfit(value: Any, hint: Any, name: str) -> None:
    """Raise InputError that names the place inside `value` where it is of another kind than `hint` says."""
    if problem := misfit(value, hint, name):
        raise InputError(problem)


def misfit(value: Any, hint: Any, name: str) -> str:
    """The first place, with its dotted name, where a value is of another kind than `hint`; empty if none is.

    Known are the plain kinds, None, Literal, lists, tuples, mappings, unions, NamedTuple and TypedDict; of the last the
    keys it does not know are ignored, and those it does not require may be missing.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return ""
    if origin is NotRequired:
        return misfit(value, inner[0], name)
    if origin in (Union, UnionType):
        return of_several(value, inner, name)
    if hint in (None, NoneType):
        return "" if value is None else wrong(value, "null", name)
    if origin is Literal:
        return "" if value in inner else wrong(value, f"one of {', '.join(map(str, inner))}", name)
    if is_typeddict(hint):
        return of_names(value, hint, name)
    if hint in NUMBERS:
        return "" if is_plain(value, hint) else wrong(value, NUMBERS[hint], name)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            return wrong(value, "a mapping", name)
        return first(misfit(one, inner[1], f"{name}.{key}") for key, one in value.items())
    return of_rows(value, hint, name)


def of_several(value: Any, kinds: Sequence[Any], name: str) -> str:
    """`misfit` of a union; of one whose other kind is None the place inside is named."""
    problems = [misfit(value, kind, name) for kind in kinds]
    if not all(problems):
        return ""
    others = [problem for problem, kind in zip(problems, kinds, strict=True) if kind not in (None, NoneType)]
    return others[0]


def of_names(value: Any, hint: Any, name: str) -> str:
    """`misfit` of a TypedDict."""
    if not isinstance(value, Mapping):
        return wrong(value, "a mapping", name)
    hints = get_type_hints(hint, include_extras=True)
    missing = next((key for key in hint.__required_keys__ if key not in value), None)
    if missing is not None:
        return f"{name}.{missing} is missing"
    return first(misfit(value[key], kind, f"{name}.{key}") for key, kind in hints.items() if key in value)


def of_rows(value: Any, hint: Any, name: str) -> str:
    """`misfit` of a list, a tuple or a NamedTuple, which JSON writes as a list."""
    if not isinstance(value, (list, tuple)):
        return wrong(value, "a list", name)
    origin, inner = get_origin(hint), get_args(hint)
    if hasattr(hint, "_fields"):
        inner = tuple(get_type_hints(hint).values())
    elif origin in (list, Sequence) or inner[-1] is Ellipsis:
        inner = inner[:1] * len(value)
    if len(inner) != len(value):
        return wrong(value, f"a list of {len(inner)}", name)
    pairs = zip(value, inner, strict=True)
    return first(misfit(one, kind, f"{name}[{row}]") for row, (one, kind) in enumerate(pairs))


def is_plain(value: Any, kind: type) -> bool:
    """Whether a value is of one of NUMBERS; whole numbers are those of 64 bits, and are numbers too."""
    if kind is float:
        return isinstance(value, float) or is_plain(value, int)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return isinstance(value, kind)


def first(problems: Iterable[str]) -> str:
    """The first that is not empty."""
    return next(filter(None, problems), "")


def wrong(value: Any, wanted: str, name: str) -> str:
    """What stands where something else should."""
    shown = repr(value) if isinstance(value, (str, bool, float, NoneType)) else f"of type {type(value).__name__}"
    return f"{name} is {shown[:60]}; it must be {wanted}"

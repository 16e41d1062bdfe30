"""The parser's messages in plain words: one line that names the setting and what would have been legal."""

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from jsonargparse import ArgumentParser

from seq2seq.configurable import Part, descendants, named

UNKNOWN = (
    r"Group '(?P<group>[\w.]+)' does not accept option '(?P<name>[\w.]+)'",
    r"Option '(?P<name>[\w.]+)' is not accepted",
    r"unrecognized arguments: -*(?P<name>[\w.]+)",
    r"ambiguous option: -*(?P<name>[\w.]+)",
)

ONE_OF_SEVERAL = (
    r"(.*?)Does not validate against any of the Union subtypes Subtypes: \[(.*)\] Errors: "
    r"(?:- Expected a [^-]*)+Given value type: \w+ Given value: (.*)"
)
"""A plain value that is of none of several types."""


def explain(message: str, parser: ArgumentParser) -> str:
    """A message of the parser, said so that the reader knows what to write instead."""
    text = " ".join(message.split())
    return wrong_setting_of_a_class(text) or wrong_class(text, parser) or unknown_setting(text, parser) or plainer(text)


def wrong_setting_of_a_class(text: str) -> str | None:
    """A part was given a setting that it does not have."""
    found = re.search(r'(?:key "([\w.]+)".*?)?class_path \'([\w.]+)\': Option \'([\w.]+)\' is not accepted', text)
    kind = found and next((kind for kind in descendants(Part) if named(kind, found[2])), None)
    if not found or not kind:
        return None
    names = list(inspect.signature(kind).parameters)
    return f"{found[1]}: {kind.__name__} has no setting {found[3]}; {suggestion(found[3], names)}"


def wrong_class(text: str, parser: ArgumentParser) -> str | None:
    """A part was named that does not exist."""
    found = re.search(r'key "([\w.]+)".*dot import path string: (\S+)', text)
    if not found:
        return None
    hints = [getattr(action, "_typehint", None) for action in parser._actions if action.dest == found[1]]
    types = [kind for hint in hints for kind in inner(hint)]
    bases = [kind for kind in types if inspect.isclass(kind) and issubclass(kind, Part)]
    names = [kind.__name__ for base in bases for kind in descendants(base) if kind is not base]
    names += ["null"] * (type(None) in types)
    return (
        f"{found[1]}: there is no {found[2]}; {suggestion(found[2], names)} (or a class of your own, as package.Class)"
    )


def inner(hint: Any) -> Iterator[Any]:
    """A type and all that it is made of."""
    yield hint
    for part in get_args(hint):
        yield from inner(part)


def unknown_setting(text: str, parser: ArgumentParser) -> str | None:
    """A setting was given that does not exist."""
    found = next((match for pattern in UNKNOWN if (match := re.search(pattern, text))), None)
    if not found:
        return None
    group = found.groupdict().get("group") or found["name"].rpartition(".")[0]
    name = found["name"] if found["name"].startswith(group) and "." in found["name"] else f"{group}.{found['name']}"
    name = name.strip(".")
    legal = [a.dest for a in parser._actions if a.dest not in ("help", "print_config", "print_shtab")]
    legal = [one for one in legal if not one.endswith(".help")]
    groups = sorted({one.partition(".")[0] for one in legal})
    siblings = [one for one in legal if one.startswith(f"{group}.")] if group in groups else groups
    return f"unknown setting {name}: {suggestion(name, siblings)}"


def suggestion(name: str, legal: Iterable[str]) -> str:
    """The nearest legal names, and all of them."""
    names = list(dict.fromkeys(legal))
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}legal: {', '.join(names) or 'nothing'}"


def plainer(text: str) -> str:
    """A wrong value: the parser's own words without its jargon."""
    text = re.sub(r'Parser key "([\w.]+)": ', r"\1: ", text)
    text = re.sub(r"<class '([\w.]+)'>", lambda found: found[1].rpartition(".")[2], text)
    text = re.sub(r"typing\.Literal\[(.*?)\]", r"value among \1", text)
    if found := re.fullmatch(ONE_OF_SEVERAL, text):
        legal = found[2].replace("NoneType", "null").replace("bool", "true, false").replace("value among ", "")
        text = f"{found[1]}{found[3]} is none of {legal}"
    return text[:600]

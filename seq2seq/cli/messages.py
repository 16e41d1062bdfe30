"""The parser's messages in plain words: one line that names the setting and what would have been legal."""

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from jsonargparse import ArgumentParser

from seq2seq.configurable import Part, descendants, named, refuse_incomplete, usable
from seq2seq.errors import InputError

UNKNOWN = (
    r"Group '(?P<group>[\w.]+)' does not accept option '(?P<name>[\w.]+)'",
    r"Option '(?P<name>[\w.]+)' is not accepted",
    r"unrecognized arguments: -*(?P<name>[\w.]+)",
    r"ambiguous option: -*(?P<name>[\w.]+)",
)

IN_WORDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true, false", "NoneType": "null"}
"""Types as people call them."""

ONE_OF_SEVERAL = (
    r"(.*?)Does not validate against any of the Union subtypes Subtypes: \[(.*)\] Errors: "
    r"(?:- Expected a [^-]*)+Given value type: \w+ Given value: (.*)"
)
"""A plain value that has none of several types."""


def explain(message: str, parser: ArgumentParser) -> str:
    """A message of the parser that says what to write instead."""
    text = " ".join(message.split())
    found = wrong_setting_of_a_class(text) or wrong_class(text, parser) or incomplete_class(text)
    return found or unknown_setting(text, parser) or no_text(text) or plainer(text)


def no_text(text: str) -> str | None:
    """A text was wanted, and YAML has made something else of it: `no`, the language, is false."""
    key, empty = re.search(r'key "([\w.]+)"', text), re.search(r"arguments are required: ([\w, ]+?)(?= -|$)", text)
    if key and empty:
        return f"{key[1]}: {empty[1]} must be given, and is missing or empty"
    match = re.search(r"(\w+)\"?: Expected a (?:<class ')?str(?:'>)?\. Got value: ([\w.-]+)", text)
    if not match and "[str]" in text:
        match = re.search(r"'(\w+)': \[(?:[^\]]*\W)?(True|False)\b", text)
    if not match:
        return None
    name = f"{key[1]}.{match[1]}" if key and not key[1].endswith(match[1]) else match[1]
    return (
        f'{name} holds {match[2]}, where text is meant: put it in quotation marks, such as "no"; YAML takes no, yes, '
        "on and off for true and false"
    )


def refuse_empty(config: Any, parser: ArgumentParser) -> None:
    """Raise InputError for a setting that has been left empty and may not be."""
    for action in parser._actions:
        hint, name = getattr(action, "_typehint", None), action.dest
        kinds = list(inner(hint))
        if hint is None or name not in config or config[name] is not None or action.default is None:
            continue
        if type(None) not in kinds and Any not in kinds:
            raise InputError(f"{name} is empty (null); give it a value, or leave the key out for its default")


def wrong_setting_of_a_class(text: str) -> str | None:
    """A part was given a setting that it does not have."""
    match = re.search(r'(?:key "([\w.]+)".*?)?class_path \'([\w.]+)\': Option \'([\w.]+)\' is not accepted', text)
    kind = match and next((kind for kind in descendants(Part) if named(kind, match[2])), None)
    if not match or not kind:
        return None
    names = list(inspect.signature(kind).parameters)
    return f"{match[1]}: {kind.__name__} has no setting {match[3]}; {suggestion(match[3], names)}"


def wrong_class(text: str, parser: ArgumentParser) -> str | None:
    """A part was named that does not exist."""
    match = re.search(r'key "([\w.]+)".*dot import path string: (\S+)', text)
    if not match:
        return None
    hints = [getattr(action, "_typehint", None) for action in parser._actions if action.dest == match[1]]
    types = [kind for hint in hints for kind in inner(hint)]
    bases = [kind for kind in types if inspect.isclass(kind) and issubclass(kind, Part)]
    names = [kind.__name__ for base in bases for kind in usable(base)]
    names += ["null"] * (type(None) in types)
    return (
        f"{match[1]}: there is no {match[2]}; {suggestion(match[2], names)} (or a class of your own, as package.Class)"
    )


def incomplete_class(text: str) -> str | None:
    """A part was named that lacks what it must write."""
    match = re.search(r"instantiatable class, but ([\w.]+) is abstract", text)
    kind = match and next((kind for kind in descendants(Part) if named(kind, match[1])), None)
    try:
        refuse_incomplete(kind or Part)
    except InputError as problem:
        return str(problem)
    return None


def inner(hint: Any) -> Iterator[Any]:
    """A type and all that it is made of."""
    yield hint
    for part in get_args(hint):
        yield from inner(part)


def unknown_setting(text: str, parser: ArgumentParser) -> str | None:
    """A setting was given that does not exist."""
    match = next(filter(None, (re.search(pattern, text) for pattern in UNKNOWN)), None)
    if not match:
        return None
    group = match.groupdict().get("group") or match["name"].rpartition(".")[0]
    name = match["name"] if match["name"].startswith(group) and "." in match["name"] else f"{group}.{match['name']}"
    name = name.strip(".")
    if re.search(r"\.ya?ml$", text) and (file := re.search(r"unrecognized arguments: (\S+\.ya?ml)$", text)):
        return f"{file[1]}: a configuration goes after --config: --config {file[1]}"
    legal = [a.dest for a in parser._actions if a.dest not in ("help", "print_config", "print_shtab")]
    legal = [name for name in legal if not name.endswith(".help")]
    groups = sorted({name.partition(".")[0] for name in legal})
    siblings = [name for name in legal if name.startswith(f"{group}.")] if group in groups else groups
    others = tasks_with(name.partition(".")[2]) if group == "model" and name not in siblings else []
    if others:
        return f"{name} is a setting of {' and '.join(others)}, not of this task; {suggestion(name, siblings)}"
    return f"unknown setting {name}: {suggestion(name, siblings)}"


def tasks_with(setting: str) -> list[str]:
    """The tasks that have a setting of `model`."""
    from seq2seq.tasks.base import Task  # torch, which help does without

    return [kind.__name__ for kind in usable(Task) if setting in inspect.signature(kind).parameters]


def suggestion(name: str, legal: Iterable[str]) -> str:
    """The nearest legal names, and all of them."""
    names = list(dict.fromkeys(legal))
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}legal: {', '.join(names) or 'nothing'}"


def plainer(text: str) -> str:
    """A wrong value: the parser's own words without its jargon."""
    text = re.sub(r'Parser key "([\w.]+)": ', r"\1: ", text)
    text = re.sub(r"<class '([\w.]+)'>", lambda match: match[1].rpartition(".")[2], text)
    text = re.sub(r"typing\.Literal\[(.*?)\]", r"value among \1", text)
    if match := re.fullmatch(ONE_OF_SEVERAL, text):
        listed = re.search(r"list\[[\w.]*?(\w+)\]", match[2])
        if listed and not match[3].startswith("["):
            return f"{match[1]}{match[3]} is not a list; write [{match[3]}]"
        kinds = re.sub(r"value among ([^|]*?)(?=, (?:NoneType|int|float|str|bool)|$)", r"\1", match[2])
        words = [IN_WORDS.get(kind, kind) for kind in kinds.split(", ")]
        text = f"{match[1]}{match[3]} is not {' or '.join([', '.join(words[:-1]), words[-1]] if words[1:] else words)}"
    if match := re.fullmatch(r"(.*?)Expected an? (int|float|bool)\. Got value: (.*)", text):
        text = f"{match[1]}{match[3]} is not {IN_WORDS[match[2]]}"
    return text[:600]

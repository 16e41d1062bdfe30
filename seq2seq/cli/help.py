"""Help in layers: one screen of what matters, a group, a setting with its choices, a class, or everything."""

import inspect
import re
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from seq2seq.cli.messages import inner, suggestion
from seq2seq.configurable import Part, Settings, usable
from seq2seq.errors import InputError

WIDTH = 100
"""Columns that a line of help keeps to."""

MOST = (
    "data.path",
    "data.corpus",
    "data.tokenizer",
    "data.batch_tokens",
    "model.cell",
    "model.attention",
    "model.hidden_size",
    "model.layers",
    "model.dropout",
    "model.metrics",
    "optimizer.learning_rate",
    "trainer.max_epochs",
    "trainer.devices",
    "decoding.beam_size",
)
"""Settings inside groups that the first screen shows."""

RARE = ("help", "debug", "print_config", "allow_change", "replay", "patience")
"""Options that it only names."""

WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "file", NoneType: "null"}
"""How the types of plain values are called."""


class HelpShown(SystemExit):
    """The help of a parser has been printed, and there is nothing more to do."""

    def __init__(self, parser: ArgumentParser) -> None:
        super().__init__(0)
        self.parser = parser


def topic(arguments: Sequence[str]) -> str | None:
    """What the arguments ask help about: a word after --help, "" for help without one, None for no help at all."""
    for place, argument in enumerate(arguments):
        if argument in ("-h", "--help"):
            following = arguments[place + 1 : place + 2]
            return following[0] if following and not following[0].startswith("-") else ""
    return None


def page(parser: ArgumentParser, about: str) -> str:
    """The help about a group, a setting or a class; "all" is everything, "" the first screen."""
    options = options_of(parser)
    if about == "":
        return first_screen(parser, options)
    if about == "all":
        return "\n".join([*head(parser), "", *entries(options)])
    below = [action for action in options if action.dest.startswith(f"{about}.")]
    if below:
        return "\n".join([f"{title(parser, about)}.", "", *entries(below)])
    for action in options:
        if action.dest == about:
            return setting(action)
    kinds = {kind.__name__: kind for action in options for kind in choices(action)}
    if kind := kinds.get(about.rpartition(".")[2]):
        return about_class(kind)
    known = ["all", *sorted({action.dest.rpartition(".")[0] for action in options} - {""})]
    known += [action.dest for action in options]
    raise InputError(f"--help {about}: there is no such group, setting or class; {nearest(about, [*known, *kinds])}")


def nearest(about: str, names: Sequence[str]) -> str:
    """Where to look instead."""
    return suggestion(about, names).partition("legal: ")[0] + "--help all shows everything"


def options_of(parser: ArgumentParser) -> list[Action]:
    """The options that people give, without jsonargparse's own."""
    hidden = ("_ActionConfigLoad", "_ActionHelpClassPath")
    return [
        action
        for action in parser._actions
        if action.help != SUPPRESS and type(action).__name__ not in hidden and action.dest != "print_shtab"
    ]


def head(parser: ArgumentParser) -> list[str]:
    """How the command is called, and what it does."""
    positional = [f"[{a.dest}]" if a.nargs in ("?", "*") else a.dest for a in parser._actions if not a.option_strings]
    usage = parser.usage and parser.usage.replace("%(prog)s", parser.prog)
    return [f"usage: {usage or ' '.join([parser.prog, *positional, '[options]'])}", "", *wrapped(parser.description, 0)]


def first_screen(parser: ArgumentParser, options: Sequence[Action]) -> str:
    """Own options but for rare ones, the settings that matter most, and one line for each group."""
    own = [action for action in options if "." not in action.dest]
    lines = [*head(parser), "", *(line_of(action) for action in own if action.dest not in RARE)]
    lines += [f"  also: {', '.join(f'--{action.dest}' for action in own if action.dest in RARE)}"]
    if settings := [action for action in options if action.dest in MOST]:
        lines += ["", "settings that matter most:", *(line_of(action) for action in settings)]
    groups = list(dict.fromkeys(action.dest.partition(".")[0] for action in options if "." in action.dest))
    if not groups:
        return "\n".join(lines)
    lines += ["", "all settings, by group:"]
    for group in groups:
        count = sum(action.dest.startswith(f"{group}.") for action in options)
        lines.append(shortened(f"  --help {group:14} {count:3}: {title(parser, group)}"))
    return "\n".join(
        [*lines, "", "--help SETTING has its choices, --help CLASS its own settings, --help all everything"]
    )


def entries(options: Sequence[Action]) -> Iterator[str]:
    """Each option with all that is known of it."""
    for action in options:
        yield from described(action)
        if names := [kind.__name__ for kind in choices(action)]:
            yield from wrapped(f"one of {', '.join(names)}", 6)


def described(action: Action) -> list[str]:
    """An option with its type, default and help."""
    return [f"  {name_of(action)} {kind_of(action)}".rstrip() + default_of(action), *wrapped(action.help, 6)]


def setting(action: Action) -> str:
    """A setting with a line for each of its choices."""
    lines, kinds = described(action), choices(action)
    if kinds:
        width = max(len(kind.__name__) for kind in kinds)
        lines += ["", *(shortened(f"  {kind.__name__:{width}}  {first_line(kind)}") for kind in kinds)]
        lines += ["", f"--help {action.dest}.{kinds[0].__name__} shows the settings of one"]
    return "\n".join(lines)


def about_class(kind: type) -> str:
    """What a class is and its settings."""
    parser = ArgumentParser()
    parser.add_class_arguments(kind)
    text = inspect.getdoc(kind) or ""
    settings = [line.replace("  --", "  ", 1) for line in entries(options_of(parser)[1:])]
    return "\n".join([f"{kind.__name__}: {text.partition('Args:')[0].strip()}", "", *settings])


def line_of(action: Action) -> str:
    """An option on one line: the beginning of its help."""
    given = f"{name_of(action):26} {first_sentence(action.help)}"
    return shortened(f"  {given}", default_of(action))


def name_of(action: Action) -> str:
    """An option as it is given."""
    return action.option_strings[-1] if len(action.option_strings) == 2 and "-h" in action.option_strings else (
        action.option_strings[0] if action.option_strings else action.dest
    )  # fmt: skip


def default_of(action: Action) -> str:
    """The default in brackets, if there is one to show."""
    value = action.default
    if value in (SUPPRESS, None, []) or not action.option_strings:
        return ""
    if isinstance(value, (dict, Namespace)):
        value = str(value.get("class_path")).rpartition(".")[2]
    if isinstance(value, Part):
        value = type(value).__name__
    return f" ({str(value).lower() if isinstance(value, bool) else value})"


def kind_of(action: Action) -> str:
    """What may be given, in words."""
    hint = getattr(action, "_typehint", None)
    return "" if hint is None else f"[{in_words(hint)}]"


def in_words(hint: Any) -> str:
    """A type in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(map(str, parts))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(in_words, parts)))
    if origin in (list, Sequence):
        return f"list of {in_words(parts[0])}"
    if origin is dict:
        return "mapping"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def choices(action: Action) -> list[type[Part]]:
    """The classes that a setting may name."""
    hints = inner(getattr(action, "_typehint", None))
    bases = [kind for kind in hints if inspect.isclass(kind) and issubclass(kind, Part)]
    return [kind for base in bases if not issubclass(base, Settings) for kind in usable(base)]


def title(parser: ArgumentParser, group: str) -> str:
    """What a group of settings is about."""
    for one in parser._action_groups:
        if any(action.dest == group for action in one._group_actions):
            return str(one.title)
    return f"settings of {group}"


def first_line(kind: type) -> str:
    """What a class is, in one line."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def first_sentence(text: str | None) -> str:
    """The beginning of a help."""
    return re.split(r"(?<=[a-z\])])[;.] ", " ".join((text or "").split()))[0].removesuffix(".")


def shortened(line: str, ending: str = "") -> str:
    """A line that fits, its ending kept."""
    room = WIDTH - len(ending)
    return (line if len(line) <= room else f"{line[: room - 3].rstrip()}...") + ending


def wrapped(text: str | None, indent: int) -> list[str]:
    """A text in lines that fit."""
    margin = " " * indent
    return textwrap.wrap(" ".join((text or "").split()), WIDTH, initial_indent=margin, subsequent_indent=margin)

"""What every page shares: the template engine and the script with its fingerprint."""

from __future__ import annotations

import base64
import difflib
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from seq2seq.report.wording import heading, number, shortened

LONGEST = 2000
"""Characters of a text in which differences are marked; longer ones are shown as they are."""


class Fragment(NamedTuple):
    """A piece of a text; whether the reference lacks it."""

    text: str
    differs: bool


def page(template: str, **values: Any) -> str:
    """A page from its template; the same values give the same text. All but markup is escaped."""
    return environment().get_template(template).render(**values, **script())


@cache
def environment() -> Environment:
    """The templates, with escaping on and a misspelt name an error."""
    templates = Environment(
        loader=PackageLoader("seq2seq.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=number, heading=heading, shortened=shortened)
    return templates


@cache
def script() -> Mapping[str, str]:
    """The one script of a page and its fingerprint: no other may run there."""
    text = files("seq2seq.report").joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return {"script": Markup(text), "script_hash": f"sha256-{digest}"}


def marked(prediction: str, reference: str) -> list[Fragment]:
    """A prediction in pieces, marked where the reference differs: words, or characters where it has no spaces."""
    if not reference or max(len(prediction), len(reference)) > LONGEST:
        return [Fragment(prediction, False)]
    mine, theirs = (
        re.findall(r"\s+|\S+", text) if " " in reference else list(text) for text in (prediction, reference)
    )
    pieces: list[Fragment] = []
    for kind, start, stop, _, _ in difflib.SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        text = "".join(mine[start:stop])
        if text:
            pieces.append(Fragment(text, kind != "equal" and bool(text.strip())))
    return pieces

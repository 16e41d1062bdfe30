"""Texts with spans of characters that have labels, as tools for annotation write them, to words with BIO tags."""

import re
import reprlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from seq2seq.data.corpora.json_rows import Jsonl, text_of
from seq2seq.data.corpora.json_rows import pick as value_of
from seq2seq.data.lines import JOINER, with_class
from seq2seq.data.rows import Row
from seq2seq.errors import InputError

WORDS = {"marks": r"\w+|[^\w\s]", "spaces": r"\S+"}
"""How a text is cut into words: at spaces and around each punctuation mark, or at spaces alone."""

NAMES = (("start", "end", "label"), ("start_offset", "end_offset", "label"), ("begin", "end", "type"))
"""What tools call the parts of a span that is an object."""

Span = tuple[int, int, str]
"""From a character up to, not with, another one, and the label."""


class Spans(Jsonl):
    """JSON lines with a text and its spans: `{"text": "Anna rang", "entities": [[0, 4, "PER"]]}`; tags are BIO."""

    def __init__(
        self,
        source: str = "text",
        target: str = "entities",
        words: Literal["marks", "spaces"] = "marks",
        files: dict[str, str | list[str]] | None = None,
        sentence: str | None = None,
    ) -> None:
        """source, target: names of the text and of the list of spans, [start, end, label] or objects with these names.

        Characters are counted from 0, the end is the first that is not in the span.
        words: cut at spaces and around each punctuation mark, or at spaces alone.
        files: the files of each split in the folder data.path; patterns may match many.
        sentence: name of a class of the whole text, beside its spans (docs/tagging.md).
        """
        super().__init__(source, target, files, sentence=sentence)
        self.words = words

    def row(self, content: Any, file: Any, number: int) -> Row:
        location = f"{file}:{number}"
        text = text_of(value_of(content, str(self.source), location), location, str(self.source))
        given = value_of(content, str(self.target), location)
        if not isinstance(given, list):
            raise InputError(f"{location}: {self.target} is {reprlib.repr(given)}, not a list of spans")
        words = [match.span() for match in re.finditer(WORDS[self.words], text)]
        if not words:
            raise InputError(f"{location}: {self.source} is {reprlib.repr(text)}, which has no words; remove the row")
        spans = [span_of(one, text, location) for one in given]
        tags = JOINER.join(bio(words, sorted(spans), text, location))
        if self.sentence is not None:
            name = text_of(value_of(content, self.sentence, location), location, self.sentence)
            tags = with_class(name, tags, location)
        return Row(JOINER.join(text[start:end] for start, end in words), tags, number, str(file))


def span_of(given: Any, text: str, location: str) -> Span:
    """A span as numbers and label."""
    parts = given
    if isinstance(given, dict):
        names = next((some for some in NAMES if all(name in given for name in some)), ())
        parts = [given[name] for name in names]
    whole = isinstance(parts, list) and len(parts) == 3 and isinstance(parts[2], str)
    if not whole or any(isinstance(place, bool) or not isinstance(place, int) for place in parts[:2]):
        raise InputError(f"{location}: {reprlib.repr(given)} is not a span [start, end, label]")
    start, end, label = parts
    if not 0 <= start < end <= len(text) or not text[start:end].strip():
        raise InputError(f"{location}: the span {given} holds nothing of a text of {len(text)} characters")
    if not label or any(mark.isspace() for mark in label):
        raise InputError(f"{location}: the span {given} has no label without whitespace")
    return start, end, label


def bio(words: Sequence[tuple[int, int]], spans: Sequence[Span], text: str, location: str) -> Iterator[str]:
    """The tag of each word; InputError where a span begins or ends within a word, or meets another one."""
    tags = ["O"] * len(words)
    for start, end, label in spans:
        inside = [index for index, (first, after) in enumerate(words) if first < end and start < after]
        first, last = inside[0], inside[-1]
        if words[first][0] < start or words[last][1] > end:
            cut = text[words[first][0] : words[last][1]]
            raise InputError(
                f"{location}: the span {text[start:end]!r} ({label}) is a part of {cut!r}, so its words cannot be "
                "tagged; fix the span, or try the other data.corpus.words"
            )
        if any(tags[index] != "O" for index in inside):
            raise InputError(f"{location}: the span {text[start:end]!r} ({label}) meets another one; keep one of them")
        tags[first : last + 1] = [f"B-{label}"] + [f"I-{label}"] * (last - first)
    yield from tags

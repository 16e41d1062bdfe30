"""CoNLL-U and other files with a token a line."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from seq2seq.data.corpora.lines import DIVIDER, JOINER, Pair, check_delimiter, lines, listed
from seq2seq.data.corpora.text_files import Files, Shard
from seq2seq.errors import InputError, check_range


class Conllu(Files):
    """Universal Dependencies: two columns of each sentence, tokens joined by tabs (word forms may hold blanks)."""

    endings = (".conllu",)

    def __init__(
        self,
        source: str | list[str] = "form",
        target: str | list[str] = "upos",
        files: dict[str, str | list[str]] | None = None,
    ) -> None:
        """source, target: columns: id, form, lemma, upos, xpos, feats, head, deprel, deps, misc.

        Several are joined by ￨ in each word, as the tokenizer TokenFeatures wants them. files: the files of each split
        in the folder data.path; patterns may match many.
        """
        for name, columns in (("source", source), ("target", target)):
            for column in listed(columns):
                if column not in COLUMNS:
                    raise InputError(f"data.corpus.{name} is {column!r}; CoNLL-U has {', '.join(COLUMNS)}")
        self.source, self.target, self.files = source, target, files

    def read(self, shard: Shard) -> Iterator[Pair]:
        return conllu(shard[0], listed(self.source), listed(self.target))


class Conll(Files):
    """A token a line, columns of tags beside it, a blank line after each sentence; tokens are joined by tabs."""

    endings = (".conll", ".bio", ".txt")

    def __init__(
        self,
        source: int | list[int] = 1,
        target: int | list[int] = 2,
        delimiter: str | None = None,
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """source, target: columns, counted from 1; delimiter: what divides them, null for any blanks.

        Several columns are joined by ￨ in each word, as the tokenizer TokenFeatures wants them. files: the files of
        each split in the folder data.path; patterns may match many.
        """
        for name, columns in (("source", source), ("target", target)):
            for column in listed(columns):
                check_range(f"data.corpus.{name}", column, 1)
        if delimiter is not None:
            check_delimiter(delimiter)
        self.source, self.target, self.delimiter, self.files, self.encoding = source, target, delimiter, files, encoding

    def read(self, shard: Shard) -> Iterator[Pair]:
        columns = listed(self.source), listed(self.target)
        return conll(shard[0], *columns, self.delimiter, self.encoding)


BLANKS = " \t"
"""What may stand on a line that ends a sentence. Wider blanks, such as U+00A0, are text."""

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""The columns of CoNLL-U."""


def conllu(file: Path, source: Sequence[str], target: Sequence[str]) -> Iterator[Pair]:
    """Columns of each sentence, tokens joined by tabs; multiword tokens and empty nodes are no words."""
    places = [[COLUMNS.index(name) for name in side] for side in (source, target)]
    words: list[list[str]] = []
    start = 0
    for number, line in enumerate(lines(file), 1):
        if not line.strip(BLANKS):
            if words:
                yield *joined(words), start
            words = []
        elif not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != len(COLUMNS):
                raise InputError(f"{file}:{number}: {len(fields)} columns where CoNLL-U has {len(COLUMNS)}")
            if re.fullmatch(r"\d+[-.]\d+", fields[0]):
                continue
            if fields[0] != str(len(words) + 1):
                raise InputError(
                    f"{file}:{number}: the word is numbered {fields[0]!r} where {len(words) + 1} follows; "
                    "an empty line must end each sentence"
                )
            start = number if not words else start
            words.append(tokens(fields, places, f"{file}:{number}"))
    if words:
        yield *joined(words), start


def conll(
    file: Path, source: Sequence[int], target: Sequence[int], delimiter: str | None, encoding: str
) -> Iterator[Pair]:
    """Columns of each sentence, tokens joined by tabs; a line of blanks ends a sentence."""
    words: list[list[str]] = []
    start = width = 0
    places, last = [[column - 1 for column in side] for side in (source, target)], max(*source, *target)
    for number, line in enumerate(lines(file, encoding), 1):
        if not line.strip(BLANKS) or line.startswith("-DOCSTART-"):
            if words:
                yield *joined(words), start
            words = []
            continue
        fields = line.split(delimiter) if delimiter else re.split(f"[{BLANKS}]+", line.strip(BLANKS))
        width = width or len(fields)
        if len(fields) != width or width < last:
            wanted = f"column {last} is wanted" if len(fields) == width else f"{width} before"
            raise InputError(
                f"{file}:{number}: {len(fields)} columns, but {wanted}; mend the line, or "
                "set data.corpus.delimiter if tokens and tags are divided otherwise"
            )
        start = number if not words else start
        words.append(tokens(fields, places, f"{file}:{number}"))
    if words:
        yield *joined(words), start


def tokens(fields: Sequence[str], places: Sequence[Sequence[int]], where: str) -> list[str]:
    """The cells of a word, unless one could not be told from its neighbours once they are joined."""
    for cell in (fields[place] for side in places for place in side):
        if not cell or JOINER in cell:
            raise InputError(f"{where}: {cell!r} is no token: it must hold something, but no tab; mend the line")
    return [DIVIDER.join(fields[place] for place in side) for side in places]


def joined(words: Sequence[Sequence[str]]) -> tuple[str, str]:
    """The two columns of a sentence, each as one text."""
    source, target = zip(*words, strict=True)
    return JOINER.join(source), JOINER.join(target)

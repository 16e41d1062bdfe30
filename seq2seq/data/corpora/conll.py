"""CoNLL-U and other files with a token a line."""

import logging
import re
from collections.abc import Iterator, Sequence
from itertools import chain

from seq2seq.data.corpora.text_files import Files, Shard
from seq2seq.data.lines import DIVIDER, JOINER, as_list, check_delimiter, lines, with_class
from seq2seq.data.rows import Row
from seq2seq.errors import InputError, check_range

log = logging.getLogger(__name__)

LIKELY = 3
"""Sentences that begin with # from which on that is no chance."""

SPACES = " \t"
"""What may stand on a line that ends a sentence. Wider spaces, such as U+00A0, are text."""

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""The columns of CoNLL-U."""


class TokenLines(Files):
    """A token a line, columns beside it; an empty line ends a sentence. A subclass writes `fields`."""

    writes = ("fields",)
    encoding = "utf-8"
    header: bool = False
    """Whether the first line names the columns."""
    sides: list[list[int]]
    """The indices of the source's and the target's columns."""
    sentence: str | None = None
    """What a comment above a sentence calls its class."""

    def fields(self, line: str, number: int, width: int) -> list[str] | None:
        """The columns of a line; None where no token is. InputError for a wrong line, without its location.

        number: of the token in its sentence, from 1. width: columns of the token before, 0 for the file's first.
        """
        raise TypeError(f"{type(self).__name__} does not say how to read a line")

    def ends_sentence(self, line: str) -> bool:
        """Whether a line stands between sentences."""
        return not line.strip(SPACES)

    def read(self, shard: Shard) -> Iterator[Row]:
        [file] = shard
        tokens: list[list[str]] = []
        first = width = 0
        name = ""
        for number, line in enumerate(chain(lines(file, self.encoding), [""]), 1):
            if number == 1 and self.header:
                continue
            if self.ends_sentence(line):
                if tokens:
                    source, target = map(JOINER.join, zip(*tokens, strict=True))
                    if self.sentence is not None:
                        target = self.beside_class(name, target, f"{file}:{first}")
                    yield Row(source, target, first, str(file))
                tokens, name = [], ""
                continue
            if (found := self.class_of(line)) is not None:
                name = found
                continue
            try:
                fields = self.fields(line, len(tokens) + 1, width)
                if fields is None:
                    continue
                first = first if tokens else number
                tokens.append([token(fields, side) for side in self.sides])
            except InputError as problem:
                raise InputError(f"{file}:{number}: {problem}") from problem
            width = len(fields)

    def class_of(self, line: str) -> str | None:
        """The class of the sentence that a comment holds; None where a line is no such comment."""
        if self.sentence is None or not line.startswith("#"):
            return None
        found = re.fullmatch(rf"#\s*{re.escape(self.sentence)}\s*[:=\t ]\s*(.*)", line)
        return None if found is None else found[1]

    def beside_class(self, name: str, labels: str, location: str) -> str:
        """The labels of a sentence behind its class."""
        if not name:
            raise InputError(f"{location}: the sentence has no comment # {self.sentence} = ...; add it above, or set "
                             "data.corpus.sentence to null")  # fmt: skip
        return with_class(name, labels, location)


class Conllu(TokenLines):
    """Universal Dependencies: two columns of each sentence, tokens joined by tabs (word forms may hold spaces)."""

    endings = (".conllu",)

    def __init__(
        self,
        source: str | list[str] = "form",
        target: str | list[str] = "upos",
        files: dict[str, str | list[str]] | None = None,
        sentence: str | None = None,
    ) -> None:
        """source, target: columns: id, form, lemma, upos, xpos, feats, head, deprel, deps, misc.

        Several are joined by ￨ in each word, as the tokenizer TokenFeatures wants them. files: the files of each split
        in the folder data.path; patterns may match many. sentence: the name of the comment with a class of the
        sentence (`# genre = news`), beside the labels of its tokens (docs/tagging.md).
        """
        for name, columns in (("source", source), ("target", target)):
            for column in as_list(columns):
                if column not in COLUMNS:
                    raise InputError(f"data.corpus.{name} is {column!r}; CoNLL-U has {', '.join(COLUMNS)}")
        self.source, self.target, self.files, self.sentence = source, target, files, sentence
        self.sides = [list(map(COLUMNS.index, as_list(columns))) for columns in (source, target)]

    def fields(self, line: str, number: int, width: int) -> list[str] | None:
        """Comments, multiword tokens and empty nodes are no words."""
        if line.startswith("#"):
            return None
        fields = line.split("\t")
        if len(fields) != len(COLUMNS):
            raise InputError(f"{len(fields)} columns where CoNLL-U has {len(COLUMNS)}")
        if re.fullmatch(r"\d+[-.]\d+", fields[0]):
            return None
        if fields[0] != str(number):
            raise InputError(
                f"the word is numbered {fields[0]!r} where {number} follows; an empty line must end each sentence"
            )
        return fields


class Conll(TokenLines):
    """A token a line, columns of tags beside it, an empty line after each sentence; tokens are joined by tabs."""

    endings = (".conll", ".bio", ".txt")

    def __init__(
        self,
        source: int | list[int] = 1,
        target: int | list[int] = 2,
        delimiter: str | None = None,
        files: dict[str, str | list[str]] | None = None,
        encoding: str = "utf-8",
        comments: str | None = None,
        header: bool = False,
        sentence: str | None = None,
    ) -> None:
        """source, target: columns, counted from 1; delimiter: what separates them, null for any spaces and tabs.

        Several columns are joined by ￨ in each word, as the tokenizer TokenFeatures wants them. files: the files of
        each split in the folder data.path; patterns may match many. comments: what a line begins with that is none of a
        token, such as "# "; header: whether the first line names the columns. sentence: the name of the comment with a
        class of the sentence (`# intent = flight`, `# intent: flight`), beside the labels of its tokens
        (docs/tagging.md).
        """
        if comments == "":
            raise InputError('data.corpus.comments is empty, which every line begins with; set it to "#", say, or null')
        for name, columns in (("source", source), ("target", target)):
            for column in as_list(columns):
                check_range(f"data.corpus.{name}", column, 1)
        if delimiter is not None:
            check_delimiter(delimiter)
        self.source, self.target, self.delimiter, self.files, self.encoding = source, target, delimiter, files, encoding
        self.comments, self.header, self.sentence = comments, header, sentence
        self.sides = [[column - 1 for column in as_list(columns)] for columns in (source, target)]

    def ends_sentence(self, line: str) -> bool:
        return super().ends_sentence(line) or line.startswith("-DOCSTART-")

    def read(self, shard: Shard) -> Iterator[Row]:
        begun = sentences = 0
        for row in super().read(shard):
            sentences, begun = sentences + 1, begun + row.source.startswith("#")
            yield row
        if sentences == begun >= LIKELY:
            log.warning(
                "%s: each of %s sentences begins with #; if these lines are comments, set data.corpus.comments to "
                '"# " or "#"', shard[0], f"{sentences:,}",
            )  # fmt: skip

    def fields(self, line: str, number: int, width: int) -> list[str] | None:
        if self.comments is not None and line.startswith(self.comments):
            return None
        fields = line.split(self.delimiter) if self.delimiter else re.split(f"[{SPACES}]+", line.strip(SPACES))
        last = 1 + max(map(max, self.sides))
        if len(fields) != (width or len(fields)) or len(fields) < last:
            wanted = f"{width} before" if width not in (0, len(fields)) else f"column {last} is wanted"
            raise InputError(
                f"{len(fields)} columns, but {wanted}; fix the line, or set data.corpus.delimiter if something else "
                'separates tokens and tags, or data.corpus.comments to "#" if such lines are comments'
            )
        return fields


def token(fields: Sequence[str], columns: Sequence[int]) -> str:
    """Some columns of a token as one, unless it would run into its neighbours once they are joined."""
    for index in columns:
        if not fields[index] or JOINER in fields[index]:
            raise InputError(f"{fields[index]!r} is no token: it must hold something, but no tab; fix the line")
    return DIVIDER.join(fields[index] for index in columns)

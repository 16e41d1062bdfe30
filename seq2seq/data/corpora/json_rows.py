"""JSON lines and parquet: rows whose values have names."""

import json
import math
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seq2seq.data.corpora.lines import JOINER, Pair, filled_lines, listed
from seq2seq.data.corpora.text_files import Files, Shard
from seq2seq.data.number_text import text_of_list
from seq2seq.errors import InputError


class Jsonl(Files):
    """One JSON object a line."""

    endings: Sequence[str] = (".jsonl", ".json", ".ndjson")

    def __init__(
        self,
        source: str | list[str] = "source",
        target: str | list[str] = "target",
        files: dict[str, str | list[str]] | None = None,
    ) -> None:
        """source, target: names of values, with dots into inner objects (translation.en); several are joined by tabs.

        files: the files of each split in the folder data.path; patterns may match many.
        """
        self.source, self.target, self.files = source, target, files

    def read(self, shard: Shard) -> Iterator[Pair]:
        return json_lines(shard[0], (listed(self.source), listed(self.target)))


class Parquet(Jsonl):
    """Parquet files, with columns where JSON lines have names; lists of texts become tokens joined by tabs."""

    endings = (".parquet",)

    def read(self, shard: Shard) -> Iterator[Pair]:
        return parquet(shard[0], (listed(self.source), listed(self.target)))


def json_lines(file: Path, wanted: Sequence[Sequence[str]]) -> Iterator[Pair]:
    """Two values of the object on each line; a dotted name reaches into an inner object."""
    for line, number in filled_lines(file):
        where = f"{file}:{number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise InputError(f"{where}: no JSON ({problem}); is the line cut off?") from problem
        source, target = (JOINER.join([text_of(pick(content, name, where), where, name) for name in side])
                          for side in wanted)  # fmt: skip
        yield source, target, number


def pick(content: Any, name: str, where: str) -> Any:
    """A value of a JSON object by its dotted name."""
    value = content
    for part in [name] if isinstance(content, dict) and name in content else name.split("."):
        if not isinstance(value, dict) or part not in value:
            there = ", ".join(map(str, value)) if isinstance(value, dict) else reprlib.repr(value)
            raise InputError(f"{where}: there is no {name!r}, only {there or 'nothing'}; see data.corpus")
        value = value[part]
    return value


def text_of(value: Any, where: str, name: str) -> str:
    """A value as text: a text itself, a number, a list of texts, which become tokens, or of numbers or vectors."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if isinstance(value, list):
        try:
            numbers = text_of_list(value)
        except InputError as problem:
            raise InputError(f"{where}: {name}: {problem}") from problem
        value = value if numbers is None else numbers
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        if any(JOINER in one for one in value):
            raise InputError(f"{where}: {name} holds a token with a tab inside, which divides tokens; replace it")
        value = JOINER.join(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {reprlib.repr(value)}, not text; mend the row or choose another column")
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise InputError(f"{where}: {name} holds half of a surrogate pair, which is no text; mend it") from problem
    return value


def parquet(file: Path, wanted: Sequence[Sequence[str]]) -> Iterator[Pair]:
    """Two columns of a parquet file; rows are counted from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file) as opened:
            there = opened.schema_arrow.names
            tops = sorted({name if name in there else name.partition(".")[0] for side in wanted for name in side})
            missing = [name for name in tops if name not in there]
            if missing:
                raise InputError(f"{file} has no column {missing[0]!r}, only {', '.join(there)}")
            for batch in opened.iter_batches(10_000, columns=tops):
                for content in batch.to_pylist():
                    number += 1
                    where = f"{file}:{number}"
                    source, target = (
                        JOINER.join([text_of(pick(content, name, where), where, name) for name in side])
                        for side in wanted
                    )
                    yield source, target, number
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as problem:  # values are decoded while they are read
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        raise InputError(
            f"{file}:{number + 1}: no parquet file, or a damaged one ({reason}); copy it anew"
        ) from problem

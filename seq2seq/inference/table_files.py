"""Tables in and out: each row keeps its columns, and what is predicted from some of them is added."""

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from seq2seq.atomic_files import replacing
from seq2seq.data.corpora.json_rows import items_of_array, joined
from seq2seq.data.corpora.tables import DELIMITERS
from seq2seq.data.lines import filled_lines, lines
from seq2seq.errors import InputError

ROWS = 1000
"""That are read, predicted and written together."""

FORMS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
"""What a file is by its ending."""

Record = dict[str, Any]


def form_of(file: Path, option: str) -> str:
    """What a file is; InputError for another ending."""
    if (form := FORMS.get(file.suffix.lower())) is None:
        raise InputError(f"{option} {file} is a table whose name ends in {', '.join(FORMS)}; text comes with < in.txt")
    return form


class TableFile(AbstractContextManager["TableFile"]):
    """Rows of one file to predict from, and the file that they are written to with what was predicted."""

    def __init__(self, source: Path, target: Path, columns: Sequence[str], usual: Any) -> None:
        """columns: whose texts are read, several joined by tabs; usual: those of the run's training data."""
        self.source, self.target = source, target
        self.read, write = form_of(source, "--input"), form_of(target, "--output")
        if target.exists():
            raise InputError(f"{target} is there already; choose another --output, or remove it")
        if not source.is_file():
            raise InputError(f"--input {source} is not a file")
        self.columns = list(columns)
        self._usual = [str(name) for name in (usual if isinstance(usual, list) else [usual])]
        self._waiting: deque[Record] = deque()
        self._closing = ExitStack()
        self._writer: Callable[[list[Record]], None] | None = None
        self._write = write

    def chunks(self, check: Callable[[str], None]) -> Iterator[tuple[list[str], int]]:
        """The texts of some rows, and how many rows came before; check: raises InputError for a wrong text."""
        number, rows = 0, self._rows()
        while some := list(islice(rows, ROWS)):
            texts = []
            for row, record in enumerate(some, number + 1):
                location = f"{self.source}:{row}"
                texts.append(joined(record, self._names(record), location))
                try:
                    check(texts[-1])
                except InputError as problem:
                    raise InputError(f"{location}: {problem}") from problem
            self._waiting.extend(some)
            yield texts, number
            number += len(some)

    def needs(self, number: int, count: int) -> bool:
        """Every row is predicted."""
        return True

    def write(self, number: int, answers: Sequence[Record]) -> None:
        """Rows after the first `number` with what was predicted from them."""
        records = []
        for answer in answers:
            record = self._waiting.popleft()
            if taken := [name for name in answer if name in record]:
                raise InputError(f"{self.source} has a column {taken[0]} already; rename it, for predictions go there")
            records.append(record | answer)
        if records:
            self._writer = self._writer or self._opened(records[0])
            self._writer(records)

    def end(self) -> None:
        """No further row comes: the new file takes its place."""
        self._closing.close()

    def __exit__(self, kind: Any, problem: Any, trace: Any) -> None:
        self._closing.__exit__(kind, problem, trace)

    def _names(self, record: Mapping[str, Any]) -> list[str]:
        """The columns to read, once they are known."""
        if not self.columns:
            known = all(name in record or "." in name for name in self._usual)
            if not known and len(record) > 1:
                raise InputError(f"{self.source}: which column is to be read? say --column NAME; there are "
                                 f"{', '.join(record)}")  # fmt: skip
            self.columns = self._usual if known else list(record)
        return self.columns

    def _rows(self) -> Iterator[Record]:
        if self.read == "parquet":
            return self._of_parquet()
        return self._of_json() if self.read == "jsonl" else self._of_csv()

    def _of_csv(self) -> Iterator[Record]:
        header = next(lines(self.source), "")
        delimiter = "\t" if self.read == "tsv" else max(DELIMITERS, key=header.count)
        reader = csv.reader(lines(self.source, ends=True), delimiter=delimiter, strict=True)
        try:
            names = next(reader, [])
            for fields in filter(None, reader):
                if len(fields) != len(names):
                    raise InputError(
                        f"{self.source}:{reader.line_num}: {len(fields)} columns, but the header has {len(names)}"
                    )
                yield dict(zip(names, fields, strict=True))
        except csv.Error as problem:
            raise InputError(f"{self.source}:{reader.line_num}: not CSV: {problem}") from problem

    def _of_json(self) -> Iterator[Record]:
        if next(lines(self.source), "").lstrip().startswith("["):
            items = items_of_array(self.source)
        else:
            items = ((self._parsed(line, number), number) for number, line in enumerate(filled_lines(self.source), 1))
        for record, number in items:
            if not isinstance(record, dict):
                raise InputError(f"{self.source}:{number}: not an object with named values")
            yield record

    def _parsed(self, line: str, number: int) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise InputError(f"{self.source}:{number}: not JSON ({problem}); is the line cut off?") from problem

    def _of_parquet(self) -> Iterator[Record]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.source) as opened:
                for batch in opened.iter_batches(ROWS):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError, ValueError) as problem:
            raise InputError(f"{self.source}: not a parquet file, or a damaged one; copy it anew") from problem

    def _opened(self, first: Record) -> Callable[[list[Record]], None]:
        """What writes rows; the file appears under its name at the end."""
        try:
            temporary = self._closing.enter_context(replacing(self.target))
            if self._write == "parquet":
                return self._to_parquet(temporary)
            file = self._closing.enter_context(temporary.open("w", encoding="utf-8", newline=""))
        except OSError as problem:
            raise InputError(f"{self.target} cannot be written: {problem.strerror}") from problem
        if self._write == "jsonl":
            return lambda some: file.writelines(f"{json.dumps(one, ensure_ascii=False)}\n" for one in some)
        writer = csv.DictWriter(file, list(first), delimiter="\t" if self._write == "tsv" else ",", lineterminator="\n")
        writer.writeheader()

        def written(some: list[Record]) -> None:
            try:
                writer.writerows({name: flat(value) for name, value in one.items()} for one in some)
            except ValueError as problem:
                self._unlike(problem)

        return written

    def _to_parquet(self, file: Path) -> Callable[[list[Record]], None]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        writers: list[Any] = []

        def written(some: list[Record]) -> None:
            try:
                table = pa.Table.from_pylist(some, schema=writers[0].schema if writers else None)
                if not writers:
                    writers.append(self._closing.enter_context(pq.ParquetWriter(file, table.schema)))
                writers[0].write_table(table)
            except (pa.ArrowException, ValueError) as problem:
                self._unlike(problem)

        return written

    def _unlike(self, problem: Exception) -> NoReturn:
        raise InputError(
            f"{self.source}: its rows are too unlike each other for the columns of {self.target} "
            f"({str(problem).splitlines()[0]}); write .jsonl instead"
        ) from problem


def flat(value: Any) -> Any:
    """A value for a field of CSV."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value

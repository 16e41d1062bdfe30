"""Any corpus to pairs of texts: the generated one, parallel text files, data sets of the Hub."""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.data import cldr
from seq2seq.errors import InputError
from seq2seq.parts import Part


class Texts(NamedTuple):
    """The rows of a split."""

    source: Sequence[str]
    target: Sequence[str]


class Corpus(Part):
    """Where rows come from."""

    def load(self, split: str, path: str | None) -> Texts:
        """The rows of "train", "validation" or "test"; `path` names a local folder to read instead of the default."""
        raise TypeError(f"{type(self).__name__} does not say how to load")


class Cldr(Corpus):
    """Localised phrases of two languages, generated from Unicode CLDR: no download, any locale pair."""

    def __init__(
        self,
        source: str = "en",
        target: str = "de",
        train: int = 20_000,
        validation: int = 500,
        test: int = 1_000,
        seed: int = 1,
    ) -> None:
        """source, target: CLDR locales such as en, de, pt_BR; train, validation, test: rows of each split."""
        self.source, self.target, self.seed = source, target, seed
        self.train, self.validation, self.test = train, validation, test
        self._rows: Mapping[str, Sequence[cldr.Row]] = {}

    def load(self, split: str, path: str | None) -> Texts:
        if path is not None:
            raise InputError("the cldr corpus is generated and reads no data.path; choose data.corpus Parallel")
        if not self._rows:
            counts = {"train": self.train, "validation": self.validation, "test": self.test}
            try:
                self._rows = cldr.generate(self.source, self.target, counts, self.seed)
            except ValueError as problem:
                raise InputError(f"{problem}; choose another locale in data.corpus") from problem
        rows = self._rows[split]
        return Texts([row["source"] for row in rows], [row["target"] for row in rows])


class Parallel(Corpus):
    """Line-aligned text: a data set of the Hub, or files `<split>.<source>` and `<split>.<target>`, gzipped or not."""

    def __init__(
        self,
        source: str,
        target: str,
        name: str | None = None,
        configuration: str | None = None,
        splits: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
    ) -> None:
        """source, target: columns on the Hub and endings of the files, such as en and de.

        name, configuration: the data set on the Hub. splits, files: what train, validation and test are called there
        and in the folder data.path, where it differs.
        """
        self.source, self.target, self.name, self.configuration = source, target, name, configuration
        self.splits, self.files = splits, files

    def load(self, split: str, path: str | None) -> Texts:
        if path is not None:
            return self._local(Path(path), (self.files or {}).get(split, split))
        if self.name is None:
            raise InputError("data.corpus Parallel needs --data.path FOLDER or the name of a Hub data set")
        return self._hub((self.splits or {}).get(split, split))

    def _local(self, folder: Path, split: str) -> Texts:
        source_file, target_file = find(folder, split, self.source), find(folder, split, self.target)
        source, target = read_lines(source_file), read_lines(target_file)
        if len(source) != len(target):
            raise InputError(
                f"{source_file} has {len(source)} lines but {target_file} has {len(target)}; "
                "line n of one must be the translation of line n of the other"
            )
        return Texts(source, target)

    def _hub(self, split: str) -> Texts:
        import datasets  # takes two seconds to import

        try:
            rows = datasets.load_dataset(self.name, self.configuration, split=split)
        except Exception as problem:  # the library raises whatever its transport does
            reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
            raise InputError(
                f"data set {self.name!r} split {split!r} cannot be loaded ({reason}); "
                "to read a local folder instead, add --data.path FOLDER"
            ) from problem
        if "translation" in rows.column_names:  # the usual form of translation sets: {"en": ..., "de": ...}
            rows = rows.flatten().rename_columns({f"translation.{c}": c for c in (self.source, self.target)})
        missing = {self.source, self.target} - set(rows.column_names)
        if missing:
            raise InputError(f"{self.name!r} has no column {sorted(missing)[0]!r}, only {', '.join(rows.column_names)}")
        texts = Texts(rows[self.source][:], rows[self.target][:])
        for column, values in zip((self.source, self.target), texts, strict=True):
            wrong = next((row for row, value in enumerate(values) if not isinstance(value, str)), None)
            if wrong is not None:
                raise InputError(f"{self.name!r} {split}, row {wrong}: {column} is {values[wrong]!r}, not text")
        return texts


def find(folder: Path, split: str, ending: str) -> Path:
    """The file of a split and language, plain or gzipped."""
    if not folder.is_dir():
        raise InputError(f"data.path {folder} is no folder; give the one that holds {split}.{ending}")
    for file in (folder / f"{split}.{ending}", folder / f"{split}.{ending}.gz"):
        if file.is_file():
            return file
    there = ", ".join(sorted(file.name for file in folder.iterdir())[:12]) or "nothing"
    raise InputError(
        f"{folder} holds no {split}.{ending} or {split}.{ending}.gz (it holds {there}); "
        "name the files with data.corpus.files, e.g. {validation: val}"
    )


def read_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 file, gzipped or not, split at line feeds only."""
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as problem:
        raise InputError(f"{file} cannot be read: {problem}") from problem
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [decode_line(line, str(file), number) for number, line in enumerate(lines, 1)]


def decode_line(line: bytes, name: str, number: int) -> str:
    """A line as text, without its carriage return; `name` and `number` say where it stands."""
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as problem:
        raise InputError(
            f"{name}:{number}: invalid UTF-8 (byte {problem.object[problem.start]:#04x} at position "
            f"{problem.start + 1}); convert the file, e.g. with iconv -f latin1 -t utf-8"
        ) from problem

"""Data sets of the Hugging Face Hub."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.data.corpora.corpus import Corpus
from seq2seq.data.corpora.json_rows import columns_of, joined, references_of
from seq2seq.data.lines import JOINER, as_list, with_class
from seq2seq.data.rows import Row
from seq2seq.errors import InputError


class Hub(Corpus):
    """A data set of the Hugging Face Hub."""

    def __init__(
        self,
        name: str,
        source: str | list[str] = "source",
        target: str | list[str] = "target",
        configuration: str | None = None,
        splits: dict[str, str | None] | None = None,
        several_references: bool = False,
        list_separator: str = JOINER,
        sentence: str | None = None,
    ) -> None:
        """name, configuration: the data set, or a folder that `save_to_disk` has written.

        source, target: columns, with dots into inner ones; several are joined.
        splits: what train, validation and test are called there, where it differs; null for one that is missing.
        several_references: a target that is a list of texts holds references that are equally good: training learns
            the first, metrics look at all; else a list is one target, whose tokens it holds.
        list_separator: what joins the texts of a list: a tab where they are tokens, a space where they are sentences.
        sentence: the column of a class of the whole sentence, beside the labels of its tokens (docs/tagging.md).
        """
        self.several_references, self.list_separator, self.sentence = several_references, list_separator, sentence
        self.name, self.source, self.target = name, source, target
        self.configuration, self.splits = configuration, splits

    def has(self, split: str, path: str | None) -> bool:
        return self._called(split) in self._ask(lambda: split_names(self.name, self.configuration))

    def rows(self, split: str, path: str | None) -> Iterator[Row]:
        dataset = self.dataset(split, path)
        text = self._reader(dataset.column_names, dataset.features)
        for number, content in enumerate(dataset.select_columns(text.columns), 1):
            source, target, *more = text.texts(content, f"{self.name} {split}:{number}")
            yield Row(source, target, number, f"{self.name} {split}", more_references=more)

    def stream(self, split: str, path: str | None, order: Sequence[int] | None) -> Any:
        dataset = self.dataset(split, path, streaming=True)
        columns = dataset.column_names or list(next(iter(dataset)))
        text = self._reader(columns, dataset.features or {})
        return dataset.map(text, fn_kwargs={"location": f"{self.name} {split}"}, remove_columns=columns)

    def stored(self, split: str, path: str | None) -> list[Path] | None:
        return [Path(entry["filename"]) for entry in self.dataset(split, path).cache_files] or None

    def dataset(self, split: str, path: str | None, streaming: bool = False) -> Any:
        """The split as `datasets` gives it."""
        self.refuse_path(path)
        import datasets  # takes two seconds to import

        called, kind = self._called(split), on_disk(self.name)
        if kind is None:
            return self._ask(
                lambda: datasets.load_dataset(self.name, self.configuration, split=called, streaming=streaming)
            )
        saved = self._ask(lambda: datasets.load_from_disk(self.name))
        saved = saved[called] if kind == "splits" else saved
        return saved.to_iterable_dataset() if streaming else saved

    def _called(self, split: str) -> str | None:
        return (self.splits or {}).get(split, split)

    def _reader(self, existing: Sequence[str], features: Mapping[str, Any]) -> "RowReader":
        """What makes texts of rows with the columns `existing`; "de" also means "translation.de", as in many sets."""
        nested = "translation" in existing
        sides = [
            [f"translation.{name}" if nested and name not in existing else name for name in as_list(side)]
            for side in (self.source, self.target, [] if self.sentence is None else self.sentence)
        ]
        labels = {name: names for name, feature in features.items() if (names := class_names(feature)) is not None}
        columns = columns_of([name for side in sides for name in side], existing, repr(self.name))
        return RowReader(sides, columns, labels, self.several_references, self.list_separator)

    def _ask(self, question: Any) -> Any:
        """Ask the Hub, with its failures as one line."""
        try:
            return question()
        except Exception as problem:  # the library raises whatever its transport does
            reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
            raise InputError(
                f"the data set {self.name!r} cannot be loaded ({reason}); to read local files instead, "
                "add --data.path FOLDER and, unless it is parallel text, another data.corpus (see docs/data.md)"
            ) from problem


def class_names(feature: Any) -> Callable[[Any], Any] | None:
    """How the numbers of a column become names: of a ClassLabel, or of lists of them; None for other columns."""
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", feature)
    names: Callable[[Any], Any] | None = getattr(inner, "int2str", None)
    return names


def on_disk(name: str) -> str | None:
    """What `save_to_disk` has left in a folder: "splits" of a DatasetDict, "rows" of a Dataset, or None."""
    folder = Path(name)
    if (folder / "dataset_dict.json").is_file():
        return "splits"
    return "rows" if (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file() else None


@functools.cache
def split_names(name: str, configuration: str | None) -> list[str]:
    """The splits of a data set; the Hub is asked once, though every split asks whether it is there."""
    import datasets

    kind = on_disk(name)
    if kind is not None:
        return list(datasets.load_from_disk(name)) if kind == "splits" else ["train"]
    names: list[str] = datasets.get_dataset_split_names(name, configuration)
    return names


class RowReader:
    """A row of the Hub to its two texts; numbers of classes become the classes' names."""

    def __init__(
        self,
        sides: list[list[str]],
        columns: list[str],
        labels: Mapping[str, Callable[[Any], Any]],
        several: bool = False,
        separator: str = JOINER,
    ) -> None:
        """sides: names of the values of source, target and class of the sentence, with dots into inner ones.

        columns: those that hold them.

        labels: of columns that hold classes, a class's number to its name, or a list of them to theirs. several: lists
        hold several references. separator: of the texts of other lists.
        """
        self.sides, self.columns, self.labels = sides, columns, labels
        self.several, self.separator = several, separator

    def __call__(self, content: dict[str, Any], location: str) -> dict[str, str]:
        source, target, *_ = self.texts(content, location)
        return {"source": source, "target": target}

    def texts(self, content: dict[str, Any], location: str) -> list[str]:
        """The source and the references of a row."""
        values = dict(content)
        for name in self.labels.keys() & content.keys():
            try:
                values[name] = self.labels[name](content[name])
            except (ValueError, TypeError) as problem:
                raise InputError(f"{location}: {name} is {content[name]!r}, not a class ({problem})") from problem
        source, target, of_sentence = self.sides
        references = references_of(values, target, location, self.several, self.separator)
        if of_sentence:
            references[0] = with_class(joined(values, of_sentence, location), references[0], location)
        return [joined(values, source, location, self.separator), *references]

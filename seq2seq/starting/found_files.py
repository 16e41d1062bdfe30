"""Which files of a folder belong together, and which split each is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.data.lines import raw_lines
from seq2seq.errors import InputError

SPLIT_WORDS = {
    "train": ("training", "train", "trn"),
    "validation": ("validation", "development", "devel", "valid", "dev", "val"),
    "test": ("test", "tst"),
}
"""What the names of files say; longer words first."""

KINDS = {
    ".conllu": "conllu", ".conll": "conll", ".bio": "conll", ".iob": "conll", ".iob2": "conll", ".jsonl": "jsonl",
    ".json": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
}  # fmt: skip
"""What a file is by its ending; others are looked into."""

NOT_DATA = ("readme", "license", "licence", ".md", ".py", ".sh", ".yaml", ".yml", ".html", ".pdf", ".log")
SOUND = (".wav", ".flac", ".ogg", ".mp3")

MARKS = " ._-"


class FoundFiles(NamedTuple):
    """The files of one data set."""

    path: Path
    """What data.path is: the folder, or the one file."""
    splits: dict[str, Path]
    """Of each split that is there; of parallel text the first of two."""
    endings: tuple[str, str] | None = None
    """Of parallel text."""
    others: Sequence[str] = ()
    """Further files that might have been meant, such as a second test set."""
    beside: Mapping[str, Sequence[Path]] = {}
    """Of each split the files that belong together line by line, such as texts, labels and classes."""

    @property
    def train(self) -> Path:
        return self.splits["train"]


def look(path: Path, wanted: str | None) -> FoundFiles:
    """The files of a folder, or the one file; wanted: which set, where a folder has several."""
    if path.is_file():
        return FoundFiles(path, {"train": path})
    if not path.is_dir():
        raise InputError(f"{path} does not exist; give a file, or the folder that holds the files of one data set")
    files = [one for one in sorted(path.iterdir()) if one.is_file() and not one.name.startswith(".")]
    files = [one for one in files if not is_note(one)]
    inside = files or [one for one in path.rglob("*") if one.is_file()]
    if inside and all(bare(one).suffix.lower() in SOUND for one in inside if not is_note(one)):
        raise InputError(f"{path} holds sound; a table of its files and texts trains: docs/speech.md")
    together = beside(path, files)
    if together:
        return FoundFiles(path, {split: some[0] for split, some in together.items()}, beside=together)
    if not files:
        folders = ", ".join(one.name for one in sorted(path.iterdir()) if one.is_dir()) or "nothing"
        raise InputError(f"{path} holds no files of data, only {folders}; give the file or the folder that does")
    by_split: dict[str | None, list[Path]] = {}
    for one in files:
        by_split.setdefault(split_of(one.name), []).append(one)
    if "train" not in by_split:
        if len(files) == 1:
            return FoundFiles(files[0], {"train": files[0]})
        pair = parallel([*by_split.get(None, [])])
        if pair is not None and len(files) == 2:
            raise InputError(
                f"{path}: call the two files train.{pair[0]} and train.{pair[1]}, so that their split is known"
            )
        names = ", ".join(one.name for one in files[:8])
        raise InputError(f"{path}: none of its files is called train ({names}); give the one file to train on")
    return chosen(path, by_split, wanted)


def beside(path: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Of each split the plain files that have one name but for the split, and as many lines; nothing for others.

    Splits may be folders (train/seq.in, train/seq.out, train/label), or words of the names (train.text, train.label);
    two or three files without a split are those of training.
    """
    by_split: dict[str, dict[str, Path]] = {}
    if not files:
        for folder in sorted(one for one in path.iterdir() if one.is_dir()):
            split = split_of(folder.name)
            if split is not None and split not in by_split:
                inside = [one for one in sorted(folder.iterdir()) if one.is_file() and not is_note(one)]
                by_split[split] = {one.name: one for one in inside}
    else:
        for one in files:
            split = split_of(one.name)
            rest = rest_of(one, None) + bare(one).suffix if split else one.name
            by_split.setdefault(split or "train", {})[rest] = one
        if parallel(files) is not None and any(split_of(one.name) for one in files):
            return {}
    names = set(by_split.get("train", {}))
    plain = all(bare(Path(name)).suffix.lower() not in KINDS for name in names)
    if not 2 <= len(names) <= 3 or not plain or any(set(some) != names for some in by_split.values()):
        return {}
    if any(len({sum(1 for _ in raw_lines(one)) for one in some.values()}) > 1 for some in by_split.values()):
        return {}
    return {split: [by_split[split][name] for name in sorted(names)] for split in SPLIT_WORDS if split in by_split}


def chosen(path: Path, by_split: dict[str | None, list[Path]], wanted: str | None) -> FoundFiles:
    """The training set that is meant, with the validation and test files nearest to it."""
    endings = parallel(by_split["train"])
    sets: dict[str, Path] = {}
    for one in by_split["train"]:
        if endings is None or bare(one).suffix == f".{endings[0]}":
            sets.setdefault(rest_of(one, endings), one)
    if wanted is not None and wanted not in sets:
        raise InputError(f"--set {wanted}: {path} holds no set of this name, only {', '.join(sorted(sets))}")
    if wanted is None and len(sets) > 1:
        raise InputError(f"{path} holds {len(sets)} data sets; choose one with --set: {', '.join(sorted(sets))}")
    name = wanted if wanted is not None else next(iter(sets))
    splits, others = {"train": sets[name]}, []
    for split in ("validation", "test"):
        files = [one for one in by_split.get(split, []) if endings is None or bare(one).suffix == f".{endings[0]}"]
        files.sort(key=lambda one: (-common(rest_of(one, endings), name), len(one.name), one.name))
        near = [one for one in files if common(rest_of(one, endings), name) == common(rest_of(files[0], endings), name)]
        if near and (common(rest_of(near[0], endings), name) or len(sets) == 1):
            splits[split] = near[0]
            others += [one.name for one in near[1:]]
    return FoundFiles(path, splits, endings, others)


def is_note(file: Path) -> bool:
    """Whether a file is there for people or machines, not for training."""
    return any(mark in file.name.lower() for mark in NOT_DATA)


def bare(file: Path) -> Path:
    """The name without .gz."""
    return file.with_suffix("") if file.suffix == ".gz" else file


def split_of(name: str) -> str | None:
    """The split that a name speaks of, as a word of it or, failing that, anywhere."""
    words = re.split(r"[^a-z]+", name.lower())
    for split, known in SPLIT_WORDS.items():
        if any(word in words for word in known):
            return split
    return next(
        (split for split, known in SPLIT_WORDS.items() if any(word in name.lower() for word in known[:2])), None
    )


def rest_of(file: Path, endings: tuple[str, str] | None) -> str:
    """A name without its split and endings: which set it belongs to."""
    name = bare(file).name
    known = [*KINDS, ".txt"] if endings is None else [f".{one}" for one in endings]
    for ending in known:
        name = name.removesuffix(ending)
    words = sorted((word for some in SPLIT_WORDS.values() for word in some), key=len, reverse=True)
    name = re.sub("|".join(words), " ", name, count=1, flags=re.IGNORECASE)
    return "-".join(filter(None, re.split(f"[{MARKS}]+", name)))


def common(one: str, other: str) -> int:
    """How many words of two names of sets are the same from the beginning."""
    count = 0
    for mine, theirs in zip(one.split("-"), other.split("-"), strict=False):
        if mine != theirs or not mine:
            break
        count += 1
    return count


def parallel(files: Iterable[Path]) -> tuple[str, str] | None:
    """The endings of files that come in pairs of the same name, the source's first; None where they do not."""
    by_stem: dict[str, set[str]] = {}
    for one in map(bare, files):
        if one.suffix and one.suffix.lower() not in (*KINDS, ".txt") and len(one.suffix) <= 6:
            by_stem.setdefault(one.stem, set()).add(one.suffix[1:])
    found = {tuple(sorted(endings)) for endings in by_stem.values() if len(endings) == 2}
    if len(found) != 1 or any(len(endings) != 2 for endings in by_stem.values()):
        return None
    first, second = next(iter(found))
    return order(first, second)


def order(first: str, second: str) -> tuple[str, str]:
    """Which of two sides is the source: by their names, else English, else the first."""
    for source in ("src", "source", "in", "en"):
        if second == source:
            return second, first
    return first, second

"""python -m seq2seq.init FILE_OR_FOLDER: look at somebody's data and write a first configuration for it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from seq2seq.cli import command
from seq2seq.configurable import build
from seq2seq.data.corpora.corpus import HOLDOUT, Corpus, least_holdout
from seq2seq.data.corpora.text_files import usual_names
from seq2seq.errors import InputError
from seq2seq.starting.found_files import FoundFiles, bare, look
from seq2seq.starting.guess import Asked, guess
from seq2seq.starting.guess_kind import Guess

FEW = 200
"""Training rows below which the usual share that is held out may leave a split empty."""

WIDTH = 110
"""Characters of a line of a configuration."""


def parser() -> ArgumentParser:
    """The command's parser."""
    made = command.parser_for("init", "Look at data, and write a first configuration for it.")
    made.add_argument("data", type=Path, help="a file, or the folder that holds the files of one data set")
    made.add_argument("--set", type=str | None, help="which data set, where a folder holds several")
    made.add_argument("--source", type=str | None, help="column, key or ending to predict from")
    made.add_argument("--target", type=str | None, help="column, key or ending to predict")
    made.add_argument("--output", type=Path | None, help="file to write (default: named after the data, here)")
    made.add_argument("--overwrite", **command.SWITCH, help="replace that file")
    return made


def main(arguments: Sequence[str]) -> None:
    """Look, say and write."""
    config = command.parse(parser(), arguments)
    files = look(config.data, config.set)
    found = guess(files, Asked(config.source, config.target))
    name = re.sub(r"\W+", "_", config.set or bare(config.data).stem).strip("_") or "data"
    output: Path = config.output or Path(f"{name}.yaml")
    corpus = corpus_of(files, found)
    share = held_out(corpus, str(files.path))
    text = written(str(files.path), corpus, share, found)
    try:
        with output.open("w" if config.overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{output} exists; replace it with --overwrite, or choose another --output") from None
    except OSError as problem:
        raise InputError(f"{output} cannot be written: {problem.strerror}") from problem
    print(f"{config.data}: {found.what} ({found.settings['task']})")
    series = corpus["class_path"] == "Series"
    for split, line in spoken_splits(files, share, series).items():
        print(f"  {split}: {line}")
    for note in found.notes:
        print(f"  {note}")
    print(f"{output} written; next:")
    print(f"  python -m seq2seq.lint --config {output}")
    print(f"  python -m seq2seq.train --config {output} --run runs/{name}")
    given = f"--input {files.train} --output forecasts.csv" if series else "< in.txt"
    print(f"  python -m seq2seq.predict runs/{name} {given}")


def corpus_of(files: FoundFiles, found: Guess) -> dict[str, Any]:
    """What reads the files, with its settings."""
    corpus = {"class_path": found.corpus["class_path"], "init_args": dict(found.corpus["init_args"])}
    named = names_of(files)
    if named and corpus["class_path"] != "Series":
        corpus["init_args"]["files"] = named
    return corpus


def held_out(corpus: dict[str, Any], path: str) -> float:
    """The share of the training rows for each split that is missing: more where few rows would leave one empty."""
    try:
        reader = build(Corpus, corpus)
        absent = [split for split in ("validation", "test") if not reader.has(split, path)]
        rows = [(row.source, row.target) for row in islice(reader.rows("train", path), FEW)] if absent else []
    except InputError:  # which the training will name, with what to do
        return HOLDOUT
    if not rows or len(rows) == FEW or reader.held_out != Corpus.held_out:
        return HOLDOUT
    return max(HOLDOUT, least_holdout(reader, path, rows, absent) or 0)


def spoken_splits(files: FoundFiles, share: float, series: bool) -> dict[str, str]:
    """Each split in words; share: that is held out; series: whether splits are parts of series."""
    spoken = {split: str(file.name) for split, file in files.splits.items()}
    spoken |= {
        split: ", ".join(str(one.relative_to(files.path)) for one in some) for split, some in files.beside.items()
    }
    for split in ("validation", "test"):
        last = f"of each series, the last values ({split}_share)"
        part = f"{100 * share:.0f} % of the training rows, held out (data.holdout)"
        spoken.setdefault(split, last if series else part)
    if files.others:
        spoken["test"] += f"; not used: {', '.join(files.others)}"
    return spoken


def written(path: str, corpus: dict[str, Any], share: float, found: Guess) -> str:
    """The configuration as text."""
    short: Any = corpus if corpus["init_args"] else corpus["class_path"]
    settings = {"task": found.settings["task"], "data": {"path": path, "corpus": short}}
    settings["data"] |= {"holdout": share} if share != HOLDOUT else {}
    settings["data"] |= found.settings["data"]
    settings |= {name: value for name, value in found.settings.items() if name not in ("task", "data")}
    comments = [
        f"# {found.what[0].upper()}{found.what[1:]}: a first configuration, written by seq2seq.init.",
        "# The size of steps and vocabularies and the length of the training follow from the data.",
    ]
    comments += [f"# {note[0].upper()}{note[1:]}." for note in found.notes]
    return "\n".join([*comments, *yaml_lines(settings, "")]) + "\n"


def yaml_lines(settings: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A mapping as YAML, each setting on one line where that is short enough."""
    for name, value in settings.items():
        short = yaml.safe_dump(
            {name: value}, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False
        )
        line = f"{indent}{short.strip()[1:-1]}"
        top = not indent and isinstance(value, dict) and len(value) > 2
        if not isinstance(value, dict) or (len(line) <= WIDTH and not top):
            yield line
        else:
            yield f"{indent}{name}:"
            yield from yaml_lines(value, f"{indent}  ")


def names_of(files: FoundFiles) -> dict[str, str]:
    """What data.corpus.files must say; nothing where the names are the usual ones or the data is one file."""
    if files.path.is_file() or files.beside:
        return {}
    if files.endings is None:
        names = {split: file.name for split, file in files.splits.items()}
    else:
        names = {split: bare(file).stem for split, file in files.splits.items()}
    usual = all(bare(file).stem in usual_names(split) for split, file in files.splits.items())
    return {} if usual else names


if __name__ == "__main__":
    command.run(main)

"""python -m seq2seq.lint --config FILE: what is wrong with the data, before training."""

import json
import os
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from seq2seq.cli import command, inheritance
from seq2seq.data.batching.batch import RowFormat
from seq2seq.data.checks import checks
from seq2seq.data.checks.checks import over_limit
from seq2seq.data.checks.findings import SEVERITIES, Encoded, Finding
from seq2seq.data.checks.tag_schemes import scheme_of
from seq2seq.data.corpora.corpus import SPLITS
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.errors import InputError
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.length_limits import in_words, learnt, longer
from seq2seq.training.length import length_of

WIDTH = 100
"""Columns of the terminal that the table keeps to."""
COLOURS = {"error": "31", "warning": "33", "note": "36"}
"""Red, yellow and cyan."""


def parser_for(task: type[Task]) -> ArgumentParser:
    """The parser of a training, so that any configuration of one will do."""
    parser = command.training_parser(task)
    parser.prog = "python -m seq2seq.lint"
    parser.description = "Read the data as training would and say what is wrong with it; exit code 1 for errors."
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Check as the arguments say."""
    command.import_own_modules(arguments)
    with inheritance.inherited(arguments, None) as beneath:
        kind = command.task_class([*beneath, *arguments])
        parser = parser_for(kind)
        config = command.parse(parser, [*beneath, *arguments])
    if not command.options(arguments, ("--config",)):
        raise InputError("give a configuration: python -m seq2seq.lint --config configs/translation_cldr.yaml")
    parts = command.instantiate(parser, config)
    data: DataModule = parts.data
    header, findings = check(data, lambda tokenizers: kind(tokenizers, **vars(parts.model)).row_format, parts)
    if config.json:
        plain = [finding._asdict() | {"examples": [row._asdict() for row in finding.examples]} for finding in findings]
        print(json.dumps({"header": header, "findings": plain, "verdict": verdict(findings)}, ensure_ascii=False))
    else:
        colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(page(header, findings, data.path, colours))
    return int(any(finding.severity == "error" for finding in findings))


def check(
    data: DataModule, of_task: Callable[[Tokenizers], RowFormat] | None = None, parts: Namespace | None = None
) -> tuple[dict[str, Any], list[Finding]]:
    """The sizes of all splits, and the findings, worst first.

    of_task: the row format of the task with these tokenizers; None for that of a translation. parts: the whole
    configuration, if the length of the training is to be checked.
    """
    decoding = parts.decoding if parts is not None else Decoding()
    texts = [data.texts(split) for split in SPLITS]
    tokenizers = data.train_tokenizers(texts[0])
    row_format = of_task(tokenizers) if of_task else None
    encoded = [
        Encoded(split, data.encode_unchecked(rows, tokenizers, row_format), tokenizers)
        for split, rows in zip(SPLITS, texts, strict=True)
    ]
    bound = learnt(encoded[0].split, tokenizers.target)
    header: dict[str, Any] = {
        "extent": {side: tokenizer.extent() for side, _, tokenizer, _ in encoded[0].sides()},
        "labels": scheme_of(encoded[0]),
        "limit": bound and in_words(encoded[0].split.row_format, bound, decoding),
        "streamed": data.window is not None,
        "splits": {split.name: sizes(split) for split in encoded},
    }
    findings = checks.thorough(encoded)
    if bound is not None:
        findings += [item for one in encoded
                     for item in over_limit(one, longer(one.split, bound, decoding), header["limit"])]  # fmt: skip
    if parts is not None and data.window is None:
        findings += steps_of(encoded[0], data, parts)
    return header, checks.worst_first(findings)


def steps_of(train: Encoded, data: DataModule, parts: Namespace) -> list[Finding]:
    """Whether a training of this configuration has steps enough."""
    plan = data.plan(train.split, parts.seed)
    length = length_of(plan.tokens, len(plan), parts.trainer, parts.optimizer, parts.patience)
    return checks.few_steps(length.steps, length.warmup, len(train.split))


def sizes(encoded: Encoded) -> dict[str, Any]:
    """Rows, tokens, unknown tokens and the longest row of a split."""
    numbers: dict[str, Any] = {"rows": len(encoded.split)}
    for side, ids, tokenizer, _ in encoded.sides():
        lengths = tokenizer.units(ids)
        longest = int(lengths.argmax())
        numbers[side] = {
            "tokens": int(lengths.sum()),
            "unknown": checks.unknown_rate(ids, tokenizer),
            "longest": {"tokens": int(lengths[longest]), "location": encoded.split.texts.location(longest)},
        }
    return numbers


def page(header: dict[str, Any], findings: Sequence[Finding], folder: str | None, colours: bool) -> str:
    """All that is shown; locations inside `folder` are written without it."""
    lines = [*head(header, folder), ""]
    for finding in findings:
        lines += [*entry(finding, folder, colours), ""]
    return "\n".join([*lines, verdict(findings)])


def head(header: dict[str, Any], folder: str | None) -> list[str]:
    """The sizes of all splits as a small table."""
    table = [["", "", "rows", "tokens", "unknown", "longest", "at"]]
    for split, numbers in header["splits"].items():
        for side, rows in (("source", f"{numbers['rows']:,}"), ("target", "")):
            size = numbers[side]
            name, longest, unknown = (split if rows else ""), size["longest"], f"{size['unknown']:.2%}"
            location = within(longest["location"], folder)
            table.append([name, side, rows, f"{size['tokens']:,}", unknown, f"{longest['tokens']:,}", location])
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]) - 1)]
    extent = "{source} for the source and {target} for the target".format(**header["extent"])
    labels = f"; spans labelled as {header['labels']}" if header["labels"] else ""
    return [
        *([f"locations are in {folder}"] if folder else []),
        extent + labels,
        *([f"longest prediction: {header['limit']}"] if header["limit"] else []),
        *(["of train only the first rows, as data.window streams it"] if header["streamed"] else []),
        "",
        *(cut("  ".join([*map(str.ljust, row[:2], widths), *map(str.rjust, row[2:-1], widths[2:]), row[-1]]), WIDTH)
          for row in table),
    ]  # fmt: skip


def entry(finding: Finding, folder: str | None, colours: bool) -> list[str]:
    """A finding and its examples."""
    severity = f"{finding.severity:7}"
    if colours:
        severity = f"\033[{COLOURS[finding.severity]}m{severity}\033[0m"
    start = f"  {finding.split:10}  {finding.kind:12} {finding.rows:>9,} {finding.share:>7.2%}  "
    indent = 7 + len(start)
    text = textwrap.wrap(finding.text, WIDTH - indent)
    lines = [f"{severity}{start}{text[0]}", *(" " * indent + rest for rest in text[1:])]
    locations = [within(row.location, folder) + (f" = {within(row.like, folder)}" if row.like else "")
                 for row in finding.examples]  # fmt: skip
    for location, example in zip(locations, finding.examples, strict=True):
        lines.append(cut(f"         {location:{max(map(len, locations))}}  {example.excerpt}", WIDTH))
    return lines


def within(location: str, folder: str | None) -> str:
    """A location inside a folder."""
    return location.removeprefix(os.path.join(folder, "")) if folder else location


def cut(line: str, columns: int) -> str:
    """The beginning of a line that fits; letters of East Asia take two columns, combining ones 0."""
    width = 0
    for index, sign in enumerate(line):
        width += 0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        if width > columns:
            return line[: index - 3] + "..."
    return line


def verdict(findings: Sequence[Finding]) -> str:
    """The findings in one line."""
    if not findings:
        return "no problems found"
    severities = [finding.severity for finding in findings]
    counts = [(severities.count(severity), severity) for severity in SEVERITIES if severity in severities]
    listed = ", ".join(f"{count} {name}{'s' * (count > 1)}" for count, name in counts)
    advice = {"error": "fix the errors before training", "warning": "look at the warnings", "note": "ready to train"}
    return f"{listed}: {advice[severities[0]]}"


if __name__ == "__main__":
    command.run(main)

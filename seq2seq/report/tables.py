"""Scores as tables for the terminal, for Markdown and for LaTeX, and differences as sentences."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from seq2seq.report.wording import NOT_AVAILABLE, is_number, label, number


class Table(NamedTuple):
    """Rows of texts under a header; notes stand below."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def terminal(self) -> str:
        """Aligned columns."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join([*text, *([""] if self.notes else []), *self.notes])

    def markdown(self) -> str:
        """A table of GitHub's Markdown."""
        cells = [[one.replace("|", "\\|").replace("<", "&lt;") for one in line] for line in (self.header, *self.rows)]
        rule = ["---"] + ["---:"] * (len(self.header) - 1)
        text = [f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:])]
        return "\n".join([*text, *([""] if self.notes else []), *(f"- {note}" for note in self.notes)])

    def latex(self) -> str:
        """A tabular with the rules of booktabs."""
        lines = [" & ".join(map(escaped, line)) + r" \\" for line in (self.header, *self.rows)]
        columns = "l" + "r" * (len(self.header) - 1)
        notes = [f"% {' '.join(note.split())}" for note in self.notes]
        begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
        return "\n".join([begin, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", end, *notes])


SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "±": r"$\pm$"}
"""Letters that LaTeX writes otherwise; others only need a backslash."""


def escaped(text: str) -> str:
    """A text as LaTeX shows it."""
    return re.sub(r"[\\~^−±&%$#_{}]", lambda match: SPECIAL.get(match[0], "\\" + match[0]), text)


def unit_decimals(unit: str) -> int:
    """Decimals of a metric of this unit."""
    return 1 if unit == "percent" else 3


def scores(results: Mapping[str, Any], split: str) -> Table:
    """The scores of one run."""
    rows = []
    for name, one in results["splits"][split]["metrics"].items():
        decimals = unit_decimals(one["unit"])
        interval = "" if one["low"] is None else f"{number(one['low'], decimals)} to {number(one['high'], decimals)}"
        rows.append([label(name), number(one["value"], decimals), interval, one["signature"]])
    return Table(["metric", "value", "95 % interval", "signature"], rows)


def systems(comparison: Mapping[str, Any]) -> Table:
    """The scores of all systems, marked where they differ from the first, and the differences in words."""
    rows = [[one["name"]] for one in comparison["systems"]]
    for metric in comparison["metrics"]:
        marks = {one["system"]: mark(one["better"]) for one in metric["differences"]}
        for row, score in zip(rows, metric["scores"], strict=True):
            row.append(scored(score, metric["unit"]) + marks.get(score["system"], ""))
    level = comparison["level"]
    notes = [sentence(one, metric, level) for metric in comparison["metrics"] for one in metric["differences"]]
    notes += [f"{label(metric['name'])}: {metric['signature']}" for metric in comparison["metrics"]]
    header = ["system", *(label(metric["name"]) for metric in comparison["metrics"])]
    return Table(header, rows, [*notes, *comparison["notes"]])


def mark(better: bool | None) -> str:
    """Behind a score: significantly better, or worse, than the first system."""
    return "" if better is None else " (+)" if better else " (−)"


def scored(score: Mapping[str, Any], unit: str) -> str:
    """A score with its standard deviation over seeds or with its interval."""
    decimals = unit_decimals(unit)
    value = number(score["value"], decimals)
    if is_number(score["deviation"]):
        return f"{value} ± {number(score['deviation'], decimals)} ({len(score['seeds'])} seeds)"
    if not is_number(score["low"]):
        return value
    return f"{value} [{number(score['low'], decimals)}, {number(score['high'], decimals)}]"


def sentence(difference: Mapping[str, Any], metric: Mapping[str, Any], level: float) -> str:
    """A difference as a sentence; p is corrected for several systems (Holm)."""
    name, other, decimals = difference["system"], difference["baseline"], unit_decimals(metric["unit"]) + 1
    value, low, high = (number(difference[key], decimals) for key in ("difference", "low", "high"))
    facts = f"difference {value}, 95 % interval {low} to {high}, corrected p = {p_value(difference['p_holm'])}"
    rows = f"better on {difference['wins']:,} rows, worse on {difference['losses']:,}, equal on {difference['ties']:,}"
    rows += by_speaker(difference, decimals)
    if difference["better"] is None:
        return f"{label(metric['name'])}: no difference at {level:g} between {name} and {other} ({facts}; {rows})"
    word = "better" if difference["better"] else "worse"
    return f"{label(metric['name'])}: {name} is {word} than {other} ({facts}; {rows})"


def by_speaker(difference: Mapping[str, Any], decimals: int) -> str:
    """What a test that draws whole speakers says, where they are known."""
    found = difference.get("by_speaker")
    if not isinstance(found, Mapping):
        return ""
    low, high = (number(found.get(end), decimals) for end in ("low", "high"))
    return (
        f"; drawing {number(found.get('speakers'), 0)} whole speakers: 95 % interval {low} to {high}, "
        f"corrected p = {p_value(found.get('p_holm'))}"
    )


def p_value(value: object) -> str:
    """Small ones as a bound."""
    if not is_number(value):
        return NOT_AVAILABLE
    return "0.0001 or less" if value <= 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"

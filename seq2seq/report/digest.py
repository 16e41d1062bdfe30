"""The paragraph on top of a page, made from the numbers: what is good, what is bad, what to try next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from seq2seq.report import forecasts
from seq2seq.report.panels import FEW
from seq2seq.report.wording import SCORES, finite, is_number, label, metric_of, number, part, parts, percent, text_of

APART = 10.0
"""Points by which a group of rows must be worse than all of them to be named."""

RISE = 1.05
"""By how much the validation loss must have risen from its lowest point to speak of overfitting."""


LONGER = "longer training (trainer.max_steps or trainer.max_epochs)"


class Remark(NamedTuple):
    """Something that the numbers say: good or bad in one clause, and what to try, if anything."""

    good: bool
    text: str
    remedy: str = ""


class Digest(NamedTuple):
    """Sentences without their full stops."""

    good: list[str]
    bad: list[str]
    next: list[str]


def digest(results: Mapping[str, Any], main: Mapping[str, Any]) -> Digest:
    """What the numbers of a run say; main: its split that the page is about."""
    found = [
        *nothing_right(main),
        *beside_baselines(main, str(results.get("task"))),
        *in_training(results),
        *of_output(main),
        *of_groups(main),
        *of_labels(main),
    ]
    found += [*of_size(main)]
    return Digest(
        [one.text for one in found if one.good],
        [one.text for one in found if not one.good],
        list(dict.fromkeys(one.remedy for one in found if one.remedy))[:4],
    )


def nothing_right(main: Mapping[str, Any]) -> Iterator[Remark]:
    """The first score, where it says that nothing is right."""
    for key, one in part(main, "metrics").items():
        value = one.get("value")
        if metric_of(str(key)) in SCORES and is_number(value):
            if value < 1 and one.get("higher_is_better") is not False:
                yield Remark(False, f"{label(key)} is {number(value, 1)}: hardly anything is right yet", LONGER)
            return


def beside_baselines(main: Mapping[str, Any], task: str) -> Iterator[Remark]:
    """Forecasts beside those without a model, labels beside the most frequent one."""
    known = part(main, "forecasts")
    if said := forecasts.verdict(known, part(main, "metrics")):
        good = " beats " in said
        remedy = "" if good else "model.relative season with model.season set, a longer history, or more training"
        yield Remark(good, said, remedy)
    if task != "Classification":
        return
    accuracy = part(part(main, "metrics"), "accuracy").get("value")
    labels = part(part(part(main, "details"), "macro_f1"), "labels").values()
    counts = [finite((one or {}).get("support")) or 0.0 for one in labels]
    if is_number(accuracy) and any(counts):
        share = 100 * max(counts) / math.fsum(counts)
        words = (
            f"accuracy is {number(accuracy, 1)} %, where always the most frequent label reaches {number(share, 1)} %"
        )
        remedy = "" if accuracy > share else "a higher learning rate or more training: nothing has been learnt yet"
        yield Remark(accuracy > share, words, remedy)


def in_training(results: Mapping[str, Any]) -> Iterator[Remark]:
    """Overfitting, training that was too short, and numbers that were none."""
    best, losses = part(results, "best"), part(results, "curves").get("validation_loss") or ()
    loss = [(row[0], row[2]) for row in losses if len(row) == 3 and is_number(row[0]) and is_number(row[2])]
    if len(loss) >= 2:
        lowest, last = min(loss, key=lambda point: point[1]), loss[-1]
        if lowest[1] > 0 and last[1] > lowest[1] * RISE:
            words = (
                f"validation loss rises from {number(lowest[1])} at step {number(lowest[0], 0)} to {number(last[1])}"
            )
            yield Remark(False, f"{words}: overfitting", "more dropout, more data, or trainer.patience")
        elif lowest == last and finite(best.get("step")) == last[0]:
            words = "the last validation is the best one: training has not converged"
            yield Remark(False, words, LONGER)
        else:
            words = f"validation loss has settled at {number(lowest[1])} without rising again"
            yield Remark(True, words)
    skipped = part(results, "skipped").get("steps")
    if is_number(skipped) and skipped > 0:
        words = f"{number(skipped, 0)} steps were skipped because a loss or gradient was non-finite"
        yield Remark(False, words, "a lower optimizer.learning_rate")


def of_output(main: Mapping[str, Any]) -> Iterator[Remark]:
    """What decoding does: outputs that are cut or repeat themselves, exposure bias, confidence."""
    limit = part(main, "length_limit")
    ended, rows = limit.get("ended"), limit.get("rows")
    if is_number(ended) and is_number(rows) and rows and ended:
        words = f"{number(ended, 0)} of {number(rows, 0)} predictions end at the limit of length"
        yield Remark(False, words, "a higher decoding.max_length, or no_repeat_ngram where they repeat themselves")
    repeated = part(main, "repetition")
    predicted, expected = repeated.get("prediction"), repeated.get("reference")
    if is_number(predicted) and is_number(expected) and predicted > expected + 2:
        words = (
            f"{number(predicted, 1)} % of the predictions repeat themselves, {number(expected, 1)} % of the references"
        )
        yield Remark(False, words, "decoding.no_repeat_ngram, or an attention with coverage")
    for key in part(main, "details"):
        fitted = part(part(part(main, "details"), key), "temperature")
        degree, before, after = (finite(fitted.get(name)) for name in ("temperature", "before", "after"))
        if degree is None or before is None or after is None:
            continue
        if before > 5 and after < before - 1:
            kind = "overconfident" if degree > 1 else "underconfident"
            words = f"confidence is off by {number(before, 1)} points: {kind}"
            yield Remark(False, words, f"dividing log-odds by a temperature of {number(degree, 2)}, or more dropout")


def of_groups(main: Mapping[str, Any]) -> Iterator[Remark]:
    """The group of rows that is worst, of all breakdowns whose metric goes from 0 to 100."""
    worst: tuple[float, str] | None = None
    even = []
    for one in parts(main, "breakdowns"):
        metric = text_of(one, "metric")
        if metric_of(metric) not in SCORES or text_of(one, "by") == "target_length":
            continue
        lower = part(part(main, "metrics"), metric).get("higher_is_better") is False
        groups = [
            (group["value"], group["rows"], text_of(group, "label"))
            for group in parts(one, "groups")
            if is_number(group.get("value")) and is_number(group.get("rows")) and group["rows"] >= FEW
        ]
        if len(groups) < 2:
            continue
        known = part(part(main, "metrics"), metric).get("value")
        of_all = sum(value * rows for value, rows, _ in groups) / sum(rows for _, rows, _ in groups)
        mean = known if is_number(known) else of_all
        value, _, name = (max if lower else min)(groups)
        gap = value - mean if lower else mean - value
        even.append(gap < APART / 2)
        if gap >= APART and (worst is None or gap > worst[0]):
            title = text_of(one, "title")
            words = f"{label(metric)} is {number(value, 1)} where {title[:1].lower()}{title[1:]} is {name}"
            worst = gap, f"{words}, {number(mean, 1)} on average"
    if worst is not None:
        yield Remark(False, worst[1], "more training rows of that kind")
    elif even and all(even):
        yield Remark(True, "no group of rows is much worse than the others")


def of_labels(main: Mapping[str, Any]) -> Iterator[Remark]:
    """The label that is found worst, and the pair that is confused most often."""
    for key in part(main, "details"):
        details = part(part(main, "details"), key)
        known = [
            (one["f1"], name)
            for name, one in part(details, "labels").items()
            if isinstance(one, Mapping) and is_number(one.get("f1")) and (finite(one.get("support")) or 0) >= FEW
        ]
        if len(known) > 1 and min(known)[0] < max(known)[0] - APART:
            value, name = min(known)
            yield Remark(False, f"the label {name} is found worst: F1 {number(value, 1)}" + confused(details, name))
            return


def confused(details: Mapping[str, Any], name: str) -> str:
    """With which other label a label is confused most."""
    table = part(details, "confusion")
    names, counts = table.get("labels"), table.get("counts")
    if not isinstance(names, Sequence) or not isinstance(counts, Sequence) or name not in names:
        return ""
    row = counts[names.index(name)] if len(counts) == len(names) else []
    others = [(count, other) for count, other in zip(row, names, strict=False) if other != name and is_number(count)]
    if not others or not max(others)[0]:
        return ""
    count, other = max(others)
    return f", taken for {other} in {percent(count / sum(row))} of its places"


def of_size(main: Mapping[str, Any]) -> Iterator[Remark]:
    """Whether there are enough rows for the first score to say much."""
    for key, one in part(main, "metrics").items():
        low, high = one.get("low"), one.get("high")
        if metric_of(str(key)) in SCORES and is_number(low) and is_number(high) and high - low > APART:
            words = f"the interval of {label(key)} is {number(high - low, 1)} points wide"
            words += f" on {number(main.get('rows'))} rows"
            yield Remark(False, words, "more test rows before small differences are believed")
        return

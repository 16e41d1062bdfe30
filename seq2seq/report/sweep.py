"""A sweep as plain values -> a table for the terminal, and one self-contained page.

Everything is about the validation split; of the test split there is one number, that of the winner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from seq2seq.report import layout, plots
from seq2seq.report.drawing import Drawing, Scale, around
from seq2seq.report.panels import Panel, interval
from seq2seq.report.tables import Table, unit_decimals
from seq2seq.report.wording import (
    count,
    duration,
    finite,
    heading,
    is_number,
    label,
    number,
    part,
    parts,
    phrase,
    shortened,
)

DRAWN = 20
"""Configurations in the picture of their scores."""

LISTED = 15
"""Configurations in the table of the terminal."""


def table(sweep: Mapping[str, Any]) -> Table:
    """The configurations by their score, for the terminal."""
    names = varied(sweep)
    ranked = parts(sweep, "configurations")
    header = ["rank", label(sweep.get("metric") or "score"), "95 % interval", *names, "trials", "time"]
    rows = [
        [str(place), *scored(one, sweep), *setting_cells(one, names), in_brief(one), duration(one.get("seconds"))]
        for place, one in enumerate(ranked[:LISTED], 1)
    ]
    states = dict.fromkeys(str(one.get("state")) for one in parts(sweep, "trials"))
    counts = {state: sum(one.get("state") == state for one in parts(sweep, "trials")) for state in states}
    notes = ["validation split; " + ", ".join(f"{number(many, 0)} {state}" for state, many in counts.items())]
    left = len(ranked) - LISTED
    notes += [f"{count(left, 'more configuration')} in sweep.json"] * (left > 0)
    notes += [f"importance: {', '.join(f'{key} {number(100 * share, 0)} %' for key, share in shares(sweep))}"] * bool(
        shares(sweep)
    )
    return Table(header, rows, [*notes, *test_lines(sweep)])


def varied(sweep: Mapping[str, Any]) -> list[str]:
    """The settings that a configuration is made of."""
    return [str(name) for name in part(sweep, "space") if name != "seed"]


def setting_cells(one: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The settings of a configuration or a trial."""
    settings = part(one, "settings")
    return [in_cell(settings[name]) if name in settings else "" for name in names]


def in_cell(value: object) -> str:
    """A setting, a long one cut, a number with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else shortened(phrase(value), 40)


def in_brief(one: Mapping[str, Any]) -> str:
    """The numbers of the trials of a configuration."""
    listed = [number(trial, 0) for trial in one.get("trials") or ()]
    return ", ".join(listed[:3]) + f" and {len(listed) - 3} more" * (len(listed) > 3)


def scored(one: Mapping[str, Any], sweep: Mapping[str, Any]) -> tuple[str, str]:
    """The score of a configuration, and its interval or its deviation over seeds."""
    decimals = unit_decimals(str(sweep.get("unit")))
    value = number(one.get("value"), decimals)
    if is_number(one.get("deviation")):
        return value, f"± {number(one['deviation'], decimals)} over {len(one.get('trials') or ())} seeds"
    return value, interval(finite(one.get("low")), finite(one.get("high")), decimals)


def shares(sweep: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The importance of the settings, the greatest first."""
    known = {key: share for key, share in part(sweep, "importance").items() if is_number(share)}
    return sorted(known.items(), key=lambda item: -item[1])


def test_lines(sweep: Mapping[str, Any]) -> list[str]:
    """What is known of the test split, and how often it has been looked at."""
    tested = parts(sweep, "tested")
    decimals = unit_decimals(str(sweep.get("unit")))
    lines = [
        f"trial {number(one.get('trial'), 0)} on the test split: {label(one.get('metric'))} "
        f"{number(one.get('value'), decimals)} ({interval(finite(one.get('low')), finite(one.get('high')), decimals)})"
        for one in tested
    ]
    again = "the test split was scored for several winners, because trials were added; quote the last, and say so"
    return lines + [again] * (len(tested) > 1)


def render(sweep: Mapping[str, Any]) -> str:
    """The whole page as text; the same sweep gives the same text."""
    ranked, trials, names = parts(sweep, "configurations"), parts(sweep, "trials"), varied(sweep)
    metric = heading(sweep.get("metric") or "score")
    return layout.page(
        "sweep.html",
        name=str(sweep.get("name") or ""),
        headline=headline(sweep),
        highlights=list(highlights(sweep)),
        winner=list(winner(sweep)),
        notes=notes(sweep),
        ranking=ranking(sweep, ranked, names),
        importance=importance(sweep),
        slices=[one for name in names if (one := by_setting(sweep, name, metric)) is not None],
        progress=[one for one in (progress(trials, metric, sweep), curves(trials, metric)) if one is not None],
        trials=all_trials(sweep, trials, [*names, *(["seed"] if "seed" in part(sweep, "space") else [])]),
        failures=[(f"trial {number(one.get('number'), 0)}", str(one["reason"])) for one in trials if one.get("reason")],
        configuration=str(sweep.get("configuration") or ""),
    )


def headline(sweep: Mapping[str, Any]) -> str:
    """The best score as a sentence."""
    ranked = parts(sweep, "configurations")
    if not ranked:
        return "No trial is complete yet."
    value, about = scored(ranked[0], sweep)
    about = f"95 % interval {about}" if "±" not in about else about
    score, of = f"{heading(sweep.get('metric'))} {value}", count(len(ranked), "configuration")
    return f"{score} on the validation split ({about}), the best of {of}."


def highlights(sweep: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How many trials there are, and what they took."""
    trials = parts(sweep, "trials")
    for state in ("complete", "pruned", "failed", "running"):
        many = sum(one.get("state") == state.removesuffix("ed") or one.get("state") == state for one in trials)
        if many:
            yield heading(state), number(many, 0)
    yield "Training time", duration(sum(finite(one.get("seconds")) or 0 for one in trials))
    yield "Sampler", str(sweep.get("sampler") or "")
    if sweep.get("pruner") not in (None, "none"):
        yield "Pruner", str(sweep["pruner"])


def winner(sweep: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings of the best configuration, and where it is."""
    ranked = parts(sweep, "configurations")
    if not ranked:
        return
    yield from ((str(name), in_cell(value)) for name, value in part(ranked[0], "settings").items())
    runs = {one.get("number"): one.get("run") for one in parts(sweep, "trials")}
    yield "Run", str(runs.get(sweep.get("winner")) or "")
    for one in parts(sweep, "tested"):
        decimals = unit_decimals(str(sweep.get("unit")))
        ends = interval(finite(one.get("low")), finite(one.get("high")), decimals)
        title = "Test split" if one.get("trial") == sweep.get("winner") else f"Test split, trial {one.get('trial')}"
        yield title, f"{label(one.get('metric'))} {number(one.get('value'), decimals)} ({ends})"


def notes(sweep: Mapping[str, Any]) -> list[str]:
    """How to read the best score."""
    lines = [
        "The winner is the best of many on the rows that chose it, so its validation score is too good; the test split "
        "has had no part in the choice."
    ]
    if part(sweep, "space").get("seed"):
        lines.append("Trials that differ in nothing but their seed are one configuration, ranked by their mean.")
    return lines + test_lines(sweep)[len(parts(sweep, "tested")) :]


def ranking(sweep: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Panel:
    """The configurations by their score, with a picture of the intervals."""
    metric = label(sweep.get("metric") or "score")
    rows = [[str(place), *scored(one, sweep), *setting_cells(one, names), in_brief(one)]
            for place, one in enumerate(ranked, 1)]  # fmt: skip
    known = [one for one in ranked if is_number(one.get("value"))]
    drawn = intervals(known[:DRAWN], metric) if len(known) > 1 else None
    caption = "Scores with their 95 % intervals over rows, or a deviation over seeds; overlapping ones may be luck."
    signature = str(sweep.get("signature") or "")
    return Panel("Configurations", ["Rank", metric, "95 % interval", *names, "Trials"], rows, drawn,
                 caption + f" Signature: {signature}." * bool(signature))  # fmt: skip


def intervals(ranked: Sequence[Mapping[str, Any]], metric: str) -> Markup:
    """Scores with their intervals, under one another, the best on top."""
    drawing, bottom = Drawing(plots.WIDTH, 50 + 18 * len(ranked)), 14 + 18 * len(ranked)
    ends = [ends_of(one) for one in ranked]
    x = around([value for pair in ends for value in pair], 60, plots.RIGHT)
    drawing.path(f"M{x.start} {bottom}H{x.stop}", "grid")
    for place, (one, (low, high)) in enumerate(zip(ranked, ends, strict=True)):
        middle = 14 + 18 * place
        drawing.path(f"M{x(low)} {middle}H{x(high)}", "interval series-1")
        plots.sign(drawing, x(one["value"]), middle, 0)
        drawing.text(x.start - 6, middle + 4, f"rank {place + 1}", "end")
    for value, name in x.ticks().items():
        drawing.text(x(value), bottom + 14, name)
    drawing.text((x.start + x.stop) / 2, drawing.height - 5, metric)
    words = "; ".join(f"rank {place}: {one['value']:.4g}" for place, one in enumerate(ranked, 1))
    return drawing.svg("Scores of the configurations", words)


def ends_of(one: Mapping[str, Any]) -> tuple[float, float]:
    """Both ends of what is drawn around a score."""
    value, deviation = one["value"], finite(one.get("deviation"))
    if deviation is not None:
        return value - deviation, value + deviation
    low, high = finite(one.get("low")), finite(one.get("high"))
    return (value if low is None else low, value if high is None else high)


def importance(sweep: Mapping[str, Any]) -> Panel:
    """The share that each setting has in a good score."""
    known = shares(sweep)
    rows = [[name, f"{number(100 * share, 0)} %"] for name, share in known]
    caption = (
        "How much a setting decides whether a trial is among the best (PED-ANOVA, Watanabe et al. 2023); rough where "
        "trials are few."
    )
    return Panel("Importance", ["Setting", "Share"], rows, bars(known) if known else None, caption)


def bars(known: Sequence[tuple[str, float]]) -> Markup:
    """Shares as bars beside their names."""
    names = [shortened(name, 26) for name, _ in known]
    drawing = Drawing(plots.WIDTH, 14 + 22 * len(known))
    x = Scale(0, 1, 12 + 6 * max(map(len, names)), plots.RIGHT - 34)
    for place, (name, (_, share)) in enumerate(zip(names, known, strict=True)):
        top = 6 + 22 * place
        drawing.text(x.start - 6, top + 12, name, "end")
        drawing.add(
            "rect", x=x.start, y=top, width=round(max(1, x(share) - x.start), 1), height=16, class_="dot series-1"
        )
        drawing.text(x(share) + 5, top + 12, f"{100 * share:.0f} %", "start")
    return drawing.svg("Importance of the settings", "; ".join(f"{name}: {100 * share:.0f} %" for name, share in known))


def by_setting(sweep: Mapping[str, Any], name: str, metric: str) -> Markup | None:
    """The scores of complete trials over one setting."""
    pairs = [(part(one, "settings").get(name), one["value"]) for one in parts(sweep, "trials")
             if is_number(one.get("value"))]  # fmt: skip
    if len(pairs) < 2:
        return None
    space = part(sweep, "space").get(name)
    log = isinstance(space, Mapping) and bool(space.get("log"))
    drawing = Drawing(plots.WIDTH, 216)
    y = around([value for _, value in pairs], 180, 8)
    left = 24 + 5.7 * max(map(len, y.ticks().values()), default=0)
    if isinstance(space, Mapping):
        x = around([float(place) for place, _ in pairs if is_number(place)], left, plots.RIGHT, log=log)
        drawing.axes(x, y, x.ticks(), name, metric)
        places = [x(place) for place, _ in pairs if is_number(place)]
    else:
        choices = list(space or ())
        ordered = sorted(choices) if all(map(is_number, choices)) else choices
        labels = list(dict.fromkeys(map(phrase, ordered)))
        x = Scale(-0.6, max(0.6, len(labels) - 0.4), left, plots.RIGHT)
        drawing.axes(x, y, {index: shortened(text, 14) for index, text in enumerate(labels)}, name, metric)
        places = [x(named(labels, place)) for place, _ in pairs]
    for place, (_, value) in zip(places, pairs, strict=True):
        drawing.add("circle", cx=place, cy=y(value), r=3, class_="dot series-1", fill_opacity=0.6)
    words = "; ".join(f"{phrase(place)}: {value:.4g}" for place, value in pairs)
    return drawing.svg(f"{metric} by {name}", words)


def named(labels: Sequence[str], value: Any) -> int:
    """The number of a choice; one that no scalar is goes by its JSON in a study."""
    text = phrase(value)
    return labels.index(text) if text in labels else 0


def progress(trials: Sequence[Mapping[str, Any]], metric: str, sweep: Mapping[str, Any]) -> Markup | None:
    """The score of each complete trial, and the best so far."""
    known = [(float(one["number"]), float(one["value"])) for one in trials if is_number(one.get("value"))]
    if len(known) < 2:
        return None
    better = max if sweep.get("higher_is_better") is not False else min
    best, line = known[0][1], []
    for place, value in known:
        best = better(best, value)
        line.append((place, best))
    return plots.lines({metric: known, "best so far": line}, "Scores in the order of the trials", metric, "trial")


def curves(trials: Sequence[Mapping[str, Any]], metric: str) -> Markup | None:
    """Validation scores over steps of the best and the worst trials."""
    known = {f"trial {one['number']}" + " (pruned)" * (one.get("state") == "pruned"): curve_of(one) for one in trials}
    drawn = {name: points for name, points in known.items() if len(points) > 1}
    if not drawn:
        return None
    ranked = sorted(drawn, key=lambda name: drawn[name][-1][1])
    shown = dict.fromkeys([*ranked[::-1][:3], *ranked[:2]])
    return plots.lines({name: drawn[name] for name in shown}, "Validation scores during training", metric, "step")


def curve_of(one: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The validations of a trial."""
    return [(float(step), float(value)) for step, value in one.get("curve") or () if is_number(value)]


def all_trials(sweep: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Panel:
    """Every trial, whatever has become of it."""
    decimals = unit_decimals(str(sweep.get("unit")))
    rows = [
        [
            number(one.get("number"), 0),
            str(one.get("state") or ""),
            number(one["value"], decimals) if is_number(one.get("value")) else last_score(one, decimals),
            *setting_cells(one, names),
            number(one["step"], 0) if is_number(one.get("step")) else "",
            duration(one["seconds"]) if is_number(one.get("seconds")) else "",
        ]
        for one in trials
    ]
    return Panel("All trials", ["Trial", "State", label(sweep.get("metric") or "score"), *names, "Step", "Time"], rows)


def last_score(one: Mapping[str, Any], decimals: int) -> str:
    """The last validation of a trial that has not been finished."""
    curve = curve_of(one)
    return f"({number(curve[-1][1], decimals)})" if curve else ""

"""What the network does, for the page: attention, fixed vectors, exposure bias, memory over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from seq2seq.report import plots
from seq2seq.report.panels import Panel, Section, interval
from seq2seq.report.sparklines import in_brief
from seq2seq.report.wording import finite, is_number, number, part, parts, percent, shortened, text_of

TOKENS = 60
"""Tokens of each side of an alignment that are drawn."""

LEGIBLE = 24
"""Tokens of a source that can be taken in at a glance."""

CUT = 400
"""Characters of a text of the data in a table or in the search."""

Texts = Mapping[Any, Mapping[str, Any]]
"""The rows of a split by their numbers."""


class Alignment(NamedTuple):
    """The attention of a row: for each target token the weights of the source tokens, in percent."""

    title: str
    source: list[str]
    target: list[str]
    weights: list[list[int]]
    picture: Markup


class VectorMap(NamedTuple):
    """The map of the fixed vectors, and the nearest neighbours of some."""

    caption: str
    picture: Markup
    neighbours: list[tuple[str, list[tuple[str, str]]]]


def text_in(texts: Texts, row: Mapping[str, Any], side: str) -> str:
    """A text of the row that `row` names."""
    return shortened(in_brief(str(texts.get(row.get("id"), {}).get(side) or "")), CUT)


def alignments(stored: Sequence[Mapping[str, Any]], texts: Texts) -> list[Alignment]:
    """Some rows; one that is long, but not too long to take in, comes first."""
    rows = [alignment(row, texts) for row in stored]
    best = max(rows, key=lambda one: (len(one.source) <= LEGIBLE, len(one.source)), default=None)
    return sorted(rows, key=lambda one: one is not best)


def alignment(one: Mapping[str, Any], texts: Texts) -> Alignment:
    """The weights of a row, its sides cut to what can be drawn."""
    source, target = ([str(token) for token in one.get(side) or ()][:TOKENS] for side in ("source", "target"))
    weights = [[int(finite(weight) or 0) for weight in step][: len(source)] for step in one.get("weights") or ()]
    weights, title = weights[: len(target)], text_in(texts, one, "source") or "".join(source)
    picture = plots.attention_map(source, target, weights)
    return Alignment(f"row {number(one.get('id'), 0)}: {shortened(title, 160)}", source, target, weights, picture)


def attention(statistics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How attention behaves over all rows."""
    entropy, share, coverage, never = map(statistics.get, ("entropy", "entropy_share", "coverage", "never_attended"))
    facts = {
        "Entropy of the attention": f"{number(entropy, 2)} nats" if is_number(entropy) else "",
        "Normalised entropy": percent(share) if is_number(share) else "",
        "Coverage, clipped at 1 for each source token": percent(coverage) if is_number(coverage) else "",
        "Source tokens with a total attention below 0.1": f"{number(never, 1)} %" if is_number(never) else "",
    }
    return [(name, value) for name, value in facts.items() if value]


def candidates(main: Mapping[str, Any], texts: Texts) -> Iterator[Panel]:
    """Rows that may be under-translated or over-translated."""
    under = [
        [number(one.get("id"), 0), readable(one.get("tokens") or ()), percent(one.get("share")),
         text_in(texts, one, "source")]
        for one in parts(part(main, "attention"), "under")
        if not right(texts, one) and readable(one.get("tokens") or ())
    ]  # fmt: skip
    if under:
        yield Panel("Possible under-translation", ["Row", "Unattended", "Of the source", "Source"], under)
    over = [[number(one.get("id"), 0), text_of(one, "repeated"), text_in(texts, one, "prediction")]
            for one in parts(part(main, "repetition"), "rows")]  # fmt: skip
    if over:
        yield Panel("Possible over-translation", ["Row", "Repeated", "Prediction"], over)


def right(texts: Texts, row: Mapping[str, Any]) -> bool:
    """Whether the prediction of a row equals its reference: then it leaves nothing out."""
    found = texts.get(row.get("id"), {})
    return bool(found.get("reference")) and found.get("prediction") == found.get("reference")


def readable(tokens: Iterable[Any]) -> str:
    """Tokens without the marks of subwords; those that hold no letter or digit say nothing."""
    texts = (str(token).replace("\u2581", "") for token in tokens)
    return "  ".join(text for text in texts if any(map(str.isalnum, text)))


def vectors(results: Mapping[str, Any], texts: Texts) -> VectorMap | None:
    """The fixed vectors in the plane of their first two principal components."""
    dots = [(one["x"], one["y"], text_in(texts, one, "source"))
            for one in parts(results, "points") if is_number(one.get("x")) and is_number(one.get("y"))]  # fmt: skip
    if not dots:
        return None
    explained = [value for value in results.get("explained") or () if is_number(value)]
    caption = f"{number(results.get('rows'), 0)} fixed vectors of {number(results.get('size'), 0)} units"
    if len(explained) == 2:
        caption += f"; the two axes explain {percent(explained[0])} and {percent(explained[1])} of their variance"
    neighbours = [
        (text_in(texts, one, "source"),
         [(number(other.get("cosine"), 2), text_in(texts, other, "source")) for other in parts(one, "near")])
        for one in parts(results, "neighbours")
    ]  # fmt: skip
    return VectorMap(caption, plots.vector_map(dots), neighbours)


def probes(results: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """What a linear map reads from the fixed vector."""
    rows = []
    for one in results:
        decimals = 1 if one.get("unit") == "percent" else 2
        limits = interval(finite(one.get("low")), finite(one.get("high")), decimals)
        cells = (number(one.get("value"), decimals), limits, number(one.get("baseline"), decimals))
        rows.append([text_of(one, "name"), *cells, text_of(one, "unit"), number(one.get("rows"), 0)])
    if rows:
        header = ["Probe", "Score", "95 % interval", "Chance baseline", "Unit", "Rows"]
        caption = "Linear probes, fitted on one half of the rows and scored on the other (Conneau et al. 2018)."
        yield Panel("Probes of the fixed vector", header, rows, None, caption)


def exposure(results: Mapping[str, Any], repetition: Mapping[str, Any]) -> Section:
    """The loss by position with teacher forcing and free running, and how often texts repeat themselves."""
    words = ["Training uses teacher forcing, prediction is free running. The gap of the losses is exposure bias."]
    panels = []
    if is_number(results.get("gap")):
        gap, tokens = number(results["gap"]), number(results.get("tokens"), 0)
        words.append(f"Free running costs {gap} nats per token more than teacher forcing, over {tokens} tokens.")
    steps = [one for one in parts(results, "by_position") if is_number(one.get("position"))]
    kinds = {"reference": "teacher forcing", "reference_after_own": "free running", "own": "own prediction"}
    series = {name: points(steps, "position", key) for key, name in kinds.items()}
    if drawn := {name: several for name, several in series.items() if several}:
        rows = [[number(one["position"], 0), number(one.get("rows"), 0), *(number(one.get(key), 3) for key in kinds)]
                for index, one in enumerate(steps) if index < 10 or index % 5 == 4]  # fmt: skip
        caption = (
            "Loss of the reference with teacher forcing, as in training; of the reference after the model's own "
            "prediction (free running), where a word at another position counts as wrong; of the own prediction."
        )
        picture = plots.lines(drawn, "Loss by position", "nats per token", "position in the target")
        header = ["Position", "Rows", *(name.capitalize() for name in kinds.values())]
        panels.append(Panel("Loss by position", header, rows, picture, caption))
    if repetition:
        rows = [[name, f"{number(repetition.get(key), 1)} %"]
                for key, name in (("prediction", "Predictions"), ("reference", "References"))]  # fmt: skip
        panels.append(Panel("Rows that repeat themselves", ["In", "Share"], rows))
    return Section(words, panels)


def points(rows: Iterable[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    """(x, y) of the rows where both are numbers."""
    pairs = ((finite(row.get(x)), finite(row.get(y))) for row in rows)
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def memory(diagnostics: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """Gradients by distance, gates and rank at each validation (Pascanu et al. 2013; Karpathy et al. 2015)."""
    known = [one for one in diagnostics if is_number(one.get("step"))]
    if not known:
        return
    chosen = [known[index] for index in dict.fromkeys([0, len(known) // 2, len(known) - 1])]
    for direction in part(known[-1], "gradient_norm"):
        series = {
            f"step {number(one['step'], 0)}": {
                float(distance): value
                for distance, value in enumerate(part(one, "gradient_norm").get(direction) or ())
                if is_number(value) and value > 0
            }
            for one in chosen
        }
        series = {name: norms for name, norms in series.items() if len(norms) > 1}
        if series:
            title = f"Gradient by distance from the end, {direction} direction"
            drawn = {name: list(norms.items()) for name, norms in series.items()}
            axis, unit = "tokens read afterwards", "norm of the gradient, nats"
            picture = plots.lines(drawn, title, unit, axis, log=True)
            caption = (
                "Norm of the gradient of the loss with respect to an encoder state. A flat curve is a long memory."
            )
            rows = [[number(distance, 0), *(number(norms.get(distance)) for norms in series.values())]
                    for distance in (0, 1, 2, 5, 10, 20, 40)
                    if any(distance in norms for norms in series.values())]  # fmt: skip
            yield Panel(title, ["Tokens", *series], rows, picture, caption)
    yield gates_over_training(known)


def gates_over_training(known: Sequence[Mapping[str, Any]]) -> Panel:
    """Saturated gates and the effective rank at each validation."""
    gates = list(part(known[-1], "saturation"))
    series: dict[str, list[tuple[float, float]]] = {}
    for gate in gates:
        for side in (0, 1):
            shares = [(one["step"], (part(one, "saturation").get(gate) or (None, None))[side]) for one in known]
            if several := [(float(step), 100 * share) for step, share in shares if is_number(share)]:
                series[f"{gate} at {side}"] = several
    picture = plots.lines(series, "Saturated gates over training", "percent of gates", "step") if series else None
    rows = []
    for one in known[:: max(1, len(known) // 8)]:
        ends = (part(one, "saturation").get(gate) or (None, None) for gate in gates)
        cells = [f"{percent(low)} / {percent(high)}" for low, high in ends]
        rows.append([number(one["step"], 0), number(one.get("effective_rank"), 1), *cells])
    size = number(known[-1].get("size"), 0)
    caption = (
        "A gate is saturated at 0 below 0.1, at 1 above 0.9. The effective rank is that of the fixed vectors, which "
        f"have {size} units."
    )
    header = ["Step", "Effective rank", *(f"{gate} at 0 / at 1" for gate in gates)]
    return Panel("Gates and rank over training", header, rows, picture, caption)

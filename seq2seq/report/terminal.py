"""Scores and examples for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from seq2seq.report.wording import delay_sentence, limit_sentence, part, shortened


def lined_up(texts: Sequence[str], width: int = 160) -> list[str]:
    """Texts with as many tokens between tabs, each token above the same one of the next text; cut at `width`."""
    rows = [text.split("\t") for text in texts]
    if len(rows[0]) == 1 or len({len(row) for row in rows}) > 1:
        return list(texts)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [shortened(line, width) for line in lines]


def summary(results: Mapping[str, Any], split: str) -> str:
    """The score table and five examples, for the terminal."""
    from seq2seq.report import tables  # takes a moment to import

    head = f"{results['task']} {results['name']}: {results['splits'][split]['rows']:,} {split} rows"
    return "\n".join([head, "", tables.scores(results, split).terminal(), shown(results, split)])


def shown(results: Mapping[str, Any], split: str) -> str:
    """What the limit of length has done, whether forecasts beat the baselines, how far writing lags, and examples."""
    from seq2seq.report import forecasts  # takes a moment to import

    limit = part(results["splits"][split], "length_limit")
    lines = ["", limit_sentence(limit)] if limit.get("ended") or limit.get("longer") else []
    verdict = forecasts.verdict(part(results["splits"][split], "forecasts"), part(results["splits"][split], "metrics"))
    lines += ["", verdict] if verdict else []
    delay = delay_sentence(part(results["splits"][split], "delay"))
    lines += ["", delay] if delay else []
    for row in results["splits"][split]["examples"]["random"][:5]:
        source, reference, prediction = lined_up([row[name] for name in ("source", "reference", "prediction")])
        lines += ["", *([f"  source      {source}"] if source else [])]
        lines += [f"  reference   {reference}", f"  prediction  {prediction}"]
    return "\n".join(lines)

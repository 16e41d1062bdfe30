"""Results with every part, in small, and text that attacks a page."""

from typing import Any

from seq2seq.report.page import render

SIGNATURE = "nrefs:1|bs:1000|seed:12345|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=http://evil.example/x onerror=alert(1)>',
    "</details></section></svg><p>out</p>",
    "{{7*7}}{% raw %}",
    "' onmouseover='alert(1)",
    "<!-- <style>@import url(//evil.example)</style>",
    "]]> &lt;b&gt; $\\frac{1$",
)


def example(number: int, text: str = "three") -> dict[str, Any]:
    scores = {"score": -0.25, "metric": "chrf", "chrf": 98.76}
    return {"id": number, "source": text, "reference": "drei", "prediction": "drei", **scores}


def everything() -> dict[str, Any]:
    """Results with every part, in small."""
    steps = [(step, step * 0.1) for step in range(100, 1300, 100)]
    curves = {
        name: [[step, seconds, start + step / 100] for step, seconds in steps]
        for start, name in enumerate(("train_loss", "validation_loss", "validation_bleu", "gradient_norm"))
    }
    lengths = [
        {"label": "1–5", "rows": 1120, "value": 93.04, "low": 91.5, "high": 94.5},
        {"label": "6 and more", "rows": 30, "value": 70.0, "low": 60.0, "high": 80.0},
    ]
    by_length = {"by": "source_length", "title": "Source length", "axis": "words", "metric": "bleu", "groups": lengths}
    labels = {"NOUN": {"precision": 91.3, "recall": 80.0, "f1": 85.3, "support": 1200}, "VERB": {"support": 7}}
    details = {
        "macro_f1": {"labels": labels, "confusion": {"labels": ["NOUN", "VERB"], "counts": [[960, 240], [0, 7]]}},
        "calibration_error": {
            "bins": [{"low": 0.5, "high": 0.75, "count": 1150, "confidence": 0.625, "accuracy": 0.5},
                     {"low": 0.75, "high": 1.0, "count": 0, "confidence": 0.0, "accuracy": 0.0}],
            "temperature": {"temperature": 1.62, "before": 12.5, "after": 1.5},
        },
        "wer": {"groups": {"ice": 11.6, "kor": 25.3}},
    }  # fmt: skip
    bleu = {"value": 91.23, "low": 90.11, "high": 92.34, "signature": SIGNATURE, "unit": "BLEU points"}
    test = {
        "rows": 1000,
        "metrics": {"bleu": bleu, "exact_match": {"value": 84.0, "unit": "percent", "signature": "case:mixed"}},
        "details": details,
        "breakdowns": [by_length],
        "exposure": {
            "by_position": [
                {"position": place, "rows": 9, "reference": 0.5, "own": 0.1, "reference_after_own": 0.5 + place}
                for place in (1, 2, 3)
            ],
            "gap": 1.25,
            "tokens": 4321,
        },
        "repetition": {"prediction": 3.5, "reference": 0.5, "rows": [{"id": 2, "repeated": "drei drei"}]},
        "attention": {
            "entropy": 1.5,
            "entropy_share": 0.4,
            "coverage": 0.8,
            "never_attended": 7.5,
            "under": [
                {"id": 1, "tokens": ["\u2581left", "\u2581", "out"], "share": 0.5},
                {"id": 2, "tokens": ["right"], "share": 0.5},
            ],
        },
        "vectors": {
            "size": 64,
            "rows": 3,
            "explained": [0.4, 0.25],
            "points": [{"id": 1, "x": 0.0, "y": 1.0}, {"id": 2, "x": 2.0, "y": -3.0}],
            "neighbours": [{"id": 1, "near": [{"id": 2, "cosine": 0.87}]}],
            "probes": [
                {"name": "length", "value": 0.935, "low": 0.9, "high": 0.95, "baseline": 0.0, "unit": "R2", "rows": 500}
            ],
        },
        "examples": {"best": [example(1)], "worst": [example(2, "שלוש")], "random": [example(n) for n in range(9)]},
        "decoding": {"beam_size": 5, "length_penalty": 1.0},
    }
    return {
        "format": 1,
        "task": "Translation",
        "name": "demo",
        "splits": {"validation": {"rows": 7, "metrics": {"bleu": {"value": 12.0}}}, "test": test},
        "curves": curves,
        "best": {"step": 1200, "metric": "validation_bleu", "value": 14.0},
        "resumed": [700],
        "parent": {
            "checkpoint": "runs/ten/best.ckpt",
            "sha256": "f00d" * 16,
            "step": 9,
            "carried": {"table": "3 of 4 rows"},
            "new": ["encoder.gate"],
            "left": [],
        },
        "frozen": {"parts": ["decoder"], "parameters": 3000},
        "parts": [
            {
                "until": 700,
                "seconds": 60.0,
                "best": {"step": 600, "metric": "validation_bleu", "value": 12.0},
                "test": {"bleu": 77.7},
            }
        ],
        "skipped": {"steps": 3, "split": 0},
        "memory": [
            {
                "step": step,
                "gradient_norm": {"forward": [0.5, 0.2, 0.1]},
                "saturation": {"forget": [0.02, 0.3]},
                "effective_rank": 12.5,
                "size": 64,
            }
            for step in (100, 200)
        ],
        "changed": ["model.layers"],
        "config": {"model": {"cell": "LSTM", "layers": 2, "stop": None}, "data": {"path": "numbers.tsv"}},
        "environment": {"python": "3.11.7", "packages": {"torch": "2.13.0"}, "command": "python -m seq2seq.train -c x"},
        "model": {"parameters": {"encoder": 1000, "decoder": 3000, "total": 4000}},
        "data": {"rows": {"train": 20000}, "vocabulary": {"source": 1000}},
        "seconds": 171.2,
        "timing": {"prepare": 3.14, "train": 171.2},
    }


ROWS = [example(number, text) for number, text in enumerate(("zero", "one שלום", "<b>two</b>"))]
ROWS[1]["prediction"] = "vier"
ALIGNMENTS = [{"id": 1, "source": ["o", "ne"], "target": ["ei", "ns", "</s>"], "weights": [[90, 10], [5, 95], [0, 99]]}]


def framed(number: int, source: str = "0 1\t1 2\t5 6\t2 0") -> dict[str, Any]:
    """A row of frames."""
    scores = {"score": -1.0, "metric": "word_error_rate", "word_error_rate": 50.0}
    return {"id": number, "source": source, "reference": "one two", "prediction": "one", **scores}


HEARD_ROWS = [{**framed(0), "speaker": "s1"}, framed(1), {**framed(2), "speaker": ATTACKS[1]}, framed(3, "no frames")]
HEARD: list[dict[str, Any]] = [
    {
        "id": 0,
        "hop": 0.01,
        "step": 2,
        "posteriors": [{"name": "one", "shares": [0, 90]}],
        "words": [[0.02, 0.04, "one"]],
        "aligned": [["one", "one"], ["two", None]],
        "clip": "UklGRiBzb3VuZA==",
    },
    {"id": 1, "step": 1, "segments": {"reference": [[0, 4, "a"]], "prediction": [[0, 1, "b"], [1, 4, "a"]]}},
    {
        "id": 2,
        "hop": 0.01,
        "step": 1,
        "posteriors": [{"name": ATTACKS[0], "shares": [50, None, "x", 1e9]}],
        "words": [[0, 1, ATTACKS[2]], ["a", None, 3], [5, 9, ATTACKS[5]]],
        "segments": {"reference": [[0, 9, ATTACKS[1]]], "prediction": ATTACKS[1]},
        "aligned": [[ATTACKS[0], ATTACKS[1]], [None, None]],
        "clip": '"><script>alert(1)</script>',
    },
    {"id": 3},
]
"""Rows to look at and to listen to, the last ones of which attack the page."""


def whole(results: dict[str, Any]) -> str:
    """The page with what stands beside results.json."""
    return render(results, ROWS, ALIGNMENTS)


def swept() -> dict[str, Any]:
    """A sweep with every part, whose names, values and reasons attack its page."""
    space = {
        "optimizer.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "model.cell": list(ATTACKS),
        "seed": [1],
    }
    trials: list[dict[str, Any]] = [
        {
            "number": number, "state": "complete", "value": 90.0 + number, "seconds": 60.0, "step": 200, "run": text,
            "settings": {"optimizer.learning_rate": 10.0 ** (-1 - number / 3), "model.cell": text, "seed": 1},
            "curve": [[100, 80.0 + number], [200, 89.0 + number]],
        }
        for number, text in enumerate(ATTACKS)
    ]  # fmt: skip
    ranked = [
        {"settings": trial["settings"], "trials": [trial["number"]], "value": trial["value"], "low": 88.0, "high": 99.0}
        for trial in trials[::-1]
    ]
    failed = {"number": 7, "state": "fail", "settings": {}, "reason": ATTACKS[0]}
    return {
        "name": ATTACKS[1], "space": space, "sampler": "tpe", "pruner": "median", "metric": "bleu", "unit": "percent",
        "higher_is_better": True, "signature": SIGNATURE, "configurations": ranked, "trials": [*trials, failed],
        "importance": {"model.cell": 0.75, "optimizer.learning_rate": 0.25}, "winner": 6,
        "configuration": "model: {cell: GRU}\n" * 40,
        "tested": [{"trial": 6, "metric": "bleu", "value": 91.0, "low": 90.0, "high": 92.0}] * 2,
    }  # fmt: skip

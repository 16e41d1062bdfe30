"""The README.md of an exported folder: a model card as the Hub reads it, front matter and text."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from seq2seq.report.tables import Table, scores
from seq2seq.report.wording import duration, heading, is_number, label, number, part, phrase, said, text_of

LIBRARY = "seq2seq"

PIPELINES = {
    "Tagging": "token-classification",
    "Classification": "text-classification",
    "Generation": "text-generation",
    "Forecasting": "time-series-forecasting",
    "Transcription": "automatic-speech-recognition",
}
"""What the Hub calls a task."""

TRANSLATED = {"bleu": "translation", "chrf": "translation", "ter": "translation", "rouge": "summarization"}
"""What it calls a Translation, by how its first metric begins; others, such as phonemes, have no name there."""


class Described(NamedTuple):
    """What a card is made of, as a checkpoint and results.json have it."""

    name: str
    task: Mapping[str, Any]
    """Class and settings."""
    data: Mapping[str, Any]
    decoding: Mapping[str, Any]
    parameters: Mapping[str, int]
    results: Mapping[str, Any]
    """results.json; empty where there is none."""
    fingerprint: str
    repository: str | None = None
    """OWNER/NAME on the Hub."""
    licence: str | None = None

    @property
    def kind(self) -> str:
        """The class of the task."""
        return str(self.task["class_path"]).rpartition(".")[2]

    @property
    def corpus(self) -> Mapping[str, Any]:
        """Class and settings of what the rows came from."""
        found = self.data.get("corpus")
        return found if isinstance(found, Mapping) else {"class_path": "unknown", "init_args": {}}

    @property
    def splits(self) -> dict[str, Mapping[str, Any]]:
        """The scores of each split."""
        splits = part(self.results, "splits")
        return {name: part(splits, name) for name in splits if part(part(splits, name), "metrics")}


def card(of: Described) -> str:
    """The whole file."""
    return f"---\n{yaml.safe_dump(front_matter(of), sort_keys=False, allow_unicode=True)}---\n\n{text(of)}"


def front_matter(of: Described) -> dict[str, Any]:
    """What the Hub finds models by; nothing that is not known."""
    corpus = part(of.corpus, "init_args")
    names = list(dict.fromkeys(name for one in of.splits.values() for name in part(one, "metrics")))
    about = {
        "library_name": LIBRARY,
        "pipeline_tag": pipeline(of),
        "license": of.licence,
        "language": languages(corpus),
        "tags": ["recurrent", "rnn", *parts_of(of)],
        "datasets": [corpus["name"]] if "/" in text_of(corpus, "name") else [],
        "metrics": names,
        "model-index": [{"name": of.name, "results": results(of)}] if names else [],
    }
    return {name: value for name, value in about.items() if value}


def pipeline(of: Described) -> str | None:
    """The task in the words of the Hub; None where it has none."""
    if of.kind != "Translation":
        return PIPELINES.get(of.kind)
    first = next((name for one in of.splits.values() for name in part(one, "metrics")), "")
    return next((found for begins, found in TRANSLATED.items() if first.startswith(begins)), None)


def languages(corpus: Mapping[str, Any]) -> list[str]:
    """The languages that a corpus names: locales, or endings of files such as en and de."""
    named = [text_of(corpus, key) for key in ("source_locale", "target_locale", "source", "target")]
    codes = [re.fullmatch(r"([a-z]{2})(?:[_-]\w+)?", name) for name in named]
    return list(dict.fromkeys(code[1] for code in codes if code))


def parts_of(of: Described) -> list[str]:
    """Tags: the task, the cell, the attention."""
    settings = part(of.task, "init_args")
    kinds = [text_of(part(settings, name), "class_path").rpartition(".")[2] for name in ("cell", "attention")]
    attends = ["attention"] if kinds[1] else []
    return [one.lower() for one in (of.kind, kinds[0], *attends) if one]


def results(of: Described) -> list[dict[str, Any]]:
    """The scores of each split as the Hub's index of models wants them."""
    task = {"type": pipeline(of) or of.kind.lower(), "name": of.kind}
    return [
        {
            "task": task,
            "dataset": {"name": phrase(given(of.corpus)), "type": kind_of_data(of), "split": split},
            "metrics": [
                {
                    "type": name,
                    "value": one["value"],
                    "name": heading(name),
                    "args": {key: one[key] for key in ("low", "high", "unit", "signature") if one.get(key) is not None},
                }
                for name, one in part(found, "metrics").items()
                if is_number(one.get("value"))
            ],
        }
        for split, found in of.splits.items()
    ]


def kind_of_data(of: Described) -> str:
    """The data set of the Hub, else the class of the corpus."""
    return text_of(part(of.corpus, "init_args"), "name") or str(of.corpus["class_path"]).rpartition(".")[2].lower()


def text(of: Described) -> str:
    """What people read."""
    sections = [
        f"# {plain(of.name)}",
        f"A recurrent network for the task {of.kind}, trained and scored with "
        f"[seq2seq](https://pypi.org/project/recurrent-seq2seq/). {number(of.parameters['total'])} parameters; "
        f"SHA-256 of the content {of.fingerprint}.",
        "## How to use",
        how_to_use(of),
        "## Scores",
        *scored(of),
        "## Data",
        trained_on(of),
        "## Network and training",
        network(of),
        "## Limits",
        limits(of),
    ]
    return "\n\n".join(sections) + "\n"


def how_to_use(of: Described) -> str:
    """Commands and Python."""
    name = of.repository or "FOLDER"
    pull = [f"hf download {name} --local-dir FOLDER"] if of.repository else []
    install = "pip install 'recurrent-seq2seq[hub]'"
    shell = "\n".join([install, *pull, "python -m seq2seq.predict FOLDER < texts.txt"])
    python = f'import seq2seq\n\nmodel = seq2seq.load("{name}")\nprint(model.predict(["a text"])[0].text)'
    return (
        f"```bash\n{shell}\n```\n\n```python\n{python}\n```\n\nThe files are tensors (safetensors), JSON and "
        "vocabularies: nothing in them can run code."
    )


def scored(of: Described) -> list[str]:
    """A table for each split."""
    found = []
    for split, one in of.splits.items():
        rows = f", {number(one.get('rows'), 0)} rows" if is_number(one.get("rows")) else ""
        found += [f"On the {split} split{rows}:", scores(of.results, split).markdown()]
        if searched := part(one, "decoding") or of.decoding:
            found.append(f"Search: {plain(phrase(said(searched)))}.")
    return found or ["This model has not been scored."]


def trained_on(of: Described) -> str:
    """Where rows came from and how many there are."""
    rows = part(part(of.results, "data"), "rows")
    counts = ", ".join(f"{number(rows[name], 0)} {name}" for name in ("train", "validation", "test") if name in rows)
    vocabulary = part(part(of.results, "data"), "vocabulary")
    lines = [f"Corpus: {plain(phrase(given(of.corpus)))}.", f"Rows: {counts}." if counts else "",
             f"Vocabulary: {plain(phrase(vocabulary))} tokens." if vocabulary else ""]  # fmt: skip
    return " ".join(filter(None, lines))


def network(of: Described) -> str:
    """Settings that are set, and what the training took."""
    settings = part(of.task, "init_args")
    shown = [
        [label(name), phrase(given(value))]
        for name, value in settings.items()
        if name != "metrics" and not unset(value)
    ]
    rows = [*shown, ["parameters", phrase(of.parameters)]]
    seconds, environment = of.results.get("seconds"), part(of.results, "environment")
    if is_number(seconds):
        rows.append(["training", f"{duration(seconds)} on {text_of(environment, 'device') or 'an unknown device'}"])
    packages = part(environment, "packages")
    rows += [[name, text_of(packages, name)] for name in ("seq2seq", "torch") if name in packages]
    return Table(["setting", "value"], [[plain(cell) for cell in row] for row in rows]).markdown()


def unset(value: Any) -> bool:
    """Whether a setting says nothing."""
    return value is None or value is False or value in (0, "", [], {})


def given(value: Any) -> Any:
    """A setting without what says nothing inside it."""
    if not isinstance(value, Mapping):
        return value
    return {name: given(inner) for name, inner in value.items() if not unset(inner)}


def limits(of: Described) -> str:
    """What one should not expect."""
    longest = of.data.get("max_length")
    lines = [
        "It knows what its training rows show and nothing else; the scores hold for texts like the rows above.",
        f"Sources are cut after {number(longest, 0)} tokens." if is_number(longest) and of.kind != "Tagging" else "",
        "Intervals say how much a score would vary over other rows of the same kind, not over other trainings."
        if of.splits
        else "",
        "Predictions are not checked for truth, bias or harm.",
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def plain(text: str) -> str:
    """A text in one line that Markdown does not read as HTML."""
    return " ".join(text.split()).replace("<", "&lt;")

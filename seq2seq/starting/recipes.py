"""Settings that each kind of data begins with; the rest are the defaults, which follow from the data."""

from typing import Any

MINUTE = 60_000_000
SEASONS = {
    ("microsecond", 10 * MINUTE): 144, ("microsecond", 15 * MINUTE): 96, ("microsecond", 30 * MINUTE): 48,
    ("microsecond", 60 * MINUTE): 24, ("microsecond", 1440 * MINUTE): 7, ("microsecond", 10_080 * MINUTE): 52,
    ("weekday", 1): 5, ("weekday", 5): 52, ("month", 1): 12, ("month", 3): 4,
}  # fmt: skip
"""Steps of a season by the unit of time and the step: a day of hours, a week of days, a year of weeks or months."""

LABELS = "Labels"


def separated(kind: str, separator: str) -> Any:
    """A tokenizer that cuts at a separator, at whitespace by default."""
    return kind if separator == " " else {"class_path": kind, "init_args": {"separator": separator}}


def spelled(separator: str) -> Any:
    """Words with their letters; tabs stand between words unless it is said otherwise."""
    return "Spelled" if separator == "\t" else {"class_path": "Spelled", "init_args": {"words": "Words"}}


def translation() -> dict[str, Any]:
    """Text to text, of any length."""
    decoder = {"latent_alignments": 3, "tied_output": True}  # Shankar et al. 2018
    model = {"attention": "Dot", "decoder": decoder, "dropout": 0.3, "label_smoothing": 0.1}
    learning = optimizer(0.002, r_drop=5)  # Liang et al. 2021, sec. 3.1: its weight for translation
    return {"task": "Translation", "data": {}, "model": model, "optimizer": learning}


def summarization() -> dict[str, Any]:
    """Longer texts to shorter ones, whose words may be copied."""
    attention = {"class_path": "Additive", "init_args": {"coverage": True, "attention_size": 128}}
    decoder = {"copy": True, "tied_embeddings": True}
    model = {"embedding_size": 128, "hidden_size": 256, "attention": attention, "decoder": decoder, "dropout": 0.3,
             "metrics": ["Rouge"]}  # fmt: skip
    data = {"shared_vocabulary": True, "max_length": 400, "cut_sources": True}
    return {"task": "Translation", "data": data, "model": model, "decoding": {"no_repeat_ngram": 3},
            "optimizer": optimizer(0.002, minimum_risk=0.1)}  # fmt: skip  # Shen et al. 2016


ALIGNED = {"class_path": "Monotonic", "init_args": {"size": 128}}
"""The attention of targets that keep the order of their source."""

LONG = 60
"""Letters of a source from which the sum over alignments costs too much."""


def letters(blocks: bool) -> Any:
    """A tokenizer of letters; blocks: whether they stand in blocks, as those of Korean, which are taken apart."""
    return {"class_path": "Characters", "init_args": {"normalization": "NFD"}} if blocks else "Characters"


def transduction(source: Any, target: Any, length: float, in_order: bool | None) -> dict[str, Any]:
    """Symbols to symbols by these tokenizers, copied where both have the same; length: symbols of a source.

    in_order: whether targets keep the order of their sources; None where they share too few symbols to tell.
    """
    same = source == target
    aligned = length < LONG and (in_order if in_order is not None else source != "Words")
    spelt = target != "Words"
    model = {"embedding_size": 128, "hidden_size": 256, "attention": ALIGNED if aligned else "General",
             "decoder": {"context_every_step": True} | ({"copy": True} if same else {}), "dropout": 0.4,
             "metrics": ["ExactMatch", "EditDistance"] if spelt else ["SequenceErrorRate", "SymbolErrorRate"],
             }  # fmt: skip
    data = {"tokenizer": source} | ({"shared_vocabulary": True} if same else {"target_tokenizer": target})
    return {"task": "Translation", "data": data, "model": model, "optimizer": optimizer(0.002)}


def inflection(letters: Any, separator: str, in_order: bool | None) -> dict[str, Any]:
    """A word and a bundle of features to a form of it; separator: between features."""
    parts = [letters, separated(LABELS, separator)]
    columns = {"class_path": "Columns", "init_args": {"parts": parts, "single": "between"}}
    settings = transduction(letters, letters, 0, in_order)
    return settings | {"data": {"tokenizer": columns, "shared_vocabulary": True}}


def tagging(separator: str, bio: bool) -> dict[str, Any]:
    """A label for each token."""
    model: dict[str, Any] = {"embedding_size": 100, "dropout": 0.4}
    if bio:
        crf = {"class_path": "Crf", "init_args": {"scheme": "BIO"}}
        model |= {"neighbour_weight": 0.1, "tagger": crf, "metrics": ["SpanF1", "Accuracy"]}
    else:
        model["words"] = {"word_dropout": 0.25, "letters_size": 128}
    data = {"tokenizer": spelled(separator), "target_tokenizer": separated(LABELS, separator), "max_length": 5000}
    more = {} if bio else {"r_drop": 2}  # Liang et al. 2021; a Crf tells no label's own probability
    return {"task": "Tagging", "data": data, "model": model, "optimizer": optimizer(0.004, **more)}


def classification(words: str, separator: str = " ") -> dict[str, Any]:
    """A class for each text; a class may hold spaces."""
    data: dict[str, Any] = {"tokenizer": "Characters" if words == "Characters" else spelled(separator),
                            "target_tokenizer": separated(LABELS, "\t"), "max_length": 5000}  # fmt: skip
    model = {"cell": "GRU", "encoder": {"pooling": "Attentive"}, "dropout": 0.5}
    learning = optimizer(0.002, adversarial=0.2)  # Miyato et al. 2017
    return {"task": "Classification", "data": data, "model": model, "optimizer": learning}


def two_texts() -> dict[str, Any]:
    """Settings of data whose source is two texts."""
    return {"tokenizer": {"class_path": "Columns", "init_args": {"parts": ["Words", "Words"]}}}


def generation() -> dict[str, Any]:
    """Text that is continued."""
    data = {"tokenizer": "NoSource", "target_tokenizer": "Characters", "lanes": 32, "segment": 128}
    model = {"running": True, "embedding_size": 64, "hidden_size": 256, "dropout": 0.1}
    return {"task": "Generation", "data": data, "model": model, "decoding": {"beam_size": 1, "temperature": 0.8},
            "optimizer": optimizer(0.003)}  # fmt: skip


def forecasting(season: int) -> dict[str, Any]:
    """The next values of a series."""
    model: dict[str, Any] = {"encoder": {"bidirectional": False}, "rescale": True, "relative": "last"}
    if season:
        model |= {"relative": "season", "season": season}
    data = {"tokenizer": "Vectors", "target_tokenizer": "Vectors"}
    return {"task": "Forecasting", "data": data, "model": model, "optimizer": optimizer(0.003)}


def optimizer(learning_rate: float, **more: float) -> dict[str, Any]:
    """The rest follows from the data."""
    return {"learning_rate": learning_rate, "schedule": "Cosine", **more}


def season_of(step: int, unit: str) -> int:
    """Steps of a season, by the step and its unit (data/corpora/time_steps.py); 0 where they do not tell."""
    return SEASONS.get((unit, step), 0)

"""What guides the search of a transcription: a language model, a word list, a bonus for each token."""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.lines import filled_lines
from seq2seq.data.tokenizers.base import BOS, EOS, SPECIAL, Tokenizer
from seq2seq.data.tokenizers.units import Separated
from seq2seq.decoding.ctc import NEVER
from seq2seq.decoding.guide import Guide, Prefix
from seq2seq.errors import InputError
from seq2seq.models.cells import CellState
from seq2seq.models.ctc import BLANK, FIRST
from seq2seq.pinned_copy import to_device
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.generation import Generation

log = logging.getLogger(__name__)

SHOWN = 5
"""Symbols or words that a message names."""

runs: dict[str, Callable[[str], Task]] = {}
"""Under "read" how the task of a run is read: `runs/`, which stands above, says so when it is imported."""

Node = dict[str, "Node"]
"""Of a word list: what may follow the letters so far; under "" something where a word may end."""


def check(decoding: Decoding, target: Tokenizer) -> None:
    """Raise InputError for a run that is no language model of these symbols, or a word list that is none."""
    if decoding.lm is not None:
        language_model(decoding.lm, target)
    if decoding.words is not None:
        word_list(decoding.words, target)


def guide_of(decoding: Decoding, target: Tokenizer, device: torch.device) -> Guide | None:
    """What a search is guided by; None for nothing."""
    if decoding.lm is None and decoding.words is None and not decoding.token_bonus:
        return None
    model = None if decoding.lm is None else LanguageModel(language_model(decoding.lm, target), target, device)
    words = None if decoding.words is None else AllowedWords(word_list(decoding.words, target), target)
    return Fusion(decoding, len(target) - SPECIAL + FIRST, model, words)


class Fusion:
    """Language model, word list and bonus as one: what each class is worth after a prefix."""

    def __init__(
        self, decoding: Decoding, classes: int, model: "LanguageModel | None", words: "AllowedWords | None"
    ) -> None:
        """classes: C, the blank and the unknown token among them."""
        self.weight, self.model, self.words = decoding.lm_weight, model, words
        self.always = np.full(classes, decoding.token_bonus)
        self.always[BLANK] = 0.0

    def __call__(self, prefixes: Sequence[Prefix], /) -> list[np.ndarray]:
        """(C,) for each prefix."""
        values = [self.always] * len(prefixes)
        if self.model is not None:
            known = self.model(prefixes)
            values = [value + self.weight * more for value, more in zip(values, known, strict=True)]
        if self.words is not None:
            allowed = map(self.words, prefixes)
            values = [np.where(allow, value, NEVER) for value, allow in zip(values, allowed, strict=True)]
        return values


# The language model.


class ReadPrefix(NamedTuple):
    """A language model after a prefix."""

    log_probs: np.ndarray
    """(C,) of the next class, at the blank that of the end."""
    recurrent: CellState
    """Tensors (L, 1, H)."""


class LanguageModel:
    """The log-probabilities of a Generation, each prefix of a batch computed once."""

    def __init__(self, task: Generation, target: Tokenizer, device: torch.device) -> None:
        """target: whose tokens the classes are."""
        self.task = task.to(device)
        places = {name: place for place, name in enumerate(task.tokenizers.target.row_names[0])}
        own = [places[name] for name in target.row_names[0][SPECIAL:]]
        self.ids = torch.tensor([EOS, EOS, *own])
        """(C,) of the model; nothing is ever unknown."""
        self.known: dict[Prefix, ReadPrefix] = {}

    def __call__(self, prefixes: Sequence[Prefix]) -> list[np.ndarray]:
        """(C,) for each prefix."""
        if () not in self.known:
            nothing = torch.zeros(1, 0, dtype=torch.long, device=self.task.unwritable.device)
            start = self.task.network.start(nothing, torch.zeros(1, dtype=torch.long))
            self.read([()], torch.tensor([[EOS if self.task.running else BOS]]), start.recurrent)
        while missing := [prefix for prefix in dict.fromkeys(prefixes) if prefix not in self.known]:
            while lacking := [prefix[:-1] for prefix in missing if prefix[:-1] not in self.known]:
                missing = lacking  # those that they continue come first
            before = [self.known[prefix[:-1]].recurrent for prefix in missing]
            last = self.ids[[prefix[-1] for prefix in missing]].unsqueeze(1)
            self.read(missing, last, tuple(torch.cat(parts, 1) for parts in zip(*before, strict=True)))
        return [self.known[prefix].log_probs for prefix in prefixes]

    def read(self, prefixes: Sequence[Prefix], last: Tensor, recurrent: CellState) -> None:
        """One step: the last tokens (N, 1) of prefixes after states of (L, N, H)."""
        state = self.task.network.resumed(recurrent)
        log_probs, after = self.task.network.decoder.step(to_device(last, recurrent[0].device), state)
        values = log_probs[:, 0].double().cpu()[:, self.ids].numpy()
        for number, prefix in enumerate(prefixes):
            own = tuple(one[:, number : number + 1] for one in after.recurrent)
            self.known[prefix] = ReadPrefix(values[number], own)


def language_model(run: str, target: Tokenizer) -> Generation:
    """The language model of a run, which must be one and write the same symbols."""
    task = runs["read"](run)
    if not isinstance(task, Generation) or not task.has_no_source:
        kind = "Generation from conditions" if isinstance(task, Generation) else type(task).__name__
        raise InputError(
            f"decoding.lm {run} is a {kind}, which is no language model; train task: Generation with data.tokenizer "
            "NoSource"
        )
    theirs = task.tokenizers.target
    if type(theirs) is not type(target):
        raise InputError(
            f"decoding.lm {run} was trained with data.target_tokenizer {type(theirs).__name__}, this run with "
            f"{type(target).__name__}; train it with the same"
        )
    lacking = set(target.row_names[0]) - set(theirs.row_names[0])
    if lacking:
        named = ", ".join(map(repr, sorted(map(str, lacking))[:SHOWN])) + ", ..." * (len(lacking) > SHOWN)
        raise InputError(
            f"decoding.lm {run} has other symbols: it lacks {len(lacking)} of this run's ({named}); train it on text "
            "that has all of them"
        )
    return task


# The word list.


class AllowedWords:
    """Which classes keep a text within the words of a list."""

    def __init__(self, root: Node, target: Tokenizer) -> None:
        """target: whose tokens the classes are."""
        self.root = root
        self.texts = [target.written()[number] for number in range(SPECIAL, len(target))]
        self.nodes: dict[Prefix, Node] = {(): root}
        self.allowed: dict[int, np.ndarray] = {}
        """(C,) by the identity of a node."""

    def __call__(self, prefix: Prefix) -> np.ndarray:
        """(C,) true for each class that may follow a prefix; at the blank whether the text may end."""
        node = self.at(prefix)
        if id(node) not in self.allowed:
            ends = node is self.root or "" in node
            follow = [self.walked(node, text) is not None for text in self.texts]
            self.allowed[id(node)] = np.array([ends, False, *follow])
        return self.allowed[id(node)]

    def at(self, prefix: Prefix) -> Node:
        """Where a prefix, each class of which was allowed, has arrived."""
        if prefix not in self.nodes:
            node = self.walked(self.at(prefix[:-1]), self.texts[prefix[-1] - FIRST])
            self.nodes[prefix] = cast(Node, node)
        return self.nodes[prefix]

    def walked(self, node: Node | None, text: str) -> Node | None:
        """Where the letters of a token lead; None for nowhere."""
        for letter in text:
            if node is None:
                return None
            after = self.root if node is self.root or "" in node else None  # where a word may end
            node = after if letter.isspace() else node.get(letter)
        return node


def word_list(path: str, target: Tokenizer) -> Node:
    """The words of a file, one a line, as a tree of letters, read once as long as the file does not change."""
    changed = Path(path).stat().st_mtime_ns if Path(path).is_file() else 0
    return read_words(path, changed, target)


@lru_cache(maxsize=4)
def read_words(path: str, changed: int, target: Tokenizer) -> Node:
    """The same; changed: when the file was written. Words that no tokens write are told."""
    try:
        letters = {letter for text in target.written() for letter in text}
    except InputError as problem:
        raise InputError(f"decoding.words: {problem}") from problem
    known = set(target.vocabulary) if isinstance(target, Separated) else None
    words = [line.strip() for line in filled_lines(Path(path))]
    root: Node = {}
    lost = []
    for number, word in enumerate(words, 1):
        if len(word.split()) > 1:
            raise InputError(f"{path}:{number}: {word!r:.60} is several words; decoding.words has one on each line")
        if not (set(word) <= letters if known is None else word in known):
            lost.append(word)
            continue
        node = root
        for letter in word:
            node = node.setdefault(letter, {})
        node[""] = {}
    if not root:
        what = "is empty" if not words else f"has no word that this run can write, such as {words[0]!r:.60} is"
        raise InputError(f"decoding.words {path} {what}; give it words of the training texts, one on each line")
    if lost:
        shown = ", ".join(lost[:SHOWN]) + ", ..." * (len(lost) > SHOWN)
        log.warning(
            "%s: %d of %d words cannot be written with the tokens of training (%s)", path, len(lost), len(words), shown
        )
    return root

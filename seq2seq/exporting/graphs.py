"""What a task computes as one module of tensors: named inputs, named outputs, search included."""

import copy
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seq2seq.data.batching.batch import Batch
from seq2seq.data.tokenizers.base import BOS, EOS, PAD
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.decoding.beam import NEVER
from seq2seq.decoding.hypotheses import divisor
from seq2seq.errors import InputError
from seq2seq.exporting import frames
from seq2seq.exporting.searching import SMALL, Carried, Chances, Found, Rules, Step, Tensors, beam_search, loop, sample
from seq2seq.models.attention import Memory
from seq2seq.models.cells import inside
from seq2seq.models.decoder import Decoder, State
from seq2seq.models.dropout import Noise
from seq2seq.models.encoder import Encoding
from seq2seq.models.tagger import AutoregressiveTagger, ColumnTagger, TaggerState
from seq2seq.models.word_embedding import WordEmbedding
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.transcription import Transcription
from seq2seq.tasks.translation import Translation

HYPOTHESES = ("tokens", "counts", "scores", "token_scores")
"""The outputs of what writes tokens or labels."""

OUTSIDE = ("prefix", "groups", "coverage_penalty", "include", "avoid", "risk", "wait_k", "replace_unknown", "lm",
           "words", "token_bonus")  # fmt: skip
"""Settings of search that a graph does not know."""

EXAMPLE = {"sources": 3, "steps": 5, "hypotheses": 2, "longest": 7, "words": 6, "features": 9, "prompt": 4, "pairs": 8}
"""Sizes while a network is traced, none of which may become a constant."""


class Input(NamedTuple):
    """A tensor that a file reads."""

    name: str
    example: Tensor
    axes: tuple[str, ...]
    """The names of its dimensions; those of `EXAMPLE` may have any size."""


class Graph(nn.Module):
    """A task with tensors for inputs and outputs."""

    def __init__(self, task: Task, inputs: list[Input], outputs: tuple[str, ...], kind: str) -> None:
        """kind: what the outputs are: hypotheses, logits or forecasts."""
        super().__init__()
        self.task = task
        self.inputs, self.outputs, self.kind = inputs, outputs, kind
        self.compute: Callable[[dict[str, Tensor]], Tensors]

    def forward(self, *values: Tensor) -> Tensors:
        """The inputs in their order to the outputs in theirs."""
        return self.compute({given.name: value for given, value in zip(self.inputs, values, strict=True)})


class Spelling(nn.Module):
    """The `Reader` of sources whose words have been looked up already."""

    def __init__(self, words: WordEmbedding) -> None:
        super().__init__()
        self.words, self.size = words, words.size

    def vectors(self, source: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """(B, S, size) of the words (U, 1 + others + letters) whose numbers stand in source (B, S)."""
        heads = 1 + len(self.words.others)
        different = self.words.joined(words[:, :heads], words[:, heads:])  # (U, size)
        return different[source] * inside(lengths, source).unsqueeze(-1)

    def read(self, source: Tensor, lengths: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """What an encoder reads of vectors (B, S, size): they are it."""
        return source, lengths


def graph_of(task: Task, decoding: Decoding) -> Graph:
    """The graph of a task with these settings of search; InputError for what a graph cannot hold."""
    task = copy.deepcopy(task).eval()
    for name in OUTSIDE:
        value = getattr(decoding, name)
        if value and (name, value) != ("groups", 1):
            raise InputError(f"decoding.{name} is {value!r}, which a file cannot hold; leave it out")
    if task.waits(decoding) is not None:
        raise InputError(f"model.wait_k is {task.waits(decoding)}, and a file reads the whole source; train without it")
    if isinstance(task, Transcription):
        return transcription(task)
    inputs = inputs_of(task)
    if isinstance(task, (Classification, Tagging)) and isinstance(task.reader.embedding, WordEmbedding):
        task.reader.embedding = Spelling(task.reader.embedding)
    if isinstance(task, Classification):
        return with_compute(Graph(task, inputs, ("logits",), "logits"), lambda given: (classes(task, given),))
    if isinstance(task, Forecasting):
        return with_compute(Graph(task, inputs, ("forecasts",), "forecasts"), lambda given: (task(batch_of(given)),))
    if isinstance(task, Tagging) and not isinstance(task.labeller, AutoregressiveTagger):
        return with_compute(Graph(task, inputs, HYPOTHESES, "hypotheses"), lambda given: labels(task, given, decoding))
    vocabulary = len(task.tokenizers.target)
    if SMALL <= vocabulary <= 2 * decoding.beam_size:
        raise InputError(f"decoding.beam_size is {decoding.beam_size}; of {vocabulary} tokens it may be at most "
                         f"{(vocabulary - 1) // 2} in a file")  # fmt: skip
    inputs += inputs_of_search(task, decoding)
    graph = Graph(task, inputs, HYPOTHESES, "hypotheses")
    if isinstance(task, Tagging):
        return with_compute(graph, lambda given: labels_in_turn(task, given, decoding))
    if isinstance(task, Generation):
        return with_compute(graph, lambda given: generated(task, given, decoding))
    if isinstance(task, Translation):
        return with_compute(graph, lambda given: translated(task, given, decoding))
    raise InputError(f"{type(task).__name__} is no task that can be exported; known: Translation, Tagging, "
                     "Classification, Forecasting, Generation, Transcription")  # fmt: skip


def transcription(task: Transcription) -> Graph:
    """The graph of a transcription, whose search is outside."""
    frames.refuse_more(task)
    sources, steps, draw = EXAMPLE["sources"], EXAMPLE["steps"], torch.Generator().manual_seed(1)
    numbers = task.stacking * (task.tokenizers.source.width or 0)
    lengths = torch.tensor([steps, 2, 4]) * task.stacking
    inputs = [
        Input("source", torch.randn(sources, steps, numbers, generator=draw), ("sources", "steps", "numbers")),
        Input("lengths", lengths, ("sources",)),
    ]
    carried = frames.carried(task)
    if carried:
        inputs.append(Input("before", torch.tensor([0, 7, 2]), ("sources",)))
    for name, shape in carried.items():
        states = ("layers", "sources", "units")
        inputs.append(Input(name, torch.zeros(shape), states if len(shape) == 3 else ("sources", "width")))
    written = {1: ("hypotheses",), 2: ("pairs", "joint"), 3: ("layers", "hypotheses", "units")}
    for name, shape in frames.written(task).items():
        kind = torch.long if len(shape) == 1 else torch.float32
        inputs.append(Input(name, torch.ones(shape, dtype=kind), written[len(shape)]))
    graph = Graph(task, inputs, frames.outputs_of(task), "log_probs")
    return with_compute(graph, lambda given: frames.computed(task, given))


def with_compute(graph: Graph, compute: Callable[[dict[str, Tensor]], Tensors]) -> Graph:
    """The graph with what it computes."""
    graph.compute = compute
    return graph


# Inputs.


def inputs_of(task: Task) -> list[Input]:
    """The source, and the number of its tokens."""
    sources, steps = EXAMPLE["sources"], EXAMPLE["steps"]
    tokenizer = task.tokenizers.source
    lengths = Input("lengths", torch.tensor([steps, 2, 4]), ("sources",))
    if task.has_no_source:
        return []
    if isinstance(tokenizer, Spelled):
        sections = tokenizer.sections
        heads = list(accumulate((sections.words, sections.shapes, *sections.ends)))
        word = torch.tensor([PAD, *heads[: 1 + len(sections.ends)]] + [len(tokenizer) - 1] * tokenizer.letters * 4)
        words = Input("words", word.repeat(EXAMPLE["words"], 1), ("words", "features"))
        return [Input("source", torch.zeros(sources, steps, dtype=torch.long), ("sources", "steps")), words, lengths]
    if tokenizer.width is not None:
        vectors = torch.randn(sources, steps, tokenizer.width, generator=torch.Generator().manual_seed(1))
        return [Input("source", vectors, ("sources", "steps", "width")), lengths]
    return [Input("source", torch.full((sources, steps), EOS), ("sources", "steps")), lengths]


def inputs_of_search(task: Task, decoding: Decoding) -> list[Input]:
    """What may be chosen at each call, and how much room there is for what is found."""
    sources, hypotheses, longest = (EXAMPLE[name] for name in ("sources", "hypotheses", "longest"))
    if isinstance(task, Tagging):
        return [Input("room", torch.zeros(hypotheses, longest), ("hypotheses", "longest"))]
    inputs = [
        Input("limits", torch.tensor([longest, 4, 6]), ("sources",)),
        Input("min_length", torch.tensor(decoding.min_length), ()),
    ]
    if task.has_no_source:
        inputs.insert(0, Input("prompt", torch.full((sources, EXAMPLE["prompt"]), EOS), ("sources", "prompt")))
    if decoding.temperature is None:
        return [
            *inputs,
            Input("room", torch.zeros(hypotheses, longest), ("hypotheses", "longest")),
            Input("length_penalty", torch.tensor(float(decoding.length_penalty)), ()),
        ]
    return [
        *inputs,
        Input("numbers", torch.full((sources, hypotheses, longest), 0.5), ("sources", "hypotheses", "longest")),
        Input("temperature", torch.tensor(float(decoding.temperature)), ()),
        Input("top_k", torch.tensor(decoding.top_k or len(task.tokenizers.target)), ()),
        Input("top_p", torch.tensor(float(decoding.top_p or 2.0)), ()),
    ]


def encoding_of(task: Classification | Tagging, given: dict[str, Tensor]) -> Encoding:
    """What the encoder makes of the sources."""
    source, lengths, reader = given["source"], given["lengths"], task.reader.embedding
    if isinstance(reader, Spelling):
        source = reader.vectors(source, given["words"], lengths)
    encoding: Encoding = task.reader(source, lengths, None)
    return encoding


def batch_of(given: dict[str, Tensor]) -> Batch:
    """The sources as a batch."""
    source, lengths = given["source"], given["lengths"]
    return Batch(lengths, lengths, source, lengths, source, lengths, 0)


# What tasks compute.


def classes(task: Classification, given: dict[str, Tensor]) -> Tensor:
    """Logits (B, C)."""
    logits: Tensor = task.output(encoding_of(task, given).vector)
    return logits


def labels(task: Tagging, given: dict[str, Tensor], decoding: Decoding) -> Tensors:
    """The best labels of each row, in the form of one hypothesis."""
    lengths = given["lengths"]
    if not isinstance(task.labeller, ColumnTagger):
        raise TypeError("this tagger searches")
    encoding = encoding_of(task, given)
    tagged = task.labeller.tag(encoding.states, lengths, 1)
    if task.sentence is not None:
        return beside(task, encoding, tagged.ids, lengths, tagged.scores, tagged.tokens, decoding)
    scores = tagged.scores / divided(lengths.unsqueeze(1), decoding)
    return tagged.ids, lengths.unsqueeze(1), scores, tagged.tokens


def beside(
    task: Tagging, encoding: Encoding, ids: Tensor, lengths: Tensor, totals: Tensor, each: Tensor, decoding: Decoding
) -> Tensors:
    """As `SentenceClass.beside`: the K best pairs of a class of the sentence and labels.

    ids and log-probabilities `each` (B, K, S) of K labellings, whose log-probabilities are totals (B, K).
    """
    assert task.sentence is not None
    log_probs = task.sentence(encoding.vector)
    rows, count, steps = ids.shape
    both = totals.unsqueeze(2) + log_probs.unsqueeze(1)  # (B, K, C)
    best, pair = both.flatten(1).topk(count, -1)
    classes = pair % log_probs.shape[1]
    which = (pair // log_probs.shape[1]).unsqueeze(2).expand(rows, count, steps)
    tokens = torch.cat(((classes + task.sentence.first).unsqueeze(2), ids.gather(1, which)), 2)
    scores = torch.cat((log_probs.gather(1, classes).unsqueeze(2), each.gather(1, which)), 2)
    counts = (lengths + 1).unsqueeze(1).expand(rows, count)
    return tokens, counts.clone(), best / divided(counts, decoding), scores


def labels_in_turn(task: Tagging, given: dict[str, Tensor], decoding: Decoding) -> Tensors:
    """As `Tagging.searched`: an end that costs nothing follows the last label."""
    lengths, decoder = given["lengths"], task.labeller
    if not isinstance(decoder, AutoregressiveTagger):
        raise TypeError("this tagger does not search")
    encoding = encoding_of(task, given)
    first = decoder.start(encoding.states)
    rules = Rules(lengths + 1, lengths, EOS, decoding.no_repeat_ngram)

    def step(before: Tensor, time: Tensor, state: Tensors) -> tuple[Tensor, Tensors]:
        now = TaggerState(first.states.index_select(1, time.view(1)), state, 0)
        log_probs, after = decoder.step(before.masked_fill(before == BOS, PAD), now)
        ends = torch.arange(log_probs.shape[-1]) == EOS
        return log_probs.masked_fill(ends, 0.0), after.recurrent

    begin, penalty = torch.full_like(lengths, BOS), torch.tensor(float(decoding.length_penalty))
    state = Carried(first.recurrent, [1] * len(first.recurrent))
    found = beam_search(step, state, rules, begin, given["room"], penalty, decoding.length_offset)
    if task.sentence is not None:
        totals = found.token_scores.sum(-1).masked_fill(found.scores == NEVER, NEVER)
        return beside(task, encoding, found.tokens, lengths, totals, found.token_scores, decoding)
    scores = found.token_scores.sum(-1) / divided(found.lengths - 1, decoding)
    scores = scores.masked_fill(found.scores == NEVER, NEVER)
    return found.tokens, (found.lengths - 1).clamp(min=0), scores, found.token_scores


def divided(lengths: Tensor, decoding: Decoding) -> Tensor:
    """What log-probabilities of as many tokens are divided by, as `Decoding.divisor` says."""
    return divisor(lengths.clamp(min=1).to(torch.float32), decoding.length_penalty, decoding.length_offset)


def translated(task: Translation, given: dict[str, Tensor], decoding: Decoding) -> Tensors:
    """The best translations of each source."""
    state = task.encode(batch_of(given))
    carried, step = step_of(task.network.decoder, state, task.unwritable)
    begin = torch.full_like(given["limits"], BOS)
    return found_by(step, carried, begin, given, decoding)


def generated(task: Generation, given: dict[str, Tensor], decoding: Decoding) -> Tensors:
    """Texts for each condition or, where there is none, after each prompt."""
    limits = given["limits"]
    if task.has_no_source:
        state = task.network.start(limits.new_zeros(limits.shape[0], 0), torch.zeros_like(limits))
    else:
        state = task.network.start(given["source"], given["lengths"])
    carried, step = step_of(task.network.decoder, state, task.unwritable)
    begin = torch.full_like(limits, EOS if task.running else BOS)
    if "prompt" in given:
        begin, carried = read(step, carried, given["prompt"])
    return found_by(step, carried, begin, given, decoding)


def read(step: Step, state: Carried, prompt: Tensor) -> tuple[Tensor, Carried]:
    """The last token of a prompt (B, P) and the state before it."""

    def body(time: Tensor, *before: Tensor) -> Tensors:
        _, after = step(prompt.index_select(1, time.view(1)), time, before)
        return (time + 1, *(one.clone() for one in after))

    def going(time: Tensor, *before: Tensor) -> Tensor:
        return time < prompt.shape[1] - 1

    first = (torch.zeros((), dtype=torch.long), *state.repeated(1))
    _, *after = loop(going, body, first)
    return prompt[:, -1], Carried(tuple(after), state.dimensions)


def step_of(decoder: Decoder, state: State, unwritable: Tensor) -> tuple[Carried, Step]:
    """What a decoder carries from step to step, and the step, in which tokens that are no text have no chance."""
    never = torch.zeros(decoder.vocabulary_size).index_fill(0, unwritable, NEVER)  # a sum is quicker than a choice
    more = [one for one in (state.fed, state.coverage, state.places) if one is not None]
    count, source = len(state.recurrent), state.source
    if source.memory is not None:  # a loop may not see one tensor under two names, as keys and as values
        source = source._replace(memory=Memory(*(one.clone() for one in source.memory)))

    def step(tokens: Tensor, time: Tensor, carried: Tensors) -> tuple[Tensor, Tensors]:
        rest = list(carried[count:])
        fed = rest.pop(0) if state.fed is not None else None
        coverage = rest.pop(0) if state.coverage is not None else None
        places = rest.pop(0) if state.places is not None else None
        log_probs, after = decoder.step(tokens, State(source, carried[:count], fed, coverage, places))
        kept = (one for one in (after.fed, after.coverage, after.places) if one is not None)
        return log_probs + never, (*after.recurrent, *kept)

    return Carried((*state.recurrent, *more), [1] * count + [0] * len(more)), step


def found_by(step: Step, state: Carried, begin: Tensor, given: dict[str, Tensor], decoding: Decoding) -> Tensors:
    """What the search of the settings finds."""
    rules = Rules(given["limits"], given["min_length"].view(1), EOS, decoding.no_repeat_ngram)
    found: Found
    if decoding.temperature is None:
        penalty = given["length_penalty"]
        found = beam_search(step, state, rules, begin, given["room"], penalty, decoding.length_offset)
    else:
        chances = Chances(*(given[name] for name in Chances._fields))
        found = sample(step, state, rules, begin, chances)
    return found.tokens, (found.lengths - 1).clamp(min=0), found.scores, found.token_scores


def example_of(graph: Graph) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """What a graph is traced with, and which dimensions may have any size."""
    shapes = [{place: name for place, name in enumerate(one.axes) if name in EXAMPLE} for one in graph.inputs]
    return tuple(one.example for one in graph.inputs), {"values": tuple(shapes)}

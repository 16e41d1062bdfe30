"""Network: encoder, bridge and decoder, and which of their settings go together."""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn

from seq2seq.errors import InputError
from seq2seq.models.aligned_decoder import AlignedDecoder
from seq2seq.models.attention import Attention, Monotonic, MultiHeadAdditive, Normalizer
from seq2seq.models.cells import turned
from seq2seq.models.decoder import Decoder, DecoderOptions, SourceMemory, State
from seq2seq.models.dropout import Noise
from seq2seq.models.embedding import Embedding, Projection
from seq2seq.models.encoder import Encoder, EncoderOptions
from seq2seq.models.fixed_vector import Bridge, Last, StateShape
from seq2seq.models.latent_decoder import LatentDecoder
from seq2seq.models.recurrent import Stack


class Vocabularies(NamedTuple):
    """How many tokens there are, and of each feature how many values."""

    source: Sequence[int]
    target: Sequence[int]
    shared: bool
    """Whether they are one and the same."""
    width: int | None = None
    """Of a source of vectors instead of ids, the numbers of each."""


class EncoderDecoder(nn.Module):
    """An encoder compresses the source into a fixed vector, a decoder unfolds it (Cho et al. 2014)."""

    def __init__(
        self,
        vocabularies: Vocabularies,
        embedding_size: int,
        stack: Stack,
        encoder: EncoderOptions,
        bridge: Bridge,
        attention: Attention | None,
        decoder: DecoderOptions,
        normalizer: Normalizer = "softmax",
        padding: int = 0,
        wait: int | None = None,
    ) -> None:
        """stack: of the decoder, unless its options say otherwise; padding: the id that stands for no token.

        wait: source tokens that are read before the first target token, one more before each further one.
        """
        super().__init__()
        refuse_contradictions(vocabularies, stack, encoder, bridge, attention, decoder, normalizer)
        if wait is not None:
            refuse_waiting(f"model.wait_k {wait}", encoder, bridge, attention, decoder)
        features = encoder.feature_size
        reader: Embedding | Projection
        if vocabularies.width is None:
            reader = Embedding(vocabularies.source, embedding_size, features, padding)
        else:
            reader = Projection(vocabularies.width, embedding_size)
        self.options, self.wait = decoder, wait
        self.encoder = Encoder(reader, stack, encoder)
        above = stack._replace(layers=decoder.layers or stack.layers)
        shapes = StateShape(stack.layers, self.encoder.size), StateShape(above.layers, above.hidden_size)
        self.bridge = bridge.build(stack.cell.states, *shapes)
        embedding = reader if isinstance(reader, Embedding) and decoder.tied_embeddings else None
        if embedding is None:
            embedding = Embedding(vocabularies.target, embedding_size, features, padding)
        outside = features * (len(vocabularies.source) - 1) * decoder.features
        count = math.prod(vocabularies.target)
        self.decoder: Decoder
        sizes = embedding, count, above, decoder, self.encoder.size
        if isinstance(attention, Monotonic):
            self.decoder = AlignedDecoder(*sizes, attention, outside)
        else:
            kind = LatentDecoder if decoder.latent_alignments else Decoder
            self.decoder = kind(*sizes, attention, outside, normalizer)

    def encode(self, source: Tensor, lengths: Tensor, noise: Noise | None = None) -> State:
        """source (B, S) ids or (B, S, D) vectors, lengths (B,) on the CPU; returns the decoder's first state."""
        encoding = self.encoder(source, lengths, noise)
        attention = self.decoder.attention
        ids = encoding.padding.long()  # stand for the tokens where none can be copied
        if self.options.copy:
            ids = turned(source, lengths) if self.encoder.reverse else source
        seen = SourceMemory(
            ids,
            encoding.vector if self.options.context_every_step else None,
            cast(Embedding, self.encoder.embedding).features(source[:, 0]) if self.options.features else None,
            None if attention is None else attention.memory(encoding.states, encoding.padding),
            self.wait,
        )
        return self.decoder.start(self.bridge(encoding.final), seen)


def refuse_contradictions(
    vocabularies: Vocabularies,
    stack: Stack,
    encoder: EncoderOptions,
    bridge: Bridge,
    attention: Attention | None,
    decoder: DecoderOptions,
    normalizer: Normalizer,
) -> None:
    """Raise InputError for settings that do not go together."""
    carried = bridge.uses_source or decoder.context_every_step
    layers = decoder.layers or stack.layers
    looks = "an attention such as Additive"
    ids = vocabularies.width is None
    vectors = f"a source of tokens, but this one is of vectors of {vocabularies.width} numbers; set it to false"
    rules: list[tuple[bool, str]] = [
        (ids or not decoder.copy, f"decoder.copy needs {vectors}"),
        (ids or not decoder.features, f"decoder.features needs {vectors}"),
        (ids or not decoder.tied_embeddings, f"decoder.tied_embeddings needs {vectors}"),
        (carried or attention is not None, f"model.bridge {type(bridge).__name__} tells the decoder nothing of the "
         f"source; choose Copy or Linear, {looks}, or decoder.context_every_step true"),
        (carried or isinstance(encoder.pooling or Last(), Last), f"nothing uses the vector of encoder.pooling "
         f"{type(encoder.pooling).__name__}; choose bridge Copy or Linear, or decoder.context_every_step true"),
        (attention is not None or decoder.attend_from == "top",
         f"decoder.attend_from {decoder.attend_from} needs {looks}; without one only top is legal"),
        (attention is not None or not decoder.input_feeding, f"decoder.input_feeding needs {looks}"),
        (attention is not None or not decoder.copy, f"decoder.copy needs {looks}, whose weights choose what is copied"),
        (vocabularies.shared or not decoder.copy, "decoder.copy needs data.shared_vocabulary true: a source id must "
         "mean the same token in the target"),
        (normalizer == "softmax" or not decoder.copy, f"decoder.copy needs output softmax, not {normalizer}"),
        (vocabularies.shared or not decoder.tied_embeddings,
         "decoder.tied_embeddings needs data.shared_vocabulary true: one table for two vocabularies has no meaning"),
        (decoder.attend_from == "top" or not decoder.input_feeding, "decoder.input_feeding goes with attend_from top; "
         f"with {decoder.attend_from} the context enters the recurrence anyway"),
        (decoder.attend_from != "bottom" or layers > 1,
         "decoder.attend_from bottom needs layers above it; set model.layers or decoder.layers to 2 or more"),
        (not decoder.features or len(vocabularies.source) > 1, "decoder.features needs a source with features; "
         "choose data.tokenizer RowFeatures or TokenFeatures"),
        (not decoder.tied_output or len(vocabularies.target) == 1,
         "decoder.tied_output has no meaning for a target with features; their tokens have no row of one table"),
    ]  # fmt: skip
    if isinstance(attention, Monotonic):
        rules += [(not wrong, f"model.attention Monotonic does not go with {setting}; {remedy}")
                  for wrong, setting, remedy in unaligned(encoder, decoder, normalizer)]  # fmt: skip
    if decoder.latent_alignments:
        rules += [(not wrong, f"model.decoder.latent_alignments does not go with {setting}; {remedy}")
                  for wrong, setting, remedy in undivided(attention, decoder, normalizer)]  # fmt: skip
    for legal, message in rules:
        if not legal:
            raise InputError(message)


def undivided(
    attention: Attention | None, decoder: DecoderOptions, normalizer: Normalizer
) -> list[tuple[bool, str, str]]:
    """Settings with which source tokens cannot predict one by one: whether one is set, its name, what to do."""
    return [
        (attention is None, "model.attention null", "choose an attention such as Dot, or set it to 0"),
        (isinstance(attention, Monotonic), "model.attention Monotonic, a latent alignment of its own", "set it to 0"),
        (isinstance(attention, MultiHeadAdditive), "model.attention MultiHeadAdditive", "choose one such as Additive"),
        (decoder.attend_from != "top", f"model.decoder.attend_from {decoder.attend_from}", "take top"),
        (decoder.input_feeding, "model.decoder.input_feeding", "set it to false"),
        (normalizer != "softmax", f"model.output {normalizer}", "take softmax"),
    ]


def unaligned(encoder: EncoderOptions, decoder: DecoderOptions, normalizer: Normalizer) -> list[tuple[bool, str, str]]:
    """Settings that a latent alignment does not know: whether one is set, what it is called, what to do."""
    return [
        (encoder.reverse, "model.encoder.reverse, since the source would be written from its end", "set it to false"),
        (decoder.attend_from != "top", f"model.decoder.attend_from {decoder.attend_from}", "take top"),
        (decoder.input_feeding, "model.decoder.input_feeding", "set it to false"),
        (decoder.tied_output, "model.decoder.tied_output", "set it to false"),
        (decoder.readout is not None, f"model.decoder.readout {decoder.readout}", "leave it out"),
        (decoder.readout_size is not None, "model.decoder.readout_size", "set model.attention.size instead"),
        (normalizer != "softmax", f"model.output {normalizer}", "take softmax"),
    ]


def refuse_waiting(
    setting: str, encoder: EncoderOptions, bridge: Bridge, attention: Attention | None, decoder: DecoderOptions
) -> None:
    """Raise InputError for a network that needs the whole source before the first target token."""
    rules = [
        (attention is not None and not isinstance(attention, Monotonic),
         "needs an attention such as Additive, which sees what has been read"),
        (not encoder.bidirectional, "reads the source forwards; set model.encoder.bidirectional to false"),
        (not encoder.reverse, "reads the source forwards; set model.encoder.reverse to false"),
        (not bridge.uses_source, "begins before the source has ended, and model.bridge "
         f"{type(bridge).__name__} hands on the state at its end; choose Zeros or Learned"),
        (not decoder.context_every_step, "begins before the source has ended; set model.decoder.context_every_step, "
         "which feeds the vector of all of it, to false"),
    ]  # fmt: skip
    for legal, message in rules:
        if not legal:
            raise InputError(f"{setting} {message}")

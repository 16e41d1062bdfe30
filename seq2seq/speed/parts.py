"""The parts of the benchmark by name."""

from collections.abc import Callable

from seq2seq.speed.decoding import decoding
from seq2seq.speed.figures import Figures, Sizes
from seq2seq.speed.growth import growth
from seq2seq.speed.layers import cells, mixed
from seq2seq.speed.loading import loader, memory
from seq2seq.speed.sentence import sentence
from seq2seq.speed.start_up import start_up
from seq2seq.speed.tagging import tagging
from seq2seq.speed.training import training

PARTS: dict[str, Callable[[Sizes, Figures], None]] = {
    "training": training,
    "decoding": decoding,
    "sentence": sentence,
    "tagging": tagging,
    "mixed": mixed,
    "cells": cells,
    "growth": growth,
    "loader": loader,
    "memory": memory,
    "start_up": start_up,
}

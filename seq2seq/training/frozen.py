"""Parts of a network that a training leaves as they are."""

from collections.abc import Iterable, Sequence

from seq2seq.errors import InputError
from seq2seq.tasks.base import Task

DEPTH = 2
"""Of the names of parts that a message lists."""


def freeze(task: Task, parts: Sequence[str]) -> None:
    """Train no parameter of these parts, given by dotted names such as `encoder` or `decoder.embedding`."""
    parameters = {plain(name): one for name, one in task.named_parameters(remove_duplicate=False)}
    for part in parts:
        found = [one for name, one in parameters.items() if f"{name}.".startswith(f"{plain(part)}.")]
        if not found:
            raise InputError(f"freeze: no part is called {part!r}; there are {', '.join(names_of(parameters))}")
        for parameter in found:
            parameter.requires_grad_(False)
    if parts and not any(one.requires_grad for one in parameters.values()):
        raise InputError(f"freeze: {', '.join(parts)} is the whole network, so nothing is left to train; drop some")


def plain(name: str) -> str:
    """A name without what stands before all names of a task that has one network."""
    return name.removeprefix("network.")


def names_of(parameters: Iterable[str]) -> list[str]:
    """The parts of which parameters are, outer ones first."""
    split = [name.split(".")[:-1] or [name] for name in parameters]
    return list(dict.fromkeys(".".join(name[:depth]) for depth in range(1, 1 + DEPTH) for name in split))

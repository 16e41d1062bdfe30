"""The space of a sweep: which settings vary, and over what. A YAML file maps dotted names to lists or to ranges."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seq2seq.cli import command
from seq2seq.errors import InputError
from seq2seq.runs.config_file import read_yaml

if TYPE_CHECKING:
    from optuna.trial import Trial

SEED = "seed"
"""The setting over which trials of one configuration are repeated."""

OURS = (*command.ONCE, "score", "task", "model.metrics", "trainer.devices", "trainer.num_nodes")
"""Settings that a sweep decides itself, or without which its trials could not be compared."""

MOST = 10_000
"""Points of a grid."""


class Choices(NamedTuple):
    """A list of values."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> Sequence[Any]:
        """What must be legal for all to be."""
        return self.values

    def plain(self) -> Any:
        """As in the file."""
        return list(self.values)

    def suggested(self, trial: "Trial", name: str) -> Any:
        """The value of a trial; what is no scalar goes by its JSON."""
        known = {label(value): value for value in self.values}
        return known[trial.suggest_categorical(name, list(known))]


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether all are whole numbers."""
        return all(isinstance(one, int) for one in (self.low, self.high, self.step or 1))

    @property
    def ends(self) -> Sequence[float]:
        """What must be legal for all to be."""
        return (self.low, self.high)

    def plain(self) -> Any:
        """As in the file."""
        return self._asdict()

    def suggested(self, trial: "Trial", name: str) -> Any:
        """The value of a trial."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)


class Space:
    """Settings by their dotted names, with what they may be."""

    def __init__(self, settings: Mapping[str, Choices | Range]) -> None:
        self.settings = settings

    def plain(self) -> dict[str, Any]:
        """As in the file."""
        return {name: setting.plain() for name, setting in self.settings.items()}

    def suggested(self, trial: "Trial") -> dict[str, Any]:
        """The settings of a trial, those that it has already included."""
        return {name: setting.suggested(trial, name) for name, setting in self.settings.items()}

    def grid(self) -> list[dict[str, Any]]:
        """All combinations, as labels; the first setting varies slowest."""
        columns = [grid_values(name, setting) for name, setting in self.settings.items()]
        if math.prod(map(len, columns)) > MOST:
            raise InputError(
                f"the grid has {math.prod(map(len, columns)):,} points, more than {MOST:,}; shorten a list"
            )
        return [dict(zip(self.settings, values, strict=True)) for values in itertools.product(*columns)]


def grid_values(name: str, setting: Choices | Range) -> list[Any]:
    """The values of a setting on a grid."""
    if isinstance(setting, Choices):
        return [label(value) for value in setting.values]
    step = setting.step or (1 if setting.whole and not setting.log else None)
    if step is None:
        raise InputError(f"{name} is a range without step, of which a grid has no points; list its values")
    count = math.floor((setting.high - setting.low) / step + 1e-9) + 1
    values = [min(setting.low + step * index, setting.high) for index in range(count)]
    return values if setting.whole else [float(value) for value in values]


def label(value: Any) -> Any:
    """How a study names a choice."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else json.dumps(value)


def read_space(file: Path) -> Space:
    """The space of a file."""
    content = read_yaml(file)
    if not content:
        raise InputError(f"{file} names no setting to vary; write NAME: [VALUE, VALUE] or NAME: {{low: A, high: B}}")
    return Space({str(name): setting_of(f"{file}: {name}", value) for name, value in content.items()})


def setting_of(where: str, value: Any) -> Choices | Range:
    """What a setting may be, from its YAML."""
    if isinstance(value, list):
        labels = [json.dumps(one, default=str) for one in value]
        if not value or len(set(labels)) < len(labels):
            raise InputError(f"{where} must list values, each once")
        return Choices(tuple(value))
    fields = set(Range._fields)
    if not isinstance(value, dict) or not {"low", "high"} <= {*value} <= fields:
        raise InputError(f"{where} must be a list of values, or a mapping of low and high, with step or log: true")
    given = Range(**value)
    numbers = [given.low, given.high, *([] if given.step is None else [given.step])]
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one) for one in numbers):
        raise InputError(f"{where}: low, high and step must be numbers")
    if not isinstance(given.log, bool) or (given.log and (given.step is not None or given.low <= 0)):
        raise InputError(f"{where}: log is true or false, and goes with a low above 0 and without step")
    if given.low >= given.high or (given.step is not None and given.step <= 0):
        raise InputError(f"{where}: low {given.low} must be below high {given.high}, and step above 0")
    if given.step is not None and abs((given.high - given.low) / given.step % 1 - 0.5) < 0.5 - 1e-6:
        raise InputError(f"{where}: high {given.high} must be low {given.low} and a number of steps of {given.step}")
    return given


def options_of(values: Mapping[str, Any]) -> list[str]:
    """Settings as options of a training."""
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]


def refuse_misfit_space(space: Space, file: Path, base: Sequence[str]) -> None:
    """Raise InputError for a setting that the configuration has not, or a value that it does not take.

    base: the options of the training that the space varies.
    """
    given = {argument.partition("=")[0].removeprefix("--") for argument in base if argument.startswith("--")}
    for name in space.settings:
        if name in OURS or name.partition(".")[0] in command.ONCE:
            raise InputError(f"{file}: {name} cannot vary in a sweep, which sets it itself or could not compare trials")
        if name in given:
            raise InputError(f"{file}: {name} is also given after --; keep one of them")
    parser = command.training_parser(command.task_class(base))

    def refuse(values: Mapping[str, Any]) -> None:
        command.instantiate(parser, command.parse(parser, [*base, *options_of(values)]))

    for values in together(space):  # reading a configuration takes a moment, so all settings are tried at once
        try:
            refuse(values)
        except InputError:
            for name, value in values.items():
                try:
                    refuse({name: value})
                except InputError as problem:
                    raise InputError(f"{file}: {name}: {value!r} contradicts the configuration: {problem}") from problem


def together(space: Space) -> Iterator[dict[str, Any]]:
    """Combinations in which every choice, and both ends of every range, occur."""
    for index in range(max(len(setting.ends) for setting in space.settings.values())):
        yield {name: setting.ends[min(index, len(setting.ends) - 1)] for name, setting in space.settings.items()}

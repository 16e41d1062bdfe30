"""What the commands share: the typed parser, and errors as one line with exit code 2.

Light on purpose, torch is imported where it is needed: `launch` runs on login nodes.
"""

import errno
import importlib
import inspect
import io
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace, set_loader, set_parsing_settings

from seq2seq import plugins
from seq2seq.cli import remembered_help
from seq2seq.cli.help import HelpShown, page, topic
from seq2seq.cli.messages import explain, refuse_empty
from seq2seq.configurable import Part, Settings, descendants, named, refuse_incomplete, usable, with_short_names
from seq2seq.errors import InputError, Stopped
from seq2seq.runs.config_file import find, load_yaml, read_yaml

if TYPE_CHECKING:
    from seq2seq.tasks.base import Task

set_parsing_settings(subclasses_disabled=[Settings])


def load_settings(text: str) -> Any:
    """YAML as plain values; our own classes by name alone, also in the configuration of a run made before a move.

    A text such as "#" or "~", which the parser has unquoted already, does not mean nothing.
    """
    if text == "~" or (text.startswith("#") and "\n" not in text):
        return text
    return with_short_names(load_yaml(text))


set_loader("yaml", load_settings, (yaml.YAMLError,))


class ConfigurationFile(ActionConfigFile):
    """`--config`: a file, or the name of a configuration that comes with the package."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Apply the file that is meant."""
        super().__call__(parser, namespace, str(find(values)), option_string)  # type: ignore[no-untyped-call]


ONCE = ("run", "overwrite", "resume", "allow_change", "replay", "debug", "config", "output", "device", "import")
"""Options that belong to one call, not to the experiment."""

STOPPED = 75
"""Exit code of a training that was stopped and can be resumed: EX_TEMPFAIL of sysexits.h, try again."""

SWITCH: dict[str, Any] = {"type": bool, "default": False, "nargs": "?", "const": True}
"""An option that needs no value: --option, --option true or --option false."""


METRICS = ("--metrics", "--model.metrics")
"""The names of the option that chooses metrics, which every command takes: the short one, and that of the file."""


def with_metrics(arguments: Sequence[str], name: str) -> list[str]:
    """The arguments with the option that chooses metrics under the name that a command's parser has."""
    return [re.sub(rf"^({'|'.join(METRICS)})(?=$|=|\.|\+)", name, one) for one in arguments]


def parser_for(name: str, description: str) -> ArgumentParser:
    """The parser of `python -m seq2seq.NAME`, with the option that every command has."""
    program = f"python -m seq2seq.{name}"
    parser = ArgumentParser(prog=program, description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--debug", type=bool, default=False, help="show the traceback of an error")
    return parser


def training_parser(task: "type[Task] | None" = None) -> ArgumentParser:
    """The parser of `seq2seq.train`: the signatures of the classes are its schema. task: Translation if None."""
    from seq2seq.data.datamodule import DataModule
    from seq2seq.tasks.decoding_options import Decoding
    from seq2seq.tasks.translation import Translation
    from seq2seq.training.options import DistillationOptions, OptimizerOptions, TrainerOptions

    plugins.load()
    parser = parser_for("train", "Train a model, score its best checkpoint on the test split, and write a report.")
    parser.add_argument(
        "--config",
        action=ConfigurationFile,
        help="YAML file with any of the options below, or a name that `seq2seq configs` lists",
    )
    add_run(parser)
    add_start(parser)
    parser.add_argument("--seed", type=int, default=1, help="seed of everything random")
    parser.add_argument(
        "--patience",
        type=int | None,
        help="validations without a better score or loss before stopping early; null for 10 where the length of "
        "the training follows from the data, else for none",
    )
    parser.add_argument(
        "--score",
        type=Literal["test", "validation"],
        default="test",
        help="the split that the best checkpoint is scored on at the end; validation leaves the test split alone",
    )
    parser.add_argument("--task", type=str, default="Translation", help="what to learn: the class of the model")
    parser.add_class_arguments(TrainerOptions, "trainer")
    parser.add_class_arguments(OptimizerOptions, "optimizer")
    parser.add_class_arguments(DistillationOptions, "distillation")
    parser.add_class_arguments(DataModule, "data")
    parser.add_class_arguments(task or Translation, "model", skip={"tokenizers"}, instantiate=False)
    parser.set_defaults(default_parts(task or Translation, "model"))
    parser.add_class_arguments(Decoding, "decoding")
    return parser


def add_run(parser: ArgumentParser) -> None:
    """Where a training writes, and what it does with what is there."""
    parser.add_argument(
        "--run", type=str | None, help="directory to write to (default: runs/<name of the config file>)"
    )
    parser.add_argument("--overwrite", type=bool, default=False, help="replace what a run has left in the directory")
    parser.add_argument(
        "--resume",
        type=bool | Literal["auto"],
        default=False,
        help="continue a half-finished run; auto: if there is one, else start it",
    )
    parser.add_argument(
        "--allow_change", type=bool, default=False, help="resume although data or settings differ, and record that"
    )
    parser.add_argument(
        "--replay", type=Path | None, help="RUN/dumps/step-N.json of a skipped step, to see what it was"
    )


def add_start(parser: ArgumentParser) -> None:
    """What a training begins with besides random numbers."""
    parser.add_argument(
        "--start_from", type=str | None,
        help="run directory or checkpoint whose network, vocabularies and parameters this training begins with",
    )  # fmt: skip
    parser.add_argument(
        "--start_from_partly", type=bool, default=False,
        help="make anew what does not fit the network or the vocabularies of --start_from, instead of refusing it",
    )  # fmt: skip
    parser.add_argument(
        "--start_from_new_vocabulary", type=bool, default=False,
        help="learn the vocabularies from the rows of this training; tokens, features and labels that --start_from "
        "knows keep their rows of embeddings and outputs",
    )  # fmt: skip
    parser.add_argument(
        "--freeze", type=list[str], default=[],
        help="parts of the network that are not trained, such as [encoder, decoder.embedding]",
    )  # fmt: skip
    parser.add_argument("--import", type=str | None, help="a module of your own whose classes --start_from uses")


def default_parts(kind: type, group: str) -> dict[str, Any]:
    """The parts among the defaults of a dataclass by name: jsonargparse names only those that `__init__` spells out."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}
    return {
        f"{group}.{name}": {"class_path": f"{type(part).__module__}.{type(part).__qualname__}"}
        for name, part in defaults.items()
        if isinstance(part, Part) and not isinstance(part, Settings)
    }


def task_class(arguments: Sequence[str]) -> "type[Task]":
    """The task that the arguments, or the configuration files among them, name."""
    from seq2seq.tasks.base import Task

    plugins.load()
    name = "Translation"
    for option, value in options(arguments, ("--config", "--task")):
        if option == "--task":
            name = value
        else:
            content = read_yaml(find(value))
            name = str(content.get("task", name))
    if "." in name:
        import_module(name.rpartition(".")[0], f"task {name}")
    for candidate in descendants(Task):
        if candidate is not Task and (named(candidate, name) or name == candidate.__name__):
            refuse_incomplete(candidate)
            return candidate
    known = ", ".join(kind.__name__ for kind in usable(Task))
    raise InputError(f"task: {name!r} is no task; known: {known}")


def options(arguments: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    """The given options among the arguments, as `--name value` or `--name=value`."""
    given = []
    for index, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in names and equals:
            given.append((option, value))
        elif argument in names and index + 1 < len(arguments):
            given.append((argument, arguments[index + 1]))
    return given


def run_argument(arguments: Sequence[str], parser: ArgumentParser) -> str:
    """The run that a command is about: its first argument."""
    if not arguments or {"-h", "--help"} & set(arguments[:1]):
        parse(parser, arguments or ["--help"])
    if arguments[0].startswith("-"):
        raise InputError(f"the run comes first: {parser.prog} RUN {' '.join(arguments[:2])} ...")
    return arguments[0]


def import_own_modules(arguments: Sequence[str]) -> None:
    """Import what `--import` names, so that a checkpoint may use classes of the user's own."""
    for _, name in options(arguments, ("--import",)):
        import_module(name, f"--import {name}")


def import_module(name: str, wanted_by: str) -> None:
    """Import a module that the user has named."""
    try:
        importlib.import_module(name)
    except (ImportError, TypeError, ValueError) as problem:  # the last two for what cannot be a name of a module
        raise InputError(f"{wanted_by}: {problem}; is its folder in PYTHONPATH?") from problem


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse, with every mistake as an InputError that names the legal choices; --help prints and ends here."""
    if (about := topic(arguments)) is not None:
        text = page(parser, about)
        print(text)
        remembered_help.keep(parser.prog, arguments, text)
        raise HelpShown(parser)
    try:
        config = parser.parse_args(list(arguments))
    except Exception as problem:  # ArgumentError for most; TypeError and ValueError come from types
        if isinstance(problem, InputError) or not str(problem):
            raise
        raise InputError(explain(str(problem), parser)) from problem
    refuse_no_group(config, parser)
    refuse_empty(config, parser)
    return config


def refuse_no_group(config: Namespace, parser: ArgumentParser) -> None:
    """Raise InputError for a group that holds something else than settings."""
    settings = [action.dest for action in parser._actions if not action.dest.endswith(".help")]
    for name in sorted({name.partition(".")[0] for name in settings if "." in name}):
        if not isinstance(config.get(name), Namespace):
            raise InputError(f"{name} is {config.get(name)!r}; it must hold settings, see --help")


def instantiate(parser: ArgumentParser, config: Namespace) -> Namespace:
    """The configuration as objects."""
    for kind in set(chosen(config.as_dict())):
        refuse_incomplete(kind)
    try:
        objects: Namespace = parser.instantiate(config)
    except InputError:
        raise
    except ValueError as problem:  # a part that may be null: what it says is one reason among several
        reason = re.search(r"Errors:\s+- (.*)", str(problem))
        raise InputError(reason[1] if reason else " ".join(str(problem).split())[:600]) from problem
    return objects


def chosen(settings: Any) -> Iterator[type[Part]]:
    """The classes of all parts that settings name."""
    if isinstance(settings, list):
        for value in settings:
            yield from chosen(value)
    elif isinstance(settings, dict):
        path = settings.get("class_path")
        yield from (kind for kind in descendants(Part) if path is not None and named(kind, path))
        for value in settings.values():
            yield from chosen(value)


def plain_settings(parser: ArgumentParser, config: Namespace) -> dict[str, Any]:
    """The resolved configuration as plain values; fed back, it repeats the run."""
    values: dict[str, Any] = json.loads(parser.dump(config, format="json", skip_unset=False))
    return {name: with_short_names(value) for name, value in values.items() if name not in ONCE}


def run(main: Callable[[Sequence[str]], int | None], arguments: Sequence[str] | None = None) -> None:
    """Run a command's main function: a user's mistake becomes one line on stderr and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = any(value.lower() in ("true", "1", "yes") for _, value in options(arguments, ("--debug",)))
    if sys.stderr is None:  # closed, as some daemons start us: messages go nowhere, and into no file of ours
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    quiet_libraries()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to stop
    try:
        code = main(arguments) or 0
    except InputError as problem:
        if debug:
            raise
        print(f"error: {problem}", file=sys.stderr)
        code = 2
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (OSError, MemoryError, RuntimeError) as problem:
        if debug or (text := machine_at_its_end(problem)) is None:
            raise
        print(f"error: {text}", file=sys.stderr)
        code = 2
    except Stopped as stopped:
        if str(stopped):  # of several processes the first one says it
            print(str(stopped), file=sys.stderr)
        code = STOPPED
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def machine_at_its_end(problem: OSError | MemoryError | RuntimeError) -> str | None:
    """One line for memory or a disk that is not enough, or a directory without permission; None for anything else."""
    memory = isinstance(problem, MemoryError) or "DefaultCPUAllocator" in str(problem)
    if memory or (isinstance(problem, OSError) and problem.errno == errno.ENOMEM):
        return (
            "the memory of this machine, or the limit on it (ulimit -v), is not enough; lower data.batch_tokens or "
            "model.hidden_size, or set data.window for a large corpus"
        )
    if isinstance(problem, OSError):  # its message names the file
        return f"{problem}; make room or fix the directory, and give the same command again"
    return None


def quiet_libraries() -> None:
    """Our own warnings as single lines; the chatter of libraries away."""
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s", stream=sys.stderr, force=True)
    for name in ("pytorch_lightning", "lightning.fabric", "lightning_fabric", "datasets", "fsspec", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for module in ("pytorch_lightning", "lightning_fabric", "torch"):
        warnings.filterwarnings("ignore", module=rf"{module}\..*")

"""What a mistake or a wish to stop becomes: the commands print it as one line and exit with code 2, 75 or 130."""


class InputError(ValueError):
    """Something the user gave is wrong; the message names it and says what to do."""


class UnknownClass(InputError):
    """A file names a class that has not been imported."""

    def __init__(self, problem: str, wanted: str, remedy: str = "") -> None:
        super().__init__(f"{problem}; {remedy or 'import the module that defines it first (--import MODULE)'}")
        self.problem, self.wanted = problem, wanted


class Interrupted(KeyboardInterrupt):
    """The user stopped a training; the message says how to resume."""


class Stopped(Exception):
    """A training ends before its end, by a signal or a time limit; the message says how to resume."""


class Finished(Exception):
    """There is nothing left to do, which is no mistake."""


def check_range(name: str, value: float, low: float, below: float = float("inf")) -> None:
    """Refuse a setting that is not at least `low` and less than `below`."""
    if not low <= value < below:
        limit = "" if below == float("inf") else f" and below {below}"
        raise InputError(f"{name} is {value}; it must be at least {low}{limit}")

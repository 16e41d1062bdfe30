"""Melodies: from a start note and a mode to a tune in ABC notation, made by a few rules that one can hear.

A tune has four phrases, AABA or ABAC, repeated note for note, so that what was written first is needed again much
later. Many tunes share a source, so their targets keep the splits apart.

A pitch is a step: the number of letters above middle C, as a staff has it. Sharps and flats follow from the key.
"""

import re
import reprlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from seq2seq.data.corpora.builtin.generated import Generated
from seq2seq.errors import InputError, check_range

LETTERS, SEMITONES = "CDEFGAB", (0, 2, 4, 5, 7, 9, 11)
"""The white keys from C, and how far each is above it."""

FIFTHS = "FCGDAEB"
"""The same by fifths: the order in which sharps come into a signature; flats come from its end."""

MODES = {
    "ionian": (0, 6),  # major: the seventh that leads back to the tonic
    "dorian": (2, 5),  # the sixth that is higher than in minor
    "phrygian": (4, 1),  # the second half a tone above the tonic
    "lydian": (-1, 3),  # the fourth that is higher than in major
    "mixolydian": (1, 6),  # the seventh that is lower than in major
    "aeolian": (3, 5),  # minor: the sixth that is lower than in dorian
}
"""How many fifths the tonic lies above that of the major key with the same signature; the degree that colours it."""

FIFTH = 4
"""Degrees are counted from 0, the tonic."""

LOWEST, HIGHEST = -3, 7
"""From the fourth below the tonic to the octave above it: an octave and a half."""

WIDEST = 2
"""Steps of a third. A larger interval is a leap, after which the tune turns back by a step."""

MOVES = (-1, 1) * 4 + (-2, 2) * 2 + (0, 3, -3, 4, -4)
"""Intervals in steps, likelier ones more than once."""

OPENINGS = (1, 2, 2, 4, 4)
"""Degrees on which a phrase that contrasts with A begins: never the tonic, so that it differs from A."""

NOTE = re.compile(r"([A-Ga-g])(,{0,2}|'{0,2})([1-9][0-9]?)?")
"""A letter, its octave, and its length in eighths."""


class Meter(NamedTuple):
    """How a bar is filled; all lengths in eighths."""

    eighths: int
    patterns: Sequence[Sequence[int]]
    endings: Sequence[Sequence[int]]
    """Of the last bar of a phrase: its last note is long."""


METERS = {
    "4/4": Meter(
        8,
        ((2, 2, 2, 2), (2, 1, 1, 2, 2), (3, 1, 2, 2), (2, 2, 3, 1), (1, 1, 1, 1, 2, 2), (4, 2, 2)),
        ((2, 2, 4), (2, 1, 1, 4), (3, 1, 4)),
    ),
    "3/4": Meter(
        6,
        ((2, 2, 2), (3, 1, 2), (2, 1, 1, 2), (1, 1, 2, 2), (4, 2)),
        ((2, 4), (1, 1, 4)),
    ),
}


class Key(NamedTuple):
    """A tonic and a mode."""

    tonic: str
    mode: str
    signature: int
    """How many sharps, below 0 flats."""

    @property
    def condition(self) -> str:
        """As a source has it: D dorian."""
        return f"{self.tonic} {self.mode}"

    @property
    def field(self) -> str:
        """As ABC has it: K:Ddor."""
        return f"K:{self.tonic}{self.mode[:3]}"

    @property
    def step(self) -> int:
        """Of the tonic, in the octave above middle C."""
        return LETTERS.index(self.tonic[0])


def note_name(fifths: int) -> str:
    """The note that is `fifths` fifths above C."""
    octave, index = divmod(fifths + 1, len(FIFTHS))
    return FIFTHS[index] + ("#" * octave if octave > 0 else "b" * -octave)


# Twelve signatures, so that each mode begins once on each of the twelve keys of an octave.
SIGNATURES = "with six sharps or five flats at the most"
KEYS = [Key(note_name(flat + above), mode, flat) for mode, (above, _) in MODES.items() for flat in range(-5, 7)]
BY_CONDITION = {key.condition: key for key in KEYS}
BY_FIELD = {key.field: key for key in KEYS}


class Note(NamedTuple):
    """A pitch in steps above middle C and a length in eighths."""

    step: int
    length: int

    def __str__(self) -> str:
        octave, index = divmod(self.step, 7)
        letter = LETTERS[index] if octave < 1 else LETTERS[index].lower()
        return letter + "," * -octave + "'" * (octave - 1) + (str(self.length) if self.length > 1 else "")


Bar = list[Note]


class Tune(NamedTuple):
    """A tune line that has been read."""

    meter: str
    key: Key
    bars: list[Bar]
    finished: bool
    """Whether it ends with the double bar line."""

    def notes(self) -> list[Note]:
        """All of them in order."""
        return [note for bar in self.bars for note in bar]

    def odd_bars(self) -> list[int]:
        """The numbers, from 1, of bars that are too short or too long."""
        full = METERS[self.meter].eighths
        return [number for number, bar in enumerate(self.bars, 1) if sum(note.length for note in bar) != full]

    def phrases(self) -> list[list[Bar]]:
        """Four of equal length, or all bars as one where they cannot be divided."""
        size, rest = divmod(len(self.bars), 4)
        return [self.bars] if rest else [self.bars[index * size : (index + 1) * size] for index in range(4)]


def parse(line: str) -> Tune:
    """Read a tune line; what is wrong raises, except bars that are not full and a missing end."""
    tokens = line.split()
    meter, key, *_ = [*tokens, "", ""]
    if not meter.startswith("M:") or not key.startswith("K:"):
        raise InputError("a tune begins with its meter and its key, such as M:4/4 K:Ddor")
    if meter[2:] not in METERS:
        raise InputError(f"the meter is {reprlib.repr(meter)}; it must be M:{' or M:'.join(METERS)}")
    if key not in BY_FIELD:
        legal = f"one of {', '.join(mode[:3] for mode in MODES)}, {SIGNATURES}"
        raise InputError(f"the key is {reprlib.repr(key)}; it must be a note and {legal}, such as K:Ddor")
    finished = tokens[-1] == "|]"
    bars: list[Bar] = [[]]
    for number, token in enumerate(tokens[2 : len(tokens) - finished], 3):
        if token == "|":
            bars.append([])
        else:
            bars[-1].append(read_note(token, number))
    if not any(bars):
        raise InputError("there is no note in it")
    return Tune(meter[2:], BY_FIELD[key], bars, finished)


def read_note(token: str, number: int) -> Note:
    """The note that a token is."""
    match = NOTE.fullmatch(token)
    if not match:
        legal = "a note (such as D, F2, B, or c'3) or a bar line (|, at the end |])"
        raise InputError(f"token {number} is {reprlib.repr(token)}; it must be {legal}")
    letter, octave, length = match.groups()
    octaves = letter.islower() + octave.count("'") - octave.count(",")
    return Note(LETTERS.index(letter.upper()) + 7 * octaves, int(length or 1))


def pitches(tune: Tune) -> list[int]:
    """The MIDI numbers of the notes; middle C is 60."""
    sharps = FIFTHS[: max(tune.key.signature, 0)]
    flats = FIFTHS[len(FIFTHS) + min(tune.key.signature, 0) :]
    numbers = []
    for note in tune.notes():
        octave, index = divmod(note.step, 7)
        altered = (LETTERS[index] in sharps) - (LETTERS[index] in flats)
        numbers.append(60 + 12 * octave + SEMITONES[index] + altered)
    return numbers


def abc(line: str, title: str, number: int) -> str:
    """The text of an ABC file with one tune."""
    parse(line)
    meter, key, *tokens = line.split()
    return f"X:{number}\nT:{' '.join(title.split())}\n{meter}\nL:1/8\n{key}\n{' '.join(tokens)}\n"


class TuneRules(NamedTuple):
    """Which rules a tune obeys."""

    bars: bool
    """Every bar is full, and the tune ends with the double bar line."""
    mode: bool
    """Its key is the condition; notes carry no accidentals, so then all of them are in the mode."""
    start: bool
    """It begins on the tonic."""
    end: bool
    """It ends on the tonic."""
    colour: bool
    """The first phrase has the degree that tells the mode from its neighbours."""
    form: bool
    """AABA or ABAC, note for note."""
    cadence: bool
    """The second or the third phrase, whichever is B, ends on the fifth."""
    leaps: bool
    """Within a phrase, a step back follows each interval wider than a third."""
    range: bool
    """All lies within an octave and a half."""


def checks(condition: str, line: str) -> TuneRules:
    """Which rules a tune line obeys; one that cannot be read obeys none."""
    if condition not in BY_CONDITION:
        legal = f"one of {', '.join(MODES)}, {SIGNATURES}"
        raise InputError(f"the condition is {condition!r}; it must be a note and {legal}, such as D dorian")
    key = BY_CONDITION[condition]
    try:
        tune = parse(line)
    except InputError:
        return TuneRules(*[False] * len(TuneRules._fields))
    phrases = tune.phrases()
    degrees = [[note.step - key.step for bar in phrase for note in bar] for phrase in phrases]
    every = [degree for phrase in degrees for degree in phrase]
    return TuneRules(
        bars=tune.finished and not tune.odd_bars(),
        mode=tune.key == key,
        start=every[0] % 7 == 0,
        end=every[-1] % 7 == 0,
        colour=MODES[key.mode][1] in [degree % 7 for degree in degrees[0]],
        form=returns(phrases),
        cadence=any(phrase[-1] % 7 == FIFTH for phrase in degrees[1:3] if phrase),
        leaps=all(resolved(phrase) for phrase in degrees),
        range=max(every) - min(every) <= HIGHEST - LOWEST,
    )


def returns(phrases: Sequence[list[Bar]]) -> bool:
    """Whether the form is AABA or ABAC."""
    if len(phrases) != 4:
        return False
    first, second, third, fourth = phrases
    if first == second == fourth:
        return third != first
    return first == third and second != first != fourth != second


def resolved(degrees: Sequence[int]) -> bool:
    """Whether every leap is followed by a step back."""
    moves = [after - before for before, after in pairwise(degrees)]
    return all(after == owed_after(move) for move, after in pairwise([*moves, 0]) if owed_after(move))


def owed_after(move: int) -> int:
    """The step that must follow an interval, 0 for none."""
    return 0 if abs(move) <= WIDEST else -1 if move > 0 else 1


class Walk(NamedTuple):
    """A note within a phrase."""

    degree: int
    """Below the tonic it is below 0."""
    left: int
    """Notes that follow."""
    goal: int
    """The degree, in any octave, on which the last one must be."""
    colour: int | None
    """A degree that must still be heard."""
    owed: int = 0
    """The step that must follow, because a leap came before; 0 for none."""

    def after(self, move: int) -> "Walk":
        """One note further."""
        degree = self.degree + move
        colour = None if degree % 7 == self.colour else self.colour
        return Walk(degree, self.left - 1, self.goal, colour, owed_after(move))

    def arrives(self) -> bool:
        """Whether the phrase can end as it must from here."""
        if not LOWEST <= self.degree <= HIGHEST:
            return False
        if self.left:
            return bool(moves(self))
        return self.degree % 7 == self.goal and self.colour is None and not self.owed


@cache  # without it, looking ahead would take exponential time
def moves(walk: Walk) -> tuple[int, ...]:
    """The moves after which the phrase can still end as it must."""
    return tuple(move for move in ((walk.owed,) if walk.owed else MOVES) if walk.after(move).arrives())


Draw = Callable[[int], int]
"""A random number below the given one."""


class Melodies(Generated):
    """A start note and a mode, and a tune that obeys every rule of `TuneRules`: one to many, and much to remember."""

    splits_by_target = True

    def __init__(self, bars: int = 8, train: int = 8000, validation: int = 300, test: int = 300, seed: int = 1) -> None:
        """bars: of a tune, four phrases together; train, validation, test: rows of each split."""
        check_range("data.corpus.bars", bars, 8, 65)
        if bars % 4:
            raise InputError(f"data.corpus.bars is {bars}; it must be a multiple of 4, one part for each phrase")
        super().__init__(train, validation, test, seed)
        self.bars = bars

    def drawn(self, random: np.random.Philox) -> Iterator[tuple[str, str]]:
        while True:
            key, line = compose(self.bars, lambda below: int(random.random_raw()) % below)
            yield key.condition, line


def compose(bars: int, draw: Draw) -> tuple[Key, str]:
    """A random key and a tune in it."""
    key = KEYS[draw(len(KEYS))]
    name = list(METERS)[draw(len(METERS))]
    meter, size = METERS[name], bars // 4
    theme = phrase(key, meter, size, Walk(0, 0, 0, MODES[key.mode][1]), draw)
    contrast = phrase(key, meter, size, Walk(OPENINGS[draw(len(OPENINGS))], 0, FIFTH, None), draw)
    closing = phrase(key, meter, size, Walk(OPENINGS[draw(len(OPENINGS))], 0, 0, None), draw)
    form = (theme, contrast, theme, closing) if draw(2) else (theme, theme, contrast, theme)
    return key, f"M:{name} {key.field} {' | '.join(form)} |]"


def phrase(key: Key, meter: Meter, bars: int, start: Walk, draw: Draw) -> str:
    """Bars of notes from a first note on; `start` does not yet say how many follow."""
    rhythm = [meter.patterns[draw(len(meter.patterns))] for _ in range(bars - 1)]
    rhythm.append(meter.endings[draw(len(meter.endings))])
    steps = wander(start._replace(left=sum(map(len, rhythm)) - 1), draw)
    return " | ".join(" ".join(str(Note(key.step + next(steps), length)) for length in bar) for bar in rhythm)


def wander(walk: Walk, draw: Draw) -> Iterator[int]:
    """The degrees of a phrase."""
    yield walk.degree
    while walk.left:
        possible = moves(walk)
        walk = walk.after(possible[draw(len(possible))])
        yield walk.degree

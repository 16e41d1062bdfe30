"""python -m seq2seq.midi --output FOLDER < tunes.txt: each line of ABC becomes a file to hear and one to read.

Lines are as `seq2seq.predict` writes them after a training on the corpus Melodies. A model's tune may be imperfect: a
bar that is too short or too long is played as it is, with a warning; only a line that is not a tune is refused.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from jsonargparse import ArgumentParser

from seq2seq.cli import command
from seq2seq.data.corpora.builtin.melodies import METERS, Tune, abc, parse, pitches
from seq2seq.data.lines import STANDARD_INPUT, decode_line, without_mark
from seq2seq.errors import InputError

log = logging.getLogger(__name__)

MOST, LONGEST = 10_000, 100_000
"""Lines that are read, and bytes of each, which are its characters: a tune has none but ASCII."""

TICKS = 240
"""Units of time in an eighth."""


def parser_for() -> ArgumentParser:
    """The command's parser."""
    parser = command.parser_for(
        "midi", "Read tunes in ABC from standard input, one a line, and write each as FOLDER/0001.mid and .abc."
    )
    parser.add_argument("--output", type=str, required=True, help="folder to write to")
    parser.add_argument("--overwrite", type=bool, default=False, help="replace files of the same names")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Write as the arguments say; nothing is written unless every line can be."""
    config = command.parse(parser_for(), arguments)
    if sys.stdin is None:
        raise InputError("standard input must be open; give a file with < tunes.txt")
    texts = read(sys.stdin.buffer)
    if not texts:
        raise InputError("standard input holds no tune; give a file with < tunes.txt")
    tunes = [examined(text, number) for number, text in enumerate(texts, 1)]
    names = [Path(config.output, f"{number:04}") for number in range(1, len(tunes) + 1)]
    there = [file for name in names for file in files(name) if file.exists()]
    if there and not config.overwrite:
        raise InputError(f"{there[0]} exists; replace it with --overwrite true, or choose another --output")
    library = midi_library()
    Path(config.output).mkdir(parents=True, exist_ok=True)
    for number, (name, text, tune) in enumerate(zip(names, texts, tunes, strict=True), 1):
        sound, sheet = files(name)
        sheet.write_text(abc(text, tune.key.condition, number), encoding="ascii")
        performed(tune, library).save(sound)
    print(f"{len(tunes)} tune{'s' * (len(tunes) != 1)} written to {config.output}", file=sys.stderr)


def midi_library() -> Any:
    """mido, or how to get it."""
    try:
        import mido  # an extra
    except ImportError as problem:
        raise InputError("writing MIDI needs the library mido: pip install mido") from problem
    return mido


def read(stream: BinaryIO) -> list[str]:
    """The lines of a stream."""
    texts: list[str] = []
    while line := stream.readline(LONGEST + 3):  # room for \r\n
        where = f"{STANDARD_INPUT}:{len(texts) + 1}"
        if len(line.rstrip(b"\r\n")) > LONGEST:
            raise InputError(f"{where}: a line of more than {LONGEST:,} characters; is this a file of tunes?")
        if len(texts) == MOST:
            raise InputError(f"{where}: more than {MOST:,} lines; divide the file, e.g. with split -l {MOST}")
        line = line if texts else without_mark(line, STANDARD_INPUT)
        texts.append(decode_line(line, STANDARD_INPUT, len(texts) + 1))
    return texts


def examined(text: str, number: int) -> Tune:
    """The tune of a line; what can be played all the same is warned of."""
    where = f"{STANDARD_INPUT}:{number}"
    try:
        tune = parse(text)
    except InputError as problem:
        raise InputError(f"{where}: {problem}") from problem
    if odd := tune.odd_bars():
        length = sum(note.length for note in tune.bars[odd[0] - 1])
        more = f"; bars that are not full: {len(odd)}" if len(odd) > 1 else ""
        log.warning("%s: bar %d has %d eighths of %d%s", where, odd[0], length, METERS[tune.meter].eighths, more)
    if not tune.finished:
        log.warning("%s: the tune does not end with |]; was it cut off?", where)
    return tune


def files(name: Path) -> tuple[Path, Path]:
    """The MIDI file and the ABC file of a tune."""
    return name.with_suffix(".mid"), name.with_suffix(".abc")


def performed(tune: Tune, library: Any) -> Any:
    """The tune as a MIDI file of one track, at MIDI's own tempo of 120 quarter notes in a minute."""
    numerator, denominator = map(int, tune.meter.split("/"))
    track = library.MidiTrack()
    track.append(library.MetaMessage("track_name", name=tune.key.condition))
    track.append(library.MetaMessage("time_signature", numerator=numerator, denominator=denominator))
    for pitch, note in zip(pitches(tune), tune.notes(), strict=True):
        track.append(library.Message("note_on", note=pitch, velocity=80))
        track.append(library.Message("note_off", note=pitch, time=note.length * TICKS))
    return library.MidiFile(ticks_per_beat=2 * TICKS, tracks=[track])


if __name__ == "__main__":
    command.run(main)

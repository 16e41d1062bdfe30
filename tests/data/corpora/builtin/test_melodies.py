"""Melodies: every tune obeys its rules, a damaged one fails the right rule, and MIDI plays what is written."""

import io
import json
import logging
import sys
import time
from collections import defaultdict
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from seq2seq import midi
from seq2seq.configurable import build
from seq2seq.data.corpora.builtin.melodies import (
    BY_FIELD,
    FIFTH,
    KEYS,
    METERS,
    MODES,
    OPENINGS,
    Melodies,
    Walk,
    abc,
    checks,
    moves,
    parse,
    pitches,
)
from seq2seq.data.corpora.corpus import SPLITS
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.units import Words
from seq2seq.errors import InputError
from tests.support import python

FEW = {"train": 400, "validation": 40, "test": 50}

TUNE = (
    "M:4/4 K:Ddor D2 F2 A2 B2 | A2 F2 D4 | F2 G2 A2 F2 | G2 F2 A4 | D2 F2 A2 B2 | A2 F2 D4 | B2 A2 G2 F2 | F2 E2 D4 |]"
)
"""D dorian, ABAC, by hand."""

SCALES = {  # semitones above the tonic, from a book
    "ionian": [0, 2, 4, 5, 7, 9, 11],
    "dorian": [0, 2, 3, 5, 7, 9, 10],
    "phrygian": [0, 1, 3, 5, 7, 8, 10],
    "lydian": [0, 2, 4, 6, 7, 9, 11],
    "mixolydian": [0, 2, 4, 5, 7, 9, 10],
    "aeolian": [0, 2, 3, 5, 7, 8, 10],
}
WHITE = {"C": 60, "D": 62, "E": 64, "F": 65, "G": 67, "A": 69, "B": 71}


@pytest.fixture
def mido() -> Any:
    """The library that reads back what was written."""
    return pytest.importorskip("mido", reason="mido is not installed; pip install mido")


def sources_and_tunes(corpus: Melodies, split: str = "train") -> list[tuple[str, str]]:
    return [(row.source, row.target) for row in corpus.rows(split, None)]


@pytest.mark.parametrize("bars", [8, 12, 64])
def test_every_tune_obeys_every_rule(bars: int) -> None:
    rows = sources_and_tunes(Melodies(bars, **FEW, seed=bars))
    for condition, line in rows:
        assert checks(condition, line) == (True,) * 9, line
    tunes = [parse(line) for _, line in rows]
    assert {len(tune.bars) for tune in tunes} == {bars}
    assert {tune.meter for tune in tunes} == set(METERS)
    forms = {tune.phrases()[0] == tune.phrases()[1] for tune in tunes}
    assert forms == {True, False}  # AABA and ABAC


def test_all_conditions_occur_and_one_leads_to_many_tunes() -> None:
    tunes = defaultdict(set)
    for condition, line in sources_and_tunes(Melodies(train=1500)):
        tunes[condition].add(line)
    assert set(tunes) == {key.condition for key in KEYS}
    assert min(map(len, tunes.values())) > 3
    assert sum(map(len, tunes.values())) > 1490


def test_splits_have_their_rows_and_share_no_tune() -> None:
    targets = {}
    for seed in (1, 2):
        for split in SPLITS:
            rows = sources_and_tunes(Melodies(**FEW, seed=seed), split)
            assert len(rows) == FEW[split]
            targets[seed, split] = {line for _, line in rows}
    for (seed, split), tunes in targets.items():
        for (_, other), elsewhere in targets.items():
            assert split == other or not tunes & elsewhere  # whatever the seed
        assert not tunes & targets[3 - seed, split]


def test_more_rows_only_append() -> None:
    few, many = (sources_and_tunes(Melodies(test=rows), "test") for rows in (20, 30))
    assert many[:20] == few


def test_rows_are_the_same_in_another_process_and_in_years() -> None:
    program = (
        "import json; from seq2seq.data.corpora.builtin.melodies import *; from seq2seq.data.corpora.corpus import SPLITS; corpus = Melodies(train=3, validation=2, test=2);"
        "print(json.dumps([row for split in SPLITS for row in corpus.rows(split, None)]))"
    )
    done = python("-c", program, check=True)
    corpus = Melodies(train=3, validation=2, test=2)
    assert json.loads(done.stdout) == [[*row[:5], [], ""] for split in SPLITS for row in corpus.rows(split, None)]
    first = next(iter(corpus.rows("train", None)))
    assert first.source == "D mixolydian"
    assert first.target.startswith("M:4/4 K:Dmix D3 G F2 D2 | B,3 C D4 | D3 G F2 D2 | B,3 C D4 | E4 G2 D2")


def test_eight_thousand_tunes_take_seconds() -> None:
    started = time.process_time()
    assert sum(1 for _ in Melodies().rows("train", None)) == 8000
    assert time.process_time() - started < 20  # one and a half on an idle core


def test_a_phrase_of_any_rhythm_can_be_made() -> None:
    for meter in METERS.values():
        shortest = min(map(len, meter.patterns)) + min(map(len, meter.endings))
        for left in range(shortest - 1, 12):
            assert all(moves(Walk(0, left, 0, colour)) for _, colour in MODES.values())
            assert all(moves(Walk(place, left, goal, None)) for place in OPENINGS for goal in (0, FIFTH))


def test_bars_of_every_rhythm_are_full() -> None:
    for meter in METERS.values():
        assert {sum(pattern) for pattern in (*meter.patterns, *meter.endings)} == {meter.eighths}
        assert all(ending[-1] == max(ending) for ending in meter.endings)


def test_keys_have_the_tones_of_their_modes() -> None:
    assert len(KEYS) == len(BY_FIELD) == 72
    for key in KEYS:
        scale = " ".join(f"{letter}" for letter in "CDEFGABcdefgab"[key.step :][:7])
        tonic = WHITE[key.tonic[0]] + key.tonic.count("#") - key.tonic.count("b")
        assert pitches(parse(f"M:4/4 {key.field} {scale}")) == [tonic + tone for tone in SCALES[key.mode]]
    for mode in MODES:
        tonics = [WHITE[key.tonic[0]] + key.tonic.count("#") - key.tonic.count("b") for key in KEYS if key.mode == mode]
        assert {tonic % 12 for tonic in tonics} == set(range(12))  # each key of an octave once


def test_notes_are_written_as_they_are_read() -> None:
    line = "M:3/4 K:Cion C,, B,,3 C, B, C B c b c' b' c''16 b''99 |]"
    tune = parse(line)
    assert line.split()[2:-1] == [str(note) for note in tune.notes()]
    assert pitches(tune) == [36, 47, 48, 59, 60, 71, 72, 83, 84, 95, 96, 107]
    for _, generated in sources_and_tunes(Melodies(train=50)):
        assert [str(note) for note in parse(generated).notes()] == [
            token for token in generated.split()[2:] if "|" not in token
        ]


@pytest.mark.parametrize(
    ("good", "bad", "failed"),
    [
        ("E2 D4", "E D4", {"bars"}),
        ("E2 D4", "E3 D4", {"bars"}),
        ("D4 |]", "D4", {"bars"}),
        ("K:Ddor", "K:Daeo", {"mode"}),
        ("D2 F2 A2", "F2 F2 A2", {"start"}),
        ("E2 D4 |]", "E2 F4 |]", {"end"}),
        ("A2 B2", "A2 G2", {"colour"}),  # C still has it
        ("A4 | D2 F2 A2 B2", "A4 | D2 F2 G2 B2", {"form"}),
        ("B2 A2 G2 F2 | F2 E2 D4", "D2 F2 A2 B2 | A2 F2 D4", {"form"}),  # ABAA
        ("F2 G2 A2 F2 | G2 F2 A4", "D2 F2 A2 B2 | A2 F2 D4", {"form", "cadence"}),  # AAAC
        ("F2 A4", "F2 G4", {"cadence"}),
        ("B2 A2 G2 F2", "A2 E2 G2 F2", {"leaps"}),  # back, but by a third
        ("F2 E2 D4", "F2 A2 D4", {"leaps"}),  # at the end
        ("B2 A2 G2 F2 | F2 E2 D4", "A2 c2 e2 g2 | b2 c'2 d'4", {"range"}),
        ("| A2 F2 D4 | F2", "| A2 F2 D4 | | F2", {"bars", "form", "cadence", "leaps"}),  # nine bars: one long phrase
    ],
)
def test_a_damaged_tune_fails_the_right_rule(good: str, bad: str, failed: set[str]) -> None:
    assert all(checks("D dorian", TUNE))
    assert good in TUNE
    rules = checks("D dorian", TUNE.replace(good, bad))._asdict()
    assert {name for name, obeyed in rules.items() if not obeyed} == failed


def test_forms_and_cadences_that_are_none() -> None:
    header, phrases = TUNE[:12], ["D2 F2 A2 B2 | A2 F2 D4", "F2 G2 A2 F2 | G2 F2 A4", "B2 A2 G2 F2 | F2 G2 A4"]
    for places, failed in (
        ((0, 0, 1, 0), set()),
        ((0, 0, 0, 0), {"form", "cadence"}),
        ((0, 1, 1, 0), {"form"}),
        ((0, 1, 0, 1), {"form", "end"}),
        ((0, 0, 1, 2), {"form", "end"}),
        ((0, 0, 0, 2), {"form", "end", "cadence"}),  # the fifth comes too late
    ):
        line = f"{header} {' | '.join(phrases[place] for place in places)} |]"
        assert {name for name, obeyed in checks("D dorian", line)._asdict().items() if not obeyed} == failed


def test_the_colour_tells_a_mode_from_its_neighbour() -> None:
    neighbours = {"ionian": "mixolydian", "mixolydian": "ionian", "lydian": "ionian", "dorian": "aeolian",
                  "aeolian": "dorian", "phrygian": "aeolian"}  # fmt: skip
    for mode, (_, colour) in MODES.items():
        other = SCALES[neighbours[mode]]
        assert [degree for degree in range(7) if SCALES[mode][degree] != other[degree]] == [colour]


def test_rules_follow_the_condition() -> None:
    assert checks("A aeolian", TUNE)._asdict() == {
        "bars": True, "mode": False, "start": False, "end": False, "colour": True, "form": True, "cadence": False,
        "leaps": True, "range": True,
    }  # fmt: skip
    assert not any(checks("D dorian", "D2 F2 A2"))
    assert not any(checks("D dorian", TUNE.replace("E2", "<unk>")))
    with pytest.raises(InputError, match="the condition is 'D minor'; it must be a note and one of ionian, dorian"):
        checks("D minor", TUNE)


def test_abc_stands_alone() -> None:
    text = abc(TUNE, "A tune\nby hand", 7)
    assert text.splitlines()[:5] == ["X:7", "T:A tune by hand", "M:4/4", "L:1/8", "K:Ddor"]
    assert text.splitlines()[5:] == [TUNE.removeprefix("M:4/4 K:Ddor ")]
    with pytest.raises(InputError, match="no note"):
        abc("M:4/4 K:Ddor | |]", "", 1)


def test_a_data_module_reads_them() -> None:
    corpus = Melodies(**FEW)
    data = DataModule(build(Melodies, corpus.specification()), tokenizer=Words())
    texts = data.texts("train")
    assert list(texts.target) == [line for _, line in sources_and_tunes(corpus)]
    tokenizers = data.train_tokenizers(texts)
    assert tokenizers.target.decode(tokenizers.target.encode(list(texts.target[:9]))[0]) == texts.target[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bars": 4}, "data.corpus.bars is 4; it must be at least 8"),
        ({"bars": 10}, "data.corpus.bars is 10; it must be a multiple of 4"),
        ({"seed": -1}, "data.corpus.seed is -1"),
        ({"test": 0}, "data.corpus.test is 0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Melodies(**settings)


def test_a_generated_corpus_reads_no_path() -> None:
    with pytest.raises(InputError, match=r"Melodies .*data\.path"):
        list(Melodies().rows("train", "folder"))


def play(monkeypatch: pytest.MonkeyPatch, text: str | bytes, *arguments: str) -> None:
    """Run the command on a text."""
    content = text if isinstance(text, bytes) else text.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    midi.main(arguments)


def sounding(mido: Any, file: Path) -> list[tuple[float, int, float]]:
    """Start and length in eighths, and pitch, of each note of a MIDI file."""
    read = mido.MidiFile(file)
    now, began, notes = 0, {}, []
    for message in mido.merge_tracks(read.tracks):
        now += message.time
        if message.type == "note_on" and message.velocity:
            began[message.note] = now
        elif message.type in ("note_on", "note_off"):
            start = began.pop(message.note)
            notes.append((2 * start / read.ticks_per_beat, message.note, 2 * (now - start) / read.ticks_per_beat))
    assert not began
    return notes


def test_midi_plays_what_is_written(mido: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [TUNE.replace("A2 B2", "A B3"), *(line for _, line in sources_and_tunes(Melodies(train=20)))]
    play(monkeypatch, "".join(line + "\n" for line in lines), "--output", str(tmp_path / "new" / "tunes"))
    files = sorted((tmp_path / "new" / "tunes").iterdir())
    assert [file.name for file in files[:4]] == ["0001.abc", "0001.mid", "0002.abc", "0002.mid"]
    assert len(files) == 2 * len(lines)
    first = [62, 65, 69, 71, 69, 65, 62]
    assert sounding(mido, files[1])[:7] == list(zip([0, 2, 4, 5, 8, 10, 12], first, [2, 2, 1, 3, 2, 2, 4], strict=True))
    for line, sheet, sound in zip(lines, files[::2], files[1::2], strict=True):
        tune = parse(line)
        lengths = [note.length for note in tune.notes()]
        starts = [0, *accumulate(lengths)][:-1]
        assert sounding(mido, sound) == list(zip(starts, pitches(tune), lengths, strict=True))
        assert sheet.read_text() == abc(line, tune.key.condition, int(sheet.stem))
        beats = [message for message in mido.MidiFile(sound).tracks[0] if message.type == "time_signature"]
        assert [f"{one.numerator}/{one.denominator}" for one in beats] == [tune.meter]


def test_an_imperfect_tune_is_played_with_a_warning(
    mido: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    lines = TUNE + "\nM:3/4 K:Bbaeo B3 c2 B2 | d | c4 B2 |]\r\nM:4/4 K:Flyd F8 | c2"
    play(monkeypatch, lines, "--output", str(tmp_path))
    assert sounding(mido, tmp_path / "0002.mid") == [
        (0, 70, 3), (3, 72, 2), (5, 70, 2), (7, 73, 1), (8, 72, 4), (12, 70, 2)
    ]  # fmt: skip
    assert caplog.messages == [
        "standard input:2: bar 1 has 7 eighths of 6; bars that are not full: 2",
        "standard input:3: bar 2 has 2 eighths of 8",
        "standard input:3: the tune does not end with |]; was it cut off?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "standard input holds no tune; give a file"),
        ("{tune}\n\n", "standard input:2: a tune begins with its meter and its key, such as M:4/4 K:Ddor"),
        ("M:4/4\n", "standard input:1: a tune begins with its meter and its key"),
        ("D2 F2 |]\n", "standard input:1: a tune begins with its meter"),
        ("{tune}\nM:5/4 K:Ddor D |]\n", "standard input:2: the meter is 'M:5/4'; it must be M:4/4 or M:3/4"),
        ("M:4/4 K:Dloc D |]\n", "standard input:1: the key is 'K:Dloc'; it must be a note and one of ion, dor, phr"),
        ("M:4/4 K:Bbphr B |]\n", "standard input:1: the key is 'K:Bbphr'; .* six sharps or five flats at the most"),
        ("M:4/4 K:Ddor D2 ^F2 |]\n", r"standard input:1: token 4 is '\^F2'; it must be a note"),
        ("M:4/4 K:Ddor D0 |]\n", "standard input:1: token 3 is 'D0'"),
        ("M:4/4 K:Ddor D |] D\n", r"standard input:1: token 4 is '\|\]'; it must be .* at the end \|\]"),
        ("{tune}\t{tune}\n", "standard input:1: token 38 is"),  # predict --n_best
        ("M:4/4 K:Ddor |]\n", "standard input:1: there is no note in it"),
        ("{tune}\n" + "D" * 100_001, "standard input:2: a line of more than 100,000 characters"),
        ("M:4/4 K:Ddor D\n" * 10_001, "standard input:10001: more than 10,000 lines"),
        (b"\xff", "standard input:1: invalid UTF-8"),
    ],
)
def test_what_is_no_tune_is_named_and_nothing_is_written(
    text: str | bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = text.replace("{tune}", TUNE) if isinstance(text, str) else text
    with pytest.raises(InputError, match=message):
        play(monkeypatch, content, "--output", str(tmp_path / "tunes"))
    assert not (tmp_path / "tunes").exists()


def test_as_many_lines_as_long_as_may_be_are_read() -> None:
    longest = "D" * 100_000
    assert midi.read(io.BytesIO(f"{longest}\r\n{TUNE}".encode())) == [longest, TUNE]
    assert len(midi.read(io.BytesIO(b"D\n" * 10_000))) == 10_000


def test_nothing_is_overwritten_unasked(mido: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0002.abc").write_text("mine")
    with pytest.raises(InputError, match=r"0002\.abc exists; replace it with --overwrite true, or choose another"):
        play(monkeypatch, f"{TUNE}\n{TUNE}\n", "--output", str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["0002.abc"]
    play(monkeypatch, f"{TUNE}\n", "--output", str(tmp_path))  # its files are others
    assert (tmp_path / "0002.abc").read_text() == "mine"
    play(monkeypatch, f"{TUNE}\n{TUNE}\n", "--output", str(tmp_path), "--overwrite", "true")
    assert (tmp_path / "0002.abc").read_text().startswith("X:2\n")


def test_without_the_library_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mido", None)  # as if it were not installed
    with pytest.raises(InputError, match="needs the library mido: pip install mido"):
        play(monkeypatch, TUNE, "--output", str(tmp_path))


def test_the_command_ends_with_one_line_and_code_2(tmp_path: Path) -> None:
    done = python("-m", "seq2seq.midi", "--output", tmp_path / "tunes", input=TUNE + "\nM:4/4 K:Ddor H2\n")
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard input:2: token 3 is 'H2'; it must be a note")
    assert done.stderr.count("\n") == 1
    assert not done.stdout

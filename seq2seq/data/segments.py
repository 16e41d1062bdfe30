"""Segments: parts of a sound that have a label, in seconds, and the labels of its frames."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from seq2seq.data.sound import SoundFrames


class Segment(NamedTuple):
    """From a second up to another one; of frames that are no sound from a frame, counted from 0, up to another one."""

    start: float
    end: float
    label: str


def segments_of(labels: Sequence[str], sound: SoundFrames | None) -> list[Segment]:
    """Neighbouring frames with one label as a segment; sound: what a frame is, None for frames of other kinds."""
    result, first = list[Segment](), 0
    for label, several in groupby(labels):
        after = first + len(list(several))
        if sound is None:
            result.append(Segment(first, after, label))
        else:
            end = sound.between(after) if after < len(labels) else sound.seconds(after)
            result.append(Segment(round(sound.between(first), 4), round(end, 4), label))
        first = after
    return result


def labels_of(segments: Sequence[Segment], frames: int, sound: SoundFrames, other: str) -> list[str]:
    """The label of each frame: of the segment in which its middle lies, or else `other`."""
    result = [other] * frames
    for start, end, label in segments:
        first = max(0, sound.first_after(start))
        after = max(first, min(frames, sound.first_after(end)))
        result[first:after] = [label] * (after - first)
    return result

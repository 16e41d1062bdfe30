"""Small films of shapes, to what happens in them: the smallest captions of video, where the order of frames matters."""

from collections.abc import Iterator

import numpy as np

from seq2seq.data.corpora.builtin.generated import Generated
from seq2seq.data.number_text import text_of_array

SIDE, STEPS = 8, 5
"""Pixels of a side of a frame, and frames of each of the two scenes of a film."""

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "white": (1, 1, 1)}
"""With their share of the three channels."""

BRIGHT, NOISE = 9, 3
"""Of a pixel of a shape, and values that the background may have."""

SIZES = {"small": 3, "large": 4}
"""Pixels of a side of a shape."""

SHAPES = ("square", "ring", "cross")

MOVES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""Pixels down and to the right from a frame to the next."""

VERBS = (*(f"moves {way}" for way in MOVES), "appears", "disappears")


class Shapes(Generated):
    """Films of two scenes of five frames, 8 by 8 pixels in three colours, to sentences.

    `a small red square moves left then a large white ring appears`. Each scene looks the same backwards but for what
    happens, and the second one is made as the first: without the order of the frames nobody knows directions, what
    appears and what comes first. No sentence is in two splits.
    """

    splits_by_target = True

    def __init__(
        self, ordered: bool = True, train: int = 3_000, validation: int = 200, test: int = 500, seed: int = 1
    ) -> None:
        """ordered: false shows the frames of each film in random order. train, validation, test: rows of each split."""
        super().__init__(train, validation, test, seed)
        self.ordered = ordered

    def drawn(self, random: np.random.Philox) -> Iterator[tuple[str, str]]:
        while True:
            scenes = [scene(random) for _ in range(2)]
            film = np.concatenate([frames for frames, _ in scenes])  # (2 * STEPS, SIDE, SIDE, 3)
            order = np.argsort(random.random_raw(len(film)), kind="stable")
            film = film if self.ordered else film[order]
            noise = random.random_raw(film.size).reshape(film.shape) % np.uint64(NOISE)
            shown = np.where(film > 0, BRIGHT, noise.astype(np.int64))
            yield text_of_array(shown.reshape(len(film), -1)), " then ".join(text for _, text in scenes)


def scene(random: np.random.Philox) -> tuple[np.ndarray, str]:
    """Frames (STEPS, SIDE, SIDE, 3) of zeros and ones, and what happens in them."""
    numbers = random.random_raw(6)

    def chosen(place: int, options: int) -> int:
        return int(numbers[place] % np.uint64(options))

    size, colour = [*SIZES][chosen(0, len(SIZES))], [*COLOURS][chosen(1, len(COLOURS))]
    shape, verb = SHAPES[chosen(2, len(SHAPES))], VERBS[chosen(3, len(VERBS))]
    pixels, room = picture(shape, SIZES[size]), SIDE - SIZES[size]
    down, right = MOVES.get(verb.partition(" ")[2], (0, 0))
    places = []
    for step, draw in ((down, 4), (right, 5)):
        low = (STEPS - 1) * (step < 0)
        first = low + chosen(draw, room - (STEPS - 1) * abs(step) + 1)
        places.append([first + step * frame for frame in range(STEPS)])
    frames = np.zeros((STEPS, SIDE, SIDE, 3), dtype=np.int64)
    there = {"appears": range(2, STEPS), "disappears": range(STEPS - 2)}.get(verb, range(STEPS))
    for frame in there:
        top, left = places[0][frame], places[1][frame]
        area = frames[frame, top : top + len(pixels), left : left + len(pixels)]
        area[:] = pixels[..., None] * np.array(COLOURS[colour])
    return frames, f"a {size} {colour} {shape} {verb}"


def picture(shape: str, size: int) -> np.ndarray:
    """The pixels (size, size) of a shape."""
    result = np.ones((size, size), dtype=np.int64)
    if shape == "ring":
        result[1:-1, 1:-1] = 0
    elif shape == "cross":
        diagonal = np.eye(size, dtype=np.int64)
        result = np.maximum(diagonal, diagonal[::-1])
    return result

"""Text as it is chosen, token by token; running text goes on where the call before it ended."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from seq2seq.data.tokenizers.base import SPECIAL
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.errors import InputError
from seq2seq.inference import predict_texts
from seq2seq.tasks.base import Task
from seq2seq.tasks.decoding_options import Decoding


class TextStream:
    """A task that writes text, in the middle of it: of running text the state of its layers."""

    def __init__(self, task: Task, device: torch.device, max_length: int) -> None:
        """max_length: the most tokens of a source."""
        if not (task.searches and task.row_format.target_ends and hasattr(task, "step")):
            raise InputError(f"a stream writes text or labels tokens, but this run is a {type(task).__name__}")
        self.task, self.device, self.max_length = task, device, max_length
        self.state = task.first_state(1)
        self.texts = 0
        """That were written so far; random draws depend on it."""

    def write(self, text: str, decoding: Decoding, tell: Callable[[str], None]) -> Hypothesis:
        """What `predict` writes with a beam of one, told as it grows; text: the source, or how the text begins."""
        decoding = replace(decoding, beam_size=1, groups=1, coverage_penalty=0.0, risk=None)
        self.task.check_decoding(decoding)
        telling: Any = copy.copy(self.task)  # the same network; only the step of its search also tells
        tokens: list[int] = []

        def step(last: Tensor, state: Any) -> tuple[Tensor, Any]:
            if (token := int(last)) >= SPECIAL:  # not the begin
                tokens.append(token)
                tell(self.task.text(Hypothesis(tokens, 0.0, [])))
            return self.task.step(last, state)  # type: ignore[operator, no-any-return]

        telling.step = step
        if self.state:
            found, self.state = telling.generate_from_prompts([text], self.texts, self.state, decoding)
        else:
            found = predict_texts.predict(telling, [text], decoding, self.device, self.max_length, self.texts)
        self.texts += 1
        return found[0][0]  # type: ignore[no-any-return]

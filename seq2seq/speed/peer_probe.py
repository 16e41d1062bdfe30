"""Runs a peer's own training command in its own environment, and times its optimiser steps; nothing of it is edited.

    python peer_probe.py MODULE:FUNCTION ARGUMENT ...

It imports torch alone. After each step that ends a window one line of JSON says how many target tokens were trained on
and how much processor time they took; then it waits on standard input for the number of steps of the next window.
"""

import importlib
import json
import os
import sys
import time
from typing import Any

import torch
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_post_hook


class Pace:
    """Counts tokens and seconds, and holds the training between windows."""

    def __init__(self) -> None:
        self.answers, self.orders = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(0))
        os.dup2(2, 1)  # what the peer prints must not mix with the answers
        self.left, self.tokens, self.started = 1, 0, time.process_time()

    def count(self, function: Any) -> Any:
        """A loss function of torch that counts the labels which it does not ignore."""

        def counted(input: Any, target: Any, *more: Any, **named: Any) -> Any:
            if torch.is_grad_enabled() and not target.is_floating_point():
                ignored = named.get("ignore_index", more[2] if len(more) > 2 else -100)
                self.tokens += int((target != ignored).sum())
            return function(input, target, *more, **named)

        return counted

    def stepped(self, *_: Any) -> None:
        """Called after each optimiser step."""
        self.left -= 1
        if self.left:
            return
        found = {"tokens": self.tokens, "seconds": time.process_time() - self.started}
        print(json.dumps(found), file=self.answers, flush=True)
        self.left = int(self.orders.readline() or 0)
        if not self.left:
            os._exit(0)
        self.tokens, self.started = 0, time.process_time()


def main() -> None:
    """Start the peer."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    module, _, name = sys.argv[1].partition(":")
    sys.argv = [module, *sys.argv[2:]]
    function = getattr(importlib.import_module(module), name)
    pace = Pace()
    functional.nll_loss, functional.cross_entropy = map(pace.count, (functional.nll_loss, functional.cross_entropy))
    register_optimizer_step_post_hook(pace.stepped)
    function()


if __name__ == "__main__":
    main()

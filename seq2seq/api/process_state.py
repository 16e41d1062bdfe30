"""What a training changes of its process, kept for whatever comes after it: a notebook goes on, a command does not."""

import contextlib
import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from seq2seq.training.signals import CATCHES


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Inside, a training may change signals, random numbers, torch's settings, the environment, logs and warnings."""
    with contextlib.ExitStack() as stack:
        for keep in (signals, environment, random_numbers, torch_settings, logs, warnings.catch_warnings):
            stack.enter_context(keep())
        yield


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """The handlers of signals and what they wake: a stopped training leaves signals ignored, as its process ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in CATCHES}
    woken = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)


@contextlib.contextmanager
def environment() -> Iterator[None]:
    """Variables of the environment: one of ours names the launch, Lightning and cuBLAS have theirs."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def random_numbers() -> Iterator[None]:
    """The global generators of Python, numpy and torch."""
    state, numbers = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numbers)


@contextlib.contextmanager
def torch_settings() -> Iterator[None]:
    """What trainer.deterministic, trainer.tf32, trainer.detect_anomaly and Lightning set in torch."""
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    layers, products = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = layers.benchmark, layers.deterministic, layers.allow_tf32, products.allow_tf32
    anomaly, threads, kind = torch.is_anomaly_enabled(), torch.get_num_threads(), torch.get_default_dtype()
    gradients = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        layers.benchmark, layers.deterministic, layers.allow_tf32, products.allow_tf32 = flags
        torch.autograd.set_detect_anomaly(anomaly)
        torch.set_num_threads(threads)
        torch.set_default_dtype(kind)
        torch.set_grad_enabled(gradients)


@contextlib.contextmanager
def logs() -> Iterator[None]:
    """The handlers and levels of logs, which a command makes its own."""
    names: list[Any] = [None, "pytorch_lightning", "lightning.fabric", "lightning_fabric", "datasets", "fsspec"]
    loggers = [logging.getLogger(name) for name in [*names, "huggingface_hub"]]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    try:
        yield
    finally:
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers

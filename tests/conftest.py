"""Fixtures that all tests share."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.training.signals import CATCHES
from tests.support import DATA, PAIRS

settings.register_profile("busy", deadline=None)  # a machine with other work is no failure
settings.load_profile("busy")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real data sets beside the project."""
    if not DATA.is_dir():
        pytest.skip("the real data sets are not beside this project")
    return DATA


@pytest.fixture(scope="session")
def tokenizers() -> Tokenizers:
    """Small vocabularies learnt from the sixteen pairs."""
    made = []
    for side in (0, 1):
        tokenizer = SentencePiece(100, "bpe")
        tokenizer.train([pair[side] for pair in PAIRS])
        made.append(tokenizer)
    return Tokenizers(*made)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where prepared data is kept during the tests, in place of the user's own folder; commands inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("SEQ2SEQ_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random numbers."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_launch() -> Iterator[None]:
    """Every test is a launch of its own, and leaves the signals as they were: trainings here share one process."""
    before = {number: signal.getsignal(number) for number in CATCHES}
    yield
    os.environ.pop("SEQ2SEQ_LAUNCH", None)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CONFIG of a test module as a file, in a folder of its own."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(request.module.CONFIG)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window; of one module, because its event loop bars every other from the same thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on the PATH")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()

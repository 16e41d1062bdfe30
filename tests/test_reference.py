"""The API reference builds from the docstrings without a warning, and no link of it is broken."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support import ROOT, python


@pytest.mark.slow
def test_the_reference_builds_strictly_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    done = python("-m", "mkdocs", "build", "--strict", "-q", "-d", tmp_path / "site", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {path: path.read_text() for path in (tmp_path / "site").glob("*.html") if path.name != "404.html"}
    names = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    for wanted in ("seq2seq.api.model.Model.predict", "seq2seq.api.training.fit", "seq2seq.models.cells.LSTM"):
        assert any(wanted in known for known in names.values()), wanted
    for path, text in pages.items():
        for link in re.findall(r'href="([^"]*)"', text):
            if re.match(r"[a-z]+:|//", link):
                continue
            file, _, place = unquote(link).partition("#")
            target = path if not file else (path.parent / file).resolve()
            assert target.exists(), f"{path.name}: {link}"
            assert not place or target.suffix != ".html" or place in names.get(target, {place}), f"{path.name}: {link}"


def test_every_documented_module_exists() -> None:
    named = [
        name
        for page in (ROOT / "docs" / "reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)
    ]
    assert len(named) > 40
    for name in named:
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").is_file() or path.parent.with_suffix(".py").is_file(), name

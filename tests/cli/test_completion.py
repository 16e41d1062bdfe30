"""What a shell completes, asked of bash itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seq2seq import completion
from seq2seq.errors import InputError

ASK = """
source "$1"; shift
COMP_WORDS=(seq2seq "$@"); COMP_CWORD=$#; COMP_TYPE=9
_shtab_seq2seq seq2seq "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("shtab")
    path = tmp_path_factory.mktemp("completion") / "seq2seq.bash"
    with path.open("w") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", file)
        completion.main(["bash"])
    return path


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("tra", {"train"}),
        ("report ", set()),
        ("train --optimizer.learn", {"--optimizer.learning_rate"}),
        ("train --model.cell LayerN", {"LayerNormLSTM"}),
        ("train --config tagging_c", {"tagging_cldr"}),
        ("train --trainer.tf32 ", {"true", "false"}),
        ("evaluate --split va", {"validation"}),
        ("predict --n_", {"--n_best"}),
    ],
)
def test_a_shell_completes(typed: str, completed: set[str], script: Path, tmp_path: Path) -> None:
    asked = ["bash", "-c", ASK, "bash", str(script), *typed.split(" ")]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path)
    assert set(done.stdout.split()) == completed, done.stderr
    assert len(script.read_text()) < 1 << 18, "settings of parts within parts are not spelled out"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(InputError, match="pip install shtab"):
        completion.main(["bash"])

"""Help in layers: the first screen, a group, a setting, a class, everything."""

import re

import pytest

from seq2seq import check_device, evaluate, launch, lint, midi, predict, train
from seq2seq.cli import command
from seq2seq.cli.help import RARE, WIDTH, options_of
from seq2seq.errors import InputError

MAINS = [train.main, evaluate.main, predict.main, lint.main, launch.main, midi.main, check_device.main]


def shown(capsys: pytest.CaptureFixture[str], *about: str) -> str:
    with pytest.raises(SystemExit) as ended:
        train.main(["--help", *about])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("main", MAINS, ids=lambda main: main.__module__.rpartition(".")[2])
def test_help_is_one_screen(main: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])  # type: ignore[operator]
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert lines[0].startswith("usage: python -m seq2seq.")
    assert len(lines) <= 45
    assert max(map(len, lines)) <= WIDTH


def test_everything_is_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    names = [action.dest for action in options_of(command.training_parser())]
    everything, first = shown(capsys, "all"), shown(capsys)
    for name in names:
        assert f"--{name}" in everything
        assert "." in name or f"--{name}" in first, "own options are on the first screen, if only by name"
    for group in {name.partition(".")[0] for name in names if "." in name}:
        assert f"--help {group} " in first
        page = shown(capsys, group)
        assert set(re.findall(r"^  --(\S+)", page, re.MULTILINE)) == {n for n in names if n.startswith(f"{group}.")}
    assert set(RARE) <= set(names)


def test_a_group_a_setting_and_a_class(capsys: pytest.CaptureFixture[str]) -> None:
    inner = shown(capsys, "model.encoder")
    assert "--model.encoder.pooling" in inner
    assert "--model.cell" not in inner
    setting = shown(capsys, "model.cell")
    assert re.search(r"^  GRU +Gated recurrent unit", setting, re.MULTILINE)
    assert "seq2seq.models" not in setting, "short names"
    assert not re.search(r"^  (Fused|MinCell|Cell) ", setting, re.MULTILINE), "none that cannot be chosen"
    assert "forget_bias [number] (1.0)" in shown(capsys, "model.cell.LSTM") == shown(capsys, "LSTM")
    with pytest.raises(InputError, match=r"model\.cel: .*did you mean model\.cell"):
        train.main(["--help", "model.cel"])


def test_help_follows_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.main(["--config", "tagging_cldr", "--help", "model"])
    assert "--model.tagger" in capsys.readouterr().out

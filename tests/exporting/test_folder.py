"""A run as a folder: the same model here and from the Hub, a card that the Hub reads, and one line for what is wrong."""

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import seq2seq
from seq2seq import evaluate, export, train
from seq2seq.errors import InputError
from seq2seq.report.model_card import Described, card
from seq2seq.runs import checkpoint, hub, model_folder
from tests.exporting.hub_stand_in import Repositories, serving
from tests.runs.old_checkpoint import ASKED, FOLDER
from tests.support import python, surroundings

pytest.importorskip("safetensors", reason="pip install 'recurrent-seq2seq[hub]'")

RUN = FOLDER / seq2seq.__version__


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported run."""
    output = tmp_path_factory.mktemp("exported") / "folder"
    export.main([str(RUN), "--to", "folder", "--output", str(output), "--licence", "mit"])
    return output


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """One that may be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Repositories]]:
    """A Hub on this machine."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with serving() as (address, kept):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.chdir(tmp_path)
        yield address, kept


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_holds_the_same_model(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == set(model_folder.FILES)
    ours, theirs = checkpoint.load(RUN), checkpoint.load(folder)
    assert same(ours.state_dict(), theirs.state_dict())
    assert ours.specification() == theirs.specification()
    assert ours.decoding == theirs.decoding
    assert ours.length_bound == theirs.length_bound
    texts = [text for text in ASKED if text]
    first, second = (seq2seq.load(place).predict(texts, n_best=2) for place in (RUN, folder))
    assert list(first) == list(second)


def test_nothing_of_this_machine_is_in_it(folder: Path, tmp_path: Path) -> None:
    content = checkpoint.read(checkpoint.find(RUN))
    data = json.loads(content["seq2seq"]["data"])
    data["init_args"] |= {"path": str(tmp_path / "secret" / "corpus"), "cache": "/srv/cache"}
    content["seq2seq"]["data"] = json.dumps(data)
    published = json.dumps(json.loads(model_folder.published(content)["seq2seq"]["data"]))
    assert '"corpus"' in published
    assert "secret" not in published
    assert "srv" not in published
    assert model_folder.without_folders({"separator": "/", "a": ["/x/y", "z"]}) == {"separator": "/", "a": ["y", "z"]}


@pytest.mark.slow
def test_commands_take_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--data.path", str(RUN / "corpus"), "--json"]
    evaluate.main([str(folder), *told])
    ours = json.loads(capsys.readouterr().out)
    evaluate.main([str(RUN), *told])
    theirs = json.loads(capsys.readouterr().out)
    assert ours["splits"]["test"]["metrics"] == theirs["splits"]["test"]["metrics"]
    assert ours["name"] == "folder"
    done = python("-m", "seq2seq.predict", str(folder), input="two dogs run\n")
    assert done.stdout.strip() == seq2seq.load(RUN).predict(["two dogs run"])[0].text
    config = ["--config", str(RUN / "config.yaml"), "--data.path", str(RUN / "corpus"), "--run", str(tmp_path / "more")]
    train.main([*config, "--start_from", str(folder), "--trainer.max_steps", "2"])
    assert json.loads((tmp_path / "more" / "results.json").read_text())["parent"] is not None


def test_rows_that_were_trained_on_are_known(folder: Path) -> None:
    ours, theirs = (checkpoint.trained_rows(checkpoint.read(checkpoint.find(one))) for one in (RUN, folder))
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert (ours.sums == theirs.sums).all()


def test_nothing_is_replaced_unasked(folder: Path, tmp_path: Path) -> None:
    arguments = [str(RUN), "--to", "folder", "--output"]
    with pytest.raises(InputError, match="--overwrite"):
        export.main([*arguments, str(folder)])
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all my work")
    for name in ("", "settings.json"):
        if name:
            (mine / name).write_text("{}")
        with pytest.raises(InputError, match="--output"):
            export.main([*arguments, str(mine), "--overwrite"])
    assert (mine / "thesis.txt").read_text() == "all my work"
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    export.main([*arguments, str(again), "--overwrite"])
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    for wrong in (["--int8"], ["--private"], ["--push", "nowhere"], ["--push", "a/../b"]):
        with pytest.raises(InputError, match=r"--(int8|push)"):
            export.main([*arguments, str(tmp_path / "new"), *wrong])
    with pytest.raises(InputError, match="--licence"):
        export.main([str(RUN), "--licence", "mit"])
    assert not (tmp_path / "new").exists()


# --- what is wrong ---------------------------------------------------------------------------------------------------


def rewritten(copy: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    """Change settings and tensors, with a checksum that is right."""
    from safetensors.torch import save

    content = model_folder.read(copy / model_folder.MODEL)
    settings = json.loads((copy / model_folder.SETTINGS).read_text())
    tensors = dict(content["state_dict"])
    change(settings, tensors)
    (copy / model_folder.MODEL).write_bytes(save(tensors))
    (copy / model_folder.SETTINGS).write_text(json.dumps(settings))
    settings["sha256"] = checkpoint.digest(model_folder.read(copy / model_folder.MODEL))
    (copy / model_folder.SETTINGS).write_text(json.dumps(settings))


def drop(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    del tensors[next(iter(tensors))]


def add(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["task.more"] = torch.zeros(1)


def reshape(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    name = next(iter(tensors))
    tensors[name] = tensors[name].flatten()[:-1].clone()


def widen(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    name = next(iter(tensors))
    tensors[name] = tensors[name].double()


def divide(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors[next(iter(tensors))].fill_(torch.inf)


def name_a_class(settings: dict[str, Any], _: dict[str, torch.Tensor]) -> None:
    settings["task"]["class_path"] = "os.system"


def name_a_cell(settings: dict[str, Any], _: dict[str, torch.Tensor]) -> None:
    settings["task"]["init_args"]["cell"] = {"class_path": "antigravity.Cell", "init_args": {}}


def grow(settings: dict[str, Any], _: dict[str, torch.Tensor]) -> None:
    settings["task"]["init_args"]["hidden_size"] = 1 << 20


@pytest.mark.parametrize("change", [drop, add, reshape, widen, divide, name_a_class, name_a_cell, grow])
def test_a_strange_folder_ends_in_one_line(
    copy: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]
) -> None:
    rewritten(copy, change)
    with pytest.raises(InputError) as problem:
        seq2seq.load(copy)
    assert len(str(problem.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("settings.json", b"", "settings.json"),
        ("settings.json", b"[" * 100_000, "settings.json"),
        ("settings.json", b"\xff\xfe", "settings.json"),
        ("settings.json", b"[]", "settings.json"),
        ("settings.json", b'{"format": 1}', r"settings\.json\.\w+"),
        ("source.tokenizer", None, "source.tokenizer"),
        ("model.safetensors", None, "model.safetensors"),
        ("model.safetensors", b"", "model.safetensors"),
        ("model.safetensors", struct.pack("<Q", 1 << 60) + b"{", "model.safetensors"),
        ("target.tokenizer", b"[]", "target.tokenizer|checksum"),
    ],
)
def test_a_damaged_file_ends_in_one_line(copy: Path, name: str, text: bytes | None, said: str) -> None:
    (copy / name).unlink()
    if text is not None:
        (copy / name).write_bytes(text)
    with pytest.raises(InputError, match=said) as problem:
        seq2seq.load(copy)
    assert len(str(problem.value).splitlines()) == 1


def test_truncated_or_changed_parameters_are_refused(copy: Path) -> None:
    data = (copy / "model.safetensors").read_bytes()
    for damaged in (data[:-1], data[: len(data) // 2], data[:-1] + bytes([data[-1] ^ 1])):
        (copy / "model.safetensors").write_bytes(damaged)
        with pytest.raises(InputError, match=r"model\.safetensors"):
            seq2seq.load(copy)


def test_no_file_elsewhere_is_read(copy: Path, tmp_path: Path) -> None:
    """Names are fixed, so what settings say about files is not looked at."""
    settings = json.loads((copy / "settings.json").read_text())
    settings |= {"files": {"model": "../../elsewhere"}, "tokenizer_states": ["/etc/passwd"]}
    (copy / "settings.json").write_text(json.dumps(settings))
    assert same(seq2seq.load(copy).task.state_dict(), checkpoint.load(RUN).state_dict())


# --- the card --------------------------------------------------------------------------------------------------------


def described(**more: Any) -> Described:
    score = {"value": 31.25, "low": 30.0, "high": 32.0, "signature": "nrefs:1|tok:13a", "unit": "percent"}
    task = {"class_path": "Translation", "init_args": {"cell": {"class_path": "GRU", "init_args": {}}, "layers": 2,
                                                      "attention": {"class_path": "Dot", "init_args": {}}}}  # fmt: skip
    data = {"corpus": {"class_path": "Parallel", "init_args": {"source": "en", "target": "de"}}, "max_length": 99}
    results = {"splits": {"test": {"rows": 1000, "metrics": {"bleu": score}}}, "seconds": 90.0,
               "data": {"rows": {"train": 5000}}}  # fmt: skip
    return Described("mine", task, data, {"beam_size": 5}, {"total": 12345}, results, "f" * 64)._replace(**more)


def test_the_hub_understands_the_card() -> None:
    package = pytest.importorskip("huggingface_hub")
    read = package.ModelCard(card(described(licence="mit", repository="me/mine")))
    [result] = read.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("bleu", 31.25, "test")
    assert result.metric_args["signature"] == "nrefs:1|tok:13a"
    assert (read.data.license, read.data.language, read.data.pipeline_tag) == ("mit", ["en", "de"], "translation")
    assert {"gru", "attention"} <= set(read.data.tags)
    for text in ('seq2seq.load("me/mine")', "31.2", "30.0 to 32.0", "nrefs:1", "12,345", "5,000 train", "99 tokens"):
        assert text in read.text


def test_the_card_says_only_what_is_known() -> None:
    package = pytest.importorskip("huggingface_hub")
    unscored = described(results={}, data={"corpus": {"class_path": "Lines", "init_args": {}}})
    read = package.ModelCard(card(unscored))
    assert read.data.eval_results is None
    assert {"license", "language", "metrics", "pipeline_tag", "co2_eq_emissions"}.isdisjoint(read.data.to_dict())
    hostile = described(
        name="---\nlicense: mit\n---\n<script>", data={"corpus": {"class_path": "<b>", "init_args": {}}}
    )
    read = package.ModelCard(card(hostile))
    assert "license" not in read.data.to_dict()
    assert "<script>" not in read.text
    assert "<b>" not in read.text


# --- the Hub ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # of huggingface_hub's own upload
def test_push_and_pull(stand_in: tuple[str, Repositories], folder: Path, tmp_path: Path, capsys: Any) -> None:
    _, kept = stand_in
    export.main([str(RUN), "--to", "folder", "--output", str(tmp_path / "sent"), "--push", "me/my.model", "--private"])
    assert "me/my.model/commit" in capsys.readouterr().out
    [files] = kept.commits["me/my.model"]
    assert kept.private == {"me/my.model": True}
    assert set(files) == set(model_folder.FILES)
    assert files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert b"me/my.model" in files["README.md"]
    first = kept.sha("me/my.model", 0)
    kept.commits["me/my.model"].append({**files, "settings.json": b"{}"})
    with pytest.raises(InputError, match=r"settings\.json"):
        seq2seq.load("me/my.model")
    assert same(seq2seq.load(f"me/my.model@{first}").task.state_dict(), checkpoint.load(RUN).state_dict())


def test_what_the_hub_refuses_is_one_line(stand_in: tuple[str, Repositories], tmp_path: Path) -> None:
    _, kept = stand_in
    kept.commits["me/other"] = [{"config.json": b"{}", "evil.py": b"boom"}]
    for name, said in (("me/none", "me/none"), ("me/other", r"settings\.json"), ("me/other@v9", "me/other@v9")):
        with pytest.raises(InputError, match=said) as problem:
            seq2seq.load(name)
        assert len(str(problem.value).splitlines()) == 1
    assert not any("evil" in asked for asked in kept.asked)


def test_a_name_with_a_folder_here_is_a_path(stand_in: tuple[str, Repositories], tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError, match="does not exist"):
        seq2seq.load("runs/demo")
    for text in ("demo", "../up", "a/b/c", "/a/b", "a/..", "-a/b"):
        assert not hub.is_name(text)
    assert stand_in[1].asked == []


@pytest.mark.slow
def test_the_commands_know_the_hubs_own_settings(stand_in: tuple[str, Repositories], tmp_path: Path) -> None:
    address, _ = stand_in
    env = surroundings(HF_ENDPOINT=address, HF_HOME=str(tmp_path / "home"), HF_HUB_DISABLE_XET="1", HF_TOKEN="hf_x")
    arguments = ["seq2seq.export", str(RUN), "--to", "folder", "--output", str(tmp_path / "sent"), "--push", "me/it"]
    assert python("-m", *arguments, env=env).returncode == 0
    code = 'import seq2seq; print(seq2seq.load("me/it").predict(["two dogs run"])[0].text)'
    done = python("-c", code, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == seq2seq.load(RUN).predict(["two dogs run"])[0].text
    assert os.listdir(tmp_path / "home")

"""Files from a stranger run no code, import nothing that they name, write nowhere else and claim no memory."""

import contextlib
import copy
import gzip
import json
import os
import pickle
import re
import shutil
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from seq2seq import evaluate, train
from seq2seq.analysis import systems
from seq2seq.atomic_files import write_text
from seq2seq.cli import command
from seq2seq.configurable import build
from seq2seq.data import lines, rows
from seq2seq.data.cache import CONTENTS, complete
from seq2seq.data.corpora import json_rows, npy
from seq2seq.data.corpora.builtin.cldr_tasks import Cldr
from seq2seq.data.datamodule import DataModule
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.units import Words
from seq2seq.data.word_vectors import WordVectors
from seq2seq.errors import InputError
from seq2seq.metrics.base import Metric
from seq2seq.report import page
from seq2seq.runs import checkpoint, safe_load
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.tasks.translation import Translation
from seq2seq.training import trainer
from tests.support import ROOT, python

CLAIM = 10**10
"""Bytes, or numbers, that a small file says it holds."""


class Evil:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there if a stranger's code has run."""
    return tmp_path / "ran"


@pytest.fixture
def module(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that could be imported, and says so."""
    text = f"from pathlib import Path\nfrom seq2seq.data.sources import Corpus\nPath({str(mark)!r}).touch()\n"
    (tmp_path / "strange_module.py").write_text(text + "def make() -> Corpus:\n    return Corpus()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("strange_module", None)
    return "strange_module"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of a checkpoint of a small network."""
    data = DataModule(Cldr(train=60, validation=4, test=4), tokenizer=SentencePiece(100))
    task = Translation(data.train_tokenizers(data.texts("train")), embedding_size=8, hidden_size=16)
    path = tmp_path_factory.mktemp("good") / "good.ckpt"
    parameters = {f"task.{name}": value for name, value in task.state_dict().items()}
    checkpoint.write({"state_dict": parameters, "seq2seq": checkpoint.packed(task, data)}, path)
    return checkpoint.read(path)


def changed(good: dict[str, Any], change: Callable[[dict[str, Any]], object], path: Path) -> Path:
    """The same checkpoint with other descriptions: `change` gets data, task, tokenizers and decoding as plain values."""
    content = copy.deepcopy(good)
    names = ("data", "task", "tokenizers", "decoding")
    plain = {name: json.loads(content["seq2seq"][name]) for name in names}
    change(plain)
    content["seq2seq"] |= {name: json.dumps(plain[name]) for name in names}
    content.pop("sha256", None)
    checkpoint.write(content, path)
    return path


def test_a_pickle_is_no_checkpoint(tmp_path: Path, mark: Path) -> None:
    torch.save({"state_dict": Evil(mark), "seq2seq": {}}, tmp_path / "zip.ckpt")
    torch.save({"state_dict": Evil(mark)}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    (tmp_path / "raw.ckpt").write_bytes(pickle.dumps(Evil(mark)))
    torch.load(tmp_path / "zip.ckpt", weights_only=False)
    assert mark.exists(), "this pickle does no harm, so nothing below means much"
    mark.unlink()
    for name in ("zip", "old", "raw"):
        with pytest.raises(InputError, match=rf"{name}\.ckpt"):
            checkpoint.read(tmp_path / f"{name}.ckpt")
    assert not mark.exists()


def test_a_pickle_is_no_array(tmp_path: Path, mark: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([Evil(mark)], dtype=object), allow_pickle=True)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Evil(mark)))
    np.savez(tmp_path / "several", a=np.array([Evil(mark)], dtype=object))
    for name in ("objects.npy", "raw.npy", "several.npz"):
        with pytest.raises(InputError, match=rf"{name}.*numpy\.save"):
            npy.array_in(tmp_path / name)
    assert not mark.exists()


def test_a_pickle_in_the_cache_is_not_opened(tmp_path: Path, mark: Path) -> None:
    """Ids, vocabularies and rows; an Arrow type with a pickle inside is what pyarrow once unpickled."""
    np.save(tmp_path / "starts.npy", np.array([Evil(mark)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="objects"):
        np.load(tmp_path / "starts.npy", mmap_mode="r")
    with pytest.raises(InputError, match="damaged"):
        Words().restore(pickle.dumps(Evil(mark)))
    with pytest.raises(InputError, match="damaged"):
        SentencePiece().restore(pickle.dumps(Evil(mark)))
    kind = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle.dumps(Evil(mark))}
    strange = [pa.field("source", pa.string(), metadata=kind), *list(rows.SCHEMA)[1:]]
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array([1]), pa.nulls(1, pa.list_(pa.string())), pa.array([""])]
    table = pa.table(columns, schema=pa.schema(strange))
    with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "rows.json").write_text(
        '{"content": "", "files": [], "corpora": [1], "several": false, "spoken": false}'
    )
    assert list(rows.read(tmp_path).source) == ["a"]
    assert not mark.exists()


STRANGE = ["os.system", "subprocess.Popen", "strange_module.make", "seq2seq.data.tokenizers.base.one_line"]


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("form", ["specification", "text", "json"])
def test_a_checkpoint_names_no_code(
    good: dict[str, Any], tmp_path: Path, module: str, mark: Path, name: str, form: str
) -> None:
    specification = {"class_path": name, "init_args": {}}
    value = {"specification": specification, "text": name, "json": json.dumps(specification)}[form]

    def as_corpus(plain: dict[str, Any]) -> None:
        plain["data"]["init_args"]["corpus"] = value

    def as_tokenizer_of_data(plain: dict[str, Any]) -> None:
        plain["data"]["init_args"]["tokenizer"] = value

    def as_cell(plain: dict[str, Any]) -> None:
        plain["task"]["init_args"]["cell"] = value

    def as_metrics(plain: dict[str, Any]) -> None:
        plain["task"]["init_args"]["metrics"] = [value]

    for change in (as_corpus, as_tokenizer_of_data, as_cell, as_metrics):
        with pytest.raises(InputError, match=r"is no known Part|are damaged"):
            evaluate.main([str(changed(good, change, tmp_path / "changed.ckpt"))])
    if form == "specification":
        for part, place in (("task", None), ("tokenizers", 0), ("data", None), ("decoding", None)):

            def outermost(plain: dict[str, Any], part: str = part, place: int | None = place) -> None:
                (plain[part] if place is None else plain[part][place])["class_path"] = name

            with pytest.raises(InputError, match="is no known"):
                evaluate.main([str(changed(good, outermost, tmp_path / "changed.ckpt"))])
    assert module not in sys.modules
    assert not mark.exists()


def test_a_class_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="parts is"):
        build(Tokenizer, Columns([Words()]).specification() | {"init_args": {"parts": [Cldr().specification()]}})
    for broken in ({}, {"class_path": ["x"]}, {"class_path": "seq2seq.data.tokenizers.base.Words", "init_args": []}):
        with pytest.raises(InputError):
            build(Tokenizer, broken)


def test_a_checkpoint_does_not_choose_where_this_machine_keeps_data(good: dict[str, Any], tmp_path: Path) -> None:
    def elsewhere(plain: dict[str, Any]) -> None:
        plain["data"]["init_args"]["cache"] = str(tmp_path / "elsewhere")

    evaluate.main([str(changed(good, elsewhere, tmp_path / "changed.ckpt"))])
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("part", ["task", "data", "run", "tokenizers"])
def test_deep_json_in_a_checkpoint(good: dict[str, Any], tmp_path: Path, part: str) -> None:
    content = copy.deepcopy(good)
    content["seq2seq"][part] = "[" * 100_000
    content.pop("sha256", None)
    checkpoint.write(content, tmp_path / "deep.ckpt")
    with pytest.raises(InputError):
        evaluate.main([str(tmp_path / "deep.ckpt")])


def test_deep_json_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = tmp_path / "deep.json"
    deep.write_text('{"a":' * 100_000)
    for read in (
        systems.read_results,
        systems.read_predictions,
        lambda file: list(json_rows.Jsonl("a", "a").read((file,))),
    ):
        with pytest.raises(InputError):
            read(deep)
    (tmp_path / CONTENTS).write_text(deep.read_text())
    assert not complete(tmp_path)
    (tmp_path / "results.json").write_text(deep.read_text())
    from seq2seq.report import __main__ as report

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(sys, "argv", ["report", str(tmp_path)])
        report.main()
    assert "results.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", ["seed: !!python/object/apply:os.system ['touch {}']", "task: !!python/name:os.system"]
)
def test_tags_of_yaml_make_no_objects(tmp_path: Path, mark: Path, value: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(value.format(mark))
    with pytest.raises(InputError, match=r"config\.yaml.*YAML"):
        train.main(["--config", str(config)])
    with pytest.raises(InputError):
        command.parse(command.training_parser(), ["--config", str(config)])
    assert not mark.exists()


@pytest.mark.parametrize(
    "place", ["data.corpus", "data.tokenizer", "model.cell", "model.metrics", "optimizer.schedule"]
)
@pytest.mark.parametrize("name", ["subprocess.Popen", "os.system", "seq2seq.train.main", "seq2seq.models.cells.GRU"])
def test_a_configuration_calls_nothing_but_the_wanted_kind(tmp_path: Path, mark: Path, place: str, name: str) -> None:
    """A configuration may import modules of the user's own, but what it names must be a subclass of what is wanted."""
    if (place, name) == ("model.cell", "seq2seq.models.cells.GRU"):
        return
    group, setting = place.split(".")
    value: Any = {"class_path": name, "init_args": {"args": ["touch", str(mark)]}}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({group: {setting: [value] if setting == "metrics" else value}}))
    with pytest.raises(InputError):
        command.parse(command.training_parser(), ["--config", str(config)])
    for task in ("os.system", "subprocess.Popen"):
        with pytest.raises(InputError, match=f"task.*{task}"):
            command.task_class(["--task", task])
    assert not mark.exists()


def test_results_name_no_code(tmp_path: Path, module: str) -> None:
    for specification in ({"class_path": f"{module}.make"}, {"class_path": ["x"]}, {}):
        with pytest.raises(InputError, match="Metric"):
            systems.metric_of("bleu", {"specification": specification})
    with pytest.raises(InputError):
        build(Metric, {"class_path": "seq2seq.metrics.bleu.Bleu", "init_args": {"lowercase": f"{module}.make"}})
    assert module not in sys.modules


def quick(act: Callable[[], object], most: int = 60 << 20) -> None:
    """`act` is refused with one line, without taking more memory than `most` bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as refused:
            act()
        assert "\n" not in str(refused.value)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def header(text: str, version: int = 1, length: int | None = None) -> bytes:
    """The beginning of a file of numpy."""
    text = text.ljust(117) + "\n"
    form = "<H" if version == 1 else "<I"
    return (
        b"\x93NUMPY" + bytes([version, 0]) + struct.pack(form, len(text) if length is None else length) + text.encode()
    )


@pytest.mark.parametrize(
    "content",
    [
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000, 1), }"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000000000000, 1), }"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 1), }"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1), }", 2, 4_000_000_000),
        header("{'descr': __import__('os').system('false'), 'fortran_order': False, 'shape': (3, 1), }"),
        header("(" * 9000),
        b"",
        b"PK\x03\x04" + bytes(200),
    ],
)
def test_claims_of_an_array(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "claim.npy").write_bytes(content + bytes(8))
    quick(lambda: npy.array_in(tmp_path / "claim.npy"))


@pytest.mark.parametrize(
    "content",
    [
        b"1000000000000 300\n",
        b"3 %d\n" % CLAIM,
        b"3 " + b"9" * 18 + b"\n",
        b"9" * 30 + b" " + b"9" * 30 + b"\n",
    ],
)
def test_claims_of_word_vectors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "claim.bin").write_bytes(content + b"word \x00\x01\x02\x03" * 20 + bytes(range(256)))
    quick(lambda: WordVectors.open(tmp_path / "claim.bin").find(["word", "b"]))
    (tmp_path / "claim.vec").write_bytes(content.partition(b"\n")[0] + b"\nword 1 2 3\n")
    quick(lambda: WordVectors.open(tmp_path / "claim.vec").find(["word", "b"]))


def test_a_packed_line_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 1 << 22)
    with gzip.open(tmp_path / "bomb.txt.gz", "wb") as file:
        for _ in range(100):
            file.write(b"a" * (1 << 20))
    quick(lambda: list(lines.lines(tmp_path / "bomb.txt.gz")), 30 << 20)
    quick(lambda: WordVectors.open(tmp_path / "bomb.txt.gz").find(["a"]), 30 << 20)


def repacked(
    source: Path, target: Path, change: Callable[[str, bytes], bytes], packing: int = zipfile.ZIP_STORED
) -> Path:
    """An archive with other records."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", packing) as new:
        for record in old.infolist():
            new.writestr(record.filename, change(record.filename, old.read(record)))
    return target


def test_claims_of_a_tensor(good: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(7)}, "seq2seq": {"format": 1}}, tmp_path / "seven.ckpt")

    def claiming(name: str, data: bytes) -> bytes:
        return data.replace(b"K\x07", b"\x8a\x05" + (CLAIM // 4).to_bytes(5, "little")) if "data.pkl" in name else data

    quick(lambda: checkpoint.read(repacked(tmp_path / "seven.ckpt", tmp_path / "claim.ckpt", claiming)))

    def inflating(name: str, data: bytes) -> bytes:
        if name.endswith("data/0"):
            return bytes(1 << 26)
        return data.replace(b"K\x07", b"\x8a\x04" + (1 << 24).to_bytes(4, "little")) if "data.pkl" in name else data

    bomb = repacked(tmp_path / "seven.ckpt", tmp_path / "bomb.ckpt", inflating, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 17
    quick(lambda: checkpoint.read(bomb))
    sparse = torch.sparse_coo_tensor(torch.zeros(1, 1).long(), [1.0], (CLAIM,), check_invariants=False)
    for tensor in (torch.zeros(1).expand(CLAIM), sparse):
        torch.save({"state_dict": {"a": [tensor]}, "seq2seq": {}}, tmp_path / "claim.ckpt")
        quick(lambda: checkpoint.read(tmp_path / "claim.ckpt"))
    for size in (30_000, 10**9):  # of a network that its parameters do not bear out

        def wide(plain: dict[str, Any], size: int = size) -> None:
            plain["task"]["init_args"]["hidden_size"] = size

        quick(lambda: checkpoint.load(changed(good, wide, tmp_path / "wide.ckpt")))


def test_names_inside_an_archive_lead_nowhere(tmp_path: Path, good: dict[str, Any]) -> None:
    checkpoint.write(good, tmp_path / "whole.ckpt")
    outside = tmp_path / "slipped"
    with zipfile.ZipFile(tmp_path / "whole.ckpt", "a") as archive:
        archive.writestr(str(outside), b"absolute")
        archive.writestr(f"../../../../../..{outside}", b"climbing")
    for read in (checkpoint.read, safe_load.load):
        with contextlib.suppress(InputError, ValueError, RuntimeError):
            read(tmp_path / "whole.ckpt")
    assert not outside.exists()


def test_a_name_in_results_is_no_file_name(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    metric = {"value": 1.0, "low": 0.0, "high": 2.0, "signature": "s", "unit": "", "higher_is_better": True}
    outside = tmp_path / "outside"
    for name in ("../outside", str(outside)):
        part = {"rows": 1, "metrics": {name: metric}, "examples": {name: []}}
        content = {"format": 1, "task": name, "name": name, "splits": {name: part, "test": part}, "curves": {name: []}}
        (run / "results.json").write_text(json.dumps(content))
        page.write_run(run)
        assert {entry.name for entry in tmp_path.iterdir()} == {"run"}
        assert {entry.name for entry in run.iterdir()} == {"results.json", "report.html"}
    with pytest.raises(InputError, match="split"):
        evaluate.main([str(run), str(run), "--split", "../../outside"])


def test_clearing_follows_no_links(tmp_path: Path) -> None:
    outside, run = tmp_path / "outside", RunDirectory(tmp_path / "run")
    outside.mkdir()
    (outside / "precious").write_text("kept")
    run.path.mkdir()
    (run.path / "checkpoints").symlink_to(outside, target_is_directory=True)
    (run.path / "config.yaml").symlink_to(outside / "precious")
    run.predictions.mkdir()
    (run.predictions / "inside").symlink_to(outside, target_is_directory=True)
    (run.path / ".lock").touch()
    run.claim(overwrite=True, resume=False)
    run.clear()
    run.release()
    assert (outside / "precious").read_text() == "kept"
    assert not run.predictions.exists()
    assert not (run.path / "checkpoints").exists()


def test_writing_follows_no_links(tmp_path: Path, good: dict[str, Any]) -> None:
    """What is written for a moment beside a file has a name that a stranger knows."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.yaml", "last.ckpt", "report.html"):
        (run / f".{name}.{os.getpid()}.tmp").symlink_to(precious)
    write_text(run / "config.yaml", "written")
    checkpoint.write(good, run / "last.ckpt")
    (run / "results.json").write_text("{}")
    page.write_run(run)
    assert precious.read_text() == "kept"
    assert (run / "config.yaml").read_text() == "written"


@pytest.mark.parametrize("name", ["checkpoints", "predictions", "tensorboard", "metrics.csv", ".lock"])
def test_a_run_with_links_is_not_gone_on_with(tmp_path: Path, name: str) -> None:
    outside, run = tmp_path / "outside", RunDirectory(tmp_path / "run")
    run.last.parent.mkdir(parents=True)
    run.last.touch()
    (run.path / ".lock").touch()
    moved = run.path / name
    if moved.is_dir():
        shutil.move(moved, outside)
    else:
        outside.write_text("kept")
        moved.unlink(missing_ok=True)
    moved.symlink_to(outside)
    with pytest.raises(InputError, match=f"run/{name}.*--run"):
        run.claim(overwrite=False, resume=True)
    assert outside.is_dir() or outside.read_text() == "kept"


def test_claims_of_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"source": ["a"] * 50, "target": ["b"] * 50}), path)
    whole = path.read_bytes()
    assert len(list(json_rows.Parquet().read((path,)))) == 50
    footer = len(whole) - 8
    path.write_bytes(whole[:footer] + struct.pack("<i", 2_000_000_000) + whole[-4:])
    quick(lambda: list(json_rows.Parquet().read((path,))))
    for place in range(4, len(whole) - 8, 7):  # a varint that claims some 10^10 of whatever stands there
        path.write_bytes(whole[:place] + b"\x80\xc8\xaf\xa0\x25" + whole[place + 5 :])
        with contextlib.suppress(InputError):
            assert len(list(json_rows.Parquet().read((path,)))) <= 50


def test_a_stranger_s_tokenizer(tokenizers: Tokenizers) -> None:
    states: list[bytes] = [b"[" * 100_000, b'["a", 1]', b'["a", "a"]', b"{}", b"", b"\xff" * 1000]
    for state in states:
        with pytest.raises(InputError):
            Words().restore(state)
    state = tokenizers.source.state
    for place in range(0, len(state), 97):
        with contextlib.suppress(InputError):  # anything else, or a crash, would be seen
            SentencePiece().restore(state[:place] + b"\xff\xff\xff\xff\x7f" + state[place + 5 :])


def project() -> dict[str, Any]:
    """What pyproject.toml says of the project."""
    toml = pytest.importorskip("tomllib")  # of Python 3.11 and newer
    content: dict[str, Any] = toml.loads((ROOT / "pyproject.toml").read_text())["project"]
    return content


def test_compromised_releases_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the installer, by the exact versions of the lock file, and before anything is imported."""
    wanted = next(one for one in project()["dependencies"] if one.startswith("pytorch-lightning"))
    for version in trainer.COMPROMISED:
        assert f"!={version}" in wanted
        assert locked()["pytorch-lightning"] != version
        with monkeypatch.context() as patch:
            patch.setattr(trainer.metadata, "version", lambda name, version=version: version)
            with pytest.raises(InputError, match=rf"{version}\b.*pip install"):
                trainer.refuse_compromised()
    trainer.refuse_compromised()
    assert {"2.6.2", "2.6.3"} == set(trainer.COMPROMISED)
    config = tmp_path / "tiny.yaml"
    config.write_text("data: {corpus: {class_path: Cldr, init_args: {train: 60, validation: 4, test: 4}}}\n")
    code = (
        "import sys\nfrom seq2seq import train\nfrom seq2seq.errors import InputError\n"
        "from seq2seq.training import trainer\ntrainer.metadata.version = lambda name: '2.6.3'\n"
        f"try:\n    train.main(['--config', {str(config)!r}, '--run', {str(tmp_path / 'run')!r}])\n"
        "except InputError as problem:\n    print(problem, 'pytorch_lightning' in sys.modules)\n"
    )
    done = python("-c", code)
    assert re.search(r"2\.6\.3\b.*pip install.* False$", done.stdout.strip()), done.stdout + done.stderr


def test_every_dependency_is_listed_with_its_licence() -> None:
    """docs/security.md has a row for each package that an installation brings, as the packages say themselves."""
    text = (ROOT / "docs" / "security.md").read_text()
    listed = dict(re.findall(r"^\| ([\w.-]+) \| ([^|]+?) \|", text, re.MULTILINE))
    extras = project()["optional-dependencies"]
    wanted = [*project()["dependencies"], *(one for name, extra in extras.items() if name != "dev" for one in extra)]
    names = [re.match(r"[\w.-]+", one)[0] for one in wanted]  # type: ignore[index]
    assert set(names) == set(listed) - {"package", "file"}
    for name in names:
        # Other versions may say it in other words; extras that tests do without need not be installed.
        if installed(name) == locked().get(name.lower(), ""):
            assert listed[name] == licence_of(name), name


def installed(name: str) -> str | None:
    """The version of a package; None where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def locked() -> dict[str, str]:
    """The exact versions of the lock file."""
    lines = (ROOT / "requirements.lock").read_text().lower().replace("_", "-").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def licence_of(name: str) -> str:
    """The licence that an installed package names, in one line."""
    told = metadata.metadata(name)
    kinds = [one.rpartition(" :: ")[2] for one in told.get_all("Classifier") or [] if one.startswith("License ::")]
    short = (told.get("License") or "").strip()
    return told.get("License-Expression") or ", ".join(kinds) or short

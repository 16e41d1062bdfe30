"""Kept folders: made once, complete or absent, never stale, whoever is killed in between."""

import errno
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq.configurable import Part
from seq2seq.data.cache import CONTENTS, Cache, checksum, code_of, digest
from seq2seq.data.corpora.corpus import Corpus, load, select_split
from seq2seq.data.corpora.json_rows import Parquet
from seq2seq.data.corpora.mixture import Mixture
from seq2seq.data.corpora.tables import Tsv
from seq2seq.data.rows import Row
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.sentence_piece import SentencePiece
from seq2seq.data.tokenizers.units import Characters
from seq2seq.errors import InputError

PROCESS = """
import sys, time
from pathlib import Path
from seq2seq.data.cache import Cache

root, waits = Path(sys.argv[1]), float(sys.argv[2])

def make(folder):
    (folder / "value").write_text("half")
    with open(root / "made", "a") as log:
        log.write("x")
    time.sleep(waits)
    (folder / "value").write_text("whole")

print("ready", flush=True)
sys.stdin.readline()
print((Cache(root / "cache").folder("kind", ["key"], make) / "value").read_text())
"""


def process(root: Path, waits: float) -> "subprocess.Popen[str]":
    """Another process, which makes the folder of one key as soon as it is told to."""
    program = [sys.executable, "-c", PROCESS, str(root), str(waits)]
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def value(folder: Path) -> None:
    (folder / "value").write_text("whole")


def never(*_: object) -> None:
    raise AssertionError("made a second time")


def visible(root: Path) -> list[str]:
    """What a cache holds beside its locks."""
    return sorted(entry.name for entry in root.iterdir() if not entry.name.endswith(".lock"))


def test_made_once_by_several_processes_at_once(tmp_path: Path) -> None:
    several = [process(tmp_path, 0.3) for _ in range(4)]
    for one in several:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in several:
        told(one)
    assert [one.communicate(timeout=30)[0] for one in several] == ["whole\n"] * 4
    assert (tmp_path / "made").read_text() == "x"
    assert len(visible(tmp_path / "cache")) == 1


def test_a_killed_process_leaves_nothing_that_counts(tmp_path: Path) -> None:
    victim = process(tmp_path, 60)
    told(victim)
    for _ in range(1000):
        if (tmp_path / "made").exists():
            break
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=10)
    assert visible(tmp_path / "cache") == [f".kind-{digest(['key'])}.{victim.pid}.tmp"], "no finished folder"
    folder = Cache(tmp_path / "cache").folder("kind", ["key"], value)
    assert (folder / "value").read_text() == "whole"
    assert visible(tmp_path / "cache") == [folder.name]


@pytest.mark.parametrize("damage", ["cut", "gone", "list gone", "list damaged", "list of nothing"])
def test_a_damaged_folder_is_made_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    folder = cache.folder("kind", 1, value)
    file, contents = folder / "value", folder / CONTENTS
    changes: dict[str, Callable[[], object]] = {
        "cut": lambda: os.truncate(file, 2),
        "gone": file.unlink,
        "list gone": contents.unlink,
        "list damaged": lambda: contents.write_text("[1"),
        "list of nothing": lambda: contents.write_text("null"),
    }
    changes[damage]()
    assert (cache.folder("kind", 1, value) / "value").read_text() == "whole"
    assert "was damaged and has been made again" in caplog.text
    assert cache.folder("kind", 1, never) == folder


def test_another_key_is_another_folder(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    folders = {cache.folder(kind, key, value) for kind in ("a", "b") for key in (1, "1", ["1"], {"1": 1})}
    assert len(folders) == 8
    assert cache.folder("a", {"x": 1, "y": 2}, value) == cache.folder("a", {"y": 2, "x": 1}, never)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_where_nothing_can_be_kept(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*: .*--data\.cache .*SEQ2SEQ_CACHE"):
        Cache(tmp_path / place).folder("kind", 1, never)


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS])
def test_without_permission(tmp_path: Path, reason: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason))  # root may write anywhere, so the refusal is played

    kept = Cache(tmp_path).folder("kind", 1, value)
    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(InputError, match=rf"{os.strerror(reason)}.*--data\.cache"):
        Cache(tmp_path).folder("kind", 2, never)
    assert Cache(tmp_path).folder("kind", 1, never) == kept  # what is there needs no permission to write


def test_a_full_disk(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        (folder / "value").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache = Cache(tmp_path)
    with pytest.raises(InputError, match=r"No space left on device.*--data\.cache"):
        cache.folder("kind", 1, full)
    assert visible(tmp_path) == []
    assert (cache.folder("kind", 1, value) / "value").read_text() == "whole"


@pytest.mark.parametrize("problem", [InputError("bad row"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_what_goes_wrong_while_making_is_passed_on(tmp_path: Path, problem: BaseException) -> None:
    def fail(folder: Path) -> None:
        raise problem

    with pytest.raises(type(problem)) as caught:
        Cache(tmp_path).folder("kind", 1, fail)
    assert caught.value is problem
    assert visible(tmp_path) == []


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "variable"))
    assert Cache().root == tmp_path / "variable"
    assert Cache(tmp_path / "given").root == tmp_path / "given"
    monkeypatch.delenv("SEQ2SEQ_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache().root == tmp_path / "xdg" / "seq2seq"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Cache().root == tmp_path / "home" / ".cache" / "seq2seq"


# --- rows ------------------------------------------------------------------------------------------------------------


def sources(corpus: Corpus, path: Path, cache: Cache, holdout: float = 0.0, limit: int | None = None) -> list[str]:
    return list(load(corpus, select_split(corpus, "train", str(path), holdout, limit), str(path), cache).source)


def test_a_changed_file_with_the_same_size_and_time_is_read_anew(tmp_path: Path) -> None:
    file, cache = tmp_path / "train.tsv", Cache(tmp_path / "cache")
    file.write_text("a\tb\n")
    before = file.stat()
    assert sources(Tsv(), tmp_path, cache) == ["a"]
    file.write_text("c\tb\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert sources(Tsv(), tmp_path, cache) == ["c"]


def test_unchanged_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.tsv").write_text("a\tb\n")
    cache = Cache(tmp_path / "cache")
    assert sources(Tsv(), tmp_path, cache) == ["a"]
    monkeypatch.setattr(Tsv, "read", never)
    assert sources(Tsv(), tmp_path, cache) == ["a"]
    with pytest.raises(AssertionError, match="a second time"):
        sources(Tsv(2, 1), tmp_path, cache)


def test_rows_follow_settings_shards_and_share(tmp_path: Path) -> None:
    (tmp_path / "train-1.tsv").write_text("".join(f"{number}\tb\n" for number in range(50)))
    cache, every = Cache(tmp_path / "cache"), Tsv(files={"train": "train-*"})
    assert len(sources(every, tmp_path, cache)) == 50
    assert sources(Tsv(2, 1, files={"train": "train-*"}), tmp_path, cache) == ["b"] * 50
    assert len(sources(every, tmp_path, cache, limit=7)) == 7
    assert len(sources(every, tmp_path, cache, holdout=0.2)) < 50
    assert sources(Mixture([every], names=["x"]), tmp_path, cache)[0] == "x\t0"
    (tmp_path / "train-2.tsv").write_text("new\tb\n")
    assert len(sources(every, tmp_path, cache)) == 51
    (tmp_path / "train-1.tsv").rename(tmp_path / "train-3.tsv")
    assert sources(every, tmp_path, cache)[0] == "new"


def test_a_bad_file_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a\tb\n" * 30_000 + "c\n")
    cache = Cache(tmp_path / "cache")
    with pytest.raises(InputError, match=r"train\.tsv:30001"):
        sources(Tsv(), tmp_path, cache)
    assert visible(cache.root) == []
    (tmp_path / "train.tsv").write_text("a\tb\n")
    assert sources(Tsv(), tmp_path, cache) == ["a"]


def test_a_cut_arrow_file_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a\tb\n" * 1000)
    cache = Cache(tmp_path / "cache")
    sources(Tsv(), tmp_path, cache)
    (kept,) = cache.root.glob("rows-*")
    os.truncate(kept / "rows.arrow", (kept / "rows.arrow").stat().st_size // 2)
    assert sources(Tsv(), tmp_path, cache) == ["a"] * 1000


def test_damage_that_keeps_the_size_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("abc\tb\n" * 1000)
    cache = Cache(tmp_path / "cache")
    sources(Tsv(), tmp_path, cache)
    (kept,) = cache.root.glob("rows-*")
    content = (kept / "rows.arrow").read_bytes()
    (kept / "rows.arrow").write_bytes(content.replace(b"abcabc", b"xbcabc"))
    assert sources(Tsv(), tmp_path, cache) == ["abc"] * 1000


def test_a_reader_of_ones_own_that_was_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.own").write_text("a\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "from seq2seq.data.corpora.text_files import Files\nfrom seq2seq.data.rows import Row\n"
        "class Own(Files):\n    endings = ('.own',)\n"
        "    def read(self, shard):\n        yield Row('before', 'x', 1)\n"
    )
    module = tmp_path / "own_reader.py"
    module.write_text(source)
    own = importlib.import_module("own_reader").Own()
    cache = Cache(tmp_path / "cache")
    assert sources(own, tmp_path, cache) == ["before"]
    module.write_text(source.replace("before", "after!"))
    monkeypatch.setattr(type(own), "read", lambda self, shard: iter([Row("after!", "x", 1)]))
    assert sources(own, tmp_path, cache) == ["after!"]


def test_a_failure_that_is_not_the_disks(tmp_path: Path) -> None:
    def unreachable(folder: Path) -> None:
        raise ConnectionError("the network is down")

    with pytest.raises(ConnectionError, match="network is down"):
        Cache(tmp_path).folder("x", 1, unreachable)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.parquet").write_bytes(b"x")
    monkeypatch.setattr(Parquet, "stored", lambda *_: [tmp_path])  # a folder, which open() refuses even to root
    with pytest.raises(InputError, match="Is a directory"):
        sources(Parquet(), tmp_path, Cache(tmp_path / "cache"))


@pytest.mark.parametrize(
    "part", [SentencePiece(), Columns([Characters(), SentencePiece()]), Tsv(["a"], ["b"])], ids=str
)
def test_what_our_own_code_made_is_made_again_after_an_upgrade(part: Part) -> None:
    """A rule of ours that changes, such as how many pieces a short text has, leaves no old vocabulary in use."""
    kinds = {type(part)} | ({SentencePiece, Characters} if isinstance(part, Columns) else set())
    files = {checksum(Path(str(sys.modules[kind.__module__].__file__))) for kind in kinds}
    assert files <= set(code_of(part))

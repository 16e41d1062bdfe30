"""The reference in numpy predicts what the network predicts, or the export refuses it by name."""

import io
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch

from seq2seq import export
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.factored import RowFeatures, TokenFeatures
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.decoding.beam import beam_search
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.greedy import greedy
from seq2seq.errors import InputError
from seq2seq.exporting import agreement, numpy_file
from seq2seq.exporting.description import as_metadata, described
from seq2seq.exporting.graphs import graph_of
from seq2seq.exporting.running import Exported
from seq2seq.inference import predict_texts
from seq2seq.models import attention as attentions
from seq2seq.models import cells
from seq2seq.models import fixed_vector as vectors
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.tagger import AutoregressiveTagger, Crf, Softmax
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.translation import Translation
from seq2seq_runtime import FileError, load
from seq2seq_runtime.npz_file import METADATA
from seq2seq_runtime.reference_tasks import END, Rules, search
from tests.runs.old_checkpoint import FOLDER
from tests.runtime.networks import some
from tests.support import SENTENCES, SPANS, Rows, learnt, small, split_of

BEAM = Decoding(beam_size=3, max_length=12)
NETWORKS: dict[str, dict[str, Any]] = {
    "two layers": {"cell": cells.LSTM(), "layers": 2, "attention": attentions.General(), "residual_from": 2},
    "fixed vector": {"bridge": vectors.Linear(), "decoder": DecoderOptions(context_every_step=True, layers=2)},
    "copy, coverage, input feeding": {
        "attention": attentions.Additive(5, coverage=True),
        "decoder": DecoderOptions(copy=True, input_feeding=True),
        "encoder": EncoderOptions(reverse=True),
    },
    "attention before": {
        "cell": cells.GRU(),
        "attention": attentions.Additive(5),
        "decoder": DecoderOptions(attend_from="before", readout="maxout"),
    },
    "attention at the bottom": {
        "layers": 3,
        "attention": attentions.MultiHeadAdditive(heads=2),
        "residual_from": 2,
        "decoder": DecoderOptions(attend_from="bottom", readout="none"),
    },
    "RNN": {"cell": cells.RNN("relu"), "attention": attentions.ScaledDot(), "encoder": EncoderOptions(learned_first_state=True)},
    "MinGRU": {"cell": cells.MinGRU(), "attention": attentions.Dot(), "layers": 2, "bridge": vectors.Zeros()},
    "MinLSTM": {
        "cell": cells.MinLSTM(),
        "attention": attentions.General(),
        "encoder": EncoderOptions(bidirectional=False, pooling=vectors.Mean()),
        "bridge": vectors.Linear(),
    },
    "LayerNormLSTM": {
        "cell": cells.LayerNormLSTM(),
        "attention": attentions.Dot(),
        "encoder": EncoderOptions(pooling=vectors.Attentive()),
    },
    "tied": {
        "cell": cells.GRU(),
        "bridge": vectors.Learned(),
        "attention": attentions.Dot(),
        "layers": 2,
        "encoder": EncoderOptions(pooling=vectors.Max(), learned_first_state=True),
        "decoder": DecoderOptions(layers=1, tied_output=True, tied_embeddings=True, context_every_step=True),
    },
}  # fmt: skip


def letter_rows(count: int = 9) -> Rows:
    draw = random.Random(5)
    return [("".join(draw.choice("abcd") for _ in range(draw.randint(1, 9))), "abd") for _ in range(count)]


def shaken(task: Task) -> Task:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in task.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return task.eval()


def written(task: Task, decoding: Decoding, file: Path) -> Path:
    graph = graph_of(task, decoding)
    made = numpy_file.Written(graph, decoding)
    entry = described(graph, decoding, 512, None, {}) | {"network": made.settings}
    numpy_file.write(file, made.arrays, as_metadata(entry))
    return file


def assert_same(task: Task, rows: Rows, decoding: Decoding, folder: Path) -> None:
    file = written(task, decoding, folder / "model.npz")
    split = split_of(rows, task.tokenizers, task.row_format)
    for one in (decoding, replace(decoding, length_penalty=0.4, min_length=2) if task.searches else decoding):
        found = agreement.compare(task, Exported(file, task, one), [split.batch(np.arange(len(rows)))], one)
        found.refuse(drawn=False)
    texts = [source for source, _ in rows] if not task.has_no_source else ["", "a", "ab"]
    want = predict_texts.predict(task, texts, decoding, torch.device("cpu"))
    answers = load(file).predict(texts, decoding.beam_size)
    if not isinstance(task, Forecasting):
        assert [answer.text for answer in answers] == [task.text(several[0]) for several in want]


@pytest.mark.parametrize("name", some(NETWORKS, "copy, coverage, input feeding"))
def test_every_translator(name: str, tmp_path: Path) -> None:
    letters = Characters()
    letters.train(text for row in letter_rows() for text in row)
    size = {"embedding_size": 8, "hidden_size": 12, "dropout": 0.0}
    task = shaken(Translation(Tokenizers(letters, letters), **(size | {"cell": cells.LSTM()} | NETWORKS[name])))
    assert_same(task, letter_rows(), BEAM if name != "RNN" else replace(BEAM, beam_size=1), tmp_path)


NUMBERS = [
    ("\t".join(f"{row % 3} {step}" for step in range(3 + row % 4)), f"{row} 1\t{row} 2\t3 3") for row in range(9)
]
CASES: dict[str, tuple[Any, Rows, Tokenizer, Tokenizer, dict[str, Any], Decoding]] = {
    "features": (Translation, [("de\tab", "abd"), ("fr\tb", "ab")] * 3, RowFeatures(Characters()), Characters(),
                 {"attention": attentions.Dot(), "decoder": DecoderOptions(features=True)}, BEAM),
    "vectors": (Translation, [(numbers, "ab") for numbers, _ in NUMBERS], Vectors(), Characters(), {"attention": attentions.Additive(4)}, BEAM),
    "crf": (Tagging, SPANS, Words(separator="\t"), Labels("\t"), {"tagger": Crf("BIO"), "cell": cells.GRU()}, Decoding(1)),
    "scheme": (Tagging, SPANS, Words(separator="\t"), Labels("\t"), {"tagger": Softmax("BIO")}, Decoding(1)),
    "lookahead": (Tagging, SENTENCES, Words(separator="\t"), Labels("\t"),
                  {"lookahead": 2, "encoder": EncoderOptions(bidirectional=False)}, Decoding(1)),
    "classes": (Classification, [(text, "ab"[row % 2]) for row, (text, _) in enumerate(letter_rows())], Characters(), Labels(), {}, Decoding(1)),
    "forecasts": (Forecasting, NUMBERS, Vectors(), Vectors(), {"relative": "season", "season": 2, "rescale": True}, Decoding(1)),
    "forecasts with attention": (Forecasting, NUMBERS, Vectors(), Vectors(),
                                 {"relative": "none", "attention": attentions.Additive(4), "quantiles": None}, Decoding(1)),
    "text": (Generation, [("", text) for _, text in letter_rows()], NoSource(), Characters(), {}, BEAM),
    "text from a label": (Generation, [("ab"[row % 2], "abd") for row in range(6)], Labels(), Characters(), {"condition_every_step": True}, BEAM),
}  # fmt: skip


@pytest.mark.parametrize("case", some(CASES, "crf", "classes", "forecasts", "text"))
def test_every_task(case: str, tmp_path: Path) -> None:
    kind, rows, source, target, settings, decoding = CASES[case]
    assert_same(shaken(small(kind, learnt(rows, source, target), **settings)), rows, decoding, tmp_path)


class Steps(NamedTuple):
    at: np.ndarray

    def select(self, rows: torch.Tensor) -> "Steps":
        return Steps(self.at[rows[0].numpy()])


class Table:
    """A network whose probabilities are drawn, and which counts its steps."""

    def __init__(self, seed: int) -> None:
        numbers = 1.5 * np.random.default_rng(seed).normal(size=(9, 8, 8))
        self.numbers = (numbers - np.logaddexp.reduce(numbers, -1, keepdims=True)).astype(np.float32)
        self.steps = 0

    def step(self, source: object, tokens: np.ndarray, state: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        self.steps += 1
        return self.numbers[state[0], tokens].copy(), [state[0] + 1]

    def in_torch(self, tokens: torch.Tensor, state: Steps) -> tuple[torch.Tensor, Steps]:
        log_probs, [after] = self.step(None, tokens[0].numpy(), [state.at])
        return torch.from_numpy(log_probs).unsqueeze(0), Steps(after)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize(("penalty", "offset", "least"), [(1.0, 0.0, 0), (0.0, 0.0, 2), (0.6, 5.0, 0)])
def test_the_search_is_that_of_the_project(size: int, penalty: float, offset: float, least: int) -> None:
    for seed in range(6):
        ours, theirs, limit = Table(seed), Table(seed), torch.tensor([9])
        rules = Constraints(torch.tensor([least])) if least else None
        one, first = cast(Any, ours.in_torch), cast(Any, Steps(np.zeros(1, np.int64)))
        if size == 1:
            [want] = greedy(one, first, limit, 2, END, penalty, rules, offset)
        else:
            [want] = beam_search(one, first, limit, 2, END, size, penalty, rules, offset)
        asked = Rules(size, 9, least, penalty, offset)
        found = search(cast(Any, theirs), cast(Any, None), [np.zeros(1, np.int64)], np.array([2]), asked)
        assert [item.tokens for item in found] == [item.tokens for item in want]
        np.testing.assert_allclose([item.score for item in found], [item.score for item in want], rtol=1e-5)
        assert theirs.steps == ours.steps


@pytest.mark.parametrize(
    ("settings", "decoding", "message"),
    [
        ({"attention": attentions.Location()}, BEAM, "Location"),
        ({"attention": attentions.LocalP()}, BEAM, "LocalP"),
        ({"attention": attentions.Monotonic()}, BEAM, "Monotonic"),
        ({"attention": attentions.Dot(), "decoder": DecoderOptions(latent_alignments=2)}, BEAM, "latent_alignments"),
        ({"attention": attentions.Dot("entmax15")}, BEAM, "entmax15"),
        ({"output": "sparsemax"}, BEAM, "sparsemax"),
        ({}, Decoding(2, temperature=0.5), r"decoding\.temperature 0\.5"),
        ({}, replace(BEAM, no_repeat_ngram=2), r"decoding\.no_repeat_ngram 2"),
    ],
)
def test_what_the_reference_lacks_is_named(settings: dict[str, Any], decoding: Decoding, message: str) -> None:
    task = small(Translation, learnt(letter_rows(), Characters(), Characters()), **settings)
    with pytest.raises(InputError, match=message):
        numpy_file.Written(graph_of(task, decoding), decoding)


@pytest.mark.parametrize(
    ("source", "target", "rows", "settings", "message"),
    [
        (Spelled(), Labels("\t"), SENTENCES, {}, "Spelled"),
        (Words(separator="\t"), Labels("\t"), SENTENCES, {"tagger": AutoregressiveTagger()}, "AutoregressiveTagger"),
        (Words(), TokenFeatures(Labels()), [("a b", "X￨1 Y￨2")], {}, "columns"),
    ],
)
def test_what_taggers_it_lacks(
    source: Tokenizer, target: Tokenizer, rows: Rows, settings: dict[str, Any], message: str
) -> None:
    task = small(Tagging, learnt(rows, source, target), **settings)
    with pytest.raises(InputError, match=message):
        numpy_file.Written(graph_of(task, Decoding(1)), Decoding(1))


@pytest.mark.slow
def test_a_run_becomes_a_file_of_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, output = FOLDER / "0.1.0", tmp_path / "model.npz"
    arguments = [str(run), "--to", "numpy", "--data.path", str(run / "corpus"), "--output", str(output)]
    export.main(arguments)
    assert "rows equal" in capsys.readouterr().out
    with np.load(output, allow_pickle=False) as stored:
        assert json.loads(str(stored[METADATA]))
    first = output.read_bytes()
    export.main([*arguments, "--overwrite"])
    assert output.read_bytes() == first
    with pytest.raises(InputError, match="--int8"):
        export.main([*arguments, "--int8"])


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, output = FOLDER / "0.1.0", tmp_path / "model.npz"
    put = numpy_file.Written.put
    monkeypatch.setattr(
        numpy_file.Written, "put", lambda self, name, tensor: put(self, name, tensor * (1 + (name == "output.bias")))
    )
    with pytest.raises(InputError, match="nothing was written"):
        export.main([str(run), "--to", "numpy", "--data.path", str(run / "corpus"), "--output", str(output)])
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
def test_changed_files_are_refused_or_answer(tmp_path: Path) -> None:
    task = small(Translation, learnt(letter_rows(), Characters(), Characters()), attention=attentions.Dot()).eval()
    file = written(task, replace(BEAM, max_length=3), tmp_path / "model.npz")
    whole, said = file.read_bytes(), []
    for number in range(150):
        draw, changed = random.Random(number), bytearray(whole)
        for _ in range(draw.randint(1, 5)):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        file.write_bytes(changed[: draw.randrange(len(changed))] if number % 5 == 0 else changed)
        try:
            load(file).predict(["ab"])
        except FileError as problem:
            said.append(str(problem))
    for number in range(150):  # with the right sums
        draw = random.Random(number)
        with zipfile.ZipFile(io.BytesIO(whole)) as before, zipfile.ZipFile(file, "w") as after:
            for entry in before.infolist():
                content = bytearray(before.read(entry))
                if draw.random() < 0.2:
                    content[draw.choice([draw.randrange(128), draw.randrange(len(content))])] ^= 1 << draw.randrange(8)
                after.writestr(entry.filename, bytes(content))
        try:
            load(file).predict(["ab"])
        except FileError as problem:
            said.append(str(problem))
    assert len(said) > 50
    assert all(len(one.splitlines()) == 1 for one in said)


def test_packed_and_pickled_arrays_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.npz"
    np.savez_compressed(file, a=np.zeros(1_000_000))
    with pytest.raises(FileError, match="packed"):
        load(file)
    np.savez(file, a=np.array([{}], dtype=object))
    with pytest.raises(FileError, match="32-bit"):
        load(file)
    header = (
        np.lib.format.magic(1, 0)
        + b"\x76\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 40,), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", header.replace(b"1 << 40", b"9" * 12))
    with pytest.raises(FileError):
        load(file)
    np.savez(file, a=np.zeros(3, np.float32))
    with pytest.raises(FileError, match=METADATA):
        load(file)

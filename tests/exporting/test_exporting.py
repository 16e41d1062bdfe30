"""A file predicts what its run predicts, or is not written; what it says of itself is enough to use it."""

import base64
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seq2seq
from seq2seq import export
from seq2seq.configurable import build
from seq2seq.data.tokenizers.base import Tokenizer, Tokenizers
from seq2seq.data.tokenizers.columns import Columns
from seq2seq.data.tokenizers.factored import TokenFeatures
from seq2seq.data.tokenizers.numeric import Vectors
from seq2seq.data.tokenizers.spelled import Spelled
from seq2seq.data.tokenizers.units import Characters, Labels, NoSource, Words
from seq2seq.decoding.hypotheses import Hypothesis
from seq2seq.decoding.length_bound import LengthBound
from seq2seq.errors import InputError
from seq2seq.exporting import agreement, graphs, onnx_file, streams, texts
from seq2seq.exporting.agreement import FileAgreement
from seq2seq.exporting.description import KEY, as_metadata, described, limits_of
from seq2seq.exporting.graphs import graph_of
from seq2seq.exporting.running import Exported
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.models import attention as attentions
from seq2seq.models import cells
from seq2seq.models import fixed_vector as vectors
from seq2seq.models.decoder import DecoderOptions
from seq2seq.models.encoder import EncoderOptions
from seq2seq.models.tagger import AutoregressiveTagger, Crf, Softmax
from seq2seq.models.transducer import Transducer
from seq2seq.models.word_embedding import WordOptions
from seq2seq.runs import checkpoint
from seq2seq.tasks.base import Task
from seq2seq.tasks.classification import Classification
from seq2seq.tasks.decoding_options import Decoding
from seq2seq.tasks.forecasting import Forecasting
from seq2seq.tasks.generation import Generation
from seq2seq.tasks.tagging import Tagging
from seq2seq.tasks.transcription import Transcription
from seq2seq.tasks.translation import Translation
from tests.models.networks import PAIRS, task_of
from tests.runs.old_checkpoint import FOLDER
from tests.support import SENTENCES, SPANS, Rows, learnt, rows_of, small, split_of

ASKED = [
    ("show planes to oslo", "flight \N{DOUBLE VERTICAL LINE} O O O B"),
    ("what to pay", "fare \N{DOUBLE VERTICAL LINE} O O O"),
    ("planes to new york", "flight \N{DOUBLE VERTICAL LINE} O O B I"),
    ("to rome", "time \N{DOUBLE VERTICAL LINE} O B"),
]
RUN = FOLDER / seq2seq.__version__
BEAM = Decoding(beam_size=3, max_length=30)


def letter_rows(count: int = 40) -> Rows:
    draw = random.Random(5)
    return [("".join(draw.choice("abcd") for _ in range(draw.randint(1, 14))), "ab") for _ in range(count)]


def shaken(task: Task) -> Task:
    """Far from the start, so that nothing agrees by accident."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return task.eval()


def assert_same(task: Task, rows: Rows, decoding: Decoding, folder: Path, others: Sequence[Decoding] = ()) -> None:
    """The file predicts as the task does, for several sizes of batches and other choices at the call."""
    pytest.importorskip("onnxruntime", reason="pip install 'recurrent-seq2seq[export]'")
    file = folder / "model.onnx"
    onnx_file.write(graph_of(task, decoding), file, {})
    split = split_of(rows, task.tokenizers, task.row_format)
    for one in (decoding, *others):
        for size in (1, 7, len(rows)):
            starts = range(0, len(rows), size)
            batches = [split.batch(np.arange(start, min(len(rows), start + size))) for start in starts]
            found = agreement.compare(task, Exported(file, task, one), batches, one)
            found.refuse(one.temperature is not None)
            assert found.rows == len(rows)


@pytest.mark.slow
def test_a_classifier_predicts_the_same_from_its_file(tmp_path: Path) -> None:
    rows = [(text, "odd" if len(text) % 2 else "even") for text, _ in letter_rows(20)]
    tokenizers = learnt(rows, Characters(), Labels())
    task = shaken(small(Classification, tokenizers, cell=cells.GRU(), encoder=EncoderOptions(pooling=vectors.Max())))
    assert_same(task, rows, Decoding(beam_size=1), tmp_path)


# --- every kind of network: half a minute each -------------------------------------------------------------------------

NETWORKS: dict[str, dict[str, Any]] = {
    "two layers": {"cell": cells.LSTM(), "layers": 2, "attention": attentions.General()},
    "fixed vector": {"bridge": vectors.Linear(), "decoder": DecoderOptions(context_every_step=True)},
    "copy, coverage, input feeding": {
        "attention": attentions.Additive(5, coverage=True),
        "decoder": DecoderOptions(copy=True, input_feeding=True),
    },
    "latent alignment": {"attention": attentions.Monotonic(7), "decoder": DecoderOptions(copy=True)},
    "source tokens one by one": {
        "attention": attentions.General(),
        "decoder": DecoderOptions(latent_alignments=2),
    },
    "attention before": {
        "cell": cells.GRU(),
        "attention": attentions.Additive(5),
        "decoder": DecoderOptions(attend_from="before", readout="maxout"),
    },
    "attention at the bottom": {
        "layers": 2,
        "attention": attentions.MultiHeadAdditive(heads=2),
        "residual_from": 2,
        "decoder": DecoderOptions(attend_from="bottom"),
    },
    "entmax": {"cell": cells.RNN("relu"), "attention": attentions.ScaledDot("entmax15"), "output": "entmax15"},
    "sparsemax": {
        "cell": cells.RNN(),
        "attention": attentions.Dot("sparsemax"),
        "output": "sparsemax",
        "encoder": EncoderOptions(learned_first_state=True),
    },
    "predicted window": {"attention": attentions.LocalP(window=2), "encoder": EncoderOptions(reverse=True)},
    "by place": {"cell": cells.GRU(), "attention": attentions.Location(longest=6), "bridge": vectors.Zeros()},
    "MinGRU": {"cell": cells.MinGRU(), "attention": attentions.General(), "layers": 2},
    "MinLSTM, one direction, mean": {
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
    "learned first state, shared tables": {
        "cell": cells.GRU(),
        "bridge": vectors.Learned(),
        "attention": attentions.Dot(),
        "layers": 2,
        "decoder": DecoderOptions(layers=1, tied_output=True, tied_embeddings=True),
    },
}


class Leaky(cells.Cell):
    """A cell of somebody's own, with nothing but its step."""

    def create(self, input_size: int) -> None:
        sizes = (input_size + self.hidden_size, self.hidden_size)
        self.maps = torch.nn.ModuleList(torch.nn.Linear(*sizes) for _ in range(self.directions))

    def step(
        self, inputs: torch.Tensor, state: cells.CellState, direction: int = 0, mask: torch.Tensor | None = None
    ) -> cells.CellState:
        new: torch.Tensor = self.maps[direction](torch.cat((inputs, state[0]), -1)).tanh()
        return (0.5 * state[0] + 0.5 * new,)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETWORKS, "a cell of one's own"])
def test_every_translator(name: str, tmp_path: Path) -> None:
    letters = Characters()
    letters.train(text for pair in PAIRS for text in pair)
    settings = NETWORKS.get(name, {"cell": Leaky(), "attention": attentions.Dot()})
    task = task_of(Tokenizers(letters, letters), **settings).eval()
    others = [replace(BEAM, beam_size=1), replace(BEAM, beam_size=4, length_penalty=0.3, min_length=3)]
    assert_same(task, letter_rows(), BEAM, tmp_path, others)


class Deciding(Leaky):
    """A cell that looks at a number, which no graph can."""

    def step(
        self, inputs: torch.Tensor, state: cells.CellState, direction: int = 0, mask: torch.Tensor | None = None
    ) -> cells.CellState:
        new = super().step(inputs, state, direction, mask)
        return new if float(new[0].sum()) > 0 else state


@pytest.mark.slow
def test_a_part_that_cannot_be_traced_is_refused_in_one_line(tmp_path: Path) -> None:
    rows = [("abc", "odd"), ("ab", "even")]
    task = small(Classification, learnt(rows, Characters(), Labels()), cell=Deciding())
    with pytest.raises(InputError, match="item") as problem:
        assert_same(task, rows, Decoding(beam_size=1), tmp_path)
    assert len(str(problem.value).splitlines()) == 1
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "decoding",
    [Decoding(beam_size=2, max_length=20, temperature=0.7, top_p=0.9), replace(BEAM, no_repeat_ngram=2, min_length=4)],
    ids=["drawn", "no repetition"],
)
def test_other_searches(decoding: Decoding, tmp_path: Path) -> None:
    letters = Characters()
    letters.train(text for pair in PAIRS for text in pair)
    task = task_of(Tokenizers(letters, letters), cell=cells.GRU(), attention=attentions.Dot()).eval()
    assert_same(task, letter_rows(), decoding, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "source", "target", "settings"),
    [
        (SENTENCES, Spelled(), Labels("\t"), {"tagger": Softmax()}),
        (SPANS, Spelled(letters=False), Labels("\t"), {"tagger": Crf("BIO"), "cell": cells.GRU()}),
        (SPANS, Words(separator="\t"), Labels("\t"), {"tagger": Softmax("BIO")}),
        (SENTENCES, Words(separator="\t"), Labels("\t"), {"tagger": AutoregressiveTagger()}),
        (SENTENCES, Spelled(), Labels("\t"), {"words": WordOptions(letters_by="CNN")}),
        (
            SENTENCES,
            Words(separator="\t"),
            Labels("\t"),
            {"lookahead": 2, "encoder": EncoderOptions(bidirectional=False)},
        ),
        (ASKED, Spelled(), Labels(), {"tagger": Crf("BIO")}),
        (ASKED, Words(), Labels(), {"tagger": AutoregressiveTagger()}),
    ],
    ids=["spelled", "crf", "scheme", "in turn", "cnn", "lookahead", "class and crf", "class and in turn"],
)
def test_every_tagger(
    rows: Rows, source: Tokenizer, target: Tokenizer, settings: dict[str, Any], tmp_path: Path
) -> None:
    task = shaken(small(Tagging, learnt(rows, source, target), **settings))
    assert_same(task, rows, Decoding(beam_size=2 if task.searches else 1), tmp_path)


@pytest.mark.slow
def test_labels_of_several_columns(tmp_path: Path) -> None:
    rows = [("a b", "X￨1 Y￨2"), ("b", "Y￨1"), ("a a b", "X￨2 X￨1 Y￨2")]
    task = shaken(small(Tagging, learnt(rows, Words(), TokenFeatures(Labels()))))
    assert_same(task, rows, Decoding(beam_size=1), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("source", [NoSource(), Labels(), Vectors()], ids=["nothing", "label", "vector"])
@pytest.mark.parametrize("temperature", [None, 0.8])
def test_every_generator(source: Tokenizer, temperature: float | None, tmp_path: Path) -> None:
    numbers = isinstance(source, Vectors)
    rows = [
        (f"{row} {row % 3}" if numbers else "en de"[3 * (row % 2) :][:2], "abc"[: 1 + row % 3]) for row in range(12)
    ]
    task = shaken(small(Generation, learnt(rows, source, Characters()), condition_every_step=numbers))
    assert_same(task, rows, Decoding(beam_size=2, max_length=9, temperature=temperature), tmp_path)


@pytest.mark.slow
def test_running_text_begins_anew_in_each_row(tmp_path: Path) -> None:
    rows = [("", "abc"[: 1 + row % 3]) for row in range(9)]
    task = shaken(small(Generation, learnt(rows, NoSource(), Characters()), running=True))
    assert_same(task, rows, Decoding(beam_size=3, max_length=9), tmp_path)


@pytest.mark.slow
def test_vectors_to_text(tmp_path: Path) -> None:
    rows = [("\t".join(f"{row} {step}" for step in range(2 + row % 4)), "abc"[: 1 + row % 3]) for row in range(9)]
    task = shaken(small(Translation, learnt(rows, Vectors(), Characters()), attention=attentions.Additive(4)))
    assert_same(task, rows, BEAM, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"relative": "season", "season": 2, "rescale": True},
        {"relative": "none", "attention": attentions.Additive(4), "quantiles": None},
    ],
    ids=["season", "attention"],
)
def test_every_forecaster(settings: dict[str, Any], tmp_path: Path) -> None:
    rows = [
        ("\t".join(str((row * step) % 7 + row) for step in range(5 + row % 4)), f"{row}\t{row}\t3") for row in range(9)
    ]
    task = shaken(small(Forecasting, learnt(rows, Vectors(), Vectors()), **settings))
    assert_same(task, rows, Decoding(beam_size=1), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"relative": "none"}, {"relative": "season", "season": 2, "rescale": True, "attention": attentions.Additive(4)}],
    ids=["plain", "season"],
)
@pytest.mark.parametrize("ahead", [0, 3])
def test_covariates(settings: dict[str, Any], ahead: int, tmp_path: Path) -> None:
    future = ["| 1", "| 0", "| 1"][:ahead]
    rows = [
        (
            "\t".join([*(f"{row + step} | {step % 3} {step % 2}" for step in range(4 + row % 3)), *future]),
            f"{row}\t2\t3",
        )
        for row in range(9)
    ]
    task = shaken(small(Forecasting, learnt(rows, Vectors(), Vectors()), **settings))
    assert task.covariates == 2
    assert_same(task, rows, Decoding(beam_size=1), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"encoder": EncoderOptions(bidirectional=False), "lookahead": 2, "layers": 2, "residual_from": 2},
        {
            "encoder": EncoderOptions(bidirectional=False, learned_first_state=True),
            "cell": cells.GRU(),
            "centre_running": 9,
        },
        {"encoder": EncoderOptions(bidirectional=False), "cell": cells.MinLSTM()},
        {"centre_rows": True, "layers": 2},
        {"encoder": EncoderOptions(bidirectional=False), "lookahead": 1, "alignment": Transducer(4, 6, 2, 5)},
        {"centre_rows": True, "alignment": Transducer(4, 6, 1, 5), "cell": cells.GRU()},
    ],
    ids=["forwards", "running mean", "scan", "both ways", "transducer", "transducer both ways"],
)
def test_every_transcriber(settings: dict[str, Any], tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    rows = [
        (
            "\t".join(f"{one:.2f} {other:.2f}" for one, other in draw.normal(size=(12 + 5 * row, 2))),
            "a b c a"[: 1 + row],
        )
        for row in range(7)
    ]
    task = small(Transcription, learnt(rows, Vectors(), Characters()), stacking=2, **settings)
    with torch.no_grad():
        task.output.weight *= 8
    task = shaken(task)
    assert_same(task, rows, Decoding(beam_size=3), tmp_path, [Decoding(beam_size=1)])
    of, entry = (
        Exported(tmp_path / "model.onnx", task, BEAM),
        as_metadata(described(graph_of(task, BEAM), BEAM, 99, None, {})),
    )
    told = streams.compare(task, of, split_of(rows, task.tokenizers, task.row_format), entry[KEY])
    assert (told is None) == ("centre_rows" in settings)
    if told is not None:
        assert "7 of 7" in told
        task.output.bias.data += torch.randn_like(task.output.bias)
        with pytest.raises(InputError, match="stream"):
            streams.compare(task, of, split_of(rows, task.tokenizers, task.row_format), entry[KEY])


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_becomes_a_file_that_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install 'recurrent-seq2seq[export]'")
    output, small_output = tmp_path / "model.onnx", tmp_path / "small.onnx"
    arguments = [str(RUN), "--data.path", str(RUN / "corpus"), "--output"]
    export.main([*arguments, str(output)])
    assert "rows equal" in capsys.readouterr().out
    export.main([*arguments, str(small_output), "--int8"])
    shown = capsys.readouterr().out
    assert "int8: bleu" in shown
    assert "95 % interval" in shown
    assert small_output.stat().st_size < output.stat().st_size
    for file in (output, small_output):
        stored = {one.key: one.value for one in onnx.load(file).metadata_props}
        assert json.loads(stored[KEY])["task"] == "Translation"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "small.onnx"]


@pytest.mark.parametrize(("worse", "told"), [(3, "only 3 rows"), (12, "p = 0.0")])
def test_what_8_bits_change_is_tested_where_enough_rows_differ(worse: int, told: str) -> None:
    references = [f"the cat number {row} sat" for row in range(40)]
    before, after = (rows_of(texts, references) for texts in (references, ["a dog"] * worse + references[worse:]))
    assert export.changed(ExactMatch(), before, before).startswith("exact_match 100.00 to 100.00 (+0.00")
    text = export.changed(ExactMatch(), before, after)
    assert f"100.00 to {100 - 2.5 * worse:.2f}" in text
    assert told in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere does not exist"),
        ([str(RUN), "--to", "coreml"], "to.*onnx"),
        ([str(RUN), "--rows", "0"], "--rows .*0"),
        ([str(RUN), "--output", "there.onnx"], r"there\.onnx.*--overwrite"),
        ([str(RUN), "--output", "new.onnx", "--decoding.prefix", "the"], r"decoding\.prefix"),
        (
            [str(RUN), "--output", "new.onnx", "--decoding.coverage_penalty", "0.2"],
            r"decoding\.coverage_penalty .*0\.2",
        ),
        ([str(RUN), "--output", "new.onnx", "--decoding.avoid", "[cat]"], r"decoding\.avoid"),
        ([str(RUN), "--output", "new.onnx", "--decoding.wait_k", "3"], r"decoding\.wait_k .*3"),
        ([str(RUN), "--output", "new.onnx", "--data.path", "elsewhere"], "elsewhere"),
    ],
)
def test_what_cannot_be_exported(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnx_file, "refuse_lacking", lambda: None)
    (tmp_path / "there.onnx").write_bytes(b"mine")
    with pytest.raises(InputError, match=message):
        export.main(arguments)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("there.onnx", b"mine")]


def test_a_beam_wider_than_half_of_a_large_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = checkpoint.load(RUN)
    monkeypatch.setattr(graphs, "SMALL", 5)
    size = len(task.tokenizers.target) // 2
    assert graph_of(task, Decoding(beam_size=size)).inputs
    with pytest.raises(InputError, match=rf"decoding\.beam_size is {size + 1}\b.*\b{size}\b"):
        graph_of(task, Decoding(beam_size=size + 1))


def test_an_older_torch_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", sys)
    with pytest.raises(InputError, match=r"onnxscript.*recurrent-seq2seq\[export\]"):
        onnx_file.refuse_lacking()
    monkeypatch.setattr(torch, "__version__", "2.10.1+cpu")
    with pytest.raises(InputError, match=r"2\.11.*2\.10\.1"):
        onnx_file.refuse_lacking()


# --- agreement --------------------------------------------------------------------------------------------------------


def said(*scores: float, tokens: Sequence[int] = (7, 8)) -> Hypothesis:
    return Hypothesis(list(tokens), sum(scores), list(scores))


def test_a_row_that_differs_is_refused() -> None:
    found = FileAgreement()
    found.add(0, said(-1.0, -2.0, -0.1), said(-1.0, -2.0, -0.1 + 1e-6), drawn=False)
    found.refuse(drawn=False)
    assert (found.equal, found.largest) == (1, pytest.approx(1e-6, rel=0.01))
    found.add(5, said(-1.0, -2.0, -0.1), said(-1.0, -2.5, -0.1, tokens=(7, 9)), drawn=False)
    with pytest.raises(InputError, match=r"1 of 2 rows .* 5\b"):
        found.refuse(drawn=False)


@pytest.mark.parametrize("score", [float("nan"), -2.1])
def test_the_same_tokens_with_another_score_differ(score: float) -> None:
    found = FileAgreement()
    found.add(0, said(-1.0, -2.0, -0.1), said(-1.0, score, -0.1), drawn=False)
    with pytest.raises(InputError, match="0 of 1 rows"):
        found.refuse(drawn=False)


def test_where_rounding_chose_both_are_right() -> None:
    found = FileAgreement()
    found.add(0, said(-1.0, -2.0, -0.1), said(-1.0, -2.00001, -3.0, tokens=(7, 9)), drawn=False)
    found.add(1, said(-1.0, -2.0, -0.1), said(-1.0, -2.00001, tokens=(7,)), drawn=False)
    found.refuse(drawn=False)
    assert (found.equal, found.ties) == (0, 2)


def test_of_drawn_rows_one_in_two_hundred_may_differ() -> None:
    found = FileAgreement()
    for row in range(200):
        found.add(row, said(-1.0, -2.0), said(-1.0, -2.0, tokens=(7, 8 + (row == 3))), drawn=True)
    found.refuse(drawn=True)
    found.add(200, said(-1.0, -2.0), said(-1.0, -2.0, tokens=(6, 8)), drawn=True)
    with pytest.raises(InputError, match=r"199 of 201 rows"):
        found.refuse(drawn=True)


def test_nothing_compared_is_no_agreement() -> None:
    with pytest.raises(InputError, match="0 of 0 rows"):
        FileAgreement().refuse(drawn=False)


# --- description ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [None, LengthBound(1.237, 11), LengthBound(0.0, 14)])
@pytest.mark.parametrize("max_length", [None, 12])
@pytest.mark.parametrize("ratio", [None, 1.3])
@pytest.mark.parametrize("conditions", [False, True])
def test_limits_follow_from_what_the_file_says(
    bound: LengthBound | None, max_length: int | None, ratio: float | None, conditions: bool, tokenizers: Tokenizers
) -> None:
    task = Task(tokenizers)
    task.length_bound, task.row_format = bound, task.row_format._replace(conditions=conditions)
    decoding = Decoding(max_length=max_length, max_length_ratio=ratio, min_length=11)
    lengths = torch.arange(1, 60)
    rule = limits_of(task, decoding)
    product = np.ceil(lengths.numpy() * rule["ratio"])
    if rule["rounded"] == "down":
        product = np.floor(lengths.numpy().astype(np.float32) * np.float32(rule["ratio"]))
    computed = product + rule["offset"]
    computed = computed if rule["least"] is None else np.maximum(computed, rule["least"])
    computed = computed if rule["most"] is None else np.minimum(computed, rule["most"])
    assert task.limits(lengths, decoding).tolist() == computed.tolist()


def test_tokenizers_come_back_from_what_the_file_says() -> None:
    task = checkpoint.load(RUN)
    stored = as_metadata(described(graph_of(task, BEAM), BEAM, 512, "f00", {}))
    content = json.loads(stored[KEY])
    assert content["fingerprint"] == "f00"
    assert content["ids"]["end"] == 3
    for side, tokenizer in zip(("source", "target"), task.tokenizers, strict=True):
        of = content[side]
        again = build(Tokenizer, {"class_path": of["kind"], "init_args": of["settings"]})
        again.restore(base64.b64decode(of["state"]))
        assert again.encode(["the cat"]) == tokenizer.encode(["the cat"])
        assert of["sizes"] == list(tokenizer.sizes)


# --- texts ------------------------------------------------------------------------------------------------------------


class Backwards(Characters):
    """A tokenizer of somebody's own."""

    def split(self, text: str) -> str:
        return super().split(text)[::-1]


def test_a_text_that_the_runtime_would_read_or_write_otherwise_is_refused() -> None:
    rows = letter_rows(6)
    task = small(Translation, learnt(rows, Characters(), Characters())).eval()
    split = split_of(rows, task.tokenizers)
    entry = as_metadata(described(graph_of(task, BEAM), BEAM, 512, None, {}))[KEY]
    best = [
        (row, said(-1.0, -2.0, tokens=task.tokenizers.target.encode([text])[0])) for row, (_, text) in enumerate(rows)
    ]
    assert "6 of 6" in texts.compare(task, entry, split, best)
    for side, number in (("source", 0), ("target", 1)):
        content = json.loads(entry)
        state = json.dumps([*json.loads(task.tokenizers[number].state)][::-1])
        content[side]["state"] = base64.b64encode(state.encode()).decode()
        with pytest.raises(InputError, match=r"row 0\b"):
            texts.compare(task, json.dumps(content), split, best)
    with pytest.raises(InputError, match=r"nothing was written.*format"):
        texts.compare(task, json.dumps(content | {"format": 2}), split, best)


def test_a_tokenizer_of_ones_own_is_named_and_left_out() -> None:
    rows = letter_rows(6)
    task = small(Translation, learnt(rows, Columns([Backwards()], single=True), Characters())).eval()
    entry = as_metadata(described(graph_of(task, BEAM), BEAM, 512, None, {}))[KEY]
    assert "Backwards" in texts.compare(task, entry, split_of(rows, task.tokenizers), [])

"""Each check finds its fault, with file and line, and finds nothing in clean data."""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from seq2seq import lint
from seq2seq.cli import command
from seq2seq.data.batching.batch import RowFormat
from seq2seq.data.checks import checks, copies, scanning
from seq2seq.data.checks.findings import SEVERITIES, Finding
from seq2seq.data.corpora.conll import Conll
from seq2seq.data.corpora.parallel import Parallel
from seq2seq.data.datamodule import DataModule
from seq2seq.data.rows import Texts
from seq2seq.data.tokenizers.base import Tokenizer
from seq2seq.data.tokenizers.units import Characters, Labels, Words
from seq2seq.tasks.tagging import Tagging
from tests.support import ROOT

Pairs = list[tuple[str, str]]

CLEAN: dict[str, Pairs] = {
    "train": [
        ("A dog runs over the wet grass.", "Ein Hund rennt über das nasse Gras."),
        ("Two men sit on a bench.", "Zwei Männer sitzen auf einer Bank."),
        ("A woman reads a book in the park.", "Eine Frau liest im Park ein Buch."),
        ("Children play football.", "Kinder spielen Fußball."),
        ("The man in the red shirt jumps.", "Der Mann im roten Hemd springt."),
        ("Three girls sing a song.", "Drei Mädchen singen ein Lied."),
        ("A boy climbs a tree.", "Ein Junge klettert auf einen Baum."),
        ("Somebody cooks dinner for the family.", "Jemand kocht Abendessen für die Familie."),
    ],
    "validation": [
        ("A man climbs a tree.", "Ein Mann klettert auf einen Baum."),
        ("Two girls sit in the park.", "Zwei Mädchen sitzen im Park."),
    ],
    "test": [
        ("A boy reads a book.", "Ein Junge liest ein Buch."),
        ("The dog runs.", "Der Hund rennt."),
    ],
}


def corpus(
    folder: Path, splits: dict[str, Pairs], tokenizer: Tokenizer | None = None, longest: int = 512
) -> DataModule:
    """The pairs as files of parallel text."""
    for name, pairs in splits.items():
        for side, ending in enumerate(("en", "de")):
            text = "".join(f"{pair[side]}\n" for pair in pairs)
            (folder / f"{name}.{ending}").write_bytes(text.encode())
    return DataModule(
        Parallel("en", "de"), str(folder), tokenizer=tokenizer or Characters(), max_length=longest,
        cache=str(folder / "cache"),
    )  # fmt: skip


def changed(split: str, row: int, pair: tuple[str, str]) -> dict[str, Pairs]:
    """The clean pairs but for one."""
    splits = {name: list(pairs) for name, pairs in CLEAN.items()}
    splits[split][row : row + 1] = [pair]
    return splits


def tagged(folder: Path, splits: dict[str, Sequence[str]]) -> DataModule:
    """Sentences written as `word/label word/label`, in files of a token a line."""
    for name, sentences in splits.items():
        blocks = ["".join(token.replace("/", "\t") + "\n" for token in sentence.split()) for sentence in sentences]
        (folder / f"{name}.conll").write_text("\n".join(blocks))
    return DataModule(
        Conll(1, 2, "\t"), str(folder), tokenizer=Words(separator="\t"), target_tokenizer=Labels("\t"),
        cache=str(folder / "cache"),
    )  # fmt: skip


def found(data: DataModule) -> list[Finding]:
    return lint.check(data)[1]


def only(findings: Sequence[Finding], kind: str) -> Finding:
    """The one finding of a kind."""
    chosen = [finding for finding in findings if finding.kind == kind]
    assert len(chosen) == 1, findings
    return chosen[0]


def places(finding: Finding) -> list[str]:
    return [example.location.rpartition("/")[2] for example in finding.examples]


def test_clean_data_has_no_findings(tmp_path: Path) -> None:
    assert found(corpus(tmp_path, CLEAN)) == []


LONG = "The old man who lives near the harbour tells stories about ships, storms and whales. "


@pytest.mark.parametrize(
    ("kind", "severity", "split", "row", "pair", "excerpt"),
    [
        ("empty", "error", "train", 2, ("", "Eine Frau."), "'' | Eine Frau."),
        ("empty", "error", "test", 1, ("The dog runs.", " \u200b\u3000"), "The dog runs. | \\u200b"),
        ("damaged", "error", "train", 4, ("A caf\ufffd in Paris.", "Ein Haus in Paris."), "A caf\ufffd in Paris."),
        ("mojibake", "warning", "train", 7, ("A girl sings.", "Ein MÃ¤dchen singt."), "Ein MÃ¤dchen singt."),
        ("mojibake", "warning", "validation", 0, ("Heâ€™s here.", "Er ist hier."), "Heâ€™s here."),
        ("mojibake", "warning", "train", 1, ("A house.", "Ð´Ð¾Ð¼"), "Ð´Ð¾Ð¼"),
        ("hidden break", "warning", "train", 0, ("One line\u2028and more.", "Eine Zeile."), "One line\\u2028and more."),
        ("hidden break", "warning", "train", 7, ("Some food.", "Ein\x85Essen."), "Ein\\x85Essen."),
        ("hidden break", "warning", "test", 0, ("A\rman.", "Ein Mann."), "A\\rman."),
        ("odd length", "warning", "train", 3, (LONG, "Ein"), "85 : 3 characters"),
        ("duplicate", "note", "train", 5, CLEAN["train"][1], "Two men sit on a bench."),
        ("copied", "warning", "train", 6, ("Ein Hund.", "Ein Hund."), "Ein Hund. | Ein Hund."),
        ("known source", "warning", "test", 1, (CLEAN["train"][3][0], "Kinder rennen."), "Children play football."),
        ("overlap", "error", "validation", 1, CLEAN["train"][2], "A woman reads a book"),
    ],
)  # fmt: skip
def test_each_fault_is_found_with_its_line(
    tmp_path: Path, kind: str, severity: str, split: str, row: int, pair: tuple[str, str], excerpt: str
) -> None:
    finding = only(found(corpus(tmp_path, changed(split, row, pair))), kind)
    assert finding[:4] == (kind, severity, split, 1)
    assert finding.share == 1 / len(CLEAN[split])
    assert places(finding) == [f"{split}.en:{row + 1}"]
    assert excerpt in finding.examples[0].excerpt


def test_what_only_looks_like_a_fault(tmp_path: Path) -> None:
    for row, pair in enumerate([
        ("He said “no”…", "Er sagt „Spaß“ – dann: „nein“…"),
        ("«TÉ\xa0»", "DÉJÀ VU\xa0! São, MANHÃ, Â"),
        ("naïve café", "cœur à l’été"),
        ("Привет, мир", "ΚΑΛΗΜΕΡΑ"),
        ("犬が走る。", "\u200eشەكىل"),
    ]):  # fmt: skip
        folder = tmp_path / str(row)
        folder.mkdir()
        findings = found(corpus(folder, changed("train", 0, pair)))
        assert not {finding.kind for finding in findings} & {"mojibake", "damaged", "hidden break"}, pair


def test_rows_repeated_name_the_row_they_repeat(tmp_path: Path) -> None:
    splits = changed("train", 5, CLEAN["train"][1])
    splits["test"][0] = CLEAN["train"][3]
    findings = found(corpus(tmp_path, splits))
    assert only(findings, "duplicate").examples[0].like.endswith("train.en:2")
    assert only(findings, "overlap").examples[0].like.endswith("train.en:4")


def test_sources_with_several_targets_stand_together(tmp_path: Path) -> None:
    splits = changed("train", 6, (CLEAN["train"][2][0], "Sie liest."))
    splits["train"].append(CLEAN["train"][2])  # a duplicate, and no third target
    findings = found(corpus(tmp_path, splits))
    assert places(only(findings, "ambiguous")) == ["train.en:3", "train.en:7"]
    assert only(findings, "duplicate").rows == 1


def test_copies_are_a_note_where_they_are_rare() -> None:
    source = [f"{number} and more" for number in range(200)]
    for same, severity in ((2, "note"), (3, "warning")):
        target = source[:same] + [f"{number} und mehr" for number in range(same, 200)]
        assert copies.copied(scanning.scan("train", Texts(source, target)))[0].severity == severity
    assert copies.copied(scanning.scan("train", Texts(["", "a"], ["", "b"]))) == []  # that is empty


def test_overlap_is_an_error_by_text_not_by_rows() -> None:
    train = scanning.scan("train", Texts(["Thanks.", LONG], ["Danke.", "Der Alte erzählt."]))
    rest = [f"{LONG} {number}" for number in range(50)]
    few = scanning.scan("test", Texts(["Thanks.", *rest], ["Danke.", *rest]))
    many = scanning.scan("test", Texts([LONG, *rest], ["Der Alte erzählt.", *rest]))
    assert [finding.severity for finding in copies.overlap(train, few)] == ["warning"]
    assert [finding.severity for finding in copies.overlap(train, many)] == ["error"]


def test_odd_lengths_follow_the_spread_of_the_data() -> None:
    """Summaries, whose lengths vary anyway, are not odd; nor is what is short on both sides."""
    varied = Texts(["word " * (10 * 2 ** (row % 8)) for row in range(80)], ["A summary of it."] * 80)
    assert checks.odd_lengths(scanning.scan("train", varied)) == []
    short = Texts(["A cat sat."] * 20 + ["I"], ["Die Katze."] * 20 + ["Ich bin das."])
    assert checks.odd_lengths(scanning.scan("train", short)) == []


def test_several_lines_in_a_target_are_noted() -> None:
    texts = Texts(["one\nmore", "two"], ["eins", "zwei\ndrei"])
    (finding,) = checks.line_feeds(scanning.scan("train", texts))
    assert (finding.rows, finding.examples[0].location) == (1, "row 2")
    assert "zwei\\ndrei" in finding.examples[0].excerpt


def test_lower_case_training_for_cased_text(tmp_path: Path) -> None:
    lower = {**CLEAN, "train": [(source.lower(), target) for source, target in CLEAN["train"]]}
    findings = [one for one in found(corpus(tmp_path, lower)) if one.kind == "casing"]
    assert [(one.split, one.severity, one.rows) for one in findings] == [
        ("validation", "warning", 2),
        ("test", "warning", 2),
    ]
    assert findings[0].text.startswith("source")


def test_unknown_words_are_named(tmp_path: Path) -> None:
    splits = changed("validation", 1, ("A man climbs a tree.", "Ein Zyklop klettert auf einen Baum."))
    splits["validation"][0] = ("A boy climbs a tree.", "Ein Junge klettert auf einen Baum")
    findings = [one for one in found(corpus(tmp_path, splits, Words())) if one.kind == "unknown"]
    found_there = {(one.split, one.text.split()[3]): one for one in findings}
    target = found_there["validation", "target"]
    assert (target.severity, target.rows) == ("error", 2)
    assert target.text.startswith("16.7%")  # Baum without a full stop, and Zyklop, of twelve words
    assert places(target) == ["validation.en:1", "validation.en:2"]
    assert target.examples[1].excerpt.startswith("Zyklop  in  Ein Zyklop")
    assert ("validation", "source") not in found_there  # every word of it is known
    assert not any(one.split == "train" for one in findings)


def test_rows_longer_than_the_limit(tmp_path: Path) -> None:
    """A source has an end, a target a beginning and an end; sources to predict are cut, targets are not."""
    splits = {
        "train": [("a" * 40, "b" * 39), ("a" * 41, "b"), ("a", "b" * 40)],
        "validation": [("a" * 40, "b" * 50)],
        "test": [("a", "b"), ("a" * 41, "b" * 7)],
    }
    found_there = [one for one in found(corpus(tmp_path, splits, longest=41)) if one.kind == "too long"]
    assert [(one.split, places(one), one.text.split(": ")[1]) for one in found_there] == [
        ("train", ["train.en:2", "train.en:3"], "left out"),
        ("test", ["test.en:2"], "cut"),
    ]
    assert found_there[1].examples[0].excerpt.startswith("41 and 7 tokens: aaa")


def test_the_longest_row_has_a_place(tmp_path: Path) -> None:
    header, _ = lint.check(corpus(tmp_path, CLEAN))
    train = header["splits"]["train"]
    assert train["rows"] == 8
    assert train["source"]["longest"] == {"tokens": 37, "location": f"{tmp_path}/train.en:8"}
    assert train["source"]["tokens"] == sum(len(source) for source, _ in CLEAN["train"])


TAGS = {
    "train": ["Ann/B-per Lee/I-per went/O", "to/O York/B-loc", "Bo/B-per Ann/B-per Li/I-per", "he/O ran/O"],
    "validation": ["Ann/B-per went/O", "to/O York/B-loc"],
    "test": ["Bo/B-per ran/O"],
}


def test_valid_spans_are_fine(tmp_path: Path) -> None:
    header, findings = lint.check(tagged(tmp_path, TAGS))
    assert header["labels"] == "IOB2"
    assert not {one.kind for one in findings} & {"bio", "unseen label", "misaligned"}


@pytest.mark.parametrize(
    ("sentence", "seen"),
    [
        ("he/O Lee/I-per ran/O", "label 2: O [I-per] O"),
        ("York/B-loc Lee/I-per", "label 2: B-loc [I-per]"),
        ("Lee/I-per", "label 1: [I-per]"),
    ],
)
def test_broken_spans_are_found(tmp_path: Path, sentence: str, seen: str) -> None:
    finding = only(found(tagged(tmp_path, TAGS | {"validation": ["Ann/B-per went/O", sentence]})), "bio")
    assert finding[:4] == ("bio", "error", "validation", 1)
    assert places(finding) == ["validation.conll:4"]
    assert seen in finding.examples[0].excerpt


def test_spans_end_with_their_sentence(tmp_path: Path) -> None:
    finding = only(found(tagged(tmp_path, TAGS | {"validation": ["Ann/B-per", "Lee/I-per ran/O"]})), "bio")
    assert places(finding) == ["validation.conll:3"]


def test_the_scheme_that_fits_best_is_named(tmp_path: Path) -> None:
    older = ["Ann/I-per Lee/I-per went/O", "to/O York/I-loc", "Bo/I-per Ann/B-per Li/I-per", "he/O ran/O"]
    header, findings = lint.check(tagged(tmp_path, TAGS | {"train": older}))
    assert header["labels"] == "IOB1"
    finding = only(findings, "bio")
    assert (finding.severity, finding.split, finding.rows) == ("warning", "train", 3)


def test_spans_with_ends(tmp_path: Path) -> None:
    ends = {
        "train": ["Ann/B-per Lee/E-per went/O", "to/O York/S-loc", "A/B-per B/I-per C/E-per D/S-per"],
        "validation": ["Ann/S-per went/O", "Ann/B-per went/O", "Ann/S-per Lee/E-per", "so/O Ann/B-per"],
        "test": ["A/B-per B/E-per"],
    }
    header, findings = lint.check(tagged(tmp_path, ends))
    assert header["labels"] == "BIOES"
    finding = only(findings, "bio")
    assert finding[1:4] == ("error", "validation", 3)
    assert places(finding) == ["validation.conll:4", "validation.conll:7", "validation.conll:10"]


def test_labels_that_are_no_spans(tmp_path: Path) -> None:
    plain = {split: ["the/DET cat/NOUN sat/VERB I/PRON"] for split in TAGS}
    header, findings = lint.check(tagged(tmp_path, plain))
    assert header["labels"] is None
    assert not [one for one in findings if one.kind == "bio"]


def test_labels_never_seen_in_training(tmp_path: Path) -> None:
    finding = only(found(tagged(tmp_path, TAGS | {"test": ["he/O ran/O", "X/B-org Lee/I-loc"]})), "unseen label")
    assert finding[:4] == ("unseen label", "error", "test", 1)
    assert finding.text == "2 labels never seen in train: B-org, I-loc"
    assert places(finding) == ["test.conll:4"]


def test_what_follows_an_unseen_label_is_not_judged(tmp_path: Path) -> None:
    findings = found(tagged(tmp_path, TAGS | {"test": ["X/B-org Lee/I-per"]}))
    assert only(findings, "unseen label").rows == 1
    assert not [one for one in findings if one.kind == "bio"]


def test_words_without_labels(tmp_path: Path) -> None:
    splits = {"train": [("a b c", "X Y Z"), ("a b", "X"), ("c", "Z")], "validation": [("a", "X")], "test": [("b", "Y")]}
    data = corpus(tmp_path, splits, Words())
    data.target_tokenizer = Labels()
    finding = only(lint.check(data, lambda _: Tagging.row_format)[1], "misaligned")
    assert finding[:4] == ("misaligned", "error", "train", 1)
    assert places(finding) == ["train.en:2"]
    assert finding.examples[0].excerpt.startswith("2 words, 1 labels")


def test_one_label_for_a_sentence_is_not_misaligned(tmp_path: Path) -> None:
    splits = {name: [("a b c", "X"), ("a b", "Y")] for name in CLEAN}
    data = corpus(tmp_path, splits, Words())
    data.target_tokenizer = Labels()
    assert not [one for one in found(data) if one.kind == "misaligned"]


def test_the_cheap_part() -> None:
    train = Texts(["a dog", "", "a dog", "x\u2028y", "b\ufffd"], ["ein Hund", "leer", "ein Hund", "z", "c"])
    findings = checks.cheap({"train": train, "validation": Texts(["a dog"], ["ein Hund"])}, RowFormat())
    assert [(one.kind, one.split) for one in findings] == [
        ("empty", "train"), ("damaged", "train"), ("hidden break", "train"), ("overlap", "validation"), ("duplicate", "train"),
    ]  # fmt: skip
    assert checks.two_lines(findings, ["--config", "my.yaml"]) == (
        "data: rows to look at (errors among them): 1 empty, 1 damaged, 1 hidden break, 1 overlap, 1 duplicate\n"
        "see all with python -m seq2seq.lint --config my.yaml"
    )
    assert checks.two_lines([], []) == "data: no problems found"


def test_the_cheap_part_never_fails() -> None:
    broken = Texts(["a"], [None])  # type: ignore[list-item]
    findings = checks.cheap({"train": broken, "validation": Texts([], [])}, RowFormat())
    assert [one.kind for one in findings] == ["unchecked"]
    assert "not checked" in checks.two_lines(findings, [])
    empty = Texts([], [])
    assert checks.cheap({"train": empty, "validation": empty}, RowFormat()) == []


def run(arguments: Sequence[str]) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        command.run(lint.main, arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def configured(folder: Path, splits: dict[str, Pairs]) -> list[str]:
    """Arguments for a corpus of pairs."""
    data = corpus(folder, splits)
    settings = {
        "corpus": {"class_path": "Parallel", "init_args": {"source": "en", "target": "de"}},
        "tokenizer": {"class_path": "Characters"},
        "cache": data.cache,
    }
    trainer = {"max_epochs": 5000}
    (folder / "my.yaml").write_text(yaml.safe_dump({"data": settings, "trainer": trainer}))
    return ["--config", str(folder / "my.yaml"), "--data.path", str(folder)]


def test_clean_data_ends_with_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(configured(tmp_path, CLEAN)) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "no problems found"
    assert "\033" not in shown  # no terminal, no colours


FAULTY = changed("train", 4, ("\t", "Der Hund " * 30))
FAULTY["validation"].append(("犬が走る。" * 40, "Ein Hund\u2028rennt." * 10))


def test_errors_end_with_code_1_worst_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(configured(tmp_path, FAULTY)) == 1
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    severities = [line.split()[0] for line in lines if line.startswith(("error", "warning", "note"))]
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert lines[-1].startswith("2 errors, 2 warnings, 1 note: ")
    assert any(line.startswith(f"{'':9}train.en:5  ") for line in lines)  # without the folder
    for line in lines:
        assert sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in line) <= 100


def test_notes_alone_end_with_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(configured(tmp_path, changed("train", 5, CLEAN["train"][1]))) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 note: ready to train"


def test_json_holds_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*configured(tmp_path, FAULTY), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert set(content) == {"header", "findings", "verdict"}
    worst = content["findings"][0]
    assert worst["kind"] == "empty"
    assert worst["severity"] == "error"
    assert worst["examples"][0]["location"] == f"{tmp_path}/train.en:5"
    assert content["header"]["splits"]["test"]["rows"] == 2


def test_colours_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, findings = lint.check(corpus(tmp_path, FAULTY))
    assert "\033[31merror  \033[0m" in lint.page(header, findings, str(tmp_path), colours=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a configuration"),
        (["--config", "no/such.yaml"], "cannot read the configuration"),
        (["--config", "{folder}/my.yaml", "--data.path", "{folder}/nowhere"], "does not exist"),
        (["--config", "{folder}/my.yaml", "--data.pth", "x"], "pth"),
    ],
)
def test_bad_input_ends_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    configured(tmp_path, CLEAN)
    assert run([argument.format(folder=tmp_path) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def lint_folder(
    folder: Path, settings: str, capsys: pytest.CaptureFixture[str], place: Path
) -> dict[tuple[str, str], int]:
    """Rows of each finding about a real folder, by kind and split, and the exit code as ("code", "")."""
    (place / "my.yaml").write_text(f"data: {settings}\n")
    code = run(["--config", str(place / "my.yaml"), "--data.path", str(folder), "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    return {("code", ""): code} | {(one["kind"], one["split"]): one["rows"] for one in found}


@pytest.mark.data
def test_multi30k_has_no_errors(data_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = (
        "{corpus: {class_path: Parallel, init_args: {source: en, target: de, "
        "files: {train: train, validation: val, test: test_2016_flickr}}}, tokenizer: {class_path: Characters}}"
    )
    rows = lint_folder(data_folder / "multi30k-en-de", settings, capsys, tmp_path)
    assert rows["code", ""] == 0
    assert rows["duplicate", "train"] == 3
    assert rows["ambiguous", "train"] == 12
    assert rows["odd length", "train"] == 2  # two targets that are nothing but @@
    assert rows["known source", "validation"] == 1
    assert ("overlap", "test") not in rows


@pytest.mark.data
def test_wnut17_is_sound(data_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Sentences are divided by lines of a tab; were they not, spans would run over their ends."""
    settings = (
        '{corpus: {class_path: Conll, init_args: {source: 1, target: 2, delimiter: "\\t", files: {train: wnut17train.conll, '
        "validation: emerging.dev.conll, test: emerging.test.annotated}}}, tokenizer: {class_path: Words, init_args: "
        '{separator: "\\t"}}, target_tokenizer: {class_path: Labels, init_args: {separator: "\\t"}}}'
    )
    rows = lint_folder(data_folder / "wnut17", settings, capsys, tmp_path)
    assert rows["code", ""] == 0
    assert not {kind for kind, _ in rows} & {"bio", "empty", "misaligned", "unseen label", "overlap"}
    assert rows["duplicate", "train"] == 91


@pytest.mark.data
def test_aeslc_repeats_itself(data_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = (
        "{corpus: {class_path: Jsonl, init_args: {source: body, target: subject, files: {train: train.jsonl, "
        "validation: dev.jsonl, test: test.jsonl}}}, tokenizer: {class_path: Characters}}"
    )
    rows = lint_folder(data_folder / "aeslc", settings, capsys, tmp_path)
    assert rows["code", ""] == 0
    assert rows["duplicate", "train"] == 865
    assert rows["too long", "train"] > 1000


@pytest.mark.data
@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_understood(
    config: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = config.stem.partition("_")[2].partition("_")[0]
    folder = next((one for one in data_folder.iterdir() if one.name.startswith(name)), None)
    if folder is None or name == "spoken-digits":  # of which recordings are put together first (docs/speech.md)
        pytest.skip("its data are not among the real data sets")
    code = run(["--config", str(config), "--data.path", str(folder)])
    shown, error = capsys.readouterr()
    wrong = [line.split()[1:3] for line in shown.splitlines() if line.startswith("error ")]
    assert wrong == ([["test", "overlap"]] if name.startswith("segmentation") else []), (shown, error)  # as published
    assert code == bool(wrong), (shown, error)
    assert len(shown.splitlines()) > 5

"""A first configuration: the task, corpus and columns that files are for, and a training of it without an edit."""

import json
import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from seq2seq import init, train
from seq2seq.errors import InputError
from seq2seq.runs.run_directory import RunDirectory
from seq2seq.starting import guess_letters, guess_series, recipes

WORDS = "red blue old new dog cat house tree runs sleeps here there always never".split()
HANGUL = "".join(map(chr, range(0xAC00, 0xD7A3, 97)))
KANA = "".join(map(chr, range(0x3042, 0x3090)))
HAN = "".join(map(chr, range(0x4E00, 0x5000)))
Files = dict[str, str | bytes]
ROWS = 300


def sentence(row: int, count: int = 5) -> str:
    return " ".join(random.Random(row).choices(WORDS, k=count))


def number(row: int) -> float:
    return 10 + (row % 7) + random.Random(row).random()


def day(row: int) -> str:
    return (date(2020, 1, 1) + timedelta(days=row)).isoformat()


def shuffled_day(row: int) -> date:
    return date(1980, 1, 1) + timedelta(days=row * 7919 % 10_007)


def letters(row: int, alphabet: str = "bcdfghklmnpqrstvwxyz") -> str:
    return "".join(random.Random(row).choices(alphabet, k=5 + row % 4))


def sound(letter: str) -> str:
    return f"{KANA[ord(letter) % 40]}{ord(letter) % 450}"


def table(line: Callable[[int], str], header: str = "", rows: int = ROWS) -> str:
    return "".join(f"{one}\n" for one in ([header] if header else []) + [line(row) for row in range(rows)])


def objects(row: Callable[[int], Any]) -> str:
    return table(lambda number: json.dumps(row(number)))


def tokens(row: int, *columns: Callable[[str], str]) -> str:
    return "\n".join("\t".join([word, *(column(word) for column in columns)]) for word in sentence(row).split()) + "\n"


def entity(word: str) -> str:
    return "B-X" if word == "dog" else "O"


def question(row: int, split: str = "train") -> dict[str, str]:
    words = sentence(row + 1000 * len(split))
    return {"seq.in": words, "seq.out": " ".join(map(entity, words.split())), "label": ("one way", "return")[row % 2]}


def spans(row: int) -> dict[str, Any]:
    words = sentence(row)
    found = [[at, at + 3, "PET"] for at in range(len(words)) if words[at : at + 4] in ("dog ", "cat ")]
    return {"text": words, "entities": found or []}


MADE: dict[str, tuple[Files, list[str], str, dict[str, Any]]] = {
    "CSV of classes": ({"a.csv": table(lambda row: f'{row},"{sentence(row)}, yes",{"ab"[row % 2]}', "id,text,label")},
                       [], "Classification", {"class_path": "Csv", "source": "text", "target": "label"}),
    "semicolons": ({"a.csv": table(lambda row: f"{sentence(row)};{sentence(row + 1, 3)}", "question;answer")},
                   [], "Translation", {"class_path": "Csv", "source": "question", "delimiter": ";"}),
    "TSV of text": ({"train.tsv": table(lambda row: f"{sentence(row)}\t{sentence(row + 1)} x")},
                    [], "Translation", {"class_path": "Tsv"}),
    "quoted TSV": ({"a.tsv": table(lambda row: f'"{sentence(row)}"\t"{sentence(row, 7)}"', '"source"\t"target"')},
                   [], "Translation", {"class_path": "Csv", "delimiter": "\t"}),
    "class first": ({"a.txt": table(lambda row: f"{row % 3} {sentence(row)}")},
                    [], "Classification", {"class_path": "Tsv", "source": 2, "target": 1, "delimiter": " "}),
    "latin-1": ({"a.tsv": table(lambda row: f"caf\xe9 {sentence(row)}\t{'xy'[row % 2]}").encode("latin-1")},
                [], "Classification", {"encoding": "latin-1"}),
    "parallel": ({f"{split}.{side}": table(lambda row, side=side, at=1000 * at: f"{sentence(row + at)}{' so' * (side == 'fi')}")
                  for at, split in enumerate(("train", "dev", "test")) for side in ("fi", "en")},
                 [], "Translation", {"class_path": "Parallel", "source": "en", "target": "fi"}),
    "other direction": ({f"train.{side}": table(lambda row, side=side: f"{sentence(row)}{' so' * (side == 'fi')}") for side in ("fi", "en")},
                        ["--source", "fi"], "Translation", {"source": "fi", "target": "en"}),
    "array": ({"a.json": json.dumps([{"input": sentence(row), "output": sentence(row, 4)} for row in range(ROWS)], indent=1)},
              [], "Translation", {"class_path": "Jsonl", "source": "input", "target": "output"}),
    "nested": ({"a.jsonl": objects(lambda row: {"id": row, "translation": {"de": sentence(row, 4), "en": sentence(row)}})},
               [], "Translation", {"source": "translation.en", "target": "translation.de"}),
    "lists": ({"a.jsonl": objects(lambda row: {"tokens": sentence(row).split(), "ner_tags": list(map(entity, sentence(row).split()))})},
              [], "Tagging", {"class_path": "Jsonl", "source": "tokens", "target": "ner_tags"}),
    "lists of numbers": ({"a.jsonl": objects(lambda row: {"tokens": sentence(row).split(),
                                                         "tags": [len(word) for word in sentence(row).split()]})},
                         [], "Tagging", {"label_names": [f"label{n}" for n in range(7)]}),
    "spans": ({"a.jsonl": objects(spans)}, [], "Tagging", {"class_path": "Spans", "source": "text", "target": "entities"}),
    "CoNLL": ({"ner-train.conll": table(lambda row: tokens(row, entity)), "ner-dev.conll": table(lambda row: tokens(row, entity), rows=20)},
              [], "Tagging", {"class_path": "Conll", "target": 2, "files": {"train": "ner-train.conll", "validation": "ner-dev.conll"}}),
    "CoNLL with comments": ({"a.txt": table(lambda row: f"# id = {row}\n{tokens(row, str.upper, entity)}")},
                            [], "Tagging", {"class_path": "Conll", "target": 3, "comments": "# "}),
    "lines of labels": ({"a.tsv": table(lambda row: f"{sentence(row)}\t{' '.join(map(entity, sentence(row).split()))}")},
                        [], "Tagging", {"class_path": "Tsv"}),
    "phones": ({"a.tsv": table(lambda row: f"{sentence(row, 1)}{row}\t{' '.join(f'{sentence(row, 1)}{row}')}")},
               [], "Translation", {"class_path": "Tsv"}),
    "inflection": ({"a.tsv": table(lambda row: f"{sentence(row, 1)}{row}\t{sentence(row, 1)}{row}ed\tV;{'PST' if row % 2 else 'PRS'}")},
                   [], "Translation", {"source": [1, 3], "target": 2}),
    "forms below each other": ({"a.tsv": table(lambda row: f"{letters(row // 4)}\t{letters(row // 4)}{'abcd'[row % 4]}\tV;{row % 4}SG")},
                               [], "Translation", {"source": [1, 3], "target": 2}),
    "twenty forms": ({"a.tsv": table(lambda row: f"{letters(row)}\t{letters(row)}ed\tV;{row % 15}SG;{'PST' if row % 2 else 'PRS'}", rows=20)},
                     [], "Translation", {"source": [1, 3], "target": 2}),
    "inflection of 2016": ({"a.tsv": table(lambda row: f"{letters(row)}\tpos=V,tense={'PST' if row % 2 else 'PRS'}\t{letters(row)}ed")},
                           [], "Translation", {"source": [1, 2], "target": 3}),
    "universal features": ({"a.csv": table(lambda row: f"{letters(row)},{letters(row)}ed,Mood=Ind|Tense={('Past', 'Pres')[row % 2]}", "lemma,form,feats")},
                           [], "Translation", {"source": ["lemma", "feats"], "target": "form"}),
    "summaries": ({"a.csv": table(lambda row: f"{sentence(row, 60)},{sentence(row, 4)}", "article,summary")},
                  [], "Translation", {"source": "article", "target": "summary"}),
    "text": ({"book.txt": table(lambda row: sentence(row, 3 + row % 9) + ".")}, [], "Generation", {"class_path": "Lines"}),
    "daily series": ({"a.csv": table(lambda row: f"{day(row)},{number(row):.2f},{row % 5}", "date,sales,visits")},
                     [], "Forecasting", {"columns": ["sales", "visits"], "time": "date", "history": 21, "horizon": 7}),
    "newest first, with a gap": ({"a.csv": "date,sales\n" + "".join(f"{day(row)},{number(row):.2f}\n" for row in range(200, 0, -1) if row != 50)},
                                 [], "Forecasting", {"columns": "sales", "time": "date", "sort": True, "gaps": "previous"}),
    "shops one below the other": ({"a.csv": table(lambda row: f"{'north' if row < 150 else 'south'},{day(row % 150)},{number(row):.2f}", "shop,date,sales", 300)},
                                  [], "Forecasting", {"columns": "sales", "time": "date", "group": "shop"}),
    "numbered shops and items": ({"a.csv": table(lambda row: f"{day(row // 6)},{row % 2 + 1},{row % 6 // 2 + 1},{number(row):.2f}", "date,store,item,sales", 900)},
                                 [], "Forecasting", {"columns": "sales", "time": "date", "group": ["store", "item"]}),
    "one column of numbers": ({"a.csv": table(lambda row: f"{number(row):.2f}")}, [], "Forecasting", {"columns": 1}),
    "slots and intents": ({f"{split}/{name}": table(lambda row, split=split, name=name: question(row, split)[name])
                           for split in ("train", "dev", "test") for name in ("seq.in", "seq.out", "label")},
                          [], "Tagging", {"class_path": "Parallel", "pairs": {
                              split: [f"{folder}/seq.in", f"{folder}/seq.out", f"{folder}/label"]
                              for split, folder in (("train", "train"), ("validation", "dev"), ("test", "test"))}}),
    "slots and intents in a table": ({"a.csv": table(lambda row: ",".join(question(row).values()), "utterance,slots,intent")},
                                     [], "Tagging", {"source": "utterance", "target": "slots", "sentence": "intent"}),
    "intents in comments": ({"a.conll": table(lambda row: f"# intent: {question(row)['label']}\n{tokens(row, entity)}")},
                            [], "Tagging", {"class_path": "Conll", "sentence": "intent"}),
    "labels beside texts": ({"train.text": table(sentence), "train.labels": table(lambda row: "ab"[row % 2])},
                            [], "Classification", {"pairs": {"train": ["train.text", "train.labels"]}}),
    "two files without a split": ({"text.txt": table(sentence), "tags.txt": table(lambda row: " ".join(map(entity, sentence(row).split())))},
                                  [], "Tagging", {"pairs": {"train": ["text.txt", "tags.txt"]}}),
    "sales with a plan": ({"a.csv": table(lambda row: f"{day(row)},{f'{number(row):.2f}' if row < 290 else ''},{row % 5}", "date,sales,price")},
                          [], "Forecasting", {"columns": "sales", "future_covariates": "price"}),
    "answers in lists": ({"a.json": json.dumps([{"qa": {"question": sentence(row), "answers": [{"text": sentence(row, 3)}]}} for row in range(ROWS)])},
                         [], "Translation", {"source": "qa.question", "target": "qa.answers.0.text"}),
    "chats": ({"a.jsonl": objects(lambda row: {"messages": [{"role": role, "content": sentence(row + at, 6)} for at, role in enumerate(("user", "assistant"))]})},
              [], "Translation", {"source": "messages.0.content", "target": "messages.1.content"}),
    "several labels": ({"a.jsonl": objects(lambda row: {"text": sentence(row), "labels": [name for bit, name in enumerate("abc") if row >> bit & 1]})},
                       [], "Classification", {"source": "text", "target": "labels"}),
    "columns of one name": ({"a.csv": table(lambda row: f"{sentence(row)},{sentence(row, 2)},{'ab'[row % 2]}", "text,text,label")},
                            ["--source", "1"], "Classification", {"source": 1, "target": "label", "header": True}),
    "line breaks in quotes": ({"a.csv": table(lambda row: f'"{sentence(row)}\n{sentence(row)}","{sentence(row + 1)}"', "source,target")},
                              [], "Translation", {"source": "source", "target": "target"}),
    "decimal commas": ({"a.csv": table(lambda row: f"{date.fromisoformat(day(row)):%d.%m.%Y};" + f"{number(row):.2f}".replace(".", ","), "Datum;Wert")},
                       [], "Forecasting", {"columns": "Wert", "time": "Datum", "delimiter": ";", "decimal": ","}),
    "hours of 12": ({"a.csv": table(lambda row: f"01/{row // 24 + 1:02}/2021 {(row % 24 + 11) % 12 + 1}:00 {'AP'[row % 24 // 12]}M,{row % 24}", "when,load")},
                    [], "Forecasting", {"columns": "load", "time": "when", "horizon": 24}),
    "constant": ({"a.csv": table(lambda row: f"{day(row)},5", "date,v")}, [], "Forecasting", {"columns": "v", "time": "date"}),
    "NA for missing": ({"a.csv": table(lambda row: f"{day(row)},{'NA' if row % 40 == 3 else number(row)}", "date,v")},
                       [], "Forecasting", {"columns": "v", "fill": "previous"}),
    "two texts": ({"a.csv": table(lambda row: f"{sentence(row)},{sentence(row + 1)},{'ab'[row % 2]}", "premise,hypothesis,label")},
                  [], "Classification", {"source": ["premise", "hypothesis"], "target": "label"}),
    "spans and an intent": ({"a.jsonl": objects(lambda row: spans(row) | {"intent": "xy"[row % 2]})},
                            [], "Tagging", {"class_path": "Spans", "sentence": "intent"}),
    "Japanese": ({"a.tsv": table(lambda row: f"{'赤い犬が家で眠る'[row % 5 :]}{row}\t{sentence(row)}")},
                 [], "Translation", {"class_path": "Tsv"}),
    "written dates": ({"a.tsv": table(lambda row: f"{shuffled_day(row):%A %d %B %Y}\t{shuffled_day(row)}")},
                      [], "Translation", {"class_path": "Tsv"}),
    "named dates": ({"a.csv": table(lambda row: f'{row},"{shuffled_day(row):%A %d %B %Y}",{shuffled_day(row)}', "id,input,output")},
                    [], "Translation", {"source": "input", "target": "output"}),
    "dates in words": ({"a.tsv": table(lambda row: f"{shuffled_day(row)}\t{shuffled_day(row):%A %d %B %Y}")},
                       [], "Translation", {"class_path": "Tsv"}),
    "sums": ({"a.tsv": table(lambda row: f"{row * 7}+{row * 91 % 800}\t{row * 7 + row * 91 % 800}")}, [], "Translation", {"class_path": "Tsv"}),
    "digits in words": ({"a.tsv": table(lambda row: f"{row * 7919 % 10_007}\t{' '.join(WORDS[int(one)] for one in str(row * 7919 % 10_007))}")},
                        [], "Translation", {"class_path": "Tsv"}),
    "Chinese sounds": ({"a.tsv": table(lambda row: f"{letters(row, HAN)}\t{' '.join(map(sound, letters(row, HAN)))}", rows=1000)},
                       [], "Translation", {"class_path": "Tsv"}),
    "Chinese typed by sound": ({"a.tsv": table(lambda row: f"{' '.join(map(sound, letters(row, HAN)))}\t{letters(row, HAN)}", rows=1000)},
                               [], "Translation", {"class_path": "Tsv"}),
    "acronyms": ({"a.tsv": table(lambda row: f"{letters(row)}\t{' '.join(one + letters(row + at) for at, one in enumerate(letters(row)))}")},
                 [], "Translation", {"class_path": "Tsv"}),
    "reversed words": ({"a.tsv": table(lambda row: f"{letters(row)}\t{letters(row)[::-1]}")}, [], "Translation", {"class_path": "Tsv"}),
    "sorted numbers": ({"a.tsv": table(lambda row: f"{' '.join(letters(row))}\t{' '.join(sorted(letters(row)))}")},
                       [], "Translation", {"class_path": "Tsv"}),
    "kana": ({"a.tsv": table(lambda row: f"{letters(row, KANA)}\t{' '.join('kst'[ord(one) % 3] + ' a' for one in letters(row, KANA))}")},
             [], "Translation", {"class_path": "Tsv"}),
    "Korean": ({"a.tsv": table(lambda row: f"{letters(row, HANGUL)}\t{' '.join(letters(row))}")}, [], "Translation", {"class_path": "Tsv"}),
    "Korean forms": ({"a.tsv": table(lambda row: f"{letters(row, HANGUL)}\t{letters(row, HANGUL)}다\tV;{'PST' if row % 2 else 'PRS'}")},
                     [], "Translation", {"source": [1, 3], "target": 2}),
    "words with spaces": ({"a.tsv": table(lambda row: f"{letters(row)} {letters(row + 1)}\t{' '.join(letters(row) + letters(row + 1))}")},
                          [], "Translation", {"class_path": "Tsv"}),
    "names": ({"a.tsv": table(lambda row: f"{letters(row)} {letters(row + 1)}\t{letters(row)} {letters(row + 1)}".upper())},
              [], "Translation", {"class_path": "Tsv"}),
    "turns of dialogues": ({"a.csv": table(lambda row: f"{row // 5},{sentence(row)},{'xy'[row % 2]}", "dialogue,text,act")},
                           [], "Classification", {"source": "text"}),
    "one label too many": ({"a.tsv": table(lambda row: f"{sentence(row)}\t{' '.join(map(entity, sentence(row).split()))}{' O' * (row == 9)}")},
                           [], "Tagging", {"class_path": "Tsv"}),
    "sets of classes in a cell": ({"a.csv": table(lambda row: f'"{sentence(row)}","{["a", "b", "a,b", "b,c", "c"][row % 5]}"', "text,tags")},
                                  [], "Classification", {"source": "text", "target": "tags"}),
    "a header in German": ({"a.csv": table(lambda row: f"{sentence(row)};{('ja', 'nein')[row % 2]}", "Satz;Antwort")},
                           [], "Classification", {"source": "Satz", "target": "Antwort"}),
    "sentences with their licence": ({"a.txt": table(lambda row: f"{sentence(row)}\t{sentence(row + 1)}\tCC-BY 2.0 #{row}")},
                                     [], "Translation", {"class_path": "Tsv"}),
    "many classes": ({"a.tsv": table(lambda row: f"{sentence(row)}\tclass {row % 300}", rows=3000)}, [], "Classification", {"class_path": "Tsv"}),
}  # fmt: skip


def written(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The configuration that `init` writes for made-up files."""
    files, options, _, _ = MADE[name]
    (folder / "data").mkdir()
    for file, content in files.items():
        (folder / "data" / file).parent.mkdir(exist_ok=True)
        (folder / "data" / file).write_bytes(content.encode() if isinstance(content, str) else content)
    monkeypatch.chdir(folder)
    place = Path("data") if len(files) > 1 else Path("data") / next(iter(files))
    init.main([str(place), "--output", "first.yaml", *options])
    text = (folder / "first.yaml").read_text()
    assert len(text.splitlines()) <= 25
    content: dict[str, Any] = yaml.safe_load(text)
    return content


@pytest.mark.parametrize("name", MADE)
def test_files_are_taken_for_what_they_are(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = written(name, tmp_path, monkeypatch)
    corpus = content["data"]["corpus"]
    found = {"class_path": corpus} if isinstance(corpus, str) else corpus | corpus.get("init_args", {})
    assert content["task"] == MADE[name][2]
    assert found == found | MADE[name][3]


@pytest.mark.parametrize(
    ("name", "source", "target", "attention"),
    [
        ("phones", "Characters", "Words", "Monotonic"),
        ("kana", "Characters", "Words", "Monotonic"),
        ("words with spaces", "Characters", "Words", "Monotonic"),
        ("names", "Characters", None, "Monotonic"),
        ("digits in words", "Characters", "Words", "Monotonic"),
        ("Chinese sounds", "Characters", "Words", "Monotonic"),
        ("Chinese typed by sound", "Words", "Characters", "Monotonic"),
        ("acronyms", "Characters", None, "Monotonic"),
        ("written dates", "Characters", None, "General"),
        ("dates in words", "Characters", None, "General"),
        ("reversed words", "Characters", None, "General"),
        ("sorted numbers", "Words", None, "General"),
        ("TSV of text", None, None, "Dot"),
        ("Japanese", None, None, "Dot"),
    ],
)
def test_short_texts_are_told_by_symbols_in_their_order(
    name: str, source: str | None, target: str | None, attention: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = written(name, tmp_path, monkeypatch)
    chosen = content["model"]["attention"]
    assert (content["data"].get("tokenizer"), content["data"].get("target_tokenizer")) == (source, target)
    assert (chosen if isinstance(chosen, str) else chosen["class_path"]) == attention
    assert content["data"].get("shared_vocabulary", False) is (source is not None and target is None)


def test_blocks_of_letters_are_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart = {"class_path": "Characters", "init_args": {"normalization": "NFD"}}
    for name in ("Korean", "Korean forms"):
        (tmp_path / name).mkdir()
        tokenizer = written(name, tmp_path / name, monkeypatch)["data"]["tokenizer"]
        assert apart in (tokenizer, tokenizer["init_args"].get("parts", [None])[0])


def test_long_letters_are_not_compared_for_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequences of thousands of letters, whose order plays no part: the sum over alignments is not for them."""
    monkeypatch.chdir(tmp_path)
    Path("a.tsv").write_text(table(lambda row: f"{letters(row) * 400}\t{letters(row)[::-1] * 400}"))
    monkeypatch.setattr(guess_letters, "longest_common_subsequence", None)
    init.main(["a.tsv"])
    assert yaml.safe_load(Path("a.yaml").read_text())["model"]["attention"] == "General"


def test_long_sources_have_too_many_sums_over_alignments() -> None:
    short, long = (recipes.transduction("Characters", "Characters", letters, in_order=True) for letters in (10, 100))
    assert (short["model"]["attention"], long["model"]["attention"]) == (recipes.ALIGNED, "General")
    assert recipes.inflection("Characters", ";", in_order=False)["model"]["attention"] == "General"


QUICK = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--model.hidden_size", "8"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MADE.keys() - {"one label too many"}))
def test_the_configuration_trains_without_an_edit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(name, tmp_path, monkeypatch)
    train.main(["--config", "first.yaml", "--run", "run", *QUICK])
    assert json.loads(RunDirectory(tmp_path / "run").results.read_text())["splits"]["test"]["metrics"]


def test_training_names_the_row_with_a_label_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("one label too many", tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"a\.tsv:10: 5 tokens but 6 labels"):
        train.main(["--config", "first.yaml", "--run", "run", *QUICK])


REAL = {
    "aeslc": [], "g2p-sigmorphon2020": ["--set", "kor"], "inflection-conll2018": ["--set", "german-low"],
    "inflection-sigmorphon2023": ["--set", "heb"], "multi30k-en-de": [], "segmentation-sigmorphon2022": [],
    "small-parallel-enja": ["--source", "ja"], "sst2": [], "trec": ["--set", "TREC-all"], "ud-english-ewt": [],
    "ud-uyghur-udt": [], "ud-vietnamese-vtb": [], "wnut17": [],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_folders(name: str, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    init.main([str(data_folder / name), "--output", "first.yaml", *REAL[name]])
    few = ["--data.max_rows", '{"train": 400, "validation": 8, "test": 8}']
    train.main(["--config", "first.yaml", "--run", "run", *QUICK, *few])
    assert json.loads(RunDirectory(tmp_path / "run").results.read_text())["splits"]["test"]["metrics"]


WRONG: dict[str, tuple[Files, list[str], str]] = {
    "nowhere": ({}, [], "does not exist"),
    "several sets": ({"a_train.tsv": "x\ty\n", "b_train.tsv": "x\ty\n"}, [], "--set: a, b"),
    "another set": ({"a_train.tsv": "x\ty\n"}, ["--set", "c"], "--set c"),
    "no training": ({"one.tsv": "x\ty\n", "two.tsv": "x\ty\n"}, [], r"train \(one\.tsv, two\.tsv\)"),
    "many columns": ({"a.csv": table(lambda row: ",".join(sentence(row + n) for n in range(4)), "name,x,y,z")}, [],
                     "--source NAME --target NAME.* name, x, y, z"),
    "another column": ({"a.csv": table(lambda row: f"{sentence(row)},b", "text,label")}, ["--source", "body"], "--source body.*text, label"),
    "sound": ({"train.wav": b"RIFF", "test.wav": b"RIFF"}, [], "sound"),
    "empty": ({"a.tsv": ""}, [], "no rows"),
    "rows in an object": ({"a.json": json.dumps({"data": [{"a": "x"}] * 3}, indent=1)}, [], r"a\.json:1.*'\.data\[\]'"),
    "few rows": ({"a.csv": "text,label\nred dog,pos\nblue cat,neg\n"}, [], r"2 rows"),
    "bars": ({"a.txt": table(lambda row: f"{sentence(row)} ||| {sentence(row)}")}, [], r"sed"),
    "tags behind words": ({"a.txt": table(lambda row: " ".join(f"{word}/{'N' if word in WORDS[:9] else 'X'}" for word in sentence(row).split()))}, [], "sed"),
    "labels left out": ({"a.csv": table(lambda row: f"{sentence(row)},{['a', 'b', ''][row % 3]}", "text,label")}, [], r"100 of 300 rows have no label"),
    "real numbers": ({"a.csv": table(lambda row: f"{sentence(row)},{number(row):.3f}", "text,score")}, [], "score holds numbers"),
    "thousands": ({"a.csv": table(lambda row: f'{day(row)},"{1000 + row:,}"', "date,v")}, [], r"v holds numbers.*1,000"),
    "a token a row": ({"a.csv": table(lambda row: f"{f'Sentence: {row // 5}' if row % 5 == 0 else ''},{sentence(row, 1)},{entity(sentence(row, 1))}", "sentence,word,tag")},
                      [], r"sentence.*\.conll"),
    "numbered sentences": ({"a.csv": table(lambda row: f"{row // 5},{sentence(row, 1)},{entity(sentence(row, 1))}", "sentence,word,tag")},
                           [], r"sentence.*\.conll"),
    "several labels a line": ({"a.txt": table(lambda row: f"__label__a __label__{'bc'[row % 2]} {sentence(row)}")}, [], "JSON"),
    "mostly empty numbers": ({"a.csv": table(lambda row: f"{sentence(row)},{row if row % 9 == 4 else ''}", "text,score")}, [], "only column of text"),
    "few numbers": ({"a.csv": table(lambda row: f"{row}.5", rows=20)}, [], "20 rows"),
    "broken": ({"a.jsonl": '{"a": 1'}, [], "a.jsonl:1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_only_the_user_knows_is_asked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, options, message = WRONG[name]
    monkeypatch.chdir(tmp_path)
    for file, content in files.items():
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / file).write_bytes(content.encode() if isinstance(content, str) else content)
    place = f"data/{next(iter(files))}" if len(files) == 1 and name != "another set" else "data"
    with pytest.raises(InputError, match=message) as caught:
        init.main([place, *options])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.yaml"))


def test_what_is_left_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(
        table(lambda row: f"{sentence(row)},{sentence(row, 9)},{'ab'[row % 2]}", "text,note,label")
    )
    init.main(["a.csv"])
    assert "not used: note" in capsys.readouterr().out
    Path("c.csv").write_text(table(lambda row: f'{sentence(row)},"{["a", "b", "a, b"][row % 3]}"', "text,label"))
    init.main(["c.csv"])
    assert "without the space after ," in capsys.readouterr().out
    Path("b.csv").write_text(table(lambda row: f"{row % 12 + 1:02}/{row % 28 + 1:02}/21,{row % 7}.5", "date,v"))
    init.main(["b.csv"])
    assert "the column date is not taken for the time" in capsys.readouterr().out


def test_nothing_is_replaced_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("TSV of text", tmp_path, monkeypatch)
    with pytest.raises(InputError, match="--overwrite"):
        init.main(["data/train.tsv", "--output", "first.yaml"])
    init.main(["data/train.tsv", "--output", "first.yaml", "--overwrite"])


def test_long_series_are_forecast_once_a_horizon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = written("daily series", tmp_path, monkeypatch)["data"]["corpus"]["init_args"]
    assert "stride" not in settings
    monkeypatch.setattr(guess_series, "MANY", 100)
    init.main(["data/a.csv", "--output", "second.yaml"])
    settings = yaml.safe_load((tmp_path / "second.yaml").read_text())["data"]["corpus"]["init_args"]
    assert settings["stride"] == settings["horizon"] == 7
    said = capsys.readouterr().out
    assert "test_share" in said
    assert "data.holdout" not in said

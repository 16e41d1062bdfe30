"""Comparing what systems have written: the right numbers, the right words, and refusals that say which file is wrong."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from seq2seq import evaluate
from seq2seq.analysis.comparison import comparison
from seq2seq.analysis.systems import common_name, gather, metrics_of, read_predictions
from seq2seq.cli.command import run as run_command
from seq2seq.errors import InputError
from seq2seq.metrics.accuracy import ExactMatch
from seq2seq.metrics.bleu import Bleu, Chrf
from seq2seq.metrics.calibration import CalibrationError
from seq2seq.report import compare, tables
from tests.analysis.systems import REFERENCES, SOURCES, compared, write_run, wrong


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """A good run, and two seeds of a bad one."""
    return [
        write_run(tmp_path / "good", wrong([0]), {"seed": 1, "model": {"layers": 2}}),
        write_run(tmp_path / "bad_seed1", wrong(range(9)), {"seed": 1, "model": {"layers": 1}}),
        write_run(tmp_path / "bad_seed2", wrong(range(8)), {"seed": 2, "model": {"layers": 1}}),
    ]


def test_seeds_of_one_configuration_are_pooled(runs: list[Path]) -> None:
    found = compared(*runs)
    assert [one["name"] for one in found["systems"]] == ["good", "bad"]
    assert found["systems"][1]["seeds"] == [1, 2]
    metric = found["metrics"][0]
    good, bad = metric["scores"]
    assert good["value"] == pytest.approx(100 * 11 / 12)
    assert bad["seeds"] == pytest.approx([100 * 3 / 12, 100 * 4 / 12])
    assert bad["value"] == pytest.approx(np.mean(bad["seeds"]))
    assert bad["deviation"] == pytest.approx(np.std(bad["seeds"], ddof=1))
    difference = metric["differences"][0]
    assert difference["difference"] == pytest.approx(bad["value"] - good["value"])
    assert difference["better"] is False
    assert (difference["wins"], difference["losses"], difference["ties"]) == (0, 8, 4)
    assert found["settings"] == [{"name": "model.layers", "values": [2, 1]}]


def test_the_same_seed_twice_is_two_systems(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, wrong([1]), {"seed": 1, "model": {}}) for name in ("monday", "tuesday")]
    found = compared(*paths)
    assert [one["name"] for one in found["systems"]] == ["monday", "tuesday"]
    assert found["metrics"][0]["differences"][0]["better"] is None


def test_names_of_seeds() -> None:
    assert common_name([Path("base_seed1"), Path("base_seed2")]) == "base"
    assert common_name([Path("1"), Path("2")]) == "1"
    assert common_name([Path("a.txt")]) == "a.txt"


def test_rows_that_differ_most_come_first(runs: list[Path]) -> None:
    found = compared(*runs[:2], metrics=[Chrf()])["differing"]
    assert sorted(row["id"] for row in found) == list(range(1, 9))
    spreads = [row["predictions"][0]["score"] - row["predictions"][1]["score"] for row in found]
    assert spreads == sorted(spreads, reverse=True)
    assert found[0]["id"] == 1
    assert [one["text"] for one in found[0]["predictions"]] == [REFERENCES[1], "no idea"]
    assert found[0]["source"] == SOURCES[1]


def test_whole_speakers_are_drawn_where_they_are_known(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, wrong(rows), {"name": name}) for name, rows in (("a", []), ("b", [0, 1, 2]))]
    assert "by_speaker" not in compared(*paths)["metrics"][0]["differences"][0]
    for path in paths:
        file = path / "predictions" / "test.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        spoken = [{**row, "speaker": f"s{place // 3}"} for place, row in enumerate(rows)]
        file.write_text("".join(json.dumps(row) + "\n" for row in spoken))
    found = compared(*paths)
    difference = found["metrics"][0]["differences"][0]
    assert difference["by_speaker"]["speakers"] == 4
    assert difference["by_speaker"]["p_randomised"] == 1.0, "all of the difference is one speaker's"
    assert "4 whole speakers" in tables.sentence(difference, found["metrics"][0], 0.05)
    assert [one["by"] for one in found["systems"][1]["breakdowns"]].count("speaker") == 1
    groups = next(one for one in found["systems"][1]["breakdowns"] if one["by"] == "speaker")["groups"]
    assert [(one["label"], one["value"]) for one in groups] == [("s0", 0), ("s1", 100), ("s2", 100), ("s3", 100)]


def test_a_lower_error_is_better(runs: list[Path]) -> None:
    from seq2seq.metrics.bleu import Ter

    found = compared(*runs[:2], metrics=[Ter()])["metrics"][0]
    assert found["scores"][1]["value"] > found["scores"][0]["value"]
    difference = found["differences"][0]
    assert difference["difference"] > 0
    assert difference["better"] is False
    assert difference["losses"] == 8
    assert "bad_seed1 is worse than good" in tables.sentence(difference, found, 0.05)


def test_metrics_that_a_system_lacks_are_left_out_with_a_note(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", wrong([0]), {"seed": 1}, [ExactMatch(), CalibrationError()])
    text = write_lines(tmp_path / "other.txt", wrong([1]))
    systems = gather([(None, run), ("other", text)], None, "test")
    found = comparison(systems, metrics_of(systems, "test"), "test")
    assert [one["name"] for one in found["metrics"]] == ["exact_match"]
    assert "calibration_error is left out" in found["notes"][0]
    with pytest.raises(InputError, match="calibration_error"):
        comparison(systems, [CalibrationError()], "test", asked_for=True)


def test_scores_of_older_runs_are_known_by_name(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", wrong([0]), {"seed": 1})
    results = json.loads((run / "results.json").read_text())
    results["splits"]["test"]["metrics"] = {"chrf": {"value": 1.0}, "exact_match": {}}
    (run / "results.json").write_text(json.dumps(results))
    assert [one.name for one in metrics_of(gather([(None, run)], None, "test"), "test")] == ["chrf", "exact_match"]
    (run / "results.json").unlink()
    assert [one.name for one in metrics_of(gather([(None, run)], None, "test"), "test")] == ["bleu", "chrf", "ter"]


# The command


def call(*arguments: str | Path) -> int:
    """Run the command as a user does: its exit code."""
    with pytest.raises(SystemExit) as ended:
        run_command(evaluate.main, [str(one) for one in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Plain texts of anybody's."""
    return {
        name: write_lines(tmp_path / f"{name}.txt", lines)
        for name, lines in {"references": REFERENCES, "sources": SOURCES, "a": wrong([0]), "b": wrong(range(9))}.items()
    }


def test_plain_files_are_compared_without_any_run(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "compare.html"
    systems = [f"--system={name}={files[name]}" for name in "ab"]
    assert call("--references", files["references"], "--sources", files["sources"], *systems, "--report", page) == 0
    told = capsys.readouterr().out
    assert "BLEU: b is worse than a" in told
    assert "better on 0 rows, worse on 8, equal on 4" in told
    assert f"report: {page}" in told
    assert SOURCES[1] in page.read_text()


def test_outputs_beside_their_sources_are_read_as_outputs(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def exact(texts: Sequence[str]) -> float:
        given = write_lines(tmp_path / "given.tsv", texts)
        known = "--references", files["references"], "--sources", files["sources"]
        assert call(*known, "--system", f"x={given}", "--metrics", "[ExactMatch]", "--json") == 0
        return float(json.loads(capsys.readouterr().out)["metrics"][0]["scores"][0]["value"])

    beside = [f"{source}\t{text}" for source, text in zip(SOURCES, REFERENCES, strict=True)]
    assert exact(beside) == 100
    assert exact([*beside[:-1], REFERENCES[-1]]) == pytest.approx(100 / len(beside)), "one line without: no columns"


def test_the_answer_as_json_markdown_and_latex(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(runs[0], runs[1], "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["metrics"][0]["differences"][0]["losses"] == 8
    assert call(runs[0], runs[1], "--markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["| system | exact match |", "| --- | ---: |"]
    assert lines[2].startswith("| good | 91.7 [")
    assert call(runs[0], runs[1], "--latex") == 0
    text = capsys.readouterr().out
    assert r"\begin{tabular}{lr}" in text
    assert r"bad\_seed1 & 25.0 [" in text


def test_a_gate_for_somebodys_ci(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = runs[:2]
    assert call(good, bad, "--fail_under", "exact_match=20") == 0
    assert call(good, bad, "--fail_under", "exact_match=80") == 1
    assert "failed: bad_seed1: exact_match 25 is under 80" in capsys.readouterr().err
    assert call("--system", f"x={bad}", "--fail_if_worse_than", good) == 1
    assert "x is worse than good" in capsys.readouterr().err
    assert call("--system", f"x={good}", "--fail_if_worse_than", bad) == 0
    assert call("--system", f"x={good}", "--fail_if_worse_than", good) == 0
    assert call(good, bad, "--fail_under", "bleu=1") == 2
    assert call(good, bad, "--fail_under", "exact_match") == 2
    assert call(good, bad, "--fail_under", "exact_match=nan") == 2


def test_a_score_that_there_is_not_is_null_and_no_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = write_lines(tmp_path / "empty.txt", ["", ""])
    asked = ["--references", empty, "--system", f"a={empty}", "--metrics", "[MacroF1, ExactMatch]"]
    assert call(*asked) == 0
    assert "n/a" in capsys.readouterr().out
    assert call(*asked, "--json") == 0
    score = json.loads(capsys.readouterr().out)["metrics"][0]["scores"][0]
    assert (score["value"], score["low"], score["high"]) == (None, None, None)
    assert call(*asked, "--fail_under", "macro_f1=0") == 2
    assert "macro_f1" in capsys.readouterr().err


def test_several_files_of_references(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = write_lines(tmp_path / "1", ["a b", "c d e f g"]), write_lines(tmp_path / "2", ["x y", "c d e f h"])
    texts = write_lines(tmp_path / "out", ["x y", "c d e f g"])
    asked = ["--references", one, "--references", other, "--system", f"s={texts}", "--system", f"t={one}"]
    assert call(*asked, "--metrics", "[ExactMatch, Bleu, Chrf, Ter, Rouge]", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    for metric in found["metrics"]:
        assert metric["scores"][0]["value"] == pytest.approx(0 if metric["name"] == "ter" else 100)
        assert ("nrefs:2" in metric["signature"]) == (metric["name"] in ("bleu", "chrf", "ter"))
    assert (
        call(
            "--references", one, "--system", f"s={texts}", "--metrics", "[ExactMatch]", "--fail_under", "exact_match=51"
        )
        == 1
    )
    short = write_lines(tmp_path / "3", ["x y"])
    assert call("--references", one, "--references", short, "--system", f"s={texts}") == 2
    assert f"{short} has 1 lines" in capsys.readouterr().err


def test_one_metric_twice_has_two_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_lines(tmp_path / "1", ["a b c d e", "c d e f g"])
    twice = "[{class_path: Bleu, init_args: {tokenize: char}}, Bleu]"
    for option in ("--metrics", "--model.metrics"):
        assert call("--references", one, "--system", f"s={one}", option, twice) == 0
        told = capsys.readouterr().out
        assert "BLEU char" in told
        assert "BLEU 13a" in told


def test_what_cannot_be_compared_is_refused_with_the_file(
    runs: list[Path], files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*arguments: str | Path) -> str:
        assert call(*arguments) == 2
        return capsys.readouterr().err.removeprefix("error: ").strip()

    references: list[str | Path] = ["--references", files["references"]]
    assert f"{tmp_path}/none" in refusal(runs[0], tmp_path / "none")
    short = write_lines(tmp_path / "short.txt", REFERENCES[:5])
    assert re.search(rf"{short}.* 5 .*--references.* 12\b", refusal(*references, "--system", f"a={short}"))
    empty = write_lines(tmp_path / "empty.txt", [])
    assert f"{empty} has 0 " in refusal(*references, "--system", f"a={empty}")
    assert str(empty) in refusal("--references", empty, "--system", f"a={empty}")
    assert "--references FILE" in refusal("--system", f"a={files['a']}")
    assert "--references" in refusal("--sources", files["sources"], "--system", f"a={files['a']}")
    assert "NAME=PATH" in refusal(*references, "--system", files["a"])
    assert "--system" in refusal(*references)
    assert "RUN --split test" in refusal("--split", "test")
    assert "references: row 0" in refusal(runs[0], "--references", files["a"])
    other = write_run(tmp_path / "other", REFERENCES, {"seed": 3})
    lines = (other / "predictions" / "test.jsonl").read_text()
    (other / "predictions" / "test.jsonl").write_text(lines.replace("the dog eats .", "a dog eats ."))
    assert re.search(r"row 5 .*'a dog eats \.'.*'the dog eats \.'", refusal(runs[0], other))
    (other / "predictions" / "test.jsonl").write_text(lines + "{broken\n")
    assert f"{other}/predictions/test.jsonl:13:" in refusal(runs[0], other)
    assert "predictions/validation.jsonl" in refusal(runs[0], runs[1], "--split", "validation")
    (other / "predictions" / "test.jsonl").write_text(lines)
    (other / "results.json").write_text("[1, 2]")
    assert "results.json" in refusal(runs[0], other)
    assert "Bleu2" in refusal(runs[0], runs[1], "--metrics", "[Bleu2]")


def test_scores_that_are_no_numbers_are_read_and_told(tmp_path: Path) -> None:
    file = tmp_path / "test.jsonl"
    file.write_text('{"source": "a", "reference": "b", "prediction": "", "score": NaN}\n')
    row = read_predictions(file)[0]
    assert np.isnan(row.score)
    assert row.token_scores == []


# The page


def test_the_page_says_what_the_comparison_says(runs: list[Path]) -> None:
    found = compared(*runs, metrics=[Bleu(), ExactMatch()])
    html = compare.render(found)
    assert compare.render(found) == html
    for metric in found["metrics"]:
        assert tables.sentence(metric["differences"][0], metric, 0.05) in html.replace("&#39;", "'")
    assert "model.layers" in html
    assert '<mark class="differs">no</mark>' in html


def test_attention_against_a_fixed_vector_is_told(tmp_path: Path) -> None:
    kinds = {"fixed": None, "attention": {"class_path": "seq2seq.models.attention.Dot", "init_args": {}}}
    paths = [
        write_run(tmp_path / name, wrong([1]), {"seed": 1, "model": {"attention": kind}})
        for name, kind in kinds.items()
    ]
    found = compared(*paths)
    assert [one["attention"] for one in found["systems"]] == [False, "Dot"]
    assert re.search("attention: attention.*fixed vector.*: fixed ", compare.render(found))
    assert "must keep" not in compare.render(compared(paths[0]))


def test_a_score_has_the_same_name_alone_and_compared(runs: list[Path]) -> None:
    one = {"value": 1.0, "low": None, "high": None, "unit": "percent", "signature": ""}
    alone = tables.scores({"splits": {"test": {"metrics": {"exact_match": one, "bleu": one}}}}, "test")
    several = tables.systems(compared(*runs[:2], metrics=[ExactMatch(), Bleu()]))
    assert [row[0] for row in alone.rows] == list(several.header[1:]) == ["exact match", "BLEU"]

"""Every benchmark and every script starts, at its smallest setting, and ends with numbers; none names a machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.analysis.systems import write_run, wrong
from tests.report.pages import everything, whole
from tests.support import PAIRS, ROOT, python

SMALL = "--rounds 1 --data.corpus.train 300 --data.corpus.validation 9 --data.corpus.test 9 --model.hidden_size 8"
PROGRAMS = {
    "benchmarks/scaling.py --predict": "rnmtplus2018",
    f"benchmarks/scaling.py --steps 2 {SMALL}": "speed-up",
    f"benchmarks/surviving.py --steps 2 --stops 2 {SMALL}": "resumed at step 2",
    "benchmarks/data.py --rows 200 --planned 1000 --multi30k PAIRS": "peak_mb_after_each_tenth",
    "benchmarks/memory.py --cells GRU --tasks Adding --scale 1e-4 --gradients 1e-2 --json x --pictures .": "| adding",
    "benchmarks/speech.py --steps 2 --rounds 1 --hidden 16": "rate of real over bare",
    "benchmarks/report.py good bad": "page of the comparison",
    "scripts/house.py": "| floors | ",
    "scripts/same_parameters.py ROOT classification": "equal",
}
QUICK = ("scaling.py --predict", "house.py", "report.py")


@pytest.mark.parametrize(
    "line",
    [line if any(one in line for one in QUICK) else pytest.param(line, marks=pytest.mark.slow) for line in PROGRAMS],
)
def test_it_runs(line: str, tmp_path: Path) -> None:
    for split, more in (("train", ""), ("val", " again"), ("test_2016_flickr", " at last")):
        for side, ending in enumerate(("en", "de")):
            (tmp_path / f"{split}.{ending}").write_text("".join(f"{pair[side]}{more}\n" for pair in PAIRS * 4))
    for name, rows in (("good", [0]), ("bad", range(9))):
        run = write_run(tmp_path / name, wrong(rows), {"seed": 1})
        (run / "results.json").write_text((run / "results.json").read_text()[:-1] + ', "format": 1, "name": "x"}')
    program, *words = line.replace("PAIRS", str(tmp_path)).replace("ROOT", str(ROOT)).split()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = python(ROOT / program, *words, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert PROGRAMS[line] in done.stdout


@pytest.mark.browser
def test_pages_are_photographed(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    (tmp_path / "report.html").write_text(whole(everything()), encoding="utf-8")
    python(ROOT / "scripts" / "screenshots.py", tmp_path / "pictures", tmp_path / "report.html", check=True)
    assert len(list((tmp_path / "pictures").iterdir())) == 8


@pytest.mark.slow
def test_the_road_of_a_batch_is_the_one_that_contributing_shows() -> None:
    walked = python(ROOT / "scripts" / "walk.py", check=True).stdout
    counts = dict(re.findall(r"^(\w+): (\d+) files$", walked, re.MULTILINE))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    road = contributing.split("## The road of a batch")[1].split("\n## ")[0]
    assert re.findall(r"\b\d+\b", road.split("\n| ")[0]) == [counts["batch"], counts["step"], counts["line"]]
    batch = re.findall(r"^ +\d+ (\S+)$", walked.split("batch:")[1].split("step:")[0].partition("\n")[2], re.MULTILINE)
    assert [file for file in batch if f"`{file}`" not in road] == []


def test_every_program_is_started() -> None:
    files = [file for folder in ("benchmarks", "scripts") for file in (ROOT / folder).glob("*.py")]
    started = {line.split()[0] for line in PROGRAMS} | {f"scripts/{name}.py" for name in ("walk", "screenshots")}
    started |= {"benchmarks/serving.py"}  # by the tests of serving
    assert {str(file.relative_to(ROOT)) for file in files} == started


def test_no_machine_is_named() -> None:
    kinds = {".py", ".sh", ".sbatch", ".md", ".yaml", ".toml"}
    files = [file for folder in ("benchmarks", "scripts", "docs", "configs") for file in (ROOT / folder).rglob("*")]
    for file in [*files, *ROOT.glob("*.md"), ROOT / "pyproject.toml"]:
        if file.suffix in kinds:
            assert not re.search(r"(?<![\w.])/(work|home|root|Users)/", file.read_text(encoding="utf-8")), file


@pytest.mark.parametrize("script", ["demo.sh", "setup.sh", "test.sh", "slurm/train.sbatch", "slurm/sweep.sbatch"])
def test_shell_scripts_are_well_formed(script: str) -> None:
    bash = shutil.which("bash") or pytest.skip("no bash")
    subprocess.run([bash, "-n", str(ROOT / "scripts" / script)], check=True)

"""A panel as of electricity transformers (Zhou et al. 2021): seven hourly series, two years, one model."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.support import python

HOURS = 17_000


def write_panel(path: Path, hours: int = HOURS) -> None:
    """Loads with the seasons of a day and a week, a slow level, and noise that lasts some hours; one below the other."""
    random, clock = np.random.default_rng(7), np.arange(hours)
    begin = datetime(2016, 7, 1)
    times = [(begin + timedelta(hours=hour)).isoformat(sep=" ") for hour in range(hours)]
    with path.open("w") as file:
        file.write("time,series,value\n")
        for name in ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"):
            phase, size = random.uniform(0, 24), random.uniform(1, 8)
            day = np.sin(2 * np.pi * (clock + phase) / 24) + 0.4 * np.sin(4 * np.pi * (clock + phase) / 24)
            week = np.where((clock // 24) % 7 < 5, 1.0, 0.6)
            year = 2 * np.sin(2 * np.pi * clock / 8766 + phase)
            shocks, noise = random.normal(0, 0.25, hours), np.zeros(hours)
            for hour in range(1, hours):
                noise[hour] = 0.9 * noise[hour - 1] + shocks[hour]
            values = size * (3 + day * week + year + noise)
            file.writelines(f"{time},{name},{value:.3f}\n" for time, value in zip(times, values, strict=True))


SETTINGS = """
task: Forecasting
data:
  corpus:
    class_path: Series
    init_args: {columns: value, time: time, group: series, history: 168, horizon: 24, stride: 24}
  tokenizer: Vectors
  target_tokenizer: Vectors
  batch_tokens: 1536
model: {hidden_size: 64, season: 24, relative: season, rescale: true}
optimizer: {learning_rate: 0.003, schedule: Cosine, warmup_steps: 20}
trainer: {max_epochs: 5, val_check_interval: 1.0}
"""


@pytest.mark.slow
def test_a_panel_of_seven_hourly_series_beats_the_last_day(tmp_path: Path) -> None:
    write_panel(tmp_path / "panel.csv")
    (tmp_path / "panel.yaml").write_text(SETTINGS)
    done = python(
        "-m", "seq2seq.train", "--config", tmp_path / "panel.yaml", "--data.path", tmp_path / "panel.csv",
        "--run", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    test = results["splits"]["test"]
    baselines = test["forecasts"]["baselines"]
    assert test["rows"] == 7 * (HOURS // 5 // 24)
    for name in ("mase", "mae", "wql"):
        assert test["metrics"][name]["value"] < 0.92 * baselines["seasonal naive"][name], (name, test["metrics"][name])
    assert results["seconds"] < 300

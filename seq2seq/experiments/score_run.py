"""Score a split with a run's checkpoint, in this process, and write what `seq2seq.evaluate --output` writes."""

import time
from pathlib import Path
from typing import Any

from seq2seq.analysis.examine import examine
from seq2seq.analysis.results_files import publish
from seq2seq.analysis.words import training_counts
from seq2seq.inference import decoding_rows, predict_texts
from seq2seq.inference.device import tf32
from seq2seq.inference.predictor import Predictor, in_order
from seq2seq.report.reading import read_results
from seq2seq.runs import checkpoint, run_card, scored_rows
from seq2seq.runs.run_directory import RunDirectory


@tf32(False)
def score_run(path: Path, split: str, output: Path) -> dict[str, Any]:
    """The results of a split, written to `output` with predictions and report; what is there is replaced."""
    started, file = time.monotonic(), checkpoint.find(path)
    content = checkpoint.read(file)
    task, data = checkpoint.restore(content, file), checkpoint.data_of(content, file)
    trained = scored_rows.trained_on(content, file, split)
    texts = scored_rows.rows_to_score(data, split, trained, asked_for=False)
    device, decoding, written = predict_texts.choose_device("auto"), task.decoding, RunDirectory(output)
    written.claim(overwrite=True, resume=False)
    try:
        task.to(device)
        encoded = data.encode(texts, task.tokenizers, split, task.row_format)
        memory, longest = decoding_rows.memory_of(device), int(encoded.source_lengths().max(initial=1))
        predict = Predictor(task, decoding_rows.chosen(task, decoding, memory, longest))
        batches = predict_texts.batches(encoded, predict.decoding, device)
        rows = in_order([row for batch in batches for row in predict(batch)], encoded.texts)
        known, aligned = checkpoint.stored(content, "content"), task.row_format.aligned
        examined = examine(
            task, encoded, rows, decoding, device,
            lambda sentences: training_counts(data, rows, aligned, sentences, content=known),
        )  # fmt: skip
        results = read_results(path / "results.json") | {
            "splits": {split: examined.results},
            "environment": run_card.environment(run_card.device_name(device)),
            "seconds": round(time.monotonic() - started, 2),
        }
        publish(results, examined, written, split)
    finally:
        written.release()
    return results

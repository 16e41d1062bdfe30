"""python scripts/same_parameters.py OTHER_CHECKOUT [TRAINING ...]: the same parameters after 50 steps?

Six small trainings, or those that are named, each by the `seq2seq` of either folder. Compared are the bytes of all
parameters, under whatever names. Exit code 1 where they differ: what a change of structure must not do.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parents[1]
STEPS = 50
TRAININGS = {
    "translation with attention": ["translation_cldr", "--model.attention", "General"],
    "translation from a fixed vector": ["translation_cldr", "--model.attention", "null"],
    "tagging with a conditional random field": ["tagging_cldr", "--model.tagger", "Crf"],
    "classification": ["classification_cldr"],
    "generation of running text": ["generation_text", "--data.path", "TEXT", "--data.lanes", "8"],
    "forecasting": ["forecasting_sunspots"],
}


def digest(checkout: Path, options: list[str], run: Path, text: Path) -> str:
    """Train and return a digest of the parameters of the last checkpoint."""
    config, *rest = [str(text) if one == "TEXT" else one for one in options]
    command = [
        *(sys.executable, "-m", "seq2seq.train", "--config", f"configs/{config}.yaml", "--run", str(run), *rest),
        *("--trainer.max_steps", str(STEPS), "--trainer.accelerator", "cpu"),
        *("--decoding.max_length", "5", "--optimizer.schedule", "Constant"),
    ]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{checkout}: {' '.join(command)}\n{done.stderr[-2000:]}")
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    tensors = sorted(tensor.contiguous().numpy().tobytes() for tensor in state.values())
    return hashlib.sha256(b"".join(tensors)).hexdigest()[:16]


def main() -> None:
    """Compare the checkouts, training by training."""
    differ = False
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        text.mkdir()
        (text / "train.txt").write_text((HERE / "LICENSE").read_text())
        for number, name in enumerate(sys.argv[2:] or TRAININGS):
            found = [
                digest(checkout, TRAININGS[name], Path(folder) / f"{number}-{side}", text)
                for side, checkout in enumerate([Path(sys.argv[1]).resolve(), HERE])
            ]
            differ |= found[0] != found[1]
            print(f"{'equal' if found[0] == found[1] else 'DIFFERENT'}  {' '.join(found)}  {name}", flush=True)
    sys.exit(differ)


if __name__ == "__main__":
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(TRAININGS):
        sys.exit(f"usage: {__doc__}")
    main()

"""The model of a path."""

from pathlib import Path

from seq2seq.api.model import load
from seq2seq.serving.models import RunModel, ServedModel

FILES = (".onnx", ".npz")
"""How the names of exported files end."""


def opened(path: str, device: str, precision: str = "fp32") -> ServedModel:
    """The model of a run, a checkpoint or an exported file, whose precision was chosen when it was written.

    A run is called by the name of its folder, a checkpoint or file by that and its own.
    """
    file = Path(path)
    if file.suffix in FILES:
        from seq2seq.serving import exported  # which needs onnxruntime

        return exported.opened(file)
    model = load(path, device, precision)
    if file.is_dir():
        return RunModel(file.resolve().name, model)
    folder = file.absolute().parent
    folder = folder.parent if folder.name == "checkpoints" else folder
    return RunModel(folder.name if file.name == "best.ckpt" else f"{folder.name}/{file.name}", model)

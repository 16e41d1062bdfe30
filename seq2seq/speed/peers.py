"""Training of other projects on the same rows and sizes, each in an environment of its own that is made on first use.

An environment sees this Python's torch, so all compute with the same one, and no other is ever installed.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from seq2seq.data.cache import Cache
from seq2seq.errors import InputError
from seq2seq.speed import made_up, peer_probe
from seq2seq.speed.figures import Figures, Sizes, clock
from seq2seq.speed.training import Loop, prepared, settings
from seq2seq.tasks.translation import Translation

SENTENCES = 128
"""Of a peer's step; as many target tokens as ours has."""

Written = Callable[[Path, Sizes], list[str]]
"""Writes what a peer's training reads into a folder; the arguments of its command."""


class Peer(NamedTuple):
    """Another project."""

    name: str
    package: str
    """Installed without what it asks for, which may be another torch."""
    needs: tuple[str, ...]
    """Installed with what they ask for, but for torch."""
    entry: str
    """Module and function of its training command."""
    written: Written


def configuration(folder: Path, content: dict[str, Any]) -> str:
    """A file of settings."""
    file = folder / "peer.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(file)


def open_nmt(folder: Path, sizes: Sizes) -> list[str]:
    """Luong's general attention without input feeding."""
    words = "".join(f"{word}\t1\n" for word in ["<unk>", "<blank>", "<s>", "</s>", *made_up.names(sizes.words)])
    (folder / "vocabulary.tsv").write_text(words, encoding="utf-8")
    names = {"train": "train", "valid": "validation"}
    pairs = {split: {"path_src": str(folder / f"{name}.en"), "path_tgt": str(folder / f"{name}.de")}
             for split, name in names.items()}  # fmt: skip
    content = {
        "data": {split: {**files, "transforms": [], "weight": 1} for split, files in pairs.items()},
        "src_vocab": str(folder / "vocabulary.tsv"), "tgt_vocab": str(folder / "vocabulary.tsv"),
        "save_model": str(folder / "model"), "encoder_type": "brnn", "decoder_type": "rnn", "rnn_type": "LSTM",
        "enc_layers": 1, "dec_layers": 1, "enc_hid_size": sizes.hidden, "dec_hid_size": sizes.hidden,
        "word_vec_size": sizes.embedding, "global_attention": "general", "input_feed": 0, "dropout": [0.2],
        "attention_dropout": [0.0], "optim": "adam", "learning_rate": 0.001, "max_grad_norm": 1, "batch_type": "sents",
        "batch_size": SENTENCES, "bucket_size": 4096, "num_workers": 0, "model_dtype": "fp32", "train_steps": 100_000,
        "valid_steps": 100_000, "save_checkpoint_steps": 100_000, "seed": 1,
    }  # fmt: skip
    return ["-config", configuration(folder, content)]


def joey(folder: Path, sizes: Sizes) -> list[str]:
    """Luong's attention with input feeding, which it always has."""
    words = ["<unk>", "<pad>", "<s>", "</s>", *made_up.names(sizes.words)]
    (folder / "vocabulary.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    side = {"level": "word", "lowercase": False, "max_length": 100, "voc_file": str(folder / "vocabulary.txt")}
    embeddings = {"embedding_dim": sizes.embedding, "scale": False, "dropout": 0.2}
    content = {
        "name": "bench", "model_dir": str(folder / "joey"), "use_cuda": False, "fp16": False, "random_seed": 1,
        "num_workers": 0,
        "data": {"train": str(folder / "train"), "dev": str(folder / "validation"), "test": str(folder / "test"),
                 "dataset_type": "plain", "src": {"lang": "en", **side}, "trg": {"lang": "de", **side}},
        "testing": {"beam_size": 1, "batch_size": 8, "batch_type": "sentence", "eval_metrics": ["bleu"]},
        "training": {"optimizer": "adam", "learning_rate": 0.001, "weight_decay": 0.0, "clip_grad_norm": 1.0,
                     "batch_size": SENTENCES, "batch_type": "sentence", "normalization": "batch",
                     "loss": "crossentropy", "label_smoothing": 0.0, "scheduling": "warmupinversesquareroot",
                     "learning_rate_warmup": 100, "early_stopping_metric": "loss", "epochs": 1000,
                     "validation_freq": 100_000, "logging_freq": 100_000, "overwrite": True, "shuffle": True},
        "model": {"encoder": {"type": "recurrent", "rnn_type": "lstm", "embeddings": embeddings,
                              "hidden_size": sizes.hidden // 2, "bidirectional": True, "dropout": 0.2, "num_layers": 1},
                  "decoder": {"type": "recurrent", "rnn_type": "lstm", "embeddings": embeddings,
                              "hidden_size": sizes.hidden, "dropout": 0.2, "hidden_dropout": 0.2, "num_layers": 1,
                              "input_feeding": True, "init_hidden": "bridge", "attention": "luong"}},
    }  # fmt: skip
    return ["train", configuration(folder, content), "--skip-test"]


def yoyodyne(folder: Path, sizes: Sizes) -> list[str]:
    """Soft attention, which repeats the decoder's state over the source."""
    for split in ("train", "validation"):
        sides = [(folder / f"{split}.{ending}").read_text(encoding="utf-8").splitlines() for ending in ("en", "de")]
        rows = "".join(f"{source}\t{target}\n" for source, target in zip(*sides, strict=True))
        (folder / f"{split}.tsv").write_text(rows, encoding="utf-8")
    encoder = {"bidirectional": True, "dropout": 0.2, "embedding_size": sizes.embedding,
               "hidden_size": sizes.hidden // 2, "layers": 1}  # fmt: skip
    content = {
        "seed_everything": 1,
        "trainer": {"accelerator": "cpu", "gradient_clip_val": 1, "max_epochs": 1000, "enable_progress_bar": False,
                    "logger": False},
        "checkpoint": {"dirpath": str(folder / "checkpoints"), "every_n_train_steps": 100_000, "save_top_k": 1,
                       "monitor": None},
        "model": {"class_path": "yoyodyne.models.SoftAttentionLSTMModel",
                  "init_args": {"source_encoder": {"class_path": "yoyodyne.models.modules.LSTMEncoder",
                                                   "init_args": encoder},
                                "decoder_hidden_size": sizes.hidden, "decoder_layers": 1, "decoder_dropout": 0.2,
                                "embedding_size": sizes.embedding, "compute_accuracy": False,
                                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.001}}}},
        "data": {"model_dir": str(folder / "yoyodyne"), "train": str(folder / "train.tsv"),
                 "val": str(folder / "validation.tsv"), "source_col": 1, "target_col": 2, "source_sep": " ",
                 "target_sep": " ", "tie_embeddings": False, "batch_size": SENTENCES, "max_source_length": 128,
                 "max_target_length": 128},
    }  # fmt: skip
    return ["fit", "--config", configuration(folder, content)]


def fairseq(folder: Path, sizes: Sizes) -> list[str]:
    """Luong's attention with input feeding, which it always has."""
    program = ["-c", "from fairseq_cli.preprocess import cli_main; cli_main()"]
    words = "".join(f"{word} 1\n" for word in made_up.names(sizes.words))
    (folder / "dictionary.txt").write_text(words, encoding="utf-8")
    dictionary = str(folder / "dictionary.txt")
    both = ["--srcdict", dictionary, "--tgtdict", dictionary]
    given = ["-s", "en", "-t", "de", "--trainpref", str(folder / "train"), "--validpref", str(folder / "validation")]
    python = str(folder_python(folder))
    subprocess.run([python, *program, *given, *both, "--destdir", str(folder / "fairseq")], check=True,
                   capture_output=True)  # fmt: skip
    options = {
        "arch": "lstm", "encoder-embed-dim": sizes.embedding, "encoder-hidden-size": sizes.hidden // 2,
        "encoder-layers": 1, "decoder-embed-dim": sizes.embedding, "decoder-hidden-size": sizes.hidden,
        "decoder-layers": 1, "decoder-out-embed-dim": sizes.hidden, "dropout": 0.2, "criterion": "cross_entropy",
        "optimizer": "adam", "lr": 0.001, "clip-norm": 1.0, "batch-size": SENTENCES, "num-workers": 0,
        "log-interval": 100_000, "save-dir": folder / "checkpoints",
    }  # fmt: skip
    named = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [str(folder / "fairseq"), "--encoder-bidirectional", "--disable-validation", "--cpu", *named]


PEERS = (
    Peer("OpenNMT-py", "OpenNMT-py==3.5.1",
         ("configargparse", "ctranslate2", "flask", "waitress", "pyonmttok", "rapidfuzz", "pyahocorasick",
          "fasttext-wheel", "spacy", "six", "tensorboard"), "onmt.bin.train:main", open_nmt),
    Peer("JoeyNMT", "joeynmt==2.3.0",
         ("subword-nmt", "ctc-segmentation", "seaborn", "importlib_metadata", "pandas", "tensorboard"),
         "joeynmt.__main__:main", joey),
    Peer("yoyodyne", "yoyodyne==0.5.27", ("lightning", "maxwell", "omegaconf", "rapidfuzz", "wandb"),
         "yoyodyne.cli.main:main", yoyodyne),
    Peer("fairseq", "fairseq==0.12.2", ("bitarray", "hydra-core==1.0.7", "omegaconf==2.0.6"),
         "fairseq_cli.train:cli_main", fairseq),
)  # fmt: skip


def folder_of(asked: Path | None) -> Path:
    """Where the environments are."""
    return asked or Cache(None).root / "peers"


def folder_python(folder: Path) -> Path:
    """The Python of the environment that a folder of work names."""
    return Path((folder / "python").read_text(encoding="utf-8"))


def environment(peer: Peer, folder: Path) -> Path:
    """The Python of a peer's environment, made where there is none; InputError in one line where it cannot be."""
    place = folder / peer.name
    python, finished = place / ("Scripts" if os.name == "nt" else "bin") / "python", place / "finished"
    if finished.is_file():
        return python
    print(f"  making an environment for {peer.name} in {place}", file=sys.stderr, flush=True)
    constraints = folder / "constraints.txt"
    folder.mkdir(parents=True, exist_ok=True)
    constraints.write_text(f"torch=={metadata.version('torch')}\n", encoding="utf-8")
    run([sys.executable, "-m", "venv", str(place)], peer)
    shared = str(Path(torch.__file__).parents[1])
    tell = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    (Path(run([str(python), "-c", tell], peer).strip()) / "torch_of_bench.pth").write_text(shared, encoding="utf-8")
    install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
    run([*install, "--no-deps", peer.package], peer)
    run([*install, *peer.needs], peer)
    run([str(python), "-c", f"import {peer.entry.partition(':')[0]}"], peer)
    finished.touch()
    return python


def run(command: Sequence[str], peer: Peer) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise InputError(f"{peer.name} cannot be used here: {last_line(done.stderr)}")
    return done.stdout


def last_line(text: str) -> str:
    """The end of a message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if line.lower().startswith("error")]
    return (wrong or lines or ["no message"])[-1][:200]


class PeerTraining:
    """A peer that trains in windows."""

    def __init__(self, peer: Peer, python: Path, folder: Path, sizes: Sizes) -> None:
        self.peer, self.log = peer, folder / "peer.log"
        (folder / "python").write_text(str(python), encoding="utf-8")
        try:
            arguments = peer.written(folder, sizes)
        except subprocess.CalledProcessError as problem:
            raise InputError(
                f"{peer.name} does not prepare rows here: {last_line(problem.stderr.decode())}"
            ) from problem
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(python), peer_probe.__file__, peer.entry, *arguments], cwd=folder, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self.answer()

    def window(self, steps: int) -> float:
        """Target tokens a second of so many steps."""
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> float:
        """What the process says at the end of a window."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise InputError(f"{self.peer.name} does not train here: {last_line(self.log.read_text(errors='replace'))}")
        found = json.loads(line)
        return float(found["tokens"] / found["seconds"])

    def end(self) -> None:
        """At once."""
        self.process.kill()
        self.process.communicate()


def peers(sizes: Sizes, found: Figures, folder: Path) -> None:
    """Target tokens a processor second of training in 32 bits, ours over theirs, in turns."""
    for peer in PEERS:
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            made_up.write_pairs(place, sizes.words, sizes.rows)
            try:
                theirs = PeerTraining(peer, environment(peer, folder), place, sizes)
            except InputError as problem:
                found.say(str(problem))
                continue
            try:
                compare(peer, theirs, place, sizes, found)
            except InputError as problem:
                found.say(str(problem))
            finally:
                theirs.end()


def compare(peer: Peer, theirs: PeerTraining, folder: Path, sizes: Sizes, found: Figures) -> None:
    """Windows of both in turns; the first does not count."""
    made = prepared(settings(folder, sizes, "General", "32-true"))
    assert isinstance(made.task, Translation)
    loop, rates = Loop(made.task, made.task.loss, 0.001, mixed=False), list[tuple[float, float]]()
    for number in range(sizes.rounds + 1):
        their_rate, started, tokens = theirs.window(2 * sizes.steps), clock(), 0
        for step in range(2 * sizes.steps * number, 2 * sizes.steps * (number + 1)):
            batch = made.batch(step)
            loop.step(batch, batch.step_tokens)
            tokens += batch.step_tokens
        rates.append((tokens / (clock() - started), their_rate))
    ours, other = zip(*rates[1:], strict=True)
    found.add(f"{peer.name}, training, target tokens a second", other, "tokens/s")
    found.ratio(f"training in 32 bits over {peer.name}", ours, other)

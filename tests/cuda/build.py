"""Builds guard.cpp once for each torch and compiler, into a cache folder; does not import torch."""

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from importlib import metadata, util
from pathlib import Path

SOURCE = Path(__file__).with_name("guard.cpp")
FLAGS = ("-std=c++20", "-O1", "-shared", "-fPIC")


class CannotBuild(Exception):
    """There is no compiler, or it refuses the source."""


def library() -> Path:
    """The shared library, built if it is not there yet; CannotBuild with the reason."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    if shutil.which(compiler[0]) is None:
        raise CannotBuild(f"no C++ compiler {compiler[0]}; install one or set CXX")
    content = [SOURCE.read_text(), metadata.version("torch"), str(torch_folder()), *compiler, *FLAGS]
    name = hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seq2seq" / "pretended-cuda"
    path = folder / f"{name}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:  # two processes may build at the same time
            made = Path(temporary) / path.name
            compile_to(made, compiler)
            made.replace(path)
    return path


def torch_folder() -> Path:
    """Where torch is installed."""
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise CannotBuild("torch is not installed")
    return Path(spec.origin).parent


def compile_to(path: Path, compiler: list[str]) -> None:
    """Compile and link against the installed torch."""
    include, lib = torch_folder() / "include", torch_folder() / "lib"
    command = [
        *(*compiler, *FLAGS, f"-I{include}", f"-I{include / 'torch' / 'csrc' / 'api' / 'include'}", str(SOURCE)),
        *(f"-L{lib}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{lib}", "-o", str(path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"{compiler[0]} cannot build {SOURCE.name}: {done.stderr.strip()[-500:]}")

"""A model as a folder with one page that runs it: from the disk or any static host, with no other request."""

import base64
import gzip
import hashlib
import html
import json
import os
import tarfile
import urllib.request
from collections.abc import Mapping, Sequence
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.atomic_files import replacing
from seq2seq.data.cache import default_root
from seq2seq.errors import InputError
from seq2seq.report.wording import heading, is_number, number, part

VERSION = "1.30.0"
"""Of onnxruntime-web, which the page was tried with."""

ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"

SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of that file in base64, as the registry has it (dist.integrity)."""

SCRIPT, GLUE, WASM = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
"""What the page needs of the package."""

PAGE = ("index.html", "page.css", "page.js", "predict.js", "tokenizers.js")
"""Files that are the same for every model but for the names in the first."""

FILES = (*PAGE, "model.js", "runtime.js")
"""All that a folder holds."""

MOST = 300
"""Characters of an example."""


class Shown(NamedTuple):
    """What the page says about its model."""

    name: str
    headline: str
    about: str
    examples: Sequence[str]
    """Texts that one click tries."""


class Runtime(NamedTuple):
    """onnxruntime-web: its script, what starts WebAssembly, and WebAssembly."""

    script: bytes
    glue: bytes
    wasm: bytes


def runtime(package: Path | None) -> Runtime:
    """The files of onnxruntime-web from a package of npm, packed or a folder; of None from the registry."""
    if package is not None and package.is_dir():
        return of_folder(package)
    if package is None:
        return of_archive(downloaded(), ADDRESS)
    try:
        data = package.read_bytes()
    except OSError as problem:
        raise InputError(f"--runtime_package {package}: {problem.strerror}; {remedy()}") from problem
    return of_archive(data, str(package))


def remedy() -> str:
    """How to get the package."""
    return f"npm pack onnxruntime-web@{VERSION}, and give the file as --runtime_package"


def of_folder(package: Path) -> Runtime:
    """The files of an unpacked package, as npm install leaves it in node_modules."""
    try:
        version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
        found = Runtime(*((package / "dist" / name).read_bytes() for name in (SCRIPT, GLUE, WASM)))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(f"--runtime_package {package} is no folder of onnxruntime-web; {remedy()}") from problem
    if version != VERSION:
        raise InputError(f"--runtime_package {package} has version {str(version)[:20]}, not {VERSION}; {remedy()}")
    return found


def of_archive(data: bytes, name: str) -> Runtime:
    """The files of a packed package, whose checksum must be right."""
    refuse_other(data, name)
    with tarfile.open(fileobj=BytesIO(data), mode="r:gz") as archive:
        members = (archive.extractfile(f"package/dist/{one}") for one in (SCRIPT, GLUE, WASM))
        return Runtime(*(member.read() for member in members if member is not None))


def refuse_other(data: bytes, name: str) -> None:
    """Raise InputError for what is not the pinned package."""
    if not is_pinned(data):
        raise InputError(f"{name} is not onnxruntime-web {VERSION}: its SHA-512 differs; {remedy()}")


def is_pinned(data: bytes) -> bool:
    """Whether the bytes are those of the pinned package."""
    return base64.b64encode(hashlib.sha512(data).digest()).decode() == SHA512


def downloaded() -> bytes:
    """The package from the registry, or as it was kept from the last time."""
    file = Path(os.environ.get("SEQ2SEQ_CACHE") or default_root()).expanduser() / f"onnxruntime-web-{VERSION}.tgz"
    if file.is_file() and is_pinned(data := file.read_bytes()):
        return data
    try:
        with urllib.request.urlopen(ADDRESS, timeout=60) as answer:
            data = bytes(answer.read(1 << 28))
    except OSError as problem:
        raise InputError(f"cannot load {ADDRESS}: {problem}; {remedy()}") from problem
    refuse_other(data, ADDRESS)
    with replacing(file) as temporary:
        temporary.write_bytes(data)
    return data


def write(model: Path, description: Mapping[str, Any], shown: Shown, of: Runtime) -> None:
    """Write the files of a page beside a model, and remove that, which is in one of them."""
    content = {name: files("seq2seq.exporting").joinpath(f"page/{name}").read_text(encoding="utf-8") for name in PAGE}
    for name in ("name", "headline", "about"):
        content["index.html"] = content["index.html"].replace(f"{{{{ {name} }}}}", html.escape(getattr(shown, name)))
    content["model.js"] = constant(
        "MODEL", {"description": description, "examples": list(shown.examples), "onnx": packed(model.read_bytes())}
    )
    script = of.script.decode().partition("//# sourceMappingURL")[0]
    content["runtime.js"] = script + constant("RUNTIME", {"glue": packed(of.glue), "wasm": packed(of.wasm)})
    for name, text in content.items():
        (model.parent / name).write_text(text, encoding="utf-8", newline="\n")
    model.unlink()


def constant(name: str, value: Mapping[str, Any]) -> str:
    """A value as a script that names it, in ASCII."""
    return f"const {name} = {json.dumps(value, allow_nan=False)};\n"


def packed(data: bytes) -> str:
    """Bytes packed by gzip, always in the same way, and in base64."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def headline(task: str, parameters: int, scores: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    """What a model is, and its first score; scores and rows: of each split."""
    facts = [f"{task} by a recurrent network of {number(parameters)} parameters with 8 bits"]
    for split, metrics in scores.items():
        for name in list(metrics or {})[:1]:
            one = part(metrics, name)
            if not is_number(one.get("value")):
                continue
            decimals = 1 if one.get("unit") == "percent" else 3
            low, high = (one.get(bound) for bound in ("low", "high"))
            sure = f" ({number(low, decimals)} to {number(high, decimals)})" if is_number(low) else ""
            count = f"{number(rows[split], 0)} rows of " if is_number(rows.get(split)) else ""
            value = number(one["value"], decimals)
            facts.append(f"{heading(name)} {value}{sure} on {count}the {split} split, with 32 bits")
            return "; ".join(facts) + "."
    return f"{facts[0]}; not scored."


def examples_of(texts: Sequence[str], count: int) -> list[str]:
    """The first different short texts, on which one may try a model."""
    return list(dict.fromkeys(text for text in texts if text.strip() and len(text) <= MOST))[:count]

"""A small server that answers as the Hub's HTTP API does, for one place on this machine."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class Repositories:
    """What the server keeps: of each repository its commits, and of each commit its files."""

    def __init__(self) -> None:
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        """Large files by their SHA-256."""
        self.asked: list[str] = []

    def sha(self, name: str, number: int) -> str:
        return hashlib.sha1(f"{name} {number}".encode()).hexdigest()

    def at(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """A commit by its name, or the last one as main."""
        commits = self.commits.get(name, [])
        known = {self.sha(name, number): files for number, files in enumerate(commits)}
        sha = self.sha(name, len(commits) - 1) if revision == "main" else revision
        return (sha, known[sha]) if sha in known else None


class Handler(BaseHTTPRequestHandler):
    """One request."""

    kept: Repositories
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""

    def answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, kind: str) -> None:
        self.answer({"error": kind}, 404, {"X-Error-Code": kind})

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    @property
    def way(self) -> list[str]:
        self.kept.asked.append(f"{self.command} {self.path}")
        return [unquote(one) for one in self.path.partition("?")[0].strip("/").split("/")]

    def do_POST(self) -> None:
        body = self.body()
        match self.way:
            case ["api", "repos", "create"]:
                wanted = json.loads(body)
                name = f"{wanted['organization']}/{wanted['name']}"
                if name in self.kept.commits:
                    return self.answer({"error": "exists", "url": f"/{name}"}, 409)
                self.kept.commits[name] = []
                self.kept.private[name] = wanted.get("visibility") == "private" or bool(wanted.get("private"))
                return self.answer({"url": f"http://{self.headers['Host']}/{name}"})
            case ["api", "validate-yaml"]:
                return self.answer({"errors": [], "warnings": []})
            case ["api", "models", owner, name, "preupload", _]:
                files = json.loads(body)["files"]
                modes = [{"path": one["path"], "shouldIgnore": False,
                          "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular"}
                         for one in files]  # fmt: skip
                return self.answer({"files": modes})
            case [_, _, "info", "lfs", "objects", "batch"]:
                objects = [
                    {"oid": one["oid"], "size": one["size"],
                     "actions": {"upload": {"href": f"http://{self.headers['Host']}/objects/{one['oid']}"}}}
                    for one in json.loads(body)["objects"]
                ]  # fmt: skip
                return self.answer({"transfer": "basic", "objects": objects})
            case ["api", "models", owner, name, "commit", _]:
                return self.commit(f"{owner}/{name}", body)
        return self.missing("EntryNotFound")

    def commit(self, name: str, body: bytes) -> None:
        files = dict(self.kept.commits[name][-1]) if self.kept.commits[name] else {}
        for line in body.splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                files[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "lfsFile":
                files[one["value"]["path"]] = self.kept.objects[one["value"]["oid"]]
        self.kept.commits[name].append(files)
        sha = self.kept.sha(name, len(self.kept.commits[name]) - 1)
        self.answer({"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{sha}", "commitOid": sha})

    def do_PUT(self) -> None:
        body = self.body()
        match self.way:
            case ["objects", oid] if hashlib.sha256(body).hexdigest() == oid:
                self.kept.objects[oid] = body
                return self.answer({})
        return self.missing("EntryNotFound")

    def do_GET(self) -> None:
        match self.way:
            case ["api", "models", owner, name, *revision] if revision[:1] in ([], ["revision"]):
                found = self.kept.at(f"{owner}/{name}", (revision or ["", "main"])[1])
                if found is None:
                    return self.missing(
                        "RevisionNotFound" if f"{owner}/{name}" in self.kept.commits else "RepoNotFound"
                    )
                siblings = [{"rfilename": file} for file in found[1]]
                return self.answer({"id": f"{owner}/{name}", "sha": found[0], "siblings": siblings})
            case ["api", "models", owner, name, "tree", revision]:
                found = self.kept.at(f"{owner}/{name}", revision)
                tree = [{"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                        for path, data in (found or ("", {}))[1].items()]  # fmt: skip
                return self.answer(tree)
            case [owner, name, "resolve", revision, *path]:
                found = self.kept.at(f"{owner}/{name}", revision)
                data = None if found is None else found[1].get("/".join(path))
                if found is None or data is None:
                    return self.missing("EntryNotFound")
                etag = hashlib.sha256(data).hexdigest()
                return self.answer(data, headers={"ETag": f'"{etag}"', "X-Repo-Commit": found[0]})
        return self.missing("EntryNotFound")

    do_HEAD = do_GET


@contextmanager
def serving() -> Iterator[tuple[str, Repositories]]:
    """A server on a free port of this machine; where it is, and what it keeps."""
    kept = Repositories()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answering", (Handler,), {"kept": kept}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

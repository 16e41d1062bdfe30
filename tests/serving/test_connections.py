"""Real connections: slow, silent, broken and too many clients, and a stop that loses no answer."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.serving.limits import ServingLimits
from seq2seq.tasks.translation import Translation
from tests.serving.stub import Slow
from tests.support import PAIRS, saved, small, surroundings

uvicorn = pytest.importorskip("uvicorn", reason="pip install uvicorn")
pytest.importorskip("fastapi")

from seq2seq.serving.app import Service, application  # noqa: E402
from seq2seq.serving.connections import connection_class  # noqa: E402

HEAD = 0.4
LIMITS = ServingLimits(connections=8, seconds=1.0)


class Started:
    """A server in a thread."""

    def __init__(self, model: Slow, limits: ServingLimits, head: float) -> None:
        self.opened: list[socket.socket] = []
        self.service = Service([model], limits)  # type: ignore[list-item]
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        kind = connection_class(limits, head, HEAD)
        self.server = uvicorn.Server(
            uvicorn.Config(application(self.service), http=kind, ws="none", log_config=None, access_log=False)
        )
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection that has sent something."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.opened.append(made)
        made.sendall(data)
        return made

    def stop(self) -> None:
        """As SIGTERM does it."""
        self.server.should_exit = True
        self.thread.join(20)
        for one in self.opened:
            one.close()
        self.socket.close()
        assert not self.thread.is_alive()


@contextmanager
def started(model: Slow | None = None, limits: ServingLimits = LIMITS, head: float = 10.0) -> Iterator[Started]:
    """A server, stopped at the end."""
    model = model or Slow()
    server = Started(model, limits, head)
    try:
        yield server
    finally:
        model.go.set()
        server.stop()


def request(body: bytes, length: int | None = None) -> bytes:
    """A request for predictions."""
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length or len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def refused(connection: socket.socket, status: int) -> dict[str, str]:
    """The JSON of a refusal, after which the connection is closed."""
    head, _, body = rest_of(connection).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode(), head
    told: dict[str, str] = json.loads(body)
    assert list(told) == ["error"]
    return told


TEXT = json.dumps({"texts": ["a"]}).encode()


def test_slow_and_broken_clients_are_told_and_closed() -> None:
    """All at once, so that the test waits once."""
    model = Slow()
    model.go.set()
    with started(model, head=HEAD) as server:
        silent, half = server.connect(), server.connect(b"POST /predict HT")
        body = server.connect(request(TEXT[:5], len(TEXT)))
        garbage = server.connect(b"\x16\x03\x01\x02\x00nonsense\r\n\r\n")
        large = server.connect(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
        gone = server.connect(request(TEXT[:5], len(TEXT)))
        gone.close()
        dribbled = server.connect()
        for letter in b"GET /health HTTP/1.1\r\nHost: localhost\r\n"[:12]:
            dribbled.sendall(bytes([letter]))
            time.sleep(HEAD / 20)
        for connection in (silent, half, dribbled, body):
            refused(connection, 408)
        for connection in (garbage, large):
            refused(connection, 400)
        both = server.connect(request(TEXT) + request(json.dumps({"texts": ["b"]}).encode()))
        found = b""
        while found.count(b"answers") < 2:
            found += both.recv(1 << 16)
        assert re.findall(rb'"text":"(\w)"', found) == [b"a", b"b"], "one after the other"


def test_too_many_connections_are_told_when_to_come_back() -> None:
    with started(limits=ServingLimits(connections=3)) as server:
        held = [server.connect() for _ in range(3)]
        wait_for(lambda: len(server.server.server_state.connections) == 3)
        response = rest_of(server.connect())
        assert response.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in response
        for one in held:
            one.close()
        wait_for(lambda: not server.server.server_state.connections)
        with_room = server.connect(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert rest_of(with_room).startswith(b"HTTP/1.1 200")


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait till something is so."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_who_does_not_read_is_dropped() -> None:
    model = Slow(lambda text: "x" * 30_000_000)
    model.go.set()
    with started(model) as server:
        server.connect(request(TEXT))
        wait_for(lambda: len(server.server.server_state.connections) == 1)
        wait_for(lambda: not server.server.server_state.connections)


def test_a_stop_loses_no_answer() -> None:
    model = Slow()
    with started(model, ServingLimits()) as server:
        idle = server.connect(request(json.dumps({"texts": ["bad"]}).encode()))
        first = b""
        while not first.endswith(b"}"):
            first += idle.recv(1 << 16)
        assert first.startswith(b"HTTP/1.1 422")
        waiting = [server.connect(request(json.dumps({"texts": [str(number)]}).encode())) for number in range(5)]
        wait_for(lambda: server.service.batchers["slow"].texts + model.taken == 5)  # all are there
        server.server.should_exit = True
        wait_for(lambda: not server.server.servers[0].is_serving())
        idle.sendall(request(json.dumps({"texts": ["5"]}).encode()))  # it could not know
        model.go.set()
        for number, connection in enumerate([*waiting, idle]):
            response = rest_of(connection)
            assert response.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in response.lower()
            assert f'"text":"{number}"'.encode() in response


@pytest.mark.slow
def test_the_command_serves_and_ends_by_a_signal(tokenizers: Tokenizers, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = saved(small(Translation, tokenizers), tmp_path / "tiny.ckpt")
    environment = surroundings(SEQ2SEQ_TOKEN="a secret of many letters")
    command = [sys.executable, "-m", "seq2seq.serve", str(path), "--host", "0.0.0.0", "--port", "0", "--device", "cpu"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, **pipes)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r":(\d+)/ answers for \S+tiny\.ckpt", line)
        assert found, line + (process.communicate()[1] if process.poll() is not None else "")
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
        headers = {"content-type": "application/json", "authorization": "Bearer a secret of many letters"}
        body = json.dumps({"texts": [PAIRS[0][0]]})
        connection.request("POST", "/predict", body, headers)
        assert len(json.loads(connection.getresponse().read())["answers"]) == 1
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        assert connection.getresponse().status == 401
        second = subprocess.run(
            [*command[:-1], "cpu", "--port", found[1]], env=environment, capture_output=True, text=True
        )
        assert second.returncode == 2
        assert re.fullmatch(rf"error: .*--port {found[1]}: .*\n", second.stderr), second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [one["status"] for one in lines if one["message"] == "request"] == [200, 401]
    assert "secret" not in log

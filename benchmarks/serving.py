"""What a server holds out: `python -m seq2seq.serve RUN` in a process of its own, asked by many clients at once.

    python benchmarks/serving.py RUN [--beam 1] [--seconds 10] [--clients 64] [--soak 60]

RUN is a run, or a file of `seq2seq.export` beside it. The texts are the sources of the run's test split. Phases, one
after the other: one client that asks again as soon as it is answered; `--clients` of them; ten times as many, without a
pause after a refusal; `--soak` seconds of as many as before, with the server's memory at the beginning and the end of
it; and at last SIGTERM while all of them ask. Every answer is compared with that to the text alone.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Seen(NamedTuple):
    """What became of the requests of a phase."""

    seconds: float
    latencies: list[float]
    """Of those that were answered, in rising order."""
    statuses: "Counter[int]"
    lost: int
    """Requests without a response."""
    wrong: int
    """Answers that differ from those to the text alone."""
    processor: float
    """Milliseconds of the processor that the server took for an answer: on a busy machine they say more."""

    def at(self, share: float) -> float:
        """The latency in milliseconds that so many stay below."""
        return 1e3 * self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def __str__(self) -> str:
        others = ", ".join(f"{number} x {status}" for status, number in sorted(self.statuses.items()) if status != 200)
        times = f"p50 {self.at(0.5):.1f} ms, p99 {self.at(0.99):.1f} ms, longest {self.at(1):.0f} ms"
        what = f"{self.rate:.0f} answers/s, {times}, {self.processor:.1f} ms of the processor each"
        return f"{what}; {others or 'no refusals'}; {self.lost} lost, {self.wrong} wrong"


class Client:
    """A connection that is kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.connected = False
        """Whether the last request was sent."""

    async def ask(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the response; 0 where there was none."""
        try:
            if self.writer is None or self.reader is None:
                self.connected = False
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
                self.connected = True
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
            self.writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            status, length, close = 0, 0, False
            while (line := await self.reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode().partition(":")
                status = int(line.split()[1]) if line.startswith(b"HTTP/") else status
                length = int(value) if name.lower() == "content-length" else length
                close = close or (name.lower() == "connection" and value.strip() == "close")
            content = await self.reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0, b""
        if close or not status:
            self.close()
        return status, content

    def close(self) -> None:
        """Give the connection up."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


def question(text: str, beam: int) -> bytes:
    """The body that asks for a text's prediction."""
    return json.dumps({"texts": [text], "beam_size": beam}).encode()


def prediction(content: bytes) -> str:
    """The best prediction of a response."""
    return str(json.loads(content)["answers"][0]["predictions"][0]["text"])


class Server(NamedTuple):
    """A process that serves."""

    process: "subprocess.Popen[str]"
    port: int

    def memory(self) -> float:
        """Megabytes that it holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    def processor(self) -> float:
        """Seconds of the processor that it has taken; 0 when it has ended."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def phase(
    server: Server,
    clients: int,
    seconds: float,
    texts: list[str],
    beam: int,
    expected: dict[str, str],
    stop: Any = None,
) -> Seen:
    """So many clients for so long; expected: the prediction of each text, which one client alone writes down."""
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    numbers, started, taken = count(), time.perf_counter(), server.processor()
    lost = wrong = 0
    ended = False

    async def one() -> None:
        nonlocal lost, wrong
        client = Client(server.port)
        while time.perf_counter() - started < seconds and not ended:
            text = texts[next(numbers) % len(texts)]
            before = time.perf_counter()
            status, content = await client.ask("/predict", question(text, beam))
            if status:
                statuses[status] += 1
            if status == 200:
                latencies.append(time.perf_counter() - before)
                wrong += expected.setdefault(text, prediction(content)) != prediction(content)
            elif not status:
                lost += client.connected  # else the server listens no more
                break
        client.close()

    tasks = [asyncio.create_task(one()) for _ in range(clients)]
    if stop is not None:
        await asyncio.sleep(seconds / 2)
        stop()
    await asyncio.gather(*tasks)
    taken = 1e3 * (server.processor() - taken) / max(1, len(latencies))
    return Seen(time.perf_counter() - started, sorted(latencies), statuses, lost, wrong, taken)


def start(run: str, core: int | None, more: list[str]) -> Server:
    """The server, when it listens."""
    command = [sys.executable, "-m", "seq2seq.serve", run, "--port", "0", "--device", "cpu", *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'runtime'}"}
    environment.pop("SEQ2SEQ_TOKEN", None)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"the server of {run} did not start")
    return Server(process, int(line.split("/ ")[0].rpartition(":")[2]))


def sources(run: Path, most: int) -> list[str]:
    """Sources of the test split."""
    file = (run if run.is_dir() else run.parent) / "predictions" / "test.jsonl"
    return [json.loads(line)["source"] for line in file.read_text().splitlines()[:most]]


async def measure(options: argparse.Namespace, server: Server) -> dict[str, Any]:
    """All phases."""
    texts, expected = sources(Path(options.run), options.texts), dict[str, str]()
    await phase(server, 1, 3, texts, options.beam, expected)  # warm
    alone = await phase(server, 1, options.seconds, texts, options.beam, expected)
    print(f"1 client: {alone}", flush=True)
    many = await phase(server, options.clients, options.seconds, texts, options.beam, expected)
    print(
        f"{options.clients} clients: {many}; {many.rate / alone.rate:.1f} times one, by the processor "
        f"{alone.processor / many.processor:.1f}",
        flush=True,
    )
    flood = await phase(server, 10 * options.clients, options.seconds, texts, options.beam, expected)
    offered = sum(flood.statuses.values()) / flood.seconds
    print(
        f"{10 * options.clients} clients: {offered:.0f} requests/s, {offered / many.rate:.1f} times what can be "
        f"answered: {flood}"
    )
    before, held = server.memory(), []
    soaked = await phase(server, options.clients, options.soak / 2, texts, options.beam, expected)
    held.append(server.memory())
    soaked = await phase(server, options.clients, options.soak / 2, texts, options.beam, expected)
    held.append(server.memory())
    print(f"{options.soak:.0f} s of it: {before:.0f}, {held[0]:.0f}, {held[1]:.0f} MB at the beginning, half and end")
    stopped = await phase(
        server, options.clients, 2, texts, options.beam, expected, lambda: server.process.send_signal(signal.SIGTERM)
    )
    code = server.process.wait(60)
    print(f"SIGTERM: {stopped}; exit code {code}")
    return {
        "p50": alone.at(0.5), "p99": alone.at(0.99), "rate": alone.rate, "many": many.rate, "many_p99": many.at(0.99),
        "flood": dict(flood.statuses), "lost": alone.lost + many.lost + flood.lost + soaked.lost + stopped.lost,
        "offered": offered,
        "wrong": alone.wrong + many.wrong + flood.wrong + soaked.wrong + stopped.wrong,
        "memory": [before, *held], "exit": code,
    }  # fmt: skip


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--soak", type=float, default=60)
    parser.add_argument("--server_core", type=int)
    parser.add_argument("--client_core", type=int)
    parser.add_argument("--json", type=Path)
    options, more = parser.parse_known_args()
    server = start(options.run, options.server_core, more)
    try:
        if options.client_core is not None:
            os.sched_setaffinity(0, {options.client_core})
        print(f"load of this machine before: {os.getloadavg()[0]:.1f}")
        found = asyncio.run(measure(options, server))
    finally:
        server.process.kill()
    print(f"load of this machine after: {os.getloadavg()[0]:.1f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

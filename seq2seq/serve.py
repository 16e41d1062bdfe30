"""python -m seq2seq.serve RUN [RUN ...]: answer over HTTP, with a page to try models in a browser."""

import gc
import os
import socket
from collections.abc import Sequence
from importlib.util import find_spec

from jsonargparse import ArgumentParser

from seq2seq.cli import command
from seq2seq.errors import InputError, check_range
from seq2seq.inference import precision
from seq2seq.inference.device import tf32
from seq2seq.inference.token_stream import stopping
from seq2seq.serving import logs
from seq2seq.serving.app import Service, application
from seq2seq.serving.guard import is_loopback
from seq2seq.serving.limits import ServingLimits
from seq2seq.serving.opening import opened

TOKEN = "SEQ2SEQ_TOKEN"
"""The variable of the environment with what clients must know."""

BACKLOG = 512
"""Connections that wait to be accepted."""


def parser_for() -> ArgumentParser:
    """The command's parser."""
    parser = command.parser_for("serve", "Answer over HTTP: predictions, scores, vectors, and a page to try them.")
    parser.add_argument("run", type=str, nargs="+", help="run directories, checkpoints, or files of seq2seq.export")
    parser.add_argument(
        "--host", type=str, default="127.0.0.1", help=f"address to listen at; others than loopback need {TOKEN}"
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen at; 0 for any that is free")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto")
    parser.add_argument(
        "--precision", type=precision.Precision, default="fp32", help=f"of predictions, {precision.HELP}"
    )
    parser.add_argument("--import", type=str | None, help="a module of your own whose classes a checkpoint uses")
    parser.add_class_arguments(ServingLimits, "limits")
    return parser


@tf32(False)
def main(arguments: Sequence[str]) -> None:
    """Serve as the arguments say, until SIGTERM or SIGINT."""
    parser = parser_for()
    command.run_argument(arguments, parser)
    command.import_own_modules(arguments)
    config = command.parse(parser, arguments)
    limits = command.instantiate(parser, config).limits
    check_range("--port", config.port, 0, 1 << 16)
    token = token_for(config.host)
    refuse_lacking()
    import uvicorn

    from seq2seq.serving.connections import connection_class

    service = Service([opened(run, config.device, config.precision) for run in config.run], limits)
    listening = listener(config.host, config.port)
    shown = f"[{config.host}]" if ":" in config.host else config.host
    line = f"http://{shown}:{listening.getsockname()[1]}/ answers for {', '.join(service.batchers)}"
    logs.to_standard_error()
    app = application(service, token, lambda: print(line, flush=True))
    settings = uvicorn.Config(
        app, http=connection_class(limits), ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=int(limits.seconds) + 10,
        backlog=BACKLOG,
    )  # fmt: skip
    gc.freeze()  # what stays is not searched again and again: 40 ms each time, the slowest answers of all
    with stopping():  # uvicorn raises the signal again that has stopped it
        uvicorn.Server(settings).run([listening])


def token_for(host: str) -> str | None:
    """What clients must know; InputError where others could connect and there is none."""
    token = os.environ.get(TOKEN, "").strip()
    if not token and not is_loopback(host):
        raise InputError(
            f"--host {host} can be reached from elsewhere; set {TOKEN} to a secret, for example that of "
            '"openssl rand -hex 16", or leave --host out'
        )
    if token and (len(token) < 16 or not token.isascii()):
        raise InputError(f"{TOKEN} has {len(token)} characters; take 16 or more of ASCII")
    return token or None


def refuse_lacking() -> None:
    """Raise InputError where a package is missing."""
    for name in ("fastapi", "uvicorn"):
        if find_spec(name) is None:
            raise InputError(f"seq2seq.serve needs {name}: pip install 'recurrent-seq2seq[serve]'")


def listener(host: str, port: int) -> socket.socket:
    """A socket that listens; it knows its protocol, or asyncio would leave TCP_NODELAY off: 40 ms for each answer."""
    try:
        *kind, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)[0]
        made = socket.socket(*kind)
    except OSError as problem:
        raise InputError(f"--host {host}: {problem.strerror or problem}") from problem
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        return made
    except OSError as problem:
        made.close()
        reason = problem.strerror or problem
        raise InputError(f"--host {host} --port {port}: {reason}; choose another, or --port 0") from problem


if __name__ == "__main__":
    command.run(main)

"""python -m tests.cuda.worker [ARGUMENTS OF PYTEST]: a process in which cuda:0 is the pretended device.

The device cannot be taken away again, so it never enters the process of the other tests: `conftest` starts this one
and asks it for one test after the other. By hand it is an ordinary pytest: python -m tests.cuda.worker tests/cuda -x
"""

import ctypes
import os
import sys
from multiprocessing.connection import Connection
from typing import Any

from tests.cuda.build import library

ctypes.CDLL(str(library()), ctypes.RTLD_GLOBAL)  # before torch looks for devices

import pytest  # noqa: E402
from _pytest.runner import runtestprotocol  # noqa: E402

from tests.cuda import host  # noqa: E402
from tests.cuda.conftest import CONNECTION  # noqa: E402
from tests.cuda.device import pretending  # noqa: E402


class Served:
    """Runs the tests whose names come over a connection, instead of all."""

    def __init__(self, descriptor: int) -> None:
        self.connection = Connection(descriptor)

    @pytest.hookimpl
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run what is asked for, answer with its reports."""
        items = {item.nodeid: item for item in session.items}
        hook = session.config.hook
        while (name := self.connection.recv()) is not None:
            reports = runtestprotocol(items[name], nextitem=None, log=False)
            self.connection.send(
                [hook.pytest_report_to_serializable(config=session.config, report=report) for report in reports]
            )
        return True


class Pretending:
    """Every test runs with the device."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Any:
        with pretending():
            return (yield)


def main(arguments: list[str]) -> int:
    """Run pytest, asked or by hand."""
    host.install()
    descriptor = os.environ.pop(CONNECTION, None)
    if descriptor is None:
        return pytest.main(arguments, plugins=[Pretending()])
    with pretending():
        return pytest.main(arguments, plugins=[Served(int(descriptor))])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

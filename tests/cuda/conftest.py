"""Tests on the pretended device run in a process of its own, which reports as if they had run here."""

import contextlib
import os
import subprocess
import sys
import tempfile
from multiprocessing import Pipe
from pathlib import Path

import pytest

from tests.cuda.build import CannotBuild, library

MARK = "cuda_rules"
CONNECTION = "PRETENDED_CUDA"
"""Environment variable with the file descriptor over which `worker` is asked for tests."""

OPTIONS = ("-p", "no:xdist", "-p", "no:cacheprovider", "--override-ini=addopts=--strict-markers")


class Worker:
    """The process with the device."""

    def __init__(self, config: pytest.Config) -> None:
        self.connection, theirs = Pipe()
        self.output = tempfile.TemporaryFile()  # noqa: SIM115
        folder = str(Path(__file__).parent)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cuda.worker", folder, f"--rootdir={config.rootpath}", *OPTIONS],
            cwd=config.rootpath,
            env={**os.environ, CONNECTION: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
        )
        theirs.close()

    def run(self, item: pytest.Item) -> list[pytest.TestReport]:
        """The reports of a test; EOFError or OSError where the process has died."""
        self.connection.send(item.nodeid)
        hook, config = item.config.hook, item.config
        return [hook.pytest_report_from_serializable(config=config, data=report) for report in self.connection.recv()]

    def died(self, item: pytest.Item) -> pytest.TestReport:
        """A failure, with the last that the process has said."""
        code = self.process.wait(30)
        self.output.seek(0)
        said = self.output.read().decode(errors="replace")[-5000:]
        self.close()
        text = f"the process with the pretended device has ended with {code}:\n{said}"
        return pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")

    def stop(self) -> None:
        """No test is left."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.process.wait(30)
        self.close()

    def close(self) -> None:
        """Give back what belongs to the process, which has ended."""
        self.connection.close()
        self.output.close()


class Remote:
    """Sends tests with the mark to the worker."""

    worker: Worker | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a test with the mark elsewhere."""
        if item.get_closest_marker(MARK) is None:
            return None
        try:
            library()
        except CannotBuild as problem:
            item.add_marker(pytest.mark.skip(reason=str(problem)))
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self.worker = self.worker or Worker(item.config)
        try:
            reports = self.worker.run(item)
        except (EOFError, OSError):
            reports, self.worker = [self.worker.died(item)], None
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        item.session._setupstate.teardown_exact(nextitem)  # of the tests before, which ran here
        return True

    def pytest_sessionfinish(self) -> None:
        """Nothing is left to run."""
        if self.worker is not None:
            self.worker.stop()


def pytest_configure(config: pytest.Config) -> None:
    """In the worker itself tests run where they are."""
    if "tests.cuda.device" not in sys.modules:
        config.pluginmanager.register(Remote())

"""``@pytest.mark.ooc_memory("256MiB")`` runs a test in a fresh process, and fails it beyond that.

The peak is that of the whole process, interpreter and imports included, as the kernel counts it
(`VmHWM`). A process that goes beyond the bound is ended there, and the test is run once more, with
allocations traced, to find what held most.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ooc.core.errors import InputError
from ooc.core.process import peak_bytes
from ooc.core.sizes import format_size, parse_size
from ooc.testing.holders import Watch

NAME = "ooc_memory"
# Where the fresh process leaves its reports, and whether it is to trace what it allocates.
_RESULT, _TRACED = "OOC_MEMORY_RESULT", "OOC_MEMORY_TRACED"
POLL_SECONDS = 0.005


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known; in a fresh process, write down what becomes of its test."""
    line = f"{NAME}(size): run the test in a fresh process whose memory stays at or under the size"
    config.addinivalue_line("markers", line)
    if result := os.environ.get(_RESULT):
        config.pluginmanager.register(_Recorder(config, Path(result)), "ooc_memory_recorder")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Run a marked test apart; leave all others, and those that run apart, to pytest."""
    mark = item.get_closest_marker(NAME)
    if mark is None or _RESULT in os.environ:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item, mark):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _reports(item: pytest.Item, mark: pytest.Mark) -> list[Any]:
    """Return what pytest is told of a test that ran apart."""
    begun = time.perf_counter()
    try:
        (size,) = mark.args
        bound = parse_size(size)
    except (ValueError, InputError) as error:
        return [_failed(item, f'{NAME} takes one size, such as "256MiB": {error}', begun)]
    result, peak, said = _run_apart(item, bound)
    peak = max(peak, result.get("peak", 0))
    if peak > bound:
        holder = _run_apart(item, bound, traced=True)[0].get("holder", "not found")
        return [
            _failed(
                item,
                f"{item.name} held {format_size(peak)} at its peak, and {NAME} allows "
                f"{format_size(bound)}; largest holder: {holder}; hold less at once, or raise the "
                "bound",
                begun,
            )
        ]
    if not result.get("reports"):
        return [_failed(item, f"the process of {item.name} ended without a result:\n{said}", begun)]
    known = item.config.hook.pytest_report_from_serializable
    return [known(config=item.config, data=data) for data in result["reports"]]


def _failed(item: pytest.Item, message: str, begun: float) -> pytest.TestReport:
    spent = time.perf_counter() - begun
    return pytest.TestReport(
        item.nodeid,
        item.location,
        dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=message,
        when="call",
        duration=spent,
    )


def _run_apart(
    item: pytest.Item, bound: int, traced: bool = False
) -> tuple[dict[str, Any], int, str]:
    """Run a test in a fresh process; return what it left, the peak that was seen, its output.

    Beyond the bound it is ended; one that is traced ends itself, after it told what it holds.
    """
    config = item.config
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        environment = {**os.environ, _RESULT: str(result), _TRACED: str(bound) if traced else ""}
        environment.pop("PYTEST_XDIST_WORKER", None)
        with Path(folder, "output").open("w+") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *_arguments(item)],
                cwd=config.invocation_params.dir,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            peak = 0
            try:
                while process.poll() is None:
                    peak = max(peak, peak_bytes(process.pid))
                    if peak > bound and not traced:
                        break
                    time.sleep(POLL_SECONDS)
            finally:
                process.kill()
                process.wait()
            output.seek(0)
            said = output.read()
        return json.loads(result.read_text()) if result.exists() else {}, peak, said


def _arguments(item: pytest.Item) -> Sequence[str]:
    """Return pytest's arguments for one test: with the project's settings, of that test alone."""
    config, (_, *names) = item.config, item.nodeid.split("::")
    settings = [] if config.inipath is None else ["-c", str(config.inipath)]
    settings += [f"--rootdir={config.rootpath}", "-p", "ooc.testing.plugin", "-m", "", "-k", ""]
    settings += ["-n0"] if config.pluginmanager.hasplugin("xdist") else []
    settings += ["-p", "no:cacheprovider"]
    return [*settings, "::".join([str(item.path), *names])]


class _Recorder:
    """Writes what becomes of the test in this process, the peak, and what holds most."""

    def __init__(self, config: pytest.Config, result: Path) -> None:
        self._config, self._result = config, result
        self._reports: list[Any] = []
        bound = os.environ.get(_TRACED)
        self._watch = Watch(int(bound), self._leave) if bound else None

    def pytest_runtest_setup(self) -> None:
        """Begin to watch."""
        if self._watch is not None:
            self._watch.begin()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report."""
        to_data = self._config.hook.pytest_report_to_serializable
        self._reports.append(to_data(config=self._config, report=report))

    def pytest_sessionfinish(self) -> None:
        """Write all of it."""
        holder = "" if self._watch is None else self._watch.end()
        self._write({"reports": self._reports, "peak": peak_bytes(), "holder": holder})

    def _leave(self, holder: str) -> None:
        """End the process, beyond its bound."""
        self._write({"holder": holder})
        os._exit(1)

    def _write(self, found: dict[str, Any]) -> None:
        self._result.write_text(json.dumps(found, default=str))

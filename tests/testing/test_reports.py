"""What pytest is told of a test that ran apart, without a process that runs it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ooc.testing import plugin

MIB = 2**20


@pytest.fixture
def item(request: pytest.FixtureRequest) -> Any:
    return request.node


def reports(
    item: Any, monkeypatch: pytest.MonkeyPatch, *runs: tuple[dict[str, Any], int, str],
    size: Any = "320MiB",
) -> list[Any]:  # fmt: skip
    """Return what is told where the runs come to this; they are asked for in their order."""
    left, asked = list(runs), list[tuple[int, bool]]()

    def run_apart(test: Any, bound: int, traced: bool = False) -> Any:
        assert test is item
        asked.append((bound, traced))
        return left.pop(0)

    monkeypatch.setattr(plugin, "_run_apart", run_apart)
    found = plugin._reports(item, pytest.mark.ooc_memory(*([] if size is None else [size])).mark)
    assert left == []
    assert asked == [(320 * MIB, False), (320 * MIB, True)][: len(runs)]
    return found


def test_one_that_exceeds_is_run_again_to_name_what_held_most(
    item: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "{} held {} at its peak, and ooc_memory allows 320 MiB; largest holder: {}; hold less "
    told += "at once, or raise the bound"
    second = ({"holder": "a.py:7, 300 MiB"}, 0, "")
    for first, peak in (
        (({}, 400 * MIB, ""), "400 MiB"),
        (({"peak": 330 * MIB}, 9, ""), "330 MiB"),
    ):
        (report,) = reports(item, monkeypatch, first, second)
        assert report.longrepr == told.format(item.name, peak, "a.py:7, 300 MiB")
        assert (report.outcome, report.when, report.nodeid) == ("failed", "call", item.nodeid)
        assert report.location == item.location and report.duration >= 0
    (report,) = reports(item, monkeypatch, ({}, 320 * MIB + 1, ""), ({}, 0, ""))
    assert "largest holder: not found;" in report.longrepr


def test_one_that_fits_is_what_it_says_of_itself(
    item: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = pytest.TestReport(item.nodeid, item.location, {}, "passed", None, "call", duration=2.0)
    data = item.config.hook.pytest_report_to_serializable(config=item.config, report=known)
    (report,) = reports(item, monkeypatch, ({"reports": [data], "peak": 320 * MIB}, 1, ""))
    assert (report.outcome, report.duration) == ("passed", 2.0)


def test_one_that_ends_without_a_result_is_told_with_its_output(
    item: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (report,) = reports(item, monkeypatch, ({}, 1, "what it said"))
    assert report.longrepr == (f"the process of {item.name} ended without a result:\nwhat it said")


@pytest.mark.parametrize("size", ["much", None])
def test_a_size_that_is_none_is_told(
    item: Any, monkeypatch: pytest.MonkeyPatch, size: str | None
) -> None:
    (report,) = reports(item, monkeypatch, size=size)
    assert report.longrepr.startswith('ooc_memory takes one size, such as "256MiB": ')
    assert (size or "") in report.longrepr


def test_the_process_runs_that_test_alone_with_the_projects_settings(item: Any) -> None:
    words = list(plugin._arguments(item))
    assert words[-1] == f"{item.path}::{item.name}"
    assert f"--rootdir={item.config.rootpath}" in words
    assert words[words.index("-c") + 1] == str(item.config.inipath)
    for pair in (["-p", "ooc.testing.plugin"], ["-m", ""], ["-k", ""], ["-p", "no:cacheprovider"]):
        assert any(words[i : i + 2] == pair for i in range(len(words)))


class Process:
    """A process that lives for a few looks, and writes a result."""

    pid, killed = 7, False

    def __init__(self, command: list[str], env: dict[str, str], stdout: Any, **more: Any) -> None:
        self.left, self.env, self.command = 3, env, command
        Path(env["OOC_MEMORY_RESULT"]).write_text(json.dumps({"peak": 5}))
        stdout.write("said")
        stdout.flush()
        made.append(self)

    def poll(self) -> int | None:
        self.left -= 1
        return None if self.left >= 0 else 0

    def kill(self) -> None:
        self.killed = True

    def wait(self) -> None:
        assert self.killed


made: list[Process] = []


@pytest.mark.parametrize(
    ("traced", "peaks", "seen", "looks"),
    [
        (False, [3, 9, 4], 9, 3), (False, [10, 4, 4], 10, 3), (False, [3, 11, 12], 11, 2),
        (True, [3, 11, 12], 12, 3),
    ],
)  # fmt: skip
def test_it_is_ended_beyond_the_bound_unless_it_is_traced(
    item: Any,
    monkeypatch: pytest.MonkeyPatch,
    traced: bool,
    peaks: list[int],
    seen: int,
    looks: int,
) -> None:
    left = iter(peaks)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setattr(plugin.subprocess, "Popen", Process)
    monkeypatch.setattr(plugin, "peak_bytes", lambda pid: next(left))
    monkeypatch.setattr(plugin, "time", SimpleNamespace(sleep=lambda seconds: None))
    assert plugin._run_apart(item, 10, traced) == ({"peak": 5}, seen, "said")
    process = made.pop()
    assert process.left == (-1 if looks == 3 else 1)
    assert process.killed
    assert process.env["OOC_MEMORY_TRACED"] == ("10" if traced else "")
    assert "PYTEST_XDIST_WORKER" not in process.env
    assert process.command[1:3] == ["-m", "pytest"]


def test_the_fresh_process_writes_what_became_of_its_test(
    item: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OOC_MEMORY_TRACED", "")
    recorder = plugin._Recorder(item.config, tmp_path / "result")
    recorder.pytest_runtest_setup()
    known = pytest.TestReport(item.nodeid, item.location, {}, "passed", None, "call")
    recorder.pytest_runtest_logreport(known)
    recorder.pytest_runtest_logreport(known)
    monkeypatch.setattr(plugin, "peak_bytes", lambda: 77)
    recorder.pytest_sessionfinish()
    found = json.loads((tmp_path / "result").read_text())
    assert (found["peak"], found["holder"], len(found["reports"])) == (77, "", 2)
    assert found["reports"][0]["nodeid"] == item.nodeid


def test_a_watch_is_begun_and_ended_where_it_is_traced(
    item: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun = list[Any]()

    class Watched:
        def __init__(self, bound: int, beyond: Any) -> None:
            begun.extend([bound, beyond])

        def begin(self) -> None:
            begun.append("begun")

        def end(self) -> str:
            return "the holder"

    monkeypatch.setattr(plugin, "Watch", Watched)
    monkeypatch.setenv("OOC_MEMORY_TRACED", "123")
    recorder = plugin._Recorder(item.config, tmp_path / "result")
    recorder.pytest_runtest_setup()
    recorder.pytest_sessionfinish()
    assert begun == [123, recorder._leave, "begun"]
    assert json.loads((tmp_path / "result").read_text())["holder"] == "the holder"
    left = list[int]()
    monkeypatch.setattr(plugin.os, "_exit", left.append)
    recorder._leave("most")
    assert json.loads((tmp_path / "result").read_text()) == {"holder": "most"} and left == [1]


def test_tests_without_the_mark_are_left_to_pytest(
    item: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plugin.pytest_runtest_protocol(item) is None
    told, reported = list[str](), list[Any]()
    hooks = SimpleNamespace(
        pytest_runtest_logstart=lambda **given: told.append("start"),
        pytest_runtest_logreport=lambda report: reported.append(report),
        pytest_runtest_logfinish=lambda **given: told.append("finish"),
    )
    marked = SimpleNamespace(
        get_closest_marker=lambda name: name, ihook=hooks, nodeid="a", location=("a", 1, "a")
    )
    monkeypatch.setattr(plugin, "_reports", lambda test, mark: [mark])
    assert plugin.pytest_runtest_protocol(marked) is True  # type: ignore[arg-type]
    assert (told, reported) == (["start", "finish"], ["ooc_memory"])
    monkeypatch.setenv("OOC_MEMORY_RESULT", "there")
    assert plugin.pytest_runtest_protocol(marked) is None  # type: ignore[arg-type]

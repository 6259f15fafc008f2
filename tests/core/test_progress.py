"""What is told of long work: an honest time, and no silence."""

import time
from types import SimpleNamespace

import pytest

from ooc.core.progress import Progress, TimeLeft, format_seconds, silent, tell
from ooc.core.progress_bar import ProgressDisplay, describe


@pytest.mark.parametrize("start_up", [0.0, 30.0])
@pytest.mark.parametrize("total_seconds", [1.4, 14.0, 3600.0])
def test_time_left_of_even_work_is_the_time_that_it_takes(
    start_up: float, total_seconds: float
) -> None:
    """Whatever the start-up took; none is told before it is known, and it is known soon."""
    left, told = TimeLeft(), 0
    for rows in range(10, 1001, 10):
        seconds = total_seconds * rows / 1000
        found = left.after(Progress(rows, 1000, 0, start_up + seconds))
        if found is not None:
            told += 1
            assert found == pytest.approx(total_seconds - seconds, abs=1e-6)
    assert told == pytest.approx(100 * max(0, 1 - 1 / total_seconds), abs=6)


def test_what_is_slow_is_told_and_what_is_quick_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ooc.core.progress_bar.SILENT_SECONDS", 0.3)
    with ProgressDisplay("work", live=False) as report:
        tell(report, "quick")
        tell(report, "slow")
        waited = time.monotonic()
        while "slow" not in (said := capsys.readouterr().err) and time.monotonic() < waited + 20:
            time.sleep(0.01)
        time.sleep(0.5)
    assert said.splitlines()[-1] == "work: slow" and "quick" not in said
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00"),
        (59.99, "0:00:59"),
        (61, "0:01:01"),
        (3599, "0:59:59"),
        (3600, "1:00:00"),
        (100 * 3600 + 62, "100:01:02"),
    ],
)
def test_a_time_is_printed_to_the_second(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_time_left_is_told_after_a_second_and_four_reports_of_some_rows() -> None:
    def after(*reports: tuple[int, float]) -> list[float | None]:
        left = TimeLeft()
        return [left.after(Progress(rows, 100, 0, seconds)) for rows, seconds in reports]

    assert after((0, 5), (10, 6), (20, 7), (30, 8), (40, 9)) == [*[None] * 4, 6.0]
    quick = after((0, 5), (10, 5.2), (20, 5.4), (30, 5.6), (40, 5.8), (50, 6))
    assert quick == [*[None] * 5, pytest.approx(1)]
    assert after((7, 5), (7, 6), (7, 7), (7, 8), (7, 9)) == [None] * 5
    waiting = after((0, 5), (0, 8), (10, 9), (20, 10), (30, 11))
    assert waiting == [*[None] * 4, pytest.approx(14)]
    # Other work, which begins anew.
    one, other = [(10, 5), (20, 6), (30, 7), (40, 8), (50, 9)], [(5, 20), (10, 22), (15, 24)]
    assert after(*one, *other) == [*[None] * 4, 5.0, *[None] * 3]


@pytest.mark.parametrize(
    ("progress", "waiting", "left", "text"),
    [
        (Progress(0, 10, 0, 5.0), "", None, ""),
        (Progress(5, 10, 100, 0.0), "", None, ""),
        (
            Progress(3000, 10, 4 * 10**9, 2.0),
            "disk",
            None,
            "1,500 rows/s  2.00 GB/s  waits for disk",
        ),
        (Progress(0, 10, 0, 0.0, loss=0.0), "", 61.0, "loss 0.0000  0:01:01 left"),
        (Progress(0, 10, 0, 0.0, at_most=True), "", 0.0, "at most 0:00:00 left"),
        (
            Progress(0, 10, 0, 0.0, memory_budget_bytes=2**30),
            "",
            None,
            "memory 3.00 MiB of 1.00 GiB",
        ),
    ],
)
def test_a_line_says_what_is_known(
    monkeypatch: pytest.MonkeyPatch, progress: Progress, waiting: str, left: float | None, text: str
) -> None:
    monkeypatch.setattr("ooc.core.progress_bar.resident_bytes", lambda: 3 * 2**20)
    assert describe(progress, waiting, left) == text


def test_what_is_not_known_to_end_is_one_piece() -> None:
    heard: list[Progress] = []
    tell(heard.append, "looking")
    assert heard == [Progress(0, 1, 0, 0.0, text="looking")]
    assert silent(heard[0]) is None


def lines(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *reports: Progress,
    passed: float,
) -> list[str]:
    """Return what is said of reports, so many seconds after one another."""
    clock = iter(range(10**6))
    # Of this module alone: whatever other threads there are have their own time.
    monotonic = SimpleNamespace(monotonic=lambda: passed * next(clock))
    monkeypatch.setattr("ooc.core.progress_bar.time", monotonic)
    monkeypatch.setattr("ooc.core.progress_bar.SILENT_SECONDS", 1e6)
    with ProgressDisplay("work\x1b", live=False) as report:
        for each in reports:
            report(each)
    return capsys.readouterr().err.splitlines()


def test_without_a_terminal_a_line_comes_every_five_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = [Progress(rows, 40, rows * 10**9, 2.0 * rows) for rows in (1, 2, 40)]
    assert lines(capsys, monkeypatch, *work, passed=0.5) == []
    assert lines(capsys, monkeypatch, *work, passed=5.0) == [
        "work\\x1b: 2%  0 rows/s  0.50 GB/s",
        "work\\x1b: 5%  0 rows/s  0.50 GB/s",
        "work\\x1b: 100%  0 rows/s  0.50 GB/s",
    ]


@pytest.mark.parametrize(("live", "shown"), [(True, 11), (False, 1)])
def test_what_comes_by_thousands_a_second_is_written_out_when_it_is_shown(
    monkeypatch: pytest.MonkeyPatch, live: bool, shown: int
) -> None:
    now, texts = [0.0], list[int]()

    def told(progress: Progress, *more: object) -> str:
        texts.append(progress.rows)
        return ""

    monkeypatch.setattr("ooc.core.progress_bar.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("ooc.core.progress_bar.SILENT_SECONDS", 1e6)
    monkeypatch.setattr("ooc.core.progress_bar.describe", told)
    with ProgressDisplay("work", live=live) as report:
        for row in range(1, 1001):  # a second; the stage that came before it ends with the first
            now[0] = row / 1000
            report(Progress(row, 1000, 0, 0.0))
    assert texts[0] == 1
    assert len(texts) == shown
    assert texts[-1] == (1000 if live else 1)


def test_what_takes_seconds_is_said_before_it_begins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiling = [Progress(done, 3, 0, 0.0, text="compiling 3 kernels") for done in (0, 1, 2)]
    loading = Progress(0, 1, 0, 0.0, text="loading")
    assert lines(capsys, monkeypatch, *compiling, loading, passed=0.1) == [
        "work\\x1b: compiling 3 kernels"
    ]
    assert lines(capsys, monkeypatch, compiling[1], loading, passed=9.0) == [
        "work\\x1b: 33%  compiling 3 kernels",
        "work\\x1b: loading",
    ]


def test_a_step_waits_for_what_took_more_than_half_of_its_time() -> None:
    display = ProgressDisplay("work", live=False)
    reports = [(0, 0.0, 0.0), (4, 10.0, 5.0), (8, 20.0, 10.1), (12, 30.0, 14.0), (0, 40.0, 24.0)]
    found = [
        display._waits_for(Progress(0, 1, 0, seconds, waited, step=step))
        for step, seconds, waited in reports
    ]
    assert found == ["", "compute", "disk", "compute", ""]

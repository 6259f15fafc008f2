"""What is told of long work: an honest time, and no silence."""

import time

import pytest

from ooc.core.progress import Progress, TimeLeft, tell
from ooc.core.progress_bar import ProgressDisplay


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

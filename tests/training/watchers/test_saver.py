"""When runs are saved, and that it is told how long that took."""

from pathlib import Path

import pytest
from datasets import small_windows
from labelled import trainer, write_labelled

import ooc
from ooc.runs.run_directory import read_history


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1e-9, 1e9])
def test_a_run_is_saved_after_seconds_at_a_window_s_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    small_windows(monkeypatch, 16 * 2**10)
    dataset, epochs = write_labelled(tmp_path / "a.zarr"), 2
    saving = trainer(saving=ooc.Saving(every_seconds=seconds))
    windows = saving.loader(dataset).plan.order.windows
    results = saving.fit(dataset, epochs, tmp_path / "run").results
    saved = [line for line in read_history(tmp_path / "run") if line["kind"] == "checkpoint"]
    # At the beginning and in the end, too; an epoch's end is the end of its last window.
    assert windows > 2
    assert len(saved) == 2 + epochs * (windows if seconds < 1 else 1)
    spent = sum(line["save_seconds"] for line in saved)
    assert spent / 100 < results["save_seconds"] <= spent

"""A conversion that was stopped goes on from whole shards, to the bits that it would have had."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conversions import MEMORY, content, people, small_shards
from numpy.testing import assert_array_equal

import ooc
from ooc.core.progress import Progress

OPTIONS = {"target": "label", "missing_values": "drop"}


def write_gaps(path: Path, rows: int = 2000) -> pd.DataFrame:
    """Rows of which some are dropped, and texts that appear late."""
    frame = people(rows)
    frame.loc[np.arange(5, rows, 11), "income"] = np.nan
    frame.loc[rows - 100 :, "city"] = "Aachen"
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, row_group_size=170)
    return frame


def stopping_at(rows: int) -> object:
    def stop(progress: Progress) -> None:
        if not progress.text and progress.rows >= rows:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("suffix", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_what_was_stopped_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    small_shards(monkeypatch)
    source, target = tmp_path / f"a.{suffix}", tmp_path / "new.zarr"
    write_gaps(source)
    known = {"memory": MEMORY, **OPTIONS}
    ooc.convert(source, tmp_path / "whole.zarr", report=False, **known)
    kept = []
    for rows in (400, 900, 1500):
        with pytest.raises(KeyboardInterrupt):
            ooc.convert(source, target, report=stopping_at(rows), threads=1 + rows % 3, **known)
        assert not target.exists()
        kept.append(len(list((tmp_path / ".new.zarr.partial" / "X").rglob("c/*/0"))))
    assert kept == sorted(kept) and kept[0] > 1
    result = ooc.convert(source, target, report=False, **known)
    assert result["rows_kept_from_before"] > 900
    assert result["rows_dropped"] == result["missing"]["income"] == 182
    assert content(target) == content(tmp_path / "whole.zarr")


def test_another_source_or_setting_begins_anew_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch)
    source, target = tmp_path / "a.npy", tmp_path / "new.zarr"
    np.save(source, np.zeros((5000, 4)))
    with pytest.raises(KeyboardInterrupt):
        ooc.convert(source, target, memory=MEMORY, report=stopping_at(1000))
    np.save(source, np.ones((5000, 4)))
    result = ooc.convert(source, target, memory=MEMORY, report=False)
    assert result["rows_kept_from_before"] == 0
    assert "begins anew: since the call before" in result["notes"][0]
    assert "files of the source" in result["notes"][0]
    assert_array_equal(ooc.open(target).rows, 5000)
    import zarr

    assert (zarr.open_group(target, mode="r")["X"][:] == 1).all()


KILLED = """
import os, sys
import ooc.conversion.budget as budget, ooc.conversion.arrays as arrays
import ooc.conversion.parquet as parquet, ooc.conversion.csv_text as csv_text
import ooc
budget.CHUNK_BYTES, budget.SHARD_BYTES, arrays.PIECE_BYTES = 2**9, 2**11, 2**11
parquet.BATCH_BYTES, parquet.FEWEST_ROWS, csv_text.BLOCK_BYTES = 2**11, 7, 2**11
source, destination, rows, shuffle = sys.argv[1:]
def die(progress):
    if not progress.text and progress.rows >= int(rows):
        os.kill(os.getpid(), 9)
ooc.convert(source, destination, memory="2GiB", target="label", missing_values="drop", report=die,
            shuffle=shuffle == "yes")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "shuffle"), [("csv", False), ("parquet", True)])
def test_killed_at_any_instant_it_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, shuffle: bool
) -> None:
    small_shards(monkeypatch)
    source, target = tmp_path / f"a.{suffix}", tmp_path / "new.zarr"
    write_gaps(source)
    known = {"memory": MEMORY, "report": False, "shuffle": shuffle, **OPTIONS}
    ooc.convert(source, tmp_path / "whole.zarr", **known)
    for rows in (300, 1000, 1818):
        words = [str(source), str(target), str(rows), "yes" if shuffle else "no"]
        done = subprocess.run(
            [sys.executable, "-c", KILLED, *words],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )
        assert done.returncode == -signal.SIGKILL
        assert not target.exists()
    result = ooc.convert(source, target, **known)
    assert content(target) == content(tmp_path / "whole.zarr")
    assert result["rows"] == 1818
    names = {"a." + suffix, "whole.zarr", "new.zarr"}
    assert {path.name for path in tmp_path.iterdir()} == names

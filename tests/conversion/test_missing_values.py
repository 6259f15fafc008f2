"""Missing values go the way that was said, and no other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conversions import converted, people, small_shards, texts
from numpy.testing import assert_array_equal

import ooc
from ooc.core.errors import DataError


@pytest.fixture
def gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, pd.DataFrame]:
    small_shards(monkeypatch)
    frame = people(300)
    frame["age"] = frame["age"].astype("Int64")
    frame.loc[[7, 150], "age"] = pd.NA
    frame.loc[[20, 150, 299], "income"] = np.nan
    frame.loc[9, "city"] = None
    frame.loc[30, "label"] = None
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    return tmp_path / "gaps.csv", frame


NUMBERS = ["age", "income", "member"]


def test_the_first_one_is_named_by_default(gaps: tuple[Path, pd.DataFrame]) -> None:
    # Line 1 is the header, so that row 7 is in line 9.
    with pytest.raises(DataError, match=r"^line 9 of .*gaps\.csv: column age has no value; say"):
        converted(gaps[0], target="label")
    assert [path.name for path in gaps[0].parent.iterdir()] == ["gaps.csv"]


def test_drop_leaves_out_what_pandas_would(gaps: tuple[Path, pd.DataFrame]) -> None:
    group, result = converted(gaps[0], target="label", missing_values="drop")
    left = gaps[1].dropna(subset=[*NUMBERS, "label"])
    assert_array_equal(group["X"][:], left[NUMBERS].to_numpy(float))
    assert_array_equal(texts(group["y"]), left["label"])
    # What lies beside may lack values.
    assert_array_equal(texts(group["city"]), left["city"].to_numpy(object, na_value=None))
    assert group["city"].attrs["missing_value"] == -1
    assert result["rows_dropped"] == 300 - len(left) == 5
    assert result["missing"] == {"age": 2, "income": 3, "city": 1, "label": 1}


def test_fill_and_keep(gaps: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    path, frame = gaps
    with pytest.raises(DataError, match=r"line 32 .*: column label .*features alone"):
        converted(path, target="label", missing_values="fill:-5")
    group, _ = converted(path, without=["label"], missing_values="fill:-5")
    assert_array_equal(group["X"][:], frame[NUMBERS].fillna(-5).to_numpy(float))
    kept = path.rename(tmp_path / "kept.csv")
    group, _ = converted(kept, target="label", missing_values="keep")
    assert_array_equal(group["X"][:], frame[NUMBERS].to_numpy(float, na_value=np.nan))
    assert_array_equal(texts(group["y"]), frame["label"].to_numpy(object, na_value=None))
    # Training asks again.
    dataset = ooc.open(tmp_path / "kept.csv.out.zarr")
    assert dataset.arrays["X"].declares_missing and dataset.arrays["y"].declares_missing

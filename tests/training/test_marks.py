"""Values that look like marks for missing ones are told; measurements are not."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import write_dataset

import ooc
from ooc.cli import main
from ooc.models import Linear
from ooc.optim import sgd
from ooc.store.dataset import Dataset
from ooc.training.marks import MARKS, find_mark, warn_of_marks


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_mark_is_found_among_measurements(
    mark: float, dtype: str, rng: np.random.Generator
) -> None:
    values = rng.normal(280, 10, (500, 3)).astype(dtype)
    values[rng.random(values.shape) < 0.05] = mark
    found = find_mark(values)
    assert found is not None
    assert found[0] == np.dtype(dtype).type(mark)
    assert found[1] == np.mean(values == np.dtype(dtype).type(mark))


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(-1e4, 1e4, 500),
        np.r_[np.linspace(0, 300, 500), -9999.0],  # once is a measurement
        np.r_[np.linspace(-12000, 3000, 500), -9999.0, -9999.0],
        np.full(500, -9999.0),
        np.r_[np.zeros(400), np.full(100, -9999.0)],  # two values are a code
        np.arange(-32768, 32768),
        np.full(10, np.nan),
        np.empty(0),
    ],
)
def test_measurements_and_codes_are_none(values: np.ndarray) -> None:
    for dtype in ("f8", "f4", *(["i4"] if np.isfinite(values).all() else [])):
        assert find_mark(values.astype(dtype).reshape(-1, 1)) is None


def test_heights_above_the_sea_have_marks(rng: np.random.Generator) -> None:
    heights = rng.uniform(0, 8000, (2000, 1)).astype(np.int16)
    heights[::50] = -9999
    assert find_mark(heights) == (-9999.0, 0.02, (heights[heights >= 0].min(), heights.max()))


def far(path: Path, rng: np.random.Generator, **changes: Any) -> Dataset:
    x = rng.standard_normal((3000, 3)).astype(np.float32)
    arrays = {"X": x, "y": x.sum(axis=1)} | changes
    path.mkdir(exist_ok=True)
    return write_dataset(path / "marked.zarr", **arrays)


def test_a_run_warns_with_array_row_and_column(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3000, 3)).astype(np.float32)
    x[[7, 40, 2000], [2, 0, 1]] = 1e20
    dataset = far(tmp_path, rng, X=x)
    expected = r"of the values of X in .* are 1e\+20 \(row 7, feature 2\).*missing_value = 1.*e\+20"
    with pytest.warns(UserWarning, match=expected):
        warn_of_marks(dataset, ["X", "y"])
    y = rng.standard_normal(3000)
    y[5::500] = -9999
    with pytest.warns(UserWarning, match=r"of y .* are -9999 \(row 5, target 0\)"):
        ooc.Trainer(Linear(), sgd(0.001), 100, memory="512MiB").fit(
            far(tmp_path / "b", rng, y=y), 1
        )


def test_declared_ones_are_no_riddle(tmp_path: Path, rng: np.random.Generator) -> None:
    y = rng.standard_normal(3000)
    y[5::500] = -9999
    dataset = far(tmp_path, rng, y=y)
    zarr.open_group(dataset.path)["y"].attrs["missing_value"] = -9999.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_marks(ooc.open(dataset.path), ["X", "y"])


def test_an_array_that_nobody_learns_from_is_not_looked_at(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    y = rng.standard_normal(3000)
    y[5::500] = -9999
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_marks(far(tmp_path, rng, y=y), ["X"])


def test_the_shell_says_it_in_a_line(tmp_path: Path, rng: np.random.Generator) -> None:
    y = rng.standard_normal(3000)
    y[5::500] = -9999
    data, run = far(tmp_path, rng, y=y).path, str(tmp_path / "run")
    with pytest.warns(UserWarning, match="if they mark missing values"):
        assert main(["train", data, "--model", "linear", "--lr", "0.001", "--run", run]) == 0

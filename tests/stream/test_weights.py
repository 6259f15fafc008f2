"""What rows weigh that are drawn: by definition, on either side of a split, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import write_dataset

import ooc
from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.stream.draws import Draws, draw_places
from ooc.stream.loader import Loader
from ooc.stream.sampling import make_draws, sampled_array


@pytest.fixture(autouse=True)
def several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", 2**7)


def written(path: Path, **columns: Any) -> Dataset:
    rows = len(next(iter(columns.values())))
    given = {name: np.asarray(values) for name, values in columns.items()}
    return write_dataset(path / "a.zarr", 5, X=np.ones((rows, 1)), **given)


def refusal(data: Dataset, sampling: str) -> str:
    with pytest.raises(InputError) as refused:
        make_draws(data, sampling, 5)
    return str(refused.value).replace(data.path, "PATH")


@pytest.mark.parametrize("is_side", [False, True])
def test_draws_are_made_of_the_rows_of_one_side(tmp_path: Path, is_side: bool) -> None:
    rng = np.random.default_rng(0)
    y, weight = rng.integers(0, 3, 83), rng.random(83).astype(np.float32)
    data = written(tmp_path, y=y, weight=weight)
    used = np.ones(83, bool)
    if is_side:
        data = ooc.split(data, 0.4)[1]
        used = np.zeros(83, bool)
        used[np.concatenate([batch.rows for batch in Loader(data, 9, memory="512MiB")])] = True
    count = int(used.sum())
    of_class = count / (3 * np.bincount(y[used]))
    weights = {"replacement": np.ones(83), "weight": weight.astype(float), "balanced": of_class[y]}
    for sampling, array in {"replacement": None, "weight": "weight", "balanced": "y"}.items():
        found = make_draws(data, sampling, 7)
        assert found is not None
        assert (found.kind, found.array, found.rows) == (sampling, array, count)
        assert sampled_array(data, sampling) == array
        of_blocks = np.add.reduceat(weights[sampling] * used, np.arange(0, 83, 7))
        assert found.cumulative == pytest.approx(np.concatenate([[0], np.cumsum(of_blocks)]))
        total = (weights[sampling] * used).sum()
        assert found.total == pytest.approx(total)
        values = {"weight": weight, "y": y}.get(array or "")
        told = found.weights_of(values, 83)
        assert told.dtype == np.float64
        assert told == pytest.approx(weights[sampling])
        picked = told[told > 0][:20]
        assert found.importance(picked) == pytest.approx(total / count / picked)
        if sampling == "balanced":
            assert found.classes == (0, 1, 2)
            assert found.class_weights == pytest.approx(of_class)
    assert make_draws(data, "once", 7) is None
    assert sampled_array(data, "once") is None


def test_classes_that_are_declared_may_be_more_than_those_that_are_there(tmp_path: Path) -> None:
    data = written(tmp_path, y=[0, 1, 1, 0, 2] * 4)
    zarr.open_group(data.path, mode="r+").attrs["classes"] = 4
    assert refusal(ooc.open(data.path), "balanced") == (
        "class 3 of 4 has no rows in y of PATH; it cannot be balanced: give classes the numbers 0, "
        "1, ... without a gap"
    )


def test_a_class_that_one_side_lacks_is_told(tmp_path: Path) -> None:
    data = ooc.split(written(tmp_path, y=[0] * 40 + [1]), 0.5, by="row")
    told = [make_draws(side, "balanced", 5) is None for side in data if 1 in labels_of(side)]
    assert told == [False]
    (lacking,) = [side for side in data if 1 not in labels_of(side)]
    draws = make_draws(lacking, "balanced", 5)
    assert draws is not None
    assert draws.classes == (0,)
    # Elsewhere in the window there may be rows of a class that is not drawn from.
    assert draws.weights_of(np.array([0, 1]), 2).tolist() == [1.0, 1.0]


def labels_of(side: Dataset) -> set[int]:
    return {int(label) for batch in Loader(side, 5, memory="512MiB") for label in batch["y"]}


@pytest.mark.parametrize(
    ("labels", "first"),
    [
        ([0, 1] * 30 + [-1], 60),
        ([0, 1] * 20 + [0.5] + [0] * 10, 40),
        ([1, 0, np.nan] + [0] * 40, 0),
    ],
)
def test_what_are_no_classes_is_told_where_it_was_found(
    tmp_path: Path, labels: list[float], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", 5 * 8)
    assert refusal(written(tmp_path, y=labels), "balanced") == (
        f"array y of PATH holds no classes from row {first} on: they are whole numbers from 0"
    )


def test_labels_of_too_many_values_are_no_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", 2**22)
    data = write_dataset(
        tmp_path / "a.zarr", 2**17, X=np.ones((2**16 + 1, 1), "u1"), y=np.arange(2**16 + 1)
    )
    assert refusal(data, "balanced") == "array y of PATH has too many values to be classes"


@pytest.mark.parametrize("bad", [-2.0, np.nan, np.inf, -np.inf])
def test_the_first_weight_that_cannot_be_is_told_with_its_row(tmp_path: Path, bad: float) -> None:
    weight = np.ones(60)
    weight[[43, 50]] = bad, -1
    assert refusal(written(tmp_path, y=np.zeros(60), weight=weight), "weight") == (
        f"row 43 of weight of PATH weighs {bad}; a weight is zero or a positive finite number"
    )


def test_without_what_weights_are_made_of_nothing_is_drawn(tmp_path: Path) -> None:
    data = written(tmp_path, z=np.zeros(10))
    assert refusal(data, "weight") == (
        'PATH has no array of weights; name one with weight=, or use "replacement"'
    )
    assert refusal(data, "balanced") == "PATH has no array of classes; name one with target="
    zeros = written(tmp_path / "zeros", y=np.zeros(10), weight=np.zeros(10))
    assert refusal(zeros, "weight") == (
        "all weights in weight of PATH are zero; nothing can be drawn"
    )
    one = written(tmp_path / "one", y=np.zeros(10), weight=np.eye(10)[3])
    draws = make_draws(one, "weight", 5)
    assert draws is not None
    assert draws.cumulative.tolist() == [0, 1, 1]


def test_balanced_targets_are_one_number_a_row(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, y=np.zeros((10, 2), int)), "balanced") == (
        "array y of PATH has shape (10, 2); it needs one number a row"
    )


def test_blocks_are_drawn_at_even_steps_of_the_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a start that is a share of a step; a block that weighs nothing is passed over."""
    draws = Draws("weight", "w", np.array([0.0, 0, 2, 3, 3, 8]), 50)
    for start, expected in ((0, [1, 2, 4, 4]), (2**62, [1, 4, 4, 4]), (2**61, [1, 2, 4, 4])):
        monkeypatch.setattr("ooc.stream.draws.key", lambda *given, at=start: at)
        assert draws.blocks_at(np.arange(4), 4, 0, 0).tolist() == expected


def test_a_row_that_weighs_nothing_is_not_drawn_where_numbers_are_rounded() -> None:
    """The sum of all rows before is so large that a draw is rounded to the end."""
    out = np.empty(50, np.int32)
    draw_places(np.array([1e16, 1e16 + 2, 1e16 + 2, 1e16 + 2]), 1, 4, 3, out)
    assert set(out.tolist()) == {1}

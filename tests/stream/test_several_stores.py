"""Rows of several stores in one order: every one once, and named by its own store."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import foreign, small_windows
from several import ALIKE, RAGGED, Several, write_several

import ooc
from ooc.core.errors import DataError, InputError
from ooc.store.dataset import Dataset


@pytest.fixture(params=[ALIKE, RAGGED], ids=["alike", "ragged"])
def several(request: pytest.FixtureRequest, tmp_path: Path) -> Several:
    return write_several(tmp_path, request.param)


def loaded(dataset: Dataset, **options: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of an epoch and their features, in the order of the stream."""
    options = {"batch_size": min(16, dataset.rows), "memory": "512MiB", **options}
    batches = list(ooc.Loader(dataset, **options))
    return tuple(np.concatenate([each(batch) for batch in batches]) for each in PARTS)


PARTS = (lambda batch: batch.rows, lambda batch: batch["X"])


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("shuffle", ["blocks", "none"])
def test_every_row_comes_once(
    several: Several, shuffle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 60 * 20)
    dataset = several.open()
    rows, features = loaded(dataset, shuffle=shuffle)
    places = several.rows_of(dataset.stores, rows)
    np.testing.assert_array_equal(features, several.X[places])
    assert sorted(places) == list(range(len(several.X)))
    assert (places == np.arange(len(places))).all() == (shuffle == "none")


def test_windows_mix_across_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 3 * 20 * 20)
    dataset = write_several(tmp_path, ALIKE).open()
    loader = ooc.Loader(dataset, 16, memory="512MiB")
    assert dataset.stores is not None and loader.plan.order.windows > 1
    owners = [
        {dataset.stores.locate(int(row))[0] for row in window.rows(window.order.astype(np.int64))}
        for window in loader.windows(1)
    ]
    assert max(map(len, owners)) > 1


def test_stores_whose_chunks_are_whole_are_one_store_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 60 * 20)
    several = write_several(tmp_path, ALIKE)
    one = foreign(
        tmp_path / "one.zarr",
        3,
        X={"data": several.X, "chunks": (20, 3)},
        y={"data": several.y, "chunks": (20,)},
    )
    for found, wanted in zip(loaded(several.open()), loaded(ooc.open(one)), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "how", [{}, {"ordered": True}, {"by": "block"}, {"by": "y"}, {"by": "y", "ordered": True}]
)
def test_parts_are_disjoint_and_of_all_stores(several: Several, how: dict[str, object]) -> None:
    dataset = several.open()
    parts = ooc.split(dataset, (0.2, 0.1), **how)
    found = [several.rows_of(dataset.stores, loaded(each, shuffle="none")[0]) for each in parts]
    assert sorted(np.concatenate(found)) == list(range(len(several.X)))
    assert [len(each) for each in found] == [each.rows for each in parts]
    if how == {"ordered": True}:
        assert all(a.max() < b.min() for a, b in pairwise(found))


@pytest.mark.slow_after(1)
def test_a_position_is_gone_on_from(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 60 * 20)
    whole = [batch.rows for batch in ooc.Loader(several.open(), 16, memory="512MiB")]
    for stop in (1, 4, len(whole) - 1):
        first = ooc.Loader(several.open(), 16, memory="512MiB")
        for _ in zip(range(stop), first, strict=False):
            pass
        # The loop above takes a batch, and counts it, before it knows that it is to end.
        again = ooc.Loader(several.open(), 16, memory="512MiB")
        again.load_state_dict(first.state_dict())
        rest = [batch.rows for batch in again]
        np.testing.assert_array_equal(
            np.concatenate(rest), np.concatenate(whole[first.state_dict()["step"] :])
        )


def test_other_lengths_are_another_stream(tmp_path: Path) -> None:
    several = write_several(tmp_path, RAGGED)
    state = ooc.Loader(several.open(), 16, memory="512MiB").state_dict()
    others = Several(several.paths[::-1], several.X, several.y)
    with pytest.raises(InputError, match="the saved position is of another stream"):
        ooc.Loader(others.open(), 16, memory="512MiB").load_state_dict(state)


def test_chunks_that_are_skipped_leave_out_their_own_rows(tmp_path: Path) -> None:
    several = write_several(tmp_path, RAGGED)
    dataset = several.open()
    (Path(several.paths[2]) / "X" / "c" / "1" / "0").write_bytes(b"no chunk")
    rows, features = loaded(dataset, on_bad_chunk="skip")
    places = several.rows_of(dataset.stores, rows)
    np.testing.assert_array_equal(features, several.X[places])
    lost = set(range(len(several.X))) - set(places.tolist())
    assert lost == set(range(53 + 31 + 10, 53 + 31 + 20))


def test_a_missing_value_is_named_by_its_store(tmp_path: Path) -> None:
    several = write_several(tmp_path, ALIKE)
    array = zarr.open_group(several.paths[1])["X"]
    array.attrs["missing_value"] = -7.0
    array[12, 1] = -7.0
    with pytest.raises(DataError, match=r"a missing value in row 12 in .*2001\.zarr, column 1"):
        loaded(several.open())
    rows, _ = loaded(several.open(), missing_values="drop")
    assert set(range(180)) - set(rows.tolist()) == {60 + 12}


def test_rows_are_drawn_from_all_stores_by_weight(tmp_path: Path) -> None:
    """Padding between stores has no weight, and rows of the others have."""
    for number, rows in enumerate((93, 7)):
        weight = np.full(rows, 1.0 if number else 0.0, np.float32)
        x = np.full((rows, 2), number + 1, np.float32)
        foreign(
            tmp_path / f"{number}.zarr",
            3,
            X={"data": x, "chunks": (10, 2)},
            weight={"data": weight},
        )
    _, features = loaded(ooc.open(str(tmp_path / "*.zarr"), missing="fill"), sampling="weight")
    assert len(features) == 100 and (features == 2).all()

"""Splits: disjoint, exact, deterministic, and streamed like any dataset."""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from chi_square import chi_square_p
from datasets import small_windows, write_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pairs import pairs

import ooc
from ooc.core.errors import DataError, InputError
from ooc.store.dataset import Dataset
from ooc.stream.loader import Loader

MEMORY = "512MiB"


@pytest.fixture
def grouped(tmp_path: Path) -> Dataset:
    """997 rows of 40 groups of different sizes and 3 classes, in blocks of 10."""
    rng = np.random.default_rng(1)
    patient = np.sort(rng.integers(0, 40, 997) ** 2)
    return write_dataset(
        tmp_path / "grouped.zarr",
        X=np.arange(997, dtype=np.float32)[:, None],
        y=rng.choice(3, 997, p=[0.7, 0.25, 0.05]),
        patient=patient,
    )


@pytest.fixture(autouse=True)
def several_windows_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 3 * 2**10)
    monkeypatch.setattr("ooc.store.columns.PIECE_BYTES", 2**9)


def rows_of(dataset: Dataset, **options: object) -> np.ndarray:
    loader = Loader(dataset, 7, memory=MEMORY, **options)  # type: ignore[arg-type]
    batches = list(loader)
    assert {len(batch.rows) for batch in batches[:-1]} <= {7}
    assert len(batches) == loader.plan.steps
    return np.concatenate([batch.rows for batch in batches])


WAYS = [{"by": "row"}, {"by": "block"}, {"by": "patient"}, {"by": "row", "stratify": "y"}]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("way", "shuffle"), pairs(WAYS, ["blocks", "none"]))
def test_sides_are_disjoint_and_together_everything(
    grouped: Dataset, way: dict[str, str], shuffle: str
) -> None:
    train, validation = ooc.split(grouped, 0.2, seed=4, **way)
    a, b = rows_of(train, shuffle=shuffle), rows_of(validation, shuffle=shuffle)
    assert (len(a), len(b)) == (train.rows, validation.rows)
    assert np.array_equal(np.sort(np.concatenate([a, b])), np.arange(997))
    again = rows_of(ooc.split(grouped, 0.2, seed=4, **way)[1], shuffle=shuffle)
    other = rows_of(ooc.split(grouped, 0.2, seed=5, **way)[1], shuffle=shuffle)
    assert np.array_equal(b, again)
    assert not np.array_equal(np.sort(b), np.sort(other))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.01, 0.98), seed=st.integers(0, 2**40))
def test_shares_by_row_are_exact(grouped: Dataset, share: float, seed: int) -> None:
    train, validation = ooc.split(grouped, share, seed)
    wanted = round(Fraction(str(share)) * 997)
    assert (train.rows, validation.rows) == (997 - wanted, wanted)
    for side in (train, validation):
        assert side.selection is not None
        assert side.selection.contains(0, 997, {}).sum() == side.rows


def test_groups_stay_together(grouped: Dataset) -> None:
    train, validation = ooc.split(grouped, 0.3, by="patient")
    patients = [
        {int(p) for batch in Loader(side, 50, memory=MEMORY) for p in batch["patient"]}
        for side in (train, validation)
    ]
    assert not patients[0] & patients[1]
    assert 0.2 < validation.rows / 997 < 0.4


def test_a_share_of_groups_is_as_near_as_groups_allow(grouped: Dataset) -> None:
    """They are taken in one order, so that each share could have had the rows of any other."""
    shares = np.linspace(0.3, 0.5, 16).round(3).tolist()
    found = np.array([ooc.split(grouped, share, by="patient")[1].rows for share in shares])
    assert len(set(found.tolist())) > 3
    nearest = np.abs(found - 997 * np.array(shares)[:, None]).min(axis=1)
    np.testing.assert_array_equal(np.abs(found - 997 * np.array(shares)), nearest)


def test_a_stratified_share_is_exact_in_each_class(grouped: Dataset) -> None:
    _, validation = ooc.split(grouped, 0.2, stratify="y")
    whole, part = (
        np.bincount(np.concatenate([batch["y"] for batch in Loader(side, 50, memory=MEMORY)]))
        for side in (grouped, validation)
    )
    assert part.tolist() == [round(0.2 * count) for count in whole]


def test_blocks_stay_together_and_only_they_are_read(grouped: Dataset) -> None:
    _, validation = ooc.split(grouped, 0.2, by="block")
    loader = Loader(validation, 10, memory=MEMORY)
    blocks = {int(row) // 10 for batch in loader for row in batch.rows}
    assert len(blocks) == loader.plan.order.blocks == round(0.2 * 100)


def test_every_row_is_as_likely_as_any_other() -> None:
    """Chi-square over all sets of 2 rows out of 5."""
    from ooc.core.hashing import keys_of
    from ooc.core.random_keys import Purpose, key

    sets = dict.fromkeys(itertools.combinations(range(5), 2), 0)
    for seed in range(10_000):
        keys = keys_of(np.arange(5), key(seed, Purpose.SPLIT))
        sets[tuple(np.sort(np.argsort(keys)[:2]).tolist())] += 1
    assert chi_square_p(list(sets.values()), 10) > 1e-4


@pytest.mark.slow
def test_a_side_resumes_at_every_step(grouped: Dataset) -> None:
    train, _ = ooc.split(grouped, 0.5)
    loader, positions, stream = Loader(train, 60, memory=MEMORY), [], []
    positions.append(loader.state_dict())
    for batch in loader:
        stream.append(batch.rows.tolist())
        positions.append(loader.state_dict())
    for step, position in enumerate(positions[:-1]):
        restored = Loader(train, 60, memory=MEMORY)
        restored.load_state_dict(position)
        assert [batch.rows.tolist() for batch in restored] == stream[step:]


@pytest.mark.slow
def test_training_on_one_side_and_evaluating_on_the_other(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2000, 3), dtype=np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=(x @ np.float32([1, 2, 3])))
    train, validation = ooc.split(dataset, 0.25)
    trainer = ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.1), 10, memory=MEMORY)
    run = trainer.fit(train, epochs=3)
    assert run.results["rows"] == 3 * 1500
    found = run.evaluate(validation, MEMORY)
    assert found["rows"] == 500
    assert found["loss"] < 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0.0001}, "validation side .* would be empty"),
        ({"validation": 0.9999}, "training side .* would be empty"),
        ({"validation": 1.5}, "between 0 and 1, not 1.5"),
        ({"by": "patients"}, "no array 'patients'"),
        ({"by": "block", "stratify": "y"}, 'goes with by="row"'),
        ({"stratify": "z"}, "no array 'z'"),
    ],
)
def test_a_split_that_cannot_be(grouped: Dataset, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ooc.split(grouped, **options)  # type: ignore[arg-type]


def test_a_batch_is_of_the_rows_of_one_side(grouped: Dataset) -> None:
    """Larger than the side it cannot be, though the store has as many rows."""
    train, _ = ooc.split(grouped, 0.2, by="row")
    assert len(next(iter(Loader(train, train.rows, memory=MEMORY))).rows) == train.rows
    with pytest.raises(InputError, match=f"larger than the dataset of {train.rows} rows"):
        Loader(train, train.rows + 1, memory=MEMORY)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("way", [{"by": "row"}, {"by": "site"}, {"by": "row", "stratify": "site"}])
def test_rows_that_lack_a_value_are_dropped_on_both_sides(
    tmp_path: Path, way: dict[str, str]
) -> None:
    rng = np.random.default_rng(2)
    site, x = rng.integers(0, 30, 997).astype(np.float32), rng.standard_normal((997, 2))
    site[3::50], x[11::70, 1] = np.nan, np.nan
    site.view(np.uint32)[53] += 1  # another of the many bits of NaN
    dataset = write_dataset(tmp_path / "a.zarr", X=x, site=site)
    if "site" in way.values():
        with pytest.raises(DataError, match=r"site .* no value in row 3; 20 of the 997 rows"):
            ooc.split(dataset, 0.2, **way)  # type: ignore[arg-type]
    sides = ooc.split(dataset, 0.2, missing_values="drop", **way)  # type: ignore[arg-type]
    lacks = np.isnan(x).any(axis=1) | (np.isnan(site) & ("site" in way.values()))
    loaders = [Loader(side, 7, memory=MEMORY, missing_values="drop") for side in sides]
    found = [np.concatenate([batch.rows for batch in loader]) for loader in loaders]
    assert np.array_equal(np.sort(np.concatenate(found)), np.flatnonzero(~lacks))
    assert sum(side.rows for side in sides) == 997
    for side, loader, rows in zip(sides, loaders, found, strict=True):
        assert side.rows - len(rows) == loader.skipped_rows
    if way["by"] == "site":
        assert not set(site[found[0]]) & set(site[found[1]])
        assert sorted(loader.missing.get("site", 0) for loader in loaders) == [0, 20]

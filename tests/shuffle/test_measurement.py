"""The report: what it counts is what a naive reader would count."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from ooc.core.errors import DataError, InputError
from ooc.shuffle import draw_mixing, measure, mixing
from ooc.store.dataset import Dataset
from ooc.stream.block_statistics import block_statistics
from ooc.stream.loader import Loader

MEMORY = "512MiB"
ROWS, BLOCK = 4003, 10


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """4003 rows in blocks of 10: a feature that drifts, one that does not, sorted labels."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((ROWS, 2)).astype(np.float32)
    x[:, 0] += np.linspace(-3, 3, ROWS)
    y = np.arange(ROWS) * 3 // ROWS
    return write_dataset(tmp_path_factory.mktemp("d") / "d.zarr", X=x, y=y)


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 8 * 2**10)


@pytest.mark.slow
def test_a_report_is_what_a_naive_reader_counts(drifting: Dataset) -> None:
    found = measure(drifting, "blocks", 50, MEMORY, seed=3, sample_blocks=None)
    batches = list(Loader(drifting, 50, memory=MEMORY, seed=3))
    rows = np.concatenate([batch.rows for batch in batches])
    pairs = [
        sum(a == b for a, b in itertools.combinations((batch.rows // BLOCK).tolist(), 2))
        for batch in batches
    ]
    assert found.every_row_once
    assert found.pairs == sum(pairs)
    assert found.pairs_per_batch_deviation == pytest.approx(np.std(pairs))
    assert found.displacement == pytest.approx(np.abs(rows - np.arange(ROWS)).mean() / ROWS)
    assert found.neighbour_distance == pytest.approx(np.abs(np.diff(rows)).mean() / ROWS)
    x = np.concatenate([batch["X"] for batch in batches]).astype(np.float64)
    means = np.array([batch["X"].astype(np.float64).mean(axis=0) for batch in batches[:-1]])
    full = x.var(axis=0) / 50 * (ROWS - 50) / (ROWS - 1)
    observed = [each.observed for each in found.columns[1:]]
    assert observed == pytest.approx((means.var(axis=0) / full).tolist(), rel=1e-6)
    counts = np.array([np.bincount(batch["y"], minlength=3) for batch in batches[:-1]])
    expected = 50 * counts.sum(axis=0) / counts.sum()
    chi = (counts.var(axis=0) / expected).sum()
    assert found.chi_square == pytest.approx(chi)
    size, last = 50, ROWS % 50
    same = 400 * math.comb(BLOCK, 2) + math.comb(ROWS % BLOCK, 2)
    met = (ROWS // size * math.comb(size, 2) + math.comb(last, 2)) / math.comb(ROWS, 2)
    assert found.pairs_full_shuffle == pytest.approx(same * met)
    assert found.bytes_decoded == ROWS * (2 * 4 + 8)
    stored = sum(
        chunk.stat().st_size
        for name in "Xy"
        for chunk in Path(drifting.path, name, "c").rglob("*")
        if chunk.is_file()
    )
    # Indices of shards, and checksums that are left where they lie, are no more than a few bytes.
    assert 0.8 * stored < found.bytes_stored <= stored
    assert (found.rows, found.blocks, found.block_rows) == (ROWS, 401, BLOCK)
    assert found.picture.sum() == ROWS
    assert found.picture.sum(axis=0).max() <= -(-ROWS // 256) + 1


@pytest.mark.slow
def test_observed_and_predicted_inflation_agree(drifting: Dataset) -> None:
    """Mean over seeds, for each column; and pairs within 4 deviations of their closed form."""
    ratios, scores = [], []
    for seed in range(12):
        found = measure(drifting, "blocks", 50, MEMORY, seed=seed, sample_blocks=None)
        ratios.append([each.observed / (each.predicted or 0) for each in found.columns])
        scores.append(found.pairs_score)
    assert found.columns[0].predicted > 1.5
    assert np.mean(ratios, axis=0) == pytest.approx([1, 1, 1], abs=0.12)
    assert max(abs(score or 0) for score in scores) < 4
    assert abs(np.mean(scores)) < 1.5


def test_shares_of_variance_are_exact_on_request(drifting: Dataset) -> None:
    x = next(iter(Loader(drifting, ROWS, memory=MEMORY, shuffle="none")))["X"].astype(np.float64)
    found = block_statistics(drifting, BLOCK, None)
    weights = np.full(401, 10.0)
    weights[-1] = 3
    means = np.add.reduceat(x, np.arange(0, ROWS, 10)) / weights[:, None]
    between = (weights[:, None] * (means - x.mean(axis=0)) ** 2).sum(axis=0) / ROWS
    share = (between / x.var(axis=0)).tolist()
    assert [column.between_share for column in found.features] == pytest.approx(share)
    assert [column.error for column in found.features] == [0, 0]
    assert found.label is not None
    assert found.label.between_share > 0.99


@pytest.mark.slow
def test_a_sample_is_within_its_standard_errors(drifting: Dataset) -> None:
    exact = block_statistics(drifting, BLOCK, None)
    scores = []
    for seed in range(60):
        sample = block_statistics(drifting, BLOCK, 40, seed)
        for a, b in zip(sample.features, exact.features, strict=True):
            scores.append((a.between_share - b.between_share) / a.error)
    assert abs(np.mean(scores)) < 0.5
    assert 0.7 < np.std(scores) < 1.5


@pytest.mark.slow
def test_no_shuffle_an_exact_one_and_a_list(drifting: Dataset) -> None:
    none, exact = (measure(drifting, order, 50, MEMORY) for order in ("none", "exact"))
    assert none.displacement == 0
    assert none.epoch_correlation == pytest.approx(1)
    assert none.columns[0].observed > 20
    assert exact.columns[0].observed == pytest.approx(1, abs=0.4)
    assert exact.displacement == pytest.approx(1 / 3, abs=0.02)
    assert abs(exact.pairs_score or 9) < 4
    listed = measure(drifting, np.arange(ROWS)[::-1], 50, MEMORY)
    assert listed.every_row_once
    assert listed.neighbour_distance == pytest.approx(1 / ROWS)
    assert listed.columns[0].predicted is None
    twice = np.arange(ROWS)
    twice[5] = 6
    assert not measure(drifting, twice, 50, MEMORY).every_row_once
    assert not measure(drifting, np.arange(ROWS - 1), 50, MEMORY).every_row_once


def test_epochs_of_blocks_do_not_correlate(drifting: Dataset) -> None:
    assert abs(measure(drifting, "blocks", 50, MEMORY).epoch_correlation) < 0.2


@pytest.mark.slow
def test_it_is_json_a_table_and_a_picture(drifting: Dataset, tmp_path: Path) -> None:
    found = measure(drifting, "blocks", 50, MEMORY)
    assert json.loads(json.dumps(found.to_json()))["every_row_once"] is True
    assert any("same-block pairs" in key for table in found.tables().values() for key in table)
    draw_mixing(found, tmp_path / "mixing.png")
    assert (tmp_path / "mixing.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_verdict_in_words_is_told_and_stands_on_the_picture(
    drifting: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(mixing, "save_figure", lambda figure, *_, **__: drawn.append(figure))
    for order, words in (("none", "badly mixed"), ("exact", "as good as a full shuffle")):
        found = measure(drifting, order, 50, MEMORY)
        assert found.verdict.startswith(f"{words}: batch means of ")
        # Sorted data in their order: each batch has one label, but for two.
        assert ("all epochs have the same order" in found.verdict) == (order == "none")
        assert found.to_json()["verdict"] == found.verdict
        (told,) = [rows["verdict"] for rows in found.tables().values() if "verdict" in rows]
        assert told == found.verdict
        draw_mixing(replace(found, dataset="a $x$ b.zarr"), tmp_path / "a.png")
        title = " ".join(drawn[-1].get_suptitle().split())
        assert title.startswith(f"a $x$ b.zarr, batches of 50: {words}")
    repeated = np.zeros(ROWS, np.int64)
    assert "come twice" in measure(drifting, repeated, 50, MEMORY).verdict


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("random", "choose blocks, none or exact"),
        (np.array([0.5, 1.0]), "not float64 of shape"),
        (np.array([0, ROWS]), f"rows 0 to {ROWS}, but the dataset has rows 0 to {ROWS - 1}"),
        (np.array([-1, 3]), "names rows -1 to 3"),
    ],
)
def test_an_order_that_cannot_be(drifting: Dataset, order: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(drifting, order, 50, MEMORY)  # type: ignore[arg-type]


def test_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    x = np.ones((50, 2), np.float32)
    x[7, 1] = np.nan
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.zeros(50))
    with pytest.raises(DataError, match=r"array X of .* not finite"):
        measure(dataset, "blocks", 5, MEMORY)


def test_one_side_of_a_split_is_refused(drifting: Dataset) -> None:
    with pytest.raises(InputError, match="one side of a split"):
        measure(ooc.split(drifting)[0])


def test_of_wide_rows_each_followed_column_has_its_own_numbers(tmp_path: Path) -> None:
    """Only the last of many drifts, in the order of a list, too."""
    x = np.random.default_rng(0).standard_normal((400, 40)).astype(np.float32)
    x[:, 39] = np.linspace(-3, 3, 400)
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=np.zeros(400))
    for order in ("none", np.arange(400)):
        found = measure(dataset, order, 20, MEMORY, sample_blocks=None).columns[1:]
        assert len(found) < 40
        drifts = {each.column.name: each.observed > 5 for each in found}
        assert [name for name, does in drifts.items() if does] == ["X[39]"]

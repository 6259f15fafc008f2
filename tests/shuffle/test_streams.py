"""Streams that are measured, and what is found in them, as lists have it."""

import itertools
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import foreign, small_windows, write_dataset

import ooc
from ooc.core.errors import InputError
from ooc.shuffle import measurement
from ooc.shuffle.measurement import NO_CHI_SQUARE, measure
from ooc.shuffle.streams import ListStream, LoaderStream, full_shuffle_pairs
from ooc.stream.block_statistics import block_statistics
from ooc.stream.loader import Loader
from ooc.stream.mixing_theory import inflation, pairs_expected


def test_errors_are_by_the_spread_over_parts() -> None:
    """Batches and sums up to each end: parts of 2, 0, 3 and 5 batches add 4, 0, 9 and 10."""
    ends = [(0, [0.0, 0]), (2, [4.0, 2]), (2, [4.0, 2]), (5, [13.0, 5]), (10, [23.0, 10])]
    found = measurement._errors([(done, np.array(sums)) for done, sums in ends])
    rest = np.array([4 - 2 * 2.3, 9 - 3 * 2.3, 10 - 5 * 2.3])
    assert found == pytest.approx([np.sqrt((rest**2).sum() * 3 / 2) / 10, 0])
    alone = measurement._errors([(0, np.zeros(2)), (4, np.array([3.0, 1]))])
    assert alone.tolist() == [0, 0]


def test_a_chi_square_is_told_with_its_degrees_and_score() -> None:
    share, spread = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.25, 0.3, 0.1, 0.0])
    found = measurement._chi_square(share, spread, 50)
    mean = 0.25 / 0.5 + 0.3 / 0.3 + 0.1 / 0.2
    assert found == pytest.approx(
        {
            "chi_square": mean,
            "chi_square_degrees": 2,
            "chi_square_score": (mean - 2) / np.sqrt(2 * 2 / 50),
        }
    )
    assert measurement._chi_square(share[:1], spread[:1], 50) == NO_CHI_SQUARE


def test_a_full_shuffle_is_one_window_of_all_rows() -> None:
    found = full_shuffle_pairs(103, 10, 20)
    blocks = 10 * comb(10, 2) + comb(3, 2)
    batches = 5 * comb(20, 2) + comb(3, 2)
    assert found.mean == pytest.approx(blocks * batches / comb(103, 2))


@pytest.fixture
def drifting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """203 rows in blocks of 10; labels in unequal classes that come together."""
    small_windows(monkeypatch, 2**10)
    monkeypatch.setattr("ooc.shuffle.streams.PART_ROWS", 64)
    monkeypatch.setattr(measurement, "PIECE_ROWS", 32)
    x = np.random.default_rng(2).standard_normal((203, 2)).astype(np.float32)
    x[:, 0] += np.linspace(-3, 3, 203)
    return write_dataset(tmp_path / "a.zarr", X=x, y=np.minimum(np.arange(203) // 80, 2))


@pytest.mark.parametrize("order", ["blocks", "none", "list"])
def test_streams_compute_and_read_the_same_rows(drifting: Any, order: str) -> None:
    rows = np.random.default_rng(3).permutation(203)[:150]
    loader = Loader(
        drifting, 20, memory="512MiB", seed=1, shuffle="none" if order == "none" else "blocks"
    )
    stream: Any = LoaderStream(loader)
    if order == "list":
        stream = ListStream("list", rows, drifting, 10)
        assert (stream.block_rows, stream.blocks_per_window) == (10, 0)
        assert stream.expected_pairs(20) is None
        assert ListStream("exact", rows, drifting, 10).expected_pairs(20) == full_shuffle_pairs(
            203, 10, 20
        )
    else:
        assert (stream.name, stream.block_rows) == (order, loader.plan.order.block_rows)
        assert (stream.expected_pairs(20) is None) == (order == "none")
    for epoch in range(2):
        expected = rows if order == "list" else np.concatenate([b.rows for b in loader])
        assert (
            np.concatenate([part.copy() for part in stream.rows(epoch)]).tolist()
            == expected.tolist()
        )
    x = np.concatenate([b["X"] for b in Loader(drifting, 203, memory="512MiB", shuffle="none")])
    first = np.concatenate([part.copy() for part in stream.rows(0)])
    if order != "list":
        stream = LoaderStream(Loader(drifting, 20, memory="512MiB", stream=loader.stream))
    followed = np.array([1])
    found = [
        (part.features[part.order][:, 0 if order == "list" else 1].copy(), part.labels[part.order])
        for part in stream.parts(followed)
    ]
    np.testing.assert_array_equal(np.concatenate([each[0] for each in found]), x[first, 1])
    np.testing.assert_array_equal(
        np.concatenate([each[1] for each in found]), np.minimum(first // 80, 2)
    )


@pytest.mark.parametrize("order", ["blocks", "none"])
def test_labels_and_epochs_are_compared_as_a_naive_reader_would(drifting: Any, order: str) -> None:
    found = measure(drifting, order, 20, "512MiB", seed=4, sample_blocks=None)
    loader = Loader(drifting, 20, memory="512MiB", seed=4, shuffle=order)
    epochs = [list(loader) for _ in range(2)]
    places = [np.argsort(np.concatenate([b.rows for b in epoch])) for epoch in epochs]
    assert found.epoch_correlation == pytest.approx(np.corrcoef(*places)[0, 1])
    shares = np.array(
        [np.bincount(b["y"], minlength=3) / 20 for b in epochs[0] if len(b.rows) == 20]
    )
    whole = np.bincount(np.concatenate([b["y"] for b in epochs[0]])[:200], minlength=3) / 200
    full = (whole * (1 - whole)).sum() / 20 * (203 - 20) / 202
    label = found.columns[0]
    assert label.column.name == "y"
    assert label.observed == pytest.approx(shares.var(axis=0).sum() / full)
    chi = (20 * shares.var(axis=0) / whole).sum()
    assert found.chi_square == pytest.approx(chi)
    assert found.chi_square_degrees == 2
    assert found.chi_square_score == pytest.approx((chi - 2) / np.sqrt(4 / 10))
    pairs = [
        sum(a == b for a, b in itertools.combinations((batch.rows // 10).tolist(), 2))
        for batch in epochs[0]
    ]
    assert found.pairs_per_batch == pytest.approx(np.mean(pairs))
    assert (found.batch_size, found.sampled_blocks, found.blocks) == (20, 21, 21)
    assert found.dataset == "a.zarr"
    picture = np.zeros((203, 203), int)
    picture[np.arange(203), np.concatenate([b.rows for b in epochs[0]])] = 1
    np.testing.assert_array_equal(found.picture, picture)


def test_an_epoch_asks_for_each_file_of_its_chunks(tmp_path: Path) -> None:
    """They are not compressed, so that what is read is what is decoded."""
    x, y = np.ones((95, 3), np.float32), np.arange(95) % 2
    arrays = {
        name: {"data": data, "chunks": (10, *data.shape[1:]), "compressors": None}
        for name, data in {"X": x, "y": y}.items()
    }
    data = ooc.open(foreign(tmp_path / "a.zarr", 2, **arrays))
    found = measure(data, "blocks", 20, "512MiB", window=3)
    assert found.requests == 10 + 10
    # The last chunk is stored whole.
    assert found.bytes_stored == 100 * (12 + 8)
    listed = measure(data, np.arange(95), 20, "512MiB")
    assert (listed.requests, listed.bytes_stored, listed.blocks_per_window) == (None, None, 0)


def test_a_list_that_does_not_fit_is_told_both_numbers(drifting: Any) -> None:
    loader = Loader(drifting, 20, memory="512MiB")
    with pytest.raises(InputError) as refused:
        measurement._stream("exact", loader, 0, 2, 2000)
    assert str(refused.value) == (
        "an order that is a list is measured in memory, which takes 7.93 KiB for 203 rows; the "
        "budget is 1.95 KiB: raise it"
    )
    with pytest.raises(InputError) as refused:
        measurement._stream("random", loader, 0, 2, "1GiB")
    assert str(refused.value) == (
        "no order is called 'random'; choose blocks, none or exact, or give a list of rows"
    )
    with pytest.raises(InputError) as refused:
        measurement._stream(np.array([3, 203]), loader, 0, 2, "1GiB")
    assert str(refused.value) == (
        "the order names rows 3 to 203, but the dataset has rows 0 to 202"
    )


def test_what_is_predicted_is_the_closed_form_of_the_order(drifting: Any) -> None:
    """All blocks are read, so that the shares are exact; a list that somebody gave has no form."""

    def predicted(order: Any) -> list[Any]:
        found = measure(drifting, order, 20, "512MiB", sample_blocks=None)
        shares = [each.column.between_share for each in found.columns]
        if order == "blocks":
            window = found.blocks_per_window
            assert 1 < window < 21
            return [
                each.predicted == inflation(share, 203, 10, window, 20)
                for each, share in zip(found.columns, shares, strict=True)
            ]
        return [each.predicted for each in found.columns]

    assert predicted("blocks") == [True] * 3
    assert predicted("none") == [None] * 3
    assert predicted("exact") == [1.0] * 3


def test_columns_that_are_followed_are_16_spread_over_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their shares are those of the sample that the seed draws."""
    small_windows(monkeypatch, 2**10)
    x = np.random.default_rng(0).standard_normal((120, 40)).astype(np.float32)
    data = write_dataset(tmp_path / "a.zarr", X=x, y=np.arange(120) % 3)
    found = measure(data, "none", 20, "512MiB", seed=3, sample_blocks=5)
    label, *columns = [each.column for each in found.columns]
    places = [39 * step // 15 for step in range(16)]
    assert [each.name for each in columns] == [f"X[{place}]" for place in places]
    expected = block_statistics(data, 10, 5, 3, columns=np.array(places))
    assert columns == list(expected.features)
    assert label == expected.label
    assert found.sampled_blocks == 5


def test_pairs_are_expected_by_the_windows_of_the_epoch(drifting: Any) -> None:
    found = measure(drifting, "blocks", 20, "512MiB", seed=5)
    order = Loader(drifting, 20, memory="512MiB", seed=5).plan.order
    windows = [
        [3 if block == 20 else 10 for block in order.window_blocks(0, window)]
        for window in range(order.windows)
    ]
    expected = pairs_expected(windows, 20)
    assert found.pairs_expected == pytest.approx(expected.mean)
    assert found.pairs_deviation == pytest.approx(expected.deviation)
    assert found.pairs_score == pytest.approx((found.pairs - expected.mean) / expected.deviation)


def test_a_long_chunk_is_decoded_for_each_block_that_it_is_part_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 2**10)
    arrays: Any = {
        "X": {"data": np.ones((95, 3), np.float32), "chunks": (10, 3)},
        "y": {"data": np.arange(95) % 2, "chunks": (95,)},
    }
    data = ooc.open(foreign(tmp_path / "a.zarr", 2, **arrays))
    found = measure(data, "blocks", 20, "512MiB", window=3)
    firsts = range(0, 95, found.block_rows)
    assert len(firsts) > 1
    spans = [(first, min(first + found.block_rows, 95)) for first in firsts]
    chunks = sum(-(-stop // 10) - first // 10 for first, stop in spans)
    assert found.bytes_decoded == pytest.approx(chunks * 10 * 12 + len(spans) * 95 * 8, abs=1)

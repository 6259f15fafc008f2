"""Shares of variance between blocks: of as many columns as fit, each as NumPy finds it."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.core.errors import DataError
from ooc.core.random_keys import Purpose, key
from ooc.stream.block_statistics import block_statistics, sample_bytes
from ooc.stream.order import shuffled

BLOCK, BLOCKS, VALUES = 20, 30, 900


@pytest.mark.parametrize("most_bytes", [2**15, 2**25])
def test_columns_that_do_not_fit_are_drawn_and_judged_as_by_numpy(
    tmp_path: Path, rng: np.random.Generator, most_bytes: int
) -> None:
    drift = np.repeat(rng.standard_normal((BLOCKS, VALUES)), BLOCK, axis=0)
    x = (rng.standard_normal(drift.shape) + rng.random(VALUES) * drift).astype(np.float32)
    y = rng.integers(0, 3, len(x))
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=BLOCK, X=x, y=y)
    found = block_statistics(dataset, BLOCK, None, most_bytes=most_bytes)
    blocks = x.reshape(BLOCKS, BLOCK, VALUES).astype(np.float64)
    shares = blocks.mean(axis=1).var(axis=0) / x.astype(np.float64).var(axis=0)
    places = found.features.places
    assert len(places) == (VALUES if most_bytes > 2**20 else 2**15 // 128)
    assert (np.diff(places) > 0).all()
    np.testing.assert_allclose(found.features.numbers[2], shares[places], rtol=1e-9)
    worst = found.features.worst()
    assert worst.name == f"X[{places[np.argmax(shares[places])]}]"
    of_classes = (y[:, None] == np.arange(3)).astype(np.float64)
    between = of_classes.reshape(BLOCKS, BLOCK, 3).mean(axis=1).var(axis=0).sum()
    assert found.label is not None
    assert found.label.between_share == pytest.approx(between / of_classes.var(axis=0).sum())
    assert found.classes == (0.0, 1.0)


def test_a_sample_tells_the_variance_of_all_blocks_without_bias(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Rows of a block are equal: in the mean over many samples of 3 of 8 it is that of all."""
    x = np.repeat(rng.standard_normal(8), 2)[:, None]
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=2, X=x)
    found = [block_statistics(dataset, 2, 3, seed=seed).features[0].variance for seed in range(200)]
    assert np.mean(found) == pytest.approx(x.var(), rel=0.1)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("count", [None, 11, 6, 2])
@pytest.mark.parametrize("value", [3.0, 0.1, -1e-30, 1e15])
def test_a_column_that_is_constant_where_it_is_known_has_no_variance_to_mix(
    tmp_path: Path, rng: np.random.Generator, count: int | None, value: float
) -> None:
    """A mean is rounded: what is left of it is no share between blocks."""
    x = np.full((93, 3), value)
    x[rng.random((93, 3)) < 0.3] = np.nan
    x[:, 2] = rng.standard_normal(93)
    y = np.full(93, 1)
    data = write_dataset(tmp_path / "a.zarr", chunk_rows=8, X=x, y=y)
    found = block_statistics(data, 8, count)
    assert found.worst().name == "X[2]"
    assert found.label is not None
    for column in (*found.features[:2], found.label):
        assert (column.variance, column.between_share, column.error) == (0, 0, 0)


def shared(blocks: list[np.ndarray], of_all: int) -> tuple[float, float]:
    """Return variance between blocks and within them, of the values that are finite."""
    kept = [block[np.isfinite(block)] for block in blocks]
    kept, count = [block for block in kept if len(block)], len(blocks)
    total, joined = sum(map(len, kept)), np.concatenate(kept)
    between = sum(len(block) * (block.mean() - joined.mean()) ** 2 for block in kept) / total
    if count < of_all and len(kept) > 1:
        # Of blocks that are drawn without replacement.
        between *= len(kept) / (len(kept) - 1) * (of_all - 1) / of_all
    return between, sum(len(block) * block.var() for block in kept) / total


def judged(columns: list[list[np.ndarray]], of_all: int) -> list[float]:
    """Return variance, share and its error by the jackknife, of columns that are added up."""

    def of(kept: list[int]) -> tuple[float, float]:
        parts = [shared([column[k] for k in kept], of_all) for column in columns]
        between, within = map(sum, zip(*parts, strict=True))
        return between + within, between / (between + within)

    count = len(columns[0])
    variance, share = of([*range(count)])
    without = [of([k for k in range(count) if k != left])[1] for left in range(count)]
    error = np.sqrt((count - 1) * np.var(without) * (1 - count / of_all))
    return [variance, share, float(error) if 2 < count < of_all else 0.0]


def drawn_blocks(count: int | None, rows: int, seed: int) -> list[slice]:
    """Return the rows of each block of 8 that is read: a short last one is in no sample."""
    blocks, full = -(-rows // 8), rows // 8
    chosen = np.arange(blocks)
    if count is not None and count < blocks:
        number = key(seed, Purpose.BLOCK_SAMPLE)
        chosen = np.sort(shuffled(np.arange(min(count, full)), full, number))
    return [slice(8 * k, min(8 * k + 8, rows)) for k in chosen.tolist()]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("piece", [64, 2**18])
@pytest.mark.parametrize(
    ("rows", "count"), [(96, None), (93, None), (93, 12), (93, 11), (93, 6), (96, 3), (96, 2)]
)
def test_any_sample_is_judged_as_by_definition(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    count: int | None,
    piece: int,
) -> None:
    """A drift, noise, a constant, and what lacks values; classes and a real label, piecewise."""
    monkeypatch.setattr("ooc.stream.block_statistics.PIECE_BYTES", piece)
    x = rng.standard_normal((rows, 5)) * [1, 1, 1, 1e3, 1] + [0, 5, -1e3, 0, 0]
    x[:, 0] += np.arange(rows) / 20
    x[rng.random((rows, 5)) < 0.2] = np.nan
    x[rng.random((rows, 5)) < 0.1] = np.inf
    x[8:16, 1] = np.nan
    x[:, 4] = 3.0
    y = np.minimum(np.arange(rows) // 20, 3) * 2 + rng.integers(0, 2, rows)
    z = rng.standard_normal((rows, 2)) + np.arange(rows)[:, None] / 30
    data = write_dataset(tmp_path / "a.zarr", chunk_rows=8, X=x, y=y, z=z)
    spans = drawn_blocks(count, rows, 5)
    blocks = -(-rows // 8)
    found = block_statistics(data, 8, count, seed=5)
    assert (found.block_rows, found.blocks, found.sampled) == (8, blocks, len(spans))
    for place, column in enumerate(found.features[:4]):
        values = [x[span, place] for span in spans]
        variance, share, error = judged([values], blocks)
        assert column.name == f"X[{place}]"
        finite = np.concatenate(values)
        assert column.mean == pytest.approx(finite[np.isfinite(finite)].mean())
        assert (column.variance, column.between_share) == pytest.approx((variance, share))
        assert column.error == pytest.approx(error)
        assert column.block_factor == pytest.approx(8 * share)
    assert found.features[4].variance == found.features[4].between_share == 0
    label, there = found.label, np.unique(np.concatenate([y[span] for span in spans]))
    assert label is not None
    assert label.name == "y"
    assert found.classes == tuple(there[:-1])
    of_classes = [[(y[span] == each).astype(float) for span in spans] for each in there]
    told = (label.variance, label.between_share, label.error)
    assert told == pytest.approx(tuple(judged(of_classes, blocks)))
    assert label.block_factor == pytest.approx(8 * label.between_share)
    real = block_statistics(ooc.open(data.path, target="z"), 8, count, seed=5)
    assert real.label is not None
    of_columns = [[z[span, place] for span in spans] for place in range(2)]
    told = (real.label.variance, real.label.between_share, real.label.error)
    assert told == pytest.approx(tuple(judged(of_columns, blocks)))
    seen = np.concatenate([z[span] for span in spans])
    assert real.classes == pytest.approx(np.quantile(seen, np.arange(1, 10) / 10))


@pytest.mark.parametrize("classes", [64, 65])
def test_a_whole_number_label_is_of_classes_up_to_64(
    tmp_path: Path, rng: np.random.Generator, classes: int
) -> None:
    y = rng.permutation(np.arange(260) % classes)
    data = write_dataset(tmp_path / "a.zarr", chunk_rows=20, X=np.ones((260, 1)), y=y)
    found = block_statistics(data, 20, None)
    tenths = tuple(np.quantile(y, np.arange(1, 10) / 10))
    assert found.classes == (tuple(range(63)) if classes == 64 else pytest.approx(tenths))
    assert found.label is not None
    assert found.label.variance == pytest.approx(63 / 64 if classes == 64 else y.var(), rel=0.01)


def test_columns_are_those_that_are_asked_for(tmp_path: Path, rng: np.random.Generator) -> None:
    """Neighbours or not, of rows of any shape, one or several at a time; there is no label."""
    x = rng.standard_normal((60, 3, 4))
    data = write_dataset(tmp_path / "a.zarr", chunk_rows=6, X=x)
    flat = x.reshape(10, 6, 12)
    share = flat.mean(axis=1).var(axis=0) / x.reshape(60, 12).var(axis=0)
    for places in ([2, 3, 4], [0, 5, 11], [7]):
        found = block_statistics(data, 6, None, columns=np.array(places))
        assert [each.name for each in found.features] == [f"X[{place}]" for place in places]
        assert found.features.numbers[2] == pytest.approx(share[places])
        assert len(found.features) == len(places)
        assert [each.name for each in found.features[1:]] == [f"X[{p}]" for p in places[1:]]
        assert (found.label, found.classes) == (None, ())
        assert found.worst().name == f"X[{places[int(np.argmax(share[places]))]}]"


@pytest.mark.parametrize("is_worse", [False, True])
def test_the_worst_column_may_be_the_label(
    tmp_path: Path, rng: np.random.Generator, is_worse: bool
) -> None:
    x = rng.standard_normal((60, 3)) + np.arange(60)[:, None] // 30
    x[:, 1] = np.nan
    y = np.arange(60) // 30 if is_worse else rng.integers(0, 2, 60)
    found = block_statistics(write_dataset(tmp_path / "a.zarr", 6, X=x, y=y), 6, None)
    shares = np.nan_to_num(found.features.numbers[2])
    assert found.worst().name == ("y" if is_worse else f"X[{int(np.argmax(shares))}]")


def test_a_label_without_a_finite_value_is_refused(tmp_path: Path) -> None:
    y = np.full(60, np.nan)
    data = write_dataset(tmp_path / "a.zarr", 6, X=np.ones((60, 1)), y=y)
    with pytest.raises(DataError) as refused:
        block_statistics(data, 6, 4)
    assert str(refused.value) == (
        f"array y of {data.path} holds no finite value in 4 blocks; correct it, or name another "
        "array"
    )


@pytest.mark.parametrize(
    ("values", "blocks", "sampled", "bytes_"),
    [(10, 100, 64, 10 * (128 + 24 * 64)), (10, 64, 64, 1280), (1, 3, 256, 128)],
)
def test_moments_take_128_bytes_a_column_and_24_in_each_block_of_a_sample(
    values: int, blocks: int, sampled: int, bytes_: int
) -> None:
    assert sample_bytes(values, blocks, sampled) == bytes_


def test_of_a_sample_as_many_columns_are_drawn_as_their_moments_fit(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    data = write_dataset(tmp_path / "a.zarr", 6, X=rng.standard_normal((60, 50)))
    drawn = [
        block_statistics(data, 6, 4, seed=seed, most_bytes=9 * (128 + 24 * 4) + 200).features
        for seed in (0, 0, 1)
    ]
    assert [len(each) for each in drawn] == [9, 9, 9]
    first, again, other = (each.places.tolist() for each in drawn)
    assert first == again != other
    assert len(block_statistics(data, 6, 4, most_bytes=1).features) == 1

"""Sampling: exact expectations, unbiased estimates, and streams that resume like the default."""

from pathlib import Path

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from hypothesis import given
from hypothesis import strategies as st

import ooc
from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.stream.draws import Draws, draw_places
from ooc.stream.loader import Loader

MEMORY = "512MiB"
ROWS = 203
EPOCHS = 400


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 4 * 2**10)


@pytest.fixture
def weighted(tmp_path: Path) -> Dataset:
    """203 rows in blocks of 10; weights from 0 to 100, sorted, and rare classes."""
    weight = np.concatenate([np.zeros(30), np.linspace(0.5, 100, ROWS - 30) ** 1.5])
    return write_dataset(
        tmp_path / "weighted.zarr",
        X=np.arange(ROWS, dtype=np.float32)[:, None],
        y=np.array([0] * 150 + [1] * 40 + [2] * 13),
        weight=weight,
    )


def expected_counts(dataset: Dataset, sampling: str) -> np.ndarray:
    """Return how often an epoch should draw each row, by definition."""
    columns = next(iter(Loader(dataset, ROWS, memory=MEMORY, shuffle="none")))
    if sampling == "replacement":
        return np.ones(ROWS)
    if sampling == "weight":
        return ROWS * columns["weight"] / columns["weight"].sum()
    counts = np.bincount(columns["y"])
    return ROWS / (3 * counts[columns["y"]])


def drawn(loader: Loader, weights: np.ndarray, epoch: int) -> np.ndarray:
    """Return the rows of an epoch as a naive reader would draw them, without reading."""
    order, parts = loader.plan.order, []
    for window in range(order.windows):
        blocks = order.window_blocks(epoch, window)
        rows = (blocks[:, None] * order.block_rows + np.arange(order.block_rows)).reshape(-1)
        rows = rows[rows < ROWS]
        out = np.empty(order.window_rows, np.int32)
        parts.append(rows[order.draw_rows(epoch, window, weights[rows], out)])
    return np.concatenate(parts)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("sampling", ["replacement", "weight", "balanced"])
def test_expectations_are_exact_and_estimates_unbiased(weighted: Dataset, sampling: str) -> None:
    """Counts over many epochs within 5 standard errors of their expectation, row by row."""
    loader = Loader(weighted, 50, memory=MEMORY, seed=3, sampling=sampling)
    draws = loader.plan.order.draws
    assert loader.plan.order.windows > 2
    assert draws is not None
    columns = next(iter(Loader(weighted, ROWS, memory=MEMORY, shuffle="none")))
    weights = draws.weights_of(columns[draws.array] if draws.array else None, ROWS)
    for epoch in range(2):
        batches = list(loader)
        rows = np.concatenate([batch.rows for batch in batches])
        assert np.array_equal(rows, drawn(loader, weights, epoch))
        assert [len(batch.rows) for batch in batches] == [50, 50, 50, 50, 3]
        for batch in batches:
            assert np.array_equal(batch["X"][:, 0], batch.rows)
            assert np.array_equal(batch.importance, draws.importance(weights[batch.rows]))
    counts, estimates = np.zeros((EPOCHS, ROWS)), []
    for epoch in range(EPOCHS):
        rows = drawn(loader, weights, epoch)
        np.add.at(counts[epoch], rows, 1)
        batch_rows = rows[:200].reshape(-1, 50)
        estimates += (draws.importance(weights[batch_rows]) * batch_rows).mean(axis=1).tolist()
    expected = expected_counts(weighted, sampling)
    # Rows that are hardly ever drawn have a spread that is seen too seldom to be measured.
    error = np.maximum(counts.std(axis=0, ddof=1), np.sqrt(expected)) / np.sqrt(EPOCHS)
    assert np.all(np.abs(counts.mean(axis=0) - expected) <= 5 * error + 1e-9)
    # Rows that weigh nothing cannot be drawn, so that no weight can stand for them.
    used = expected > 0
    truth = np.arange(ROWS)[used].sum() / ROWS
    spread = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - truth) < 5 * spread


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.integers(0, 2**30))
def test_blocks_are_drawn_within_one_of_their_share(weights: list[float], seed: int) -> None:
    """Systematic sampling: floor or ceiling of K W_k / W, and never a block without weight."""
    total = sum(weights)
    if total < 1e-6:
        return
    cumulative = np.concatenate([[0], np.cumsum(weights)])
    draws = Draws("weight", "weight", cumulative, 10)
    blocks = draws.blocks_at(np.arange(len(weights)), len(weights), seed, 0)
    counts = np.bincount(blocks, minlength=len(weights))
    share = len(weights) * np.array(weights) / total
    assert np.all(np.abs(counts - share) <= 1 + 1e-6)
    assert not counts[np.diff(cumulative) == 0].any()


def test_rows_in_a_block_are_drawn_by_weight() -> None:
    weights = np.array([5.0, 0.0, 1.0, 0.0, 3.0, 9.0, 0.0])
    out = np.empty(90_000, np.int32)
    draw_places(np.cumsum(weights), 1, 6, 12345, out)
    counts = np.bincount(out, minlength=7)
    share = np.where((np.arange(7) >= 1) & (np.arange(7) < 6), weights, 0) / 13
    assert np.all(np.abs(counts - 90_000 * share) <= 5 * np.sqrt(90_000 * share))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("sampling", ["replacement", "weight", "balanced"])
def test_a_sampled_stream_resumes_and_repeats(weighted: Dataset, sampling: str) -> None:
    def loader() -> Loader:
        return Loader(weighted, 32, memory=MEMORY, seed=9, sampling=sampling)

    first, positions, stream = loader(), [], []
    positions.append(first.state_dict())
    for _ in range(2):
        for batch in first:
            stream.append((batch.rows.tolist(), batch.importance.tolist()))
            positions.append(first.state_dict())
    assert stream[: len(stream) // 2] != stream[len(stream) // 2 :]
    for step, position in enumerate(positions[:-1]):
        restored = loader()
        restored.load_state_dict(position)
        rest = [(b.rows.tolist(), b.importance.tolist()) for b in restored]
        assert rest == stream[step : step + len(rest)]
        assert len(rest) == 7 - step % 7


def test_a_position_of_other_sampling_is_refused(weighted: Dataset) -> None:
    state = Loader(weighted, 32, memory=MEMORY, sampling="weight").state_dict()
    with pytest.raises(InputError, match="sampling was weight, here it is once"):
        Loader(weighted, 32, memory=MEMORY).load_state_dict(state)


def test_sampling_one_side_of_a_split(weighted: Dataset) -> None:
    train, validation = ooc.split(weighted, 0.3, by="row")
    held_out = {int(row) for batch in Loader(validation, 10, memory=MEMORY) for row in batch.rows}
    loader = Loader(train, 20, memory=MEMORY, sampling="balanced")
    rows = [int(row) for _ in range(5) for batch in loader for row in batch.rows]
    assert len(rows) == 5 * train.rows
    assert not held_out & set(rows)


def test_training_on_balanced_classes(weighted: Dataset) -> None:
    trainer = ooc.Trainer(
        ooc.models.Softmax(classes=3), ooc.optim.sgd(1e-4), 20, memory=MEMORY, sampling="balanced"
    )
    assert trainer.fit(weighted, epochs=2).results["rows"] == 2 * ROWS


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, -2.0], r"row 1 of weight of .* weighs -2.0"),
        ([1.0, np.nan], r"row 1 of weight of .* weighs nan"),
        ([1.0, np.inf], r"row 1 of weight of .* weighs inf"),
        ([0.0, 0.0], "all weights in weight of .* are zero"),
    ],
)
def test_weights_that_cannot_be(tmp_path: Path, weight: list[float], message: str) -> None:
    dataset = write_dataset(
        tmp_path / "a.zarr", X=np.ones((2, 1)), y=np.zeros(2), weight=np.array(weight)
    )
    with pytest.raises(InputError, match=message):
        Loader(dataset, 1, memory=MEMORY, sampling="weight")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "bootstrap"}, "choose one of: once, replacement, weight, balanced"),
        ({"sampling": "weight"}, "has no array of weights"),
        ({"sampling": "balanced"}, "class 1 of 3 has no rows"),
        ({"sampling": "replacement", "shuffle": "none"}, 'needs shuffle="blocks"'),
        ({"sampling": "replacement", "lanes": 2}, "goes with one lane, not with 2"),
        ({"sampling": "replacement", "on_bad_chunk": "skip"}, "needs every chunk"),
    ],
)
def test_sampling_that_cannot_be(tmp_path: Path, options: dict[str, object], message: str) -> None:
    dataset = write_dataset(
        tmp_path / "a.zarr", X=np.ones((40, 1)), y=np.array([0, 2] * 20, np.int64)
    )
    with pytest.raises(InputError, match=message):
        Loader(dataset, 10, memory=MEMORY, **options)  # type: ignore[arg-type]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("sampling", ["replacement", "weight", "balanced"])
def test_blocks_weigh_what_their_rows_of_one_side_do(weighted: Dataset, sampling: str) -> None:
    train, _ = ooc.split(weighted, 0.3, by="row")
    loader = Loader(train, 20, memory=MEMORY, sampling=sampling)
    side = np.concatenate([batch.rows for batch in Loader(train, 20, memory=MEMORY)])
    columns = next(iter(Loader(weighted, ROWS, memory=MEMORY, shuffle="none")))
    weights = {"replacement": np.ones(ROWS), "weight": columns["weight"]}.get(sampling)
    if weights is None:
        weights = len(side) / (3 * np.bincount(columns["y"][side]))[columns["y"]]
    blocks, draws = side // loader.plan.order.block_rows, loader.plan.order.draws
    assert draws is not None
    expected = np.bincount(blocks, weights[side], loader.plan.order.stored_blocks)
    np.testing.assert_allclose(np.diff(draws.cumulative), expected, rtol=1e-9)


def test_blocks_that_weigh_nothing_are_not_drawn_where_numbers_are_rounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last point of an epoch may be rounded onto the sum of all weights."""
    monkeypatch.setattr("ooc.stream.draws.key", lambda *given: 2**63 - 1)
    cumulative = np.cumsum([0.0, 0.1, 0.0, 0.7, 0.0, 0.0])
    for count in (1, 3, 7, 10):
        drawn = Draws("weight", "w", cumulative, 60).blocks_at(np.arange(count), count, 0, 0)
        assert set(drawn.tolist()) <= {0, 2}

"""Advice on windows from a share that is known: each of its numbers by the closed form."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset

from ooc.store.dataset import Dataset
from ooc.stream import window_advice
from ooc.stream.block_statistics import Column
from ooc.stream.loader import Loader
from ooc.stream.mixing_theory import inflation
from ooc.stream.order import Order
from ooc.stream.plan import MIB, Plan
from ooc.stream.window_advice import (
    Advice,
    WindowChoice,
    advise,
    chosen_blocks,
    measured_trade,
    trade_table,
)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "a.zarr", 500, X=np.ones((3007, 6), np.float32))


def known(monkeypatch: pytest.MonkeyPatch, share: float, error: float) -> list[Any]:
    """Let the worst column be one of this share; return what the sample is asked for."""
    asked: list[Any] = []

    class Found:
        def worst(self) -> Column:
            return Column("X[3]", 0.0, 1.0, share, error, 10 * share)

    def block_statistics(*given: Any, **options: Any) -> Found:
        asked.append((given[1:], options))
        return Found()

    monkeypatch.setattr(window_advice, "block_statistics", block_statistics)
    return asked


@pytest.mark.parametrize("limit", [1.05, 1.3])
@pytest.mark.parametrize("window", [7, 100, 301])
@pytest.mark.parametrize(("share", "error"), [(0.1, 0.0), (0.1, 0.05), (0.4, 0.1), (0.9, 0.2)])
def test_each_number_is_that_of_the_closed_form(
    data: Dataset, monkeypatch: pytest.MonkeyPatch,
    share: float, error: float, window: int, limit: float,
) -> None:  # fmt: skip
    """Of 301 blocks; the share is taken for two standard errors more, and for 1 at most."""
    plan = Loader(data, 50, memory="512MiB", block_rows=10, window=window).plan
    assert plan.order.blocks == 301
    asked = known(monkeypatch, share, error)
    monkeypatch.setattr(window_advice, "memory_for_window", lambda plan, blocks: 7 * blocks)
    found = advise(data, plan, limit, io="buffered")
    assert asked == [((10, 64), {"io": "buffered", "most_bytes": plan.moment_bytes})]
    taken = min(1.0, share + 2 * error)

    def of(blocks: int, rows: int = 10) -> float:
        return inflation(taken, 3007, rows, blocks, 50)

    fewest = next(blocks for blocks in range(64, 302) if of(blocks) <= limit)
    most_windows = max(windows for windows in range(1, 302) if windows * fewest <= 301)
    assert found.needed_blocks == -(-301 // most_windows)
    assert found.inflation == of(plan.order.blocks_per_window)
    assert found.limit == limit
    assert found.enough == (found.inflation <= limit)
    assert found.memory == 7 * found.needed_blocks
    held = 10 * plan.order.blocks_per_window
    longest = [rows for rows in (10, 5, 2, 1) if of(held // rows, rows) <= limit]
    assert found.chunk_rows == (longest[0] if longest else None)
    assert found.to_json() == {
        "predicted_inflation": found.inflation,
        "worst_column": "X[3]",
        "between_share": share,
        "between_share_error": error,
        "needed_blocks_per_window": found.needed_blocks,
        "memory_for_needed_window_bytes": found.memory,
        "chunk_rows_for_this_window": found.chunk_rows,
    }


def test_an_inflation_of_a_twentieth_is_good_enough(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, 0.3, 0.0)
    plan = Loader(data, 50, memory="512MiB", block_rows=10, window=50).plan
    assert advise(data, plan).limit == 1.05
    advice = advise(data, plan, inflation(0.3, 3007, 10, plan.order.blocks_per_window, 50))
    assert advice.enough


def made(blocks_per_window: int, block_rows: int, block_bytes: int, slabs: int = 2) -> Plan:
    order = Order(100_000, block_rows, blocks_per_window)
    terms = {"slabs": slabs * blocks_per_window * block_bytes, "readers": 10}
    return Plan(order, 50, 1, slabs, terms, 2**30, 1.0, 24, 50, 0)


@pytest.mark.parametrize(
    ("needed", "block", "blocks"), [(7, MIB, 64), (70, MIB, 70), (3, 3 * MIB, 22)]
)
def test_a_window_is_at_least_64_mib(needed: int, block: int, blocks: int) -> None:
    worst = Column("y", 0, 1, 0.1, 0, 1)
    advice = Advice(worst, 1.05, 1.2, needed, 2**30, None)
    assert chosen_blocks(advice, made(9, 10, block)) == blocks


def test_the_trade_is_of_the_planned_window_the_needed_one_and_parts(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As wide as the features; a window beyond 128 MiB is measured at that."""
    asked = []

    def rate(rows: int, values: int) -> float:
        asked.append((rows, values))
        return 1e9 * len(asked)

    monkeypatch.setattr(window_advice, "_gather_rate", rate)
    advice = Advice(Column("y", 0, 1, 0.2, 0.1, 1), 1.05, 1.2, 90, 2**30, None)
    plan = made(160, 40_000 // 10, 10 * MIB)
    found = measured_trade(data, plan, advice)
    # 25 blocks are all that there are.
    most = 128 * MIB // 24
    assert [(each.blocks, each.bytes) for each in found] == [
        (blocks, blocks * 10 * MIB) for blocks in (10, 25, 40, 160)
    ]
    assert asked == [(40_000, 6), (100_000, 6), (160_000, 6), (640_000, 6)]
    assert most > 640_000
    assert [each.bytes_per_second for each in found] == [1e9, 2e9, 3e9, 4e9]
    expected = [inflation(0.4, 100_000, 4000, blocks, 50) for blocks in (10, 25, 40, 160)]
    assert [each.inflation for each in found] == expected
    asked.clear()
    measured_trade(data, made(3200, 4000, MIB), advice)
    assert asked[-1] == (most, 6)
    assert [each.blocks for each in measured_trade(data, made(5, 10, MIB), advice)] == [2, 5, 90]


def test_the_trade_is_told_in_words() -> None:
    choices = [WindowChoice(4, 3 * MIB, 1.23456, 2.34e9), WindowChoice(4000, 2**30, 1.0, 5e8)]
    assert trade_table(choices) == {
        "4 blocks, 3.00 MiB": "inflation 1.235, rows gathered at 2.3 GB/s",
        "4,000 blocks, 1.00 GiB": "inflation 1.000, rows gathered at 0.5 GB/s",
    }


def test_a_rate_is_of_the_bytes_that_were_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes a quarter of a second at each look, of which there are two a round."""
    monkeypatch.setattr(window_advice, "MEASURED_SECONDS", 1.0)
    ticks = iter(np.arange(0, 100, 0.25).tolist())
    monkeypatch.setattr(window_advice.time, "perf_counter", lambda: next(ticks))
    gathered = []

    def gather(window: np.ndarray, order: np.ndarray, tile: np.ndarray) -> None:
        assert window.shape == (100, 3)
        gathered.append(order.copy())

    monkeypatch.setattr(window_advice, "gather_rows", gather)
    monkeypatch.setattr(window_advice, "tile_rows", lambda values: 30)
    # Begun at 0; rounds at 0.25, 0.5 and 0.75; ended at 1.0, and read at 1.25.
    assert window_advice._gather_rate(100, 3) == pytest.approx(3 * 90 * 12 / 1.25)
    first, rounds = gathered[0], gathered[1:]
    assert len(rounds) == 9
    whole = np.concatenate(rounds[:3])
    assert len(np.unique(whole)) == 90
    assert not np.array_equal(whole, np.sort(whole))
    assert np.array_equal(first, whole[:30])

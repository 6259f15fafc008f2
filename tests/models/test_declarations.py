"""What models declare: defaults, shares, turns, arrays that travel, and what is refused."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from datasets import write_dataset
from hypothesis import given
from hypothesis import strategies as st

from ooc.core.errors import InputError
from ooc.models import Linear, Logistic
from ooc.models.declarations import (
    Kernel,
    Needs,
    Phase,
    arrays_of,
    dtype_of,
    first_rate,
    kernel_of,
    needs_of,
    phase_at,
    phases_of,
    prepared_like,
    scratch_bytes_of,
    terms_of,
)
from ooc.models.loop import turns_of
from ooc.models.scratch import dataset_columns


@dataclass(frozen=True)
class Silent:
    """Declares nothing."""

    name: ClassVar[str] = "silent"
    needs_target: bool = False


@dataclass(frozen=True)
class Asking(Silent):
    needs: Needs = field(default_factory=Needs)


def test_what_holds_where_nothing_is_declared() -> None:
    model: Any = Silent()
    assert needs_of(model) == Needs("floats", (), ())
    assert dtype_of(model) == np.float32
    assert terms_of(model) == ("loss",)
    assert phases_of(model) == (Phase("all"),)
    assert kernel_of(model, Logistic().layout((3,))) is None
    with pytest.raises(
        InputError, match=r"silent does not declare .*scratch_bytes\(layout, rows\)"
    ):
        scratch_bytes_of(model, Logistic().layout((3,)), 10)


@given(
    batch=st.integers(1, 10**6),
    shares=st.integers(1, 8),
    least=st.sampled_from([4, 128, 1024]),
    most=st.sampled_from([4, 256, 1024]),
)
def test_shares_are_as_many_as_asked_for_within_their_bounds(
    batch: int, shares: int, least: int, most: int
) -> None:
    kernel = Kernel(
        print, np.empty(0), np.empty(0), shares=shares, least_rows=least, most_rows=most
    )
    rows = kernel.share_rows(batch)
    assert rows % 4 == 0
    assert rows <= most
    assert rows >= min(least, most)
    if least < rows < most:
        assert 4 * -(-batch // (4 * shares)) == rows or -(-batch // rows) <= shares


@given(steps=st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_phases_take_their_turns(steps: list[int]) -> None:
    """As one writes the cycle down; the loop's table says the same."""
    phases = [Phase(str(number), count) for number, count in enumerate(steps)]
    cycle = [number for number, count in enumerate(steps) for _ in range(count)]
    table, seen = turns_of(steps), [0] * len(steps)
    for step in range(40):
        number = cycle[step % len(cycle)]
        assert phase_at(phases, step) == (number, seen[number])
        phase, before, each = table[step % len(cycle)]
        assert phase == number
        assert step // len(cycle) * each + before == seen[number]
        seen[number] += 1


def test_exactly_what_a_model_needs_travels(tmp_path: Path) -> None:
    rows = {"X": np.zeros((20, 2, 3), np.float16), "y": np.zeros(20, np.int64)}
    more = {"weight": np.ones(20), "pose": np.zeros((20, 3)), "ids": np.zeros(20, np.int32)}
    dataset = write_dataset(tmp_path / "a.zarr", **rows, **more)
    wants: Any = Asking
    assert arrays_of(Logistic(), dataset) == ("X", "y", "weight")
    assert arrays_of(wants(), dataset) == ("X", "weight")
    asked = wants(True, Needs(further=("pose",), integers=("ids",)))
    assert arrays_of(asked, dataset) == ("X", "y", "weight", "pose", "ids")
    columns = {column.name: column for column in dataset_columns(asked, dataset)}
    kinds = [(columns[name].dtype, columns[name].values) for name in ("X", "ids")]
    assert kinds == [(np.float16, 6), (np.int32, 1)]
    for needs, says in (
        (Needs(further=("optics",)), "no array 'optics', which silent needs; it has: X"),
        (Needs(integers=("pose",)), "array pose of .* has type float64, but silent needs integers"),
        (Needs("integers"), "array X of .* has type float16, but silent needs integers"),
    ):
        with pytest.raises(InputError, match=says):
            arrays_of(wants(needs=needs), dataset)
    unlabelled = write_dataset(tmp_path / "b.zarr", X=rows["X"])
    with pytest.raises(InputError, match="has no targets, and the model needs them"):
        arrays_of(Logistic(), unlabelled)


def test_a_search_for_a_rate_begins_at_one_over_the_curvature(rng: np.random.Generator) -> None:
    """Of least squares: 1 + the mean of |x|^2 bounds the largest eigenvalue."""
    x = rng.standard_normal((500, 6)) * 3
    design = np.column_stack([x, np.ones(500)])
    largest = np.linalg.eigvalsh(design.T @ design / 500)[-1]
    rate = first_rate(Linear(standardise=False), 1.0, x)
    assert rate == pytest.approx(1 / (1 + (x**2).sum(axis=1).mean()))
    assert rate < 2 / largest
    silent: Any = Silent()
    assert first_rate(silent, 1.0, x) == 0.05
    assert first_rate(silent, 0.0, x) == 0.001
    assert first_rate(Linear(), 0.0, x) == 0.02
    assert first_rate(Linear(standardise=False), 1.0, x * np.inf) == 1.0


def test_what_rows_decided_is_taken_from_a_saved_run() -> None:
    decided = Logistic(standardise=True, class_weights=(1.0, 2.0))
    given_model = Logistic(class_weights="balanced")
    assert prepared_like(given_model, decided.to_config()) == decided

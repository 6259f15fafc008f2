"""What models declare: defaults, shares, turns, arrays that travel, and what is refused."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse
from datasets import write_dataset
from hypothesis import given
from hypothesis import strategies as st
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import InputError
from ooc.models import MLP, Autoencoder, Linear, Logistic, Softmax
from ooc.models.declarations import (
    Kernel,
    Needs,
    Phase,
    Prepared,
    arrays_of,
    dtype_of,
    first_rate,
    kernel_of,
    loss_unit_of,
    needs_of,
    own_steps,
    phase_at,
    phases_of,
    predictions_of,
    prepare,
    prepared_like,
    scratch_bytes_of,
    terms_of,
    widest,
)
from ooc.models.loop import turns_of
from ooc.models.scratch import dataset_columns
from ooc.models.step_kernels import kernel_for_steps
from ooc.optim import Optimizer, adagrad, adam, ftrl, momentum, sgd


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
    assert arrays_of(Logistic(), dataset, with_target=False) == ("X",)
    of_poses = wants(True, Needs(further=("pose", "weight")))
    assert arrays_of(of_poses, dataset, with_target=False) == ("X", "pose", "weight")
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


def test_what_is_not_declared_leaves_things_as_they_are() -> None:
    model: Any = Silent()
    assert loss_unit_of(model, Logistic().layout((3,)), np.zeros(4)) == 1.0
    assert prepare(model, None) == Prepared(model, {})  # type: ignore[arg-type]
    assert prepared_like(model, {"standardise": True}) == model
    assert widest(model) == model


def test_predictions_are_made_of_a_whole_batch_where_a_model_says_so() -> None:
    class OfFeatures(Silent):
        def predict(self, parameters: np.ndarray, features: Any) -> dict[str, Any]:
            return {"of": ("features", parameters, features)}

    class OfBatch(OfFeatures):
        def predict_batch(self, parameters: np.ndarray, batch: Any) -> dict[str, Any]:
            return {"of": ("batch", parameters, batch)}

    batch: Any = SimpleNamespace(features="rows")
    for model, told in ((OfFeatures(), ("features", 3, "rows")), (OfBatch(), ("batch", 3, batch))):
        assert predictions_of(model, 3, batch) == {"of": told}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "dense", "sparse"),
    [
        (
            Linear(),
            Linear(standardise=True, standardise_target=True),
            Linear(standardise_target=True),
        ),
        (Linear(loss="poisson"), Linear(loss="poisson", standardise=True), Linear(loss="poisson")),
        (Linear(standardise=False, standardise_target=False), None, None),
        (
            MLP(class_weights="balanced"),
            MLP(class_weights="balanced", standardise=True),
            MLP(class_weights="balanced"),
        ),
        (Autoencoder(), Autoencoder(standardise=True), Autoencoder()),
    ],
)
def test_the_widest_is_what_rows_may_decide_at_most(model: Any, dense: Any, sparse: Any) -> None:
    """Its bytes are set aside before rows are asked."""
    assert widest(model) == (dense or model)
    assert widest(model, is_sparse=True) == (sparse or model)


@pytest.mark.parametrize(
    ("phases", "own"),
    [
        ((Phase("a"),), 600),
        ((Phase("a", 5), Phase("b", 1)), 500),
        ((Phase("a", 2), Phase("b", 4)), 400),
        ((Phase("a", 2, sgd(0.1)), Phase("b", 4)), 400),
        ((Phase("a", 2), Phase("b", 4, sgd(0.1))), 200),
        ((Phase("a", 2, sgd(0.1)), Phase("b", 4, sgd(0.1))), 600),
    ],
)
def test_the_trainers_own_optimizer_takes_so_many_steps(
    phases: tuple[Phase, ...], own: int
) -> None:
    assert own_steps(phases, 600) == own


def test_steps_change_the_columns_of_a_batch_alone_where_rows_are_wide(tmp_path: Path) -> None:
    rows, columns = 700, 5000
    matrix = random_matrix(rows, columns, density=0.002)
    write_sparse(tmp_path / "a.zarr", matrix, y=np.arange(rows) % 2)
    dataset = ooc.open(tmp_path / "a.zarr")
    spec: Any = dataset.arrays["X"]
    of_all = rows * columns / (2 * matrix.nnz)  # the batch from which on it is the whole
    model, leaves = Softmax(classes=3), momentum(0.1, 0.5)
    assert not leaves.leaves_out and sgd(0.1).leaves_out

    def columns_of(batch: int, *optimizers: Optimizer | None) -> int:
        kernel = kernel_for_steps(model, dataset, optimizers, batch)
        assert kernel is not None
        assert kernel.is_by_columns == (kernel.accumulate is kernel.by_columns)
        return kernel.batch_columns

    few = int(of_all)
    assert 5 < few < rows
    assert columns_of(few, sgd(0.1)) == min(few * spec.longest, matrix.nnz, columns)
    assert columns_of(1, sgd(0.1), sgd(0.2)) == spec.longest
    for batch, optimizers in (
        (few + 1, [sgd(0.1)]), (1, []), (1, [None]), (1, [sgd(0.1), None]),
        (1, [sgd(0.1), adam(0.1)]), (1, [sgd(0.1, l2=0.5)]), (1, [sgd(0.1, l1=0.5)]),
        (1, [sgd(0.1, clip_norm=0.5)]),
    ):  # fmt: skip
        assert columns_of(batch, *optimizers) == 0


@pytest.mark.parametrize(
    ("optimizers", "by_rows"),
    [
        ([sgd(0.1)], True),
        ([sgd(0.1), sgd(0.2)], True),
        ([sgd(0.1), adagrad(0.1)], False),
        ([ftrl(0.1)], False),
    ],
)
def test_steps_without_a_state_go_row_by_row(
    tmp_path: Path, optimizers: list[Optimizer], by_rows: bool
) -> None:
    write_sparse(tmp_path / "a.zarr", random_matrix(99, 2000, 0.002), y=np.arange(99) % 2)
    dataset = ooc.open(tmp_path / "a.zarr")
    kernel = kernel_for_steps(Linear(), dataset, optimizers, 3)
    assert kernel is not None and kernel.is_by_columns and kernel.by_rows == by_rows
    many = kernel_for_steps(Linear(), dataset, [sgd(0.1, l2=0.5)], 3)
    assert many is not None and not many.by_rows


def test_rows_are_wide_beyond_twice_the_non_zeros_of_a_batch(tmp_path: Path) -> None:
    write_sparse(tmp_path / "a.zarr", scipy.sparse.eye_array(100, 40, format="csr"), y=np.ones(100))
    dataset = ooc.open(tmp_path / "a.zarr")
    spec: Any = dataset.arrays["X"]
    nonzeros = spec.nonzeros
    assert nonzeros == 40
    edge = 100 * 40 // (2 * nonzeros)
    for batch, columns in ((edge - 1, 40), (edge, 0)):
        kernel = kernel_for_steps(Linear(), dataset, [sgd(0.1)], batch)
        assert kernel is not None
        assert kernel.batch_columns == columns


def test_a_curvature_is_that_of_rows_as_they_come(rng: np.random.Generator) -> None:
    """Dense or sparse, scaled, or standardised: then each feature has mean square 1."""
    matrix = random_matrix(60, 7, density=0.4)
    x = matrix.toarray().astype(np.float64)
    model = Linear(scale=0.5, standardise=False)
    squares = 1 + 0.25 * float((x**2).sum(axis=1).mean())
    assert model.curvature(x) == pytest.approx(squares)
    assert model.curvature(matrix) == pytest.approx(squares)
    assert Linear(standardise=True).curvature(x) == 8.0
    assert first_rate(model, 2.0, x) == pytest.approx(1 / squares)

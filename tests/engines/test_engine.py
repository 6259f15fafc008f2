"""Which engine a run gets, what several side by side do, and what memory all of it is planned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from datasets import write_dataset
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.engines.batch_engine import BatchEngine, FullEngine, part_rows
from ooc.engines.engine import (
    BLAS_BYTES,
    SCORED_ROWS,
    SideBySide,
    carried_bytes,
    check_method,
    demand_of,
    engine_bytes,
    make_engine,
    scoring_bytes,
)
from ooc.engines.full_gradient_engine import (
    LIBRARY_BYTES,
    FullGradientEngine,
    full_gradient_bytes,
)
from ooc.engines.hybrid_engine import HybridEngine
from ooc.engines.parallel_choice import ParallelChoice
from ooc.engines.window_engine import WindowEngine
from ooc.kernels.counters import NEVER
from ooc.models import MLP, Linear, Logistic
from ooc.models.contract import Layout
from ooc.models.declarations import Kernel, Phase, kernel_for_data
from ooc.models.train_state import start
from ooc.optim import Method, Optimizer, adam, as_method, cg, hybrid, lbfgs, sgd
from ooc.store.dataset import Dataset
from ooc.training.trainer import Trainer


@dataclass(frozen=True)
class Plain:
    """A model of one's own: it holds 12 bytes for a row."""

    phases: tuple[Phase, ...] = (Phase("all"),)
    touched: str | None = None
    name: ClassVar[str] = "plain"
    needs_target: ClassVar[bool] = False

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        return Layout({"a": (3, *row_shape)}, touched=self.touched)

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        return np.zeros(layout.size, np.float32)

    def loss_and_grad(self, parameters: np.ndarray, batch: Any, out: np.ndarray) -> float:
        out[:] = 1.0
        return 1.0

    def measure(self, parameters: np.ndarray, batch: Any) -> Any:
        raise AssertionError

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        return {"prediction": features}

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        return 12 * rows

    def to_config(self) -> dict[str, str]:
        return {"name": self.name}


@pytest.fixture
def rows(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    x = rng.standard_normal((2000, 5)).astype(np.float32)
    return write_dataset(tmp_path / "a.zarr", 50, X=x, y=np.arange(2000) % 2)


@pytest.mark.parametrize(
    ("model", "methods", "full", "kind"),
    [
        (Plain(), [sgd(0.1)], False, BatchEngine),
        (Plain(), [sgd(0.1)], True, FullEngine),
        (Plain(), [sgd(0.1), adam(0.1)], False, SideBySide),
        (Plain(), [lbfgs()], True, FullGradientEngine),
        (Plain(), [hybrid(0.1)], False, HybridEngine),
        (Logistic(), [sgd(0.1)], False, WindowEngine),
        (Logistic(), [sgd(0.1), adam(0.1)], False, WindowEngine),
        (Logistic(), [cg()], True, FullGradientEngine),
    ],
)
def test_an_engine_is_chosen_by_model_and_method(
    rows: Dataset, model: Any, methods: Sequence[Any], full: bool, kind: type
) -> None:
    loader = Trainer(model, sgd(0.1), 64, memory="768MiB").loader(rows)
    state = start(methods, np.zeros(model.layout((5,)).size, np.float32), model)
    made = make_engine(model, loader, state, full)
    assert type(made) is kind
    if isinstance(made, SideBySide):
        each: Any = made._engines
        assert [type(one) for one in each] == [BatchEngine, BatchEngine]
        assert each[1].train_state.methods == (as_method(adam(0.1)),)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            Plain(phases=(Phase("a"), Phase("b"))),
            "parts of plain take turns, which needs mini-batches: choose an optimizer and a batch "
            "size",
        ),
        (
            Plain(touched="a"),
            "plain updates the rows of a that a batch touches, and a full gradient touches all: "
            "choose an optimizer and a batch size",
        ),
    ],
)
def test_a_step_of_all_rows_is_refused_where_a_model_has_none(
    rows: Dataset, model: Any, told: str
) -> None:
    check_method(model, model.layout((5,)), is_full=False)
    check_method(Plain(), Plain().layout((5,)), is_full=True)
    with pytest.raises(InputError) as error:
        check_method(model, model.layout((5,)), is_full=True)
    assert str(error.value) == told
    for optimizer, batch in ((sgd(0.1), "full"), (lbfgs(), 64), (hybrid(0.1), 64)):
        with pytest.raises(InputError, match="choose an optimizer and a batch size"):
            Trainer(model, optimizer, batch, memory="768MiB").fit(rows)


class Walker:
    """Takes two steps at each call, until it fails."""

    ended = False

    def __init__(self, fails: Exception | None = None, after: int = 0) -> None:
        self.step = self.rows = 0
        self.batch_size, self.asked = 7, list[int]()
        self._fails, self._after = fails, after

    def advance(self, window: Any, last_step: int = NEVER) -> bool:
        self.asked.append(last_step)
        if self._fails is not None and self.step >= self._after:
            raise self._fails
        self.step, self.rows = self.step + 2, self.rows + 14
        return self.step >= 4


def side_by_side(*walkers: Walker) -> tuple[SideBySide, np.ndarray]:
    state = start([sgd(0.1)] * len(walkers), np.zeros(2))
    made: Any = list(walkers)
    return SideBySide(state, made), state.active


def test_several_side_by_side_are_where_the_foremost_of_them_is() -> None:
    """Whichever fails, and wherever it stands in their row; the window's end is told by others."""
    window: Any = None
    for place in range(3):
        walkers = [Walker(), Walker(), Walker()]
        walkers[place] = Walker(DivergedError("far"), after=2)
        together, active = side_by_side(*walkers)
        assert together.advance(window, 9) is False and active.all()
        assert together.advance(window, 11) is True
        assert np.flatnonzero(~active).tolist() == [place]
        assert (together.step, together.rows, together.ended) == (4, 28, False)
        assert walkers[place].step == 2
        assert all(each.asked == [9, 11] for each in walkers)
        together.batch_size = 5
        assert together.batch_size == 5 and {each.batch_size for each in walkers} == {5}


def test_where_none_is_left_the_last_failure_is_told_and_a_bad_row_ends_all() -> None:
    window: Any = None
    together, _ = side_by_side(Walker(DivergedError("one"), 2), Walker(DivergedError("other"), 0))
    together.advance(window)
    with pytest.raises(DivergedError, match="one"):
        together.advance(window)
    together, active = side_by_side(Walker(), Walker(DataError("row 3")))
    with pytest.raises(DataError, match="row 3"):
        together.advance(window)
    assert active.all()


Bytes = Callable[..., int]
SIZE = 15


def held(rows: Dataset, methods: Sequence[Method | Optimizer], batch: int, full: bool) -> int:
    return engine_bytes(Plain(), rows, methods, batch, full)


@pytest.mark.parametrize("batch", [64, 2000])
def test_memory_of_a_model_of_ones_own(rows: Dataset, batch: int) -> None:
    """Parameters and state, a float64 gradient and scratch each; two copies of a batch's rows.

    Where a batch is all rows, they are taken 1024 at a time, and gradients summed.
    """
    row_bytes = 5 * 4  # no model asks for targets here
    for methods, slots in (([sgd(0.1)], 0), ([adam(0.1)], 2), ([adam(0.1), sgd(0.1)], 2)):
        count = len(methods)
        states = count * SIZE * (4 + 8 * slots)
        beside = count * (8 * SIZE + 12 * batch) + 2 * batch * row_bytes
        assert held(rows, methods, batch, full=False) == states + beside
        part = min(batch, 1024)
        assert part == part_rows(batch)
        beside = count * (16 * SIZE + 12 * part) + 2 * part * row_bytes
        assert held(rows, methods, batch, full=True) == states + beside


def test_memory_of_a_full_gradient_is_that_of_scipy_too(rows: Dataset) -> None:
    """Its work space for pairs that it remembers; a hybrid's units are inverted."""
    sums = 12 * SIZE
    for method, vectors in (
        (lbfgs(memory=7), 2 * 7 + 24),
        (cg(), 24),
        (hybrid(0.1, memory=5), 2 * 5 + 24 + 4 * SIZE),
    ):
        full = as_method(method).full
        assert full is not None
        expected = LIBRARY_BYTES + sums + 8 * vectors * SIZE
        assert full_gradient_bytes(Plain(), rows, full) == expected
        plain = engine_bytes(Plain(), rows, [method], 2000, False)
        part = 8 * SIZE + 12 * 1024 + 2 * 1024 * 20
        state = SIZE * (4 + 8 * method.state_rows(SIZE))
        assert plain == state + expected + part


def test_what_is_saved_is_copied_and_looked_at(rows: Dataset) -> None:
    methods = [sgd(0.1), adam(0.1)]
    found = demand_of(Plain(), rows, methods, 64, False, 99)
    assert found.model_bytes == held(rows, methods, 64, False)
    assert (found.batch_copies, found.largest_batch, found.held_bytes) == (0, 64, 99)
    assert found.saved_bytes == (2 * 4 + 1) * SIZE
    double = Linear(dtype="float64", standardise=False, standardise_target=False)
    saved = demand_of(double, rows, [sgd(0.1)], 64, False, 0).saved_bytes
    assert saved == (8 + 1) * double.layout((5,)).size


def test_sparse_rows_that_wait_are_planned_with_their_copy(tmp_path: Path) -> None:
    matrix = random_matrix(300, 40, 0.3)
    dataset = ooc.open(write_sparse(tmp_path / "a.zarr", matrix, y=np.arange(300) % 2))
    kernel: Any = kernel_for_data(Logistic(standardise=False), dataset)
    spec: Any = dataset.arrays["X"]
    waiting = 64 if kernel.is_by_columns else kernel.share_rows(64)
    largest = spec.most_nonzeros(waiting) * spec.value_bytes
    assert carried_bytes(dataset, kernel, 64) == 2 * largest
    dense = write_dataset(tmp_path / "b.zarr", X=np.ones((10, 4)))
    assert carried_bytes(dense, kernel, 64) == 0


def test_blas_is_planned_where_it_is_used(rows: Dataset) -> None:
    network, line = MLP(hidden=(4,)), Logistic()
    found = [scoring_bytes(each, each.layout((5,))) for each in (network, line)]
    assert found[0] - BLAS_BYTES < BLAS_BYTES <= found[0]
    assert found[1] < BLAS_BYTES
    assert found[0] == BLAS_BYTES + network.scratch_bytes(network.layout((5,)), SCORED_ROWS)
    with_kernel = engine_bytes(network, rows, [sgd(0.1)], 64, False)
    assert BLAS_BYTES < with_kernel < 2 * BLAS_BYTES
    assert engine_bytes(line, rows, [sgd(0.1)], 64, False) < BLAS_BYTES


@dataclass(frozen=True)
class Charted(Linear):
    """A line whose kernel has more numbers of its own than it has parameters."""

    count: int = 0

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        found = super().kernel(layout, parameters)
        return replace(found, reals=np.append(found.reals, np.zeros(self.count)))


def test_a_model_s_own_numbers_are_planned(rows: Dataset) -> None:
    few, many = (
        engine_bytes(Charted(standardise=False, count=count), rows, [sgd(0.1)], 64, False)
        for count in (0, 10**6)
    )
    assert many - few == 8 * 10**6


CHOICES = {
    "the serial one where it is as fast": ((3.0, 2.0, 9.0, 2.0), [0, 0, 1, 1, 0, 0]),
    "the parallel one where it is faster": ((1.0, 2.0, 9.0, 1.9), [0, 0, 1, 1, 1, 1]),
    "by the second window of each alone": ((0.1, 2.0, 0.1, 2.1), [0, 0, 1, 1, 0, 0]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_of_two_loops_is_taken(name: str) -> None:
    """Rates count, and windows may have several parts and other sizes."""
    seconds, chosen = CHOICES[name]
    choice = ParallelChoice(possible=True)
    found = []
    for number, each in enumerate((*seconds, 5.0, 0.01)):
        found.append(choice.parallel)
        rows = 100 * (number + 1)
        choice.note(rows // 4, each * rows / 400)
        choice.note(rows - rows // 4, each * (rows - rows // 4) / 100)
        choice.end_window()
    assert found == [bool(one) for one in chosen]


def test_where_there_is_no_choice_none_is_made() -> None:
    for how, expected in (
        ({"possible": False}, False),
        ({"possible": True, "certain": True}, True),
    ):
        choice = ParallelChoice(**how)
        for seconds in (9.0, 9.0, 1.0, 1.0, 1.0):
            assert choice.parallel is expected
            choice.note(1, seconds)
            choice.end_window()

"""What every model may declare holds for models of new kinds: one body of tests for all of them."""

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from contract.cases import CASES, Case
from contract.twins import TWINS, twin_of
from ooc.core.errors import InputError
from ooc.models.declarations import arrays_of, phase_at, phases_of, terms_of
from ooc.models.scratch import loop_bytes
from ooc.runs import checkpoint
from ooc.store.dataset import Dataset
from ooc.training.session import first_parameters

ROWS, BATCH = 700, 64
# Whose kernels take seconds to compile.
COSTLY = ("variational_autoencoder", "wasserstein")
every_model = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in COSTLY)) for name in CASES]
)


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture
def rows(case: Case, tmp_path: Path, rng: np.random.Generator) -> Dataset:
    return write_dataset(tmp_path / "rows.zarr", chunk_rows=20, **case.columns(ROWS, rng))


def trainer_of(case: Case, model: Any = None, **options: Any) -> ooc.Trainer:
    options = {"memory": "1GiB", "log_every": 5, **options}
    return ooc.Trainer(model or case.model, case.optimizer, BATCH, **options)


def batches_of(model: Any, dataset: Dataset, count: int) -> list[Any]:
    loader = ooc.Loader(dataset, BATCH, arrays=arrays_of(model, dataset), memory="1GiB", seed=4)
    return [batch for batch, _ in zip(loader, range(count), strict=False)]


def start_of(model: Any, dataset: Dataset) -> np.ndarray:
    return first_parameters(model, model.layout(dataset.row_shape), 5, {})


def check_slopes(
    function: Any, batch: Any, start: np.ndarray, own: np.ndarray, step: float, tolerance: float
) -> None:
    """Compare a gradient with differences of losses along random directions."""
    rng, gradient, unused = np.random.default_rng(0), np.empty(own.size), np.empty(own.size)
    function(start, batch, gradient)
    assert not gradient[own == 0].any()
    for _ in range(4):
        direction = (own * rng.standard_normal(own.size)).astype(start.dtype)
        points = (start + start.dtype.type(sign * step) * direction for sign in (1, -1))
        above, below = (np.sum(function(point, batch, unused)) for point in points)
        close = tolerance * np.linalg.norm(gradient) * np.linalg.norm(direction)
        slope = (above - below) / (2 * step)
        assert gradient @ direction == pytest.approx(slope, rel=0, abs=close)


@pytest.mark.slow_after(1)
@every_model
def test_gradient_is_that_of_finite_differences(case: Case, rows: Dataset) -> None:
    """At each phase, along the parts whose turn it is: the kernel's, and finely the twin's."""
    model, layout = case.model, case.model.layout(rows.row_shape)
    phases, start = phases_of(model), start_of(model, rows)
    twin = partial(TWINS[type(model)], model)
    step, tolerance = (1e-5, 1e-6) if start.dtype == np.float64 else (3e-4, 1e-2)
    for batch in batches_of(model, rows, 6):
        phase = phases[phase_at(phases, batch.step)[0]].name
        own = np.zeros(layout.size)
        for part, (first, stop) in layout.spans().items():
            own[first:stop] = layout.groups.get(part, phases[0].name) == phase
        check_slopes(model.loss_and_grad, batch, start, own, step, tolerance)
        check_slopes(twin, batch, start.astype(np.float64), own, 1e-5, 1e-6)


@pytest.mark.slow
@every_model
def test_loss_and_gradient_are_those_of_the_twin(case: Case, rows: Dataset) -> None:
    model, start = case.model, start_of(case.model, rows)
    tolerance = 1e-10 if start.dtype == np.float64 else 1e-5
    found, expected = np.empty(start.size), np.empty(start.size)
    for batch in batches_of(model, rows, 6):
        loss = model.loss_and_grad(start, batch, found)
        terms = TWINS[type(model)](model, start.astype(np.float64), batch, expected)
        assert len(terms) == len(terms_of(model))
        assert loss == pytest.approx(sum(terms), rel=tolerance, abs=tolerance)
        assert np.allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.slow_after(1)
@every_model
def test_a_run_that_was_interrupted_ends_with_the_same_bits(
    case: Case, rows: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 2**13)
    whole = trainer_of(case).fit(rows, case.epochs, tmp_path / "whole")
    trainer = trainer_of(case, saving=ooc.Saving(every_steps=4))
    for last in (3, 15):  # in the first epoch, and in the second one
        folder, stop = tmp_path / f"stopped{last}", threading.Event()

        def end(now: Any, last: int = last, stop: threading.Event = stop) -> None:
            if now.step == last:
                stop.set()

        trainer.fit(rows, case.epochs, folder, stop=stop, callbacks=ooc.Callbacks(end))
        assert checkpoint.load(folder)[1]["step"] == last
        resumed = trainer.resume(rows, folder)
        assert resumed.parameters.tobytes() == whole.parameters.tobytes()
        assert resumed.results["loss"] == whole.results["loss"]
        assert resumed.results.get("terms") == whole.results.get("terms")
        loaded = ooc.load(folder, model=case.model)
        assert loaded.parameters.tobytes() == whole.parameters.tobytes()
        assert loaded.parameters.dtype == getattr(case.model, "dtype", np.float32)
        assert np.isfinite(loaded.evaluate(rows)["loss"])


@pytest.mark.slow
@every_model
def test_bits_do_not_depend_on_threads(
    case: Case, rows: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for parallel, threads in ((False, 1), (True, 2)):
        monkeypatch.setattr("ooc.models.loop.parallel_threads", lambda _, n=threads: n)
        monkeypatch.setattr("ooc.engines.parallel_choice.ParallelChoice.parallel", parallel)
        run = trainer_of(case).fit(rows, case.epochs)
        found.append((run.parameters.tobytes(), run.results["loss"]))
    assert found[0] == found[1]


@pytest.mark.slow_after(1)
@every_model
def test_the_general_path_takes_the_same_steps(case: Case, rows: Dataset, tmp_path: Path) -> None:
    """A model of which only the NumPy twin is left learns the same, also after a resume."""
    steps = replace(case, optimizer=ooc.optim.adam(0.01))
    compiled = trainer_of(steps).fit(rows, 2)
    stepped = trainer_of(steps, twin_of(case.model)).fit(rows, 2)
    far = np.abs(compiled.parameters - start_of(case.model, rows)).max()
    close = 1e-9 if compiled.parameters.dtype == np.float64 else 1e-3
    assert np.allclose(stepped.parameters, compiled.parameters, rtol=0, atol=close * far)
    assert stepped.results["loss"] == pytest.approx(compiled.results["loss"], rel=1e-4)
    trainer, stop = trainer_of(case, twin_of(case.model)), threading.Event()
    general = trainer.fit(rows, case.epochs)
    stopping = ooc.Callbacks(lambda now: stop.set() if now.step == 15 else None)
    trainer.fit(rows, case.epochs, tmp_path / "run", stop=stop, callbacks=stopping)
    resumed = trainer.resume(rows, tmp_path / "run")
    assert resumed.parameters.tobytes() == general.parameters.tobytes()


@every_model
def test_terms_are_told_by_name_and_add_up_to_the_loss(case: Case, rows: Dataset) -> None:
    run, names = trainer_of(case).fit(rows, case.epochs), terms_of(case.model)
    lines = [line for line in run.history if line["kind"] == "train"]
    assert len(lines) >= 4
    for line in [*lines, run.results]:
        if len(names) == 1:
            assert "terms" not in line
        else:
            assert list(line["terms"]) == list(names)
            assert sum(line["terms"].values()) == pytest.approx(line["loss"], rel=1e-6, abs=1e-9)


@pytest.mark.slow_after(1)
@every_model
def test_rows_held_out_are_scored_with_all_that_the_model_needs(
    case: Case, rows: Dataset, tmp_path: Path
) -> None:
    run = trainer_of(case, validation=ooc.Validation(0.2)).fit(rows, case.epochs)
    assert np.isfinite(run.results["validation_loss"])
    predictions = run.predict(rows)
    assert len(predictions) == ROWS
    told = run.predict_to(rows, tmp_path / "predictions.zarr")
    written = ooc.open(tmp_path / "predictions.zarr", features="prediction")
    assert told["rows"] == ROWS
    batch = next(iter(ooc.Loader(written, ROWS, memory="1GiB", shuffle="none")))
    assert np.array_equal(batch["prediction"], predictions)


@every_model
def test_the_plan_counts_what_the_model_holds(case: Case, rows: Dataset) -> None:
    trainer = trainer_of(case)
    plan, layout = trainer.loader(rows).plan, trainer.layout(rows)
    kernel = case.model.kernel(layout, start_of(case.model, rows))
    least = loop_bytes(case.model, layout, kernel, (), BATCH)
    used = sum(spec.row_bytes for spec in rows.specs(arrays_of(case.model, rows)))
    assert plan.row_bytes == used == sum(spec.row_bytes for spec in rows.arrays.values())
    reserved = plan.terms["reserved"]
    assert plan.projected - reserved >= least + plan.order.window_rows * used


@pytest.mark.parametrize("name", ["wasserstein", "embedding_bag"])
@pytest.mark.parametrize("method", [ooc.optim.lbfgs(), ooc.optim.hybrid(0.1), "full"])
def test_a_full_gradient_is_refused_where_it_has_no_meaning(
    case: Case, rows: Dataset, method: Any
) -> None:
    optimizer = case.optimizer if method == "full" else method
    batch = "full" if method == "full" else BATCH
    trainer = ooc.Trainer(case.model, optimizer, batch, memory="1GiB")
    with pytest.raises(InputError, match=r"take turns|that a batch touches"):
        trainer.fit(rows, 2)


def test_a_phase_on_the_general_path_has_its_own_rate(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """The generator takes the trainer's: half of it moves it half as far in its first turn."""
    case, moved = CASES["wasserstein"], []
    rows, turn = write_dataset(tmp_path / "a.zarr", **case.columns(640, rng)), 0
    for rate in (0.5, 0.25):
        seen: dict[int, np.ndarray] = {}

        def note(now: Any, seen: dict[int, np.ndarray] = seen) -> None:
            seen[now.step] = now.parameters.copy()

        trainer = ooc.Trainer(twin_of(case.model), ooc.optim.sgd(rate), BATCH, memory="1GiB")
        trainer.fit(rows, 1, callbacks=ooc.Callbacks(note))
        turn = case.model.critic_steps + 1
        moved.append(seen[turn] - seen[turn - 1])
    assert moved[0].any()
    np.testing.assert_allclose(moved[0], 2 * moved[1], rtol=1e-3, atol=1e-6)

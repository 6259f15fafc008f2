"""Methods on the full gradient: SciPy in memory as a twin, any readers, killed anywhere."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

import ooc
from ooc.core.errors import InputError
from ooc.core.progress import Progress
from ooc.engines.full_sums import make_sums
from ooc.engines.minimise import Conversation, Request
from ooc.models import MLP, Linear, Logistic
from ooc.models.contract import BatchLike, Layout
from ooc.optim import FULL_GRADIENT, Method, cg, hybrid, lbfgs, method_from_config, sgd
from ooc.optim.schedules import cosine
from ooc.runs import checkpoint
from ooc.runs.run_directory import read_history
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.training.trainer import Trainer
from ooc.training.watchers.validation import Validation

MEMORY = RESERVED_BYTES + 368 * MIB
SAME = ("parameters_sha256", "gradient_norm", "steps", "epochs", "rows", "iterations", "loss")


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 16 * 2**10)


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    """1500 rows of 5 features whose scales differ by a factor of 20."""
    x = rng.standard_normal((1500, 5)).astype(np.float32) * np.float32([0.3, 1, 2, 4, 6])
    y = (x[:, 0] + x[:, 2] + rng.standard_normal(1500) > 0).astype(np.int64)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=50, X=x, y=y)


def rows_of(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    batch = next(iter(ooc.Loader(dataset, dataset.rows, memory=MEMORY, shuffle="none")))
    return batch["X"].astype(np.float64), batch["y"].astype(np.float64)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("method", [lbfgs(l2=0.01), cg(l2=0.01)], ids=lambda m: m.name)
def test_it_takes_the_steps_of_scipy_in_memory(labelled: Dataset, method: ooc.optim.Optimizer):
    x, y = rows_of(labelled)
    values = []

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        scores = x @ w[:5] + w[5]
        loss = np.mean(np.logaddexp(0, scores) - y * scores)
        slopes = (1 / (1 + np.exp(-scores)) - y) / len(y)
        values.append(loss)
        gradient = np.append(x.T @ slopes + 0.01 * w[:5], slopes.sum())
        return loss + 0.005 * w[:5] @ w[:5], gradient

    options = {"ftol": 0.0} if method.name == "lbfgs" else {}
    name = {"lbfgs": "L-BFGS-B", "cg": "CG"}[method.name]
    twin = minimize(
        objective, np.zeros(6), jac=True, method=name, options={"gtol": 1e-8, **options}
    )
    run = Trainer(Logistic(standardise=False), method, memory=MEMORY).fit(labelled)
    lines = [line for line in run.history if line["kind"] == "train"]
    assert run.results["ended"] == "tolerance"
    assert run.results["steps"] == run.results["epochs"] == len(lines) > 8
    np.testing.assert_allclose([line["loss"] for line in lines[:8]], values[:8], rtol=1e-9)
    np.testing.assert_allclose(run.parameters, twin.x, atol=2e-5)
    final = objective(run.parameters.astype(np.float64))[1]
    assert np.linalg.norm(final) == pytest.approx(run.results["gradient_norm"], abs=1e-6)


def stopped_at_window(number: int):
    """Return a report and an event that is set at the end of some window, amid a pass."""
    stop, seen = threading.Event(), []

    def report(progress: Progress) -> None:
        seen.append(progress.rows)
        if len(seen) >= number:
            stop.set()

    return report, stop


@pytest.mark.slow
@pytest.mark.parametrize(
    "trainer",
    [
        Trainer(Logistic(standardise=True), lbfgs(l2=1e-3, kept=8), memory=MEMORY),
        Trainer(Logistic(), cg(), memory=MEMORY),
        Trainer(Logistic(), hybrid(0.05), 32, memory=MEMORY),
        Trainer(MLP(hidden=(4,), dropout=0.2), lbfgs(), memory=MEMORY),
    ],
    ids=["lbfgs", "cg", "hybrid", "network"],
)
def test_stopped_after_any_window_it_goes_on_to_the_same_bits(
    labelled: Dataset, tmp_path: Path, trainer: Trainer
) -> None:
    """In the middle of passes, at their ends, and over the start of a new round."""
    whole = trainer.fit(labelled, 12, tmp_path / "whole")
    windows = trainer.loader(labelled).plan.order.windows
    assert windows > 1
    total = windows * whole.results["epochs"]
    assert whole.results["epochs"] > 8
    for number in range(1, total, 3 if trainer.model.name == "logistic" else 7):
        report, stop = stopped_at_window(number)
        folder = tmp_path / str(number)
        trainer.fit(labelled, 12, folder, report=report, stop=stop)
        assert not json.loads((folder / checkpoint.DESCRIPTION).read_text())["finished"]
        resumed = replace(trainer, readers=number % 3 + 1).resume(labelled, folder)
        for key in SAME:
            assert resumed.results[key] == whole.results[key], (number, key)
        told = [line["loss"] for line in read_history(folder) if line["kind"] == "train"]
        if trainer.optimizer.name != "hybrid":  # whose mini-batches have lines of their own
            assert told == [line["loss"] for line in whole.history if line["kind"] == "train"]


def in_package() -> dict[str, str]:
    """Return an environment in which a new process finds this package."""
    return {**os.environ, "PYTHONPATH": str(Path(ooc.__file__).parent.parent)}


KILLED = """
import os, sys
import ooc, ooc.stream.plan
from ooc.models import Logistic
ooc.stream.plan.LARGEST_WINDOW = 16 * 2**10
data, folder, name, moment = sys.argv[1:]
seen = []
def die(progress):
    seen.append(progress)
    if len(seen) == int(moment):
        os.kill(os.getpid(), 9)
trainer = ooc.Trainer(Logistic(), getattr(ooc.optim, name)(), 32, memory="768MiB", window="fit")
if os.path.exists(folder):
    trainer.resume(ooc.open(data), folder, report=die)
else:
    trainer.fit(ooc.open(data), 12, folder, report=die)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("hybrid", 1),
        *(pytest.param(name, 2, marks=pytest.mark.slow) for name in ("hybrid", "lbfgs")),
    ],
)
def test_killed_it_goes_on_to_the_same_bits(
    labelled: Dataset, tmp_path: Path, name: str, kills: int
) -> None:
    """A real SIGKILL in the middle of a pass, and in that of a resumed run."""
    trainer = Trainer(Logistic(), FULL_GRADIENT[name](), 32, memory=MEMORY, window="fit")
    whole = trainer.fit(labelled, 12).results
    windows = trainer.loader(labelled).plan.order.windows
    folder = tmp_path / "run"
    for moment in (5 * windows + 1, windows + 1)[:kills]:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, labelled.path, str(folder), name, str(moment)],
            env=in_package(),
        )
        assert done.returncode == -signal.SIGKILL
    resumed = ooc.resume(folder, readers=1).results
    assert [resumed[key] for key in SAME] == [whole[key] for key in SAME]
    assert ooc.load(folder).results["ended"] == whole["ended"]


@pytest.mark.parametrize(
    ("method", "least"), [(lbfgs, 9), pytest.param(cg, 17, marks=pytest.mark.slow)]
)
def test_a_new_round_begins_where_the_last_one_came_to(
    labelled: Dataset, method: Callable[..., Method], least: int
) -> None:
    """With room for few evaluations there are several rounds, and none of them loses ground."""
    short, long = (
        Trainer(Logistic(standardise=False), method(kept=kept, l2=0.01), memory=MEMORY).fit(
            labelled
        )
        for kept in (least, 128)
    )
    assert short.results["steps"] > 2 * least
    # An iteration takes one evaluation or two: those of all rounds count.
    assert short.results["steps"] / 3 < short.results["iterations"] <= short.results["steps"]
    assert short.results["ended"] == long.results["ended"] == "tolerance"
    np.testing.assert_allclose(short.parameters, long.parameters, atol=1e-4)
    assert short.results["loss"] == pytest.approx(long.results["loss"], rel=1e-5)


@pytest.mark.slow
def test_in_every_round_the_minimiser_is_told_the_objective(
    labelled: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients of the points that it asked for, and of where a round begins."""
    (x, y), told = rows_of(labelled), list[tuple[np.ndarray, np.ndarray, np.ndarray]]()
    points = list[np.ndarray]()

    class Seen(Conversation):
        def __init__(self, full: Any, start: np.ndarray, *given: Any) -> None:
            super().__init__(full, start, *given)
            self.start, self.given, self.count = start.copy(), given, 0

        def go_on(self) -> Request:
            request = super().go_on()
            self.count += 1
            values, gradients = (each[: self.count].copy() for each in self.given[:2])
            told.append((values, gradients, self.start))
            points.append(request.point if request.point is not None else request.iterate)
            return request

    monkeypatch.setattr("ooc.engines.full_gradient_engine.Conversation", Seen)
    method = lbfgs(kept=8, l2=0.01)
    model = Logistic(standardise=False, dtype="float64")
    Trainer(model, method, memory=MEMORY).fit(labelled)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        scores = x @ w[:5] + w[5]
        slope = (1 / (1 + np.exp(-scores)) - y) / len(y)
        penalty = 0.01 * np.append(w[:5], 0)
        value = np.mean(np.logaddexp(0, scores) - y * scores) + penalty @ w / 2
        return value, np.append(x.T @ slope, slope.sum()) + penalty

    rounds = 0
    for (values, gradients, start), before in zip(told[1:], points, strict=False):
        at_last = start if len(values) == 1 else before
        for place, at in ((0, start), (-1, at_last)):
            value, gradient = objective(at)
            assert values[place] == pytest.approx(value, rel=1e-9)
            np.testing.assert_allclose(gradients[place], gradient, atol=1e-9)
        rounds += len(values) == 1
    assert rounds > 1


@pytest.mark.slow
def test_a_network_that_samples_is_one_function_in_all_passes(labelled: Dataset) -> None:
    trainer = Trainer(MLP(hidden=(4,), dropout=0.5, standardise=False), lbfgs(), memory=MEMORY)
    loader, found = trainer.loader(labelled), []
    point = np.random.default_rng(0).standard_normal(trainer.layout(labelled).size)
    add = make_sums(trainer.model, loader, point)
    for epoch in range(2):
        total = np.zeros(point.size)
        losses = [add(window, point, total)[1] for window in loader.windows(epoch + 1)]
        found.append((losses, total.tolist()))
        loader.advance(len(losses), 1500, True)
    assert found[0] == found[1]


class Twin:
    """Logistic regression in NumPy, which has no kernel."""

    name, needs_target, dtype = "twin", True, np.float64

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        return Layout({"a": row_shape})

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        return np.zeros(layout.size)

    def loss_and_grad(self, parameters: np.ndarray, batch: BatchLike, out: np.ndarray) -> float:
        x, y = batch.features.astype(np.float64), batch.target
        scores = x @ parameters
        out[:] = x.T @ (1 / (1 + np.exp(-scores)) - y) / len(y)
        return float(np.mean(np.logaddexp(0, scores) - y * scores))


@pytest.mark.parametrize("part", [64, 1024])
def test_parts_of_a_window_count_by_their_rows(
    labelled: Dataset, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """Of a model of one's own, which is handed some rows at a time, the last ones fewer."""
    monkeypatch.setattr("ooc.engines.batch_engine.MOST_PART_ROWS", part)
    loader, model, point = ooc.Loader(labelled, 50, memory=MEMORY), Twin(), np.linspace(-1, 1, 5)
    add, total, rows, loss = make_sums(model, loader, point), np.zeros(5), 0, 0.0  # type: ignore
    for window in loader.windows(1):
        found = add(window, point, total)
        rows, loss = rows + found[0], loss + found[1]
    x, y = rows_of(labelled)
    scores = x @ point
    assert rows == 1500
    assert loss == pytest.approx((np.logaddexp(0, scores) - y * scores).sum(), rel=1e-9)
    np.testing.assert_allclose(total, x.T @ (1 / (1 + np.exp(-scores)) - y), rtol=1e-9)


@pytest.mark.slow
def test_weight_decay_is_that_of_scikit_learn(labelled: Dataset) -> None:
    """A network without hidden layers is logistic regression; its decay is no part of the loss."""
    x, y = rows_of(labelled)
    model = MLP(hidden=(), weight_decay=0.1, standardise=False)
    run = Trainer(model, lbfgs(), memory=MEMORY).fit(labelled)
    twin = LogisticRegression(C=1 / (0.1 * len(y)), tol=1e-8).fit(x, y)
    expected = np.append(twin.coef_, twin.intercept_)
    np.testing.assert_allclose(run.parameters, expected, atol=1e-4)


def test_a_penalty_is_of_what_is_trained_alone(labelled: Dataset) -> None:
    """Means and deviations of features lie in the vector, too, and stay what they are."""
    x, y = rows_of(labelled)
    run = Trainer(Logistic(standardise=True), lbfgs(l2=0.05), memory=MEMORY).fit(labelled)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    twin = LogisticRegression(C=1 / (0.05 * len(y)), tol=1e-8).fit((x - mean) / deviation, y)
    parts = run.layout.views(run.parameters)
    np.testing.assert_allclose(parts["coefficients"], twin.coef_, atol=1e-4)
    np.testing.assert_allclose(parts["feature_mean"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parts["feature_deviation"], deviation, rtol=1e-5)


def test_a_loss_is_told_in_the_targets_unit(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((300, 3))
    y = 1000 * (x.sum(axis=1) + rng.standard_normal(300)) + 5000
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=y)
    model = Linear(standardise=False, standardise_target=True)
    run = Trainer(model, lbfgs(), memory=MEMORY).fit(dataset)
    design = np.column_stack([x, np.ones(300)])
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    assert run.results["loss"] == pytest.approx(np.mean(rest**2) / 2, rel=1e-4)


@pytest.mark.slow
def test_a_network_is_trained_to_the_precision_of_its_kernels(labelled: Dataset) -> None:
    run = Trainer(MLP(hidden=(4,), activation="tanh"), lbfgs(l2=1e-2), memory=MEMORY).fit(labelled)
    assert run.results["gradient_norm"] < 1e-3
    first = next(line["gradient_norm"] for line in run.history if line["kind"] == "train")
    assert run.results["gradient_norm"] < first / 100


@pytest.mark.slow
def test_it_is_evaluated_and_stopped_early_like_any_run(labelled: Dataset) -> None:
    trainer = Trainer(Logistic(), lbfgs(), memory=MEMORY, validation=Validation(0.2, patience=4))
    run = trainer.fit(labelled)
    told = [line["loss"] for line in run.history if line["kind"] == "validation"]
    assert len(told) == run.results["steps"]
    assert run.results["validation_loss"] == min(told)


def test_what_cannot_be_is_refused_before_work(labelled: Dataset) -> None:
    for name, options, message in (
        ("lbfgs", {"l1": 0.1}, "lbfgs needs a gradient.*use l2= instead of l1=0.1"),
        ("hybrid", {"l1": 0.1}, "hybrid needs a gradient"),
        ("cg", {"lr": 0.1}, "line search; leave out lr=0.1"),
        ("lbfgs", {"clip_norm": 1.0}, "leave out clip_norm=1.0"),
        ("cg", {"schedule": cosine()}, "no schedule but constant, not cosine"),
        ("lbfgs", {"kept": 3}, "kept must be a whole number of at least 8, not 3"),
    ):
        with pytest.raises(InputError, match=message):
            FULL_GRADIENT[name](**options)
    trainer = Trainer(Logistic(), lbfgs(), memory=MEMORY)
    with pytest.raises(InputError, match="epochs must be at least 2 for lbfgs, not 1"):
        trainer.fit(labelled, 1)
    with pytest.raises(InputError, match="passes of its own; train it with fit"):
        trainer.fit_many(labelled, [sgd(0.1), lbfgs()])
    with pytest.raises(InputError, match="each row once a pass, not sampling='replacement'"):
        Trainer(Logistic(), cg(), sampling="replacement")
    with pytest.raises(InputError, match="hybrid begins on mini-batches"):
        Trainer(Logistic(), hybrid(), "full")


@pytest.mark.parametrize("name", FULL_GRADIENT)
def test_a_description_makes_it_again(name: str) -> None:
    made = FULL_GRADIENT[name](l2=0.1, kept=16, tolerance=1e-3)
    assert method_from_config(json.loads(json.dumps(made.to_config()))) == made

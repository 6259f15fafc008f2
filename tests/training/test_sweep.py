"""Many models on one pass: each what it would be alone, the worst dropped on the way."""

import itertools
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from hypothesis import given
from hypothesis import strategies as st

import ooc
from ooc.cli import main
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.engines.engine import SideBySide
from ooc.kernels.counters import LOSS_SUM
from ooc.metrics.measured import Measured, measured
from ooc.models import Logistic
from ooc.models.contract import BatchLike, Layout
from ooc.optim import adam, averaged, momentum, sgd
from ooc.optim.grid import grid
from ooc.report.runs import read_runs
from ooc.store.dataset import Dataset
from ooc.training.trainer import Trainer
from ooc.training.watchers.halving import Halving, HalvingWatcher
from ooc.training.watchers.validation import Validation
from ooc.training.watchers.watcher import Moment

MEMORY = "768MiB"


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    small_windows(monkeypatch, 16 * 2**10)
    x = rng.standard_normal((3000, 5)).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(3000) > 0).astype(np.int64)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=50, X=x, y=y)


@pytest.mark.slow
def test_each_gets_the_bits_that_it_would_have_got_alone(labelled: Dataset, tmp_path: Path) -> None:
    """Optimizers of different memories; one saved run goes on by itself."""
    model = Logistic(standardise=True)
    optimizers = {"a": sgd(0.1, l1=1e-3), "b": adam(0.02), "c": averaged(0.3, l2=1e-3)}
    validation = Validation(0.2, every=20)
    trainer = Trainer(model, sgd(), 64, memory=MEMORY, validation=validation)
    runs = trainer.fit_many(labelled, optimizers, 2, tmp_path / "sweep")
    for name, optimizer in optimizers.items():
        one = Trainer(model, optimizer, 64, memory=MEMORY, validation=validation)
        alone = one.fit(labelled, 2).results
        for key in ("parameters_sha256", "loss", "validation_loss", "steps", "rows"):
            assert runs[name].results[key] == alone[key]
        saved = ooc.load(tmp_path / "sweep" / name)
        assert np.array_equal(saved.parameters, runs[name].parameters)
        assert ooc.resume(tmp_path / "sweep" / name).results["steps"] == alone["steps"]


@pytest.mark.slow
def test_each_of_a_sweep_that_was_stopped_goes_on_alone(labelled: Dataset, tmp_path: Path) -> None:
    """Optimizers have other numbers of vectors of state, and each is saved with its own."""
    optimizers, stop = {"a": sgd(0.1), "b": adam(0.02)}, threading.Event()
    trainer = Trainer(Logistic(standardise=False), sgd(), 64, memory=MEMORY)
    folder = tmp_path / "sweep"
    trainer.fit_many(labelled, optimizers, 2, folder, lambda progress: stop.set(), stop)
    for name, optimizer in optimizers.items():
        alone = replace(trainer, optimizer=optimizer).fit(labelled, 2).results
        resumed = ooc.resume(folder / name).results
        for key in ("parameters_sha256", "loss", "steps", "rows"):
            assert resumed[key] == alone[key]


@pytest.mark.slow
def test_one_that_diverges_is_left_behind(labelled: Dataset, tmp_path: Path) -> None:
    y = np.linspace(-3, 3, 1000, dtype=np.float32)
    x = np.stack([y, y**2], axis=1)
    dataset = write_dataset(tmp_path / "line.zarr", chunk_rows=50, X=x, y=y)
    trainer = Trainer(ooc.models.Linear(), sgd(), 10, memory=MEMORY)
    runs = trainer.fit_many(dataset, [sgd(0.01), sgd(50.0)], run_dir=tmp_path / "sweep")
    assert runs["1"].results["dropped"] == "its loss is not finite"
    assert "dropped" not in runs["0"].results
    both = [tmp_path / "sweep" / name for name in "01"]
    assert {run.name: np.isfinite(run.loss) for run in read_runs(both)} == {"0": True, "1": False}
    alone = Trainer(ooc.models.Linear(), sgd(0.01), 10, memory=MEMORY).fit(dataset)
    assert runs["0"].results["parameters_sha256"] == alone.results["parameters_sha256"]
    with pytest.raises(DivergedError):
        trainer.fit_many(dataset, [sgd(50.0), sgd(80.0)])


class Plain:
    """A quadratic in NumPy, whose steps are too long where the rate is."""

    name, needs_target, dtype = "plain", False, np.float64

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        return Layout({"a": (1,)})

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        return np.ones(1)

    def loss_and_grad(self, parameters: np.ndarray, batch: BatchLike, out: np.ndarray) -> float:
        out[:] = parameters
        return float(parameters[0] ** 2 / 2) if abs(parameters[0]) < 1e3 else np.inf

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        return measured(float(len(batch.rows)), float(len(batch.rows)), np.empty(0), None)

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        return {"prediction": np.zeros(len(features))}

    def scratch_bytes(self, layout: Layout, rows: int) -> int:
        return 0

    def to_config(self) -> dict[str, str]:
        return {"name": self.name}


@pytest.mark.parametrize("first", [0.5, 100.0])
def test_one_of_a_model_of_ones_own_that_diverges_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: float
) -> None:
    """Whichever it is, steps and rows are those of the ones that go on, and so are lines."""
    calls, advance = itertools.count(), SideBySide.advance

    def counted(*given: object) -> bool:
        assert next(calls) < 100, "it comes to no end"
        return advance(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(SideBySide, "advance", counted)
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=np.ones((100, 2)))
    trainer = Trainer(Plain(), sgd(), 10, memory=MEMORY, log_every=1)
    other = 100.0 if first == 0.5 else 0.5
    runs = trainer.fit_many(dataset, [sgd(first), sgd(other)], 1, tmp_path / "sweep")
    name = "0" if first == 0.5 else "1"
    good = runs[name]
    assert good.parameters[0] == pytest.approx(0.5**10)
    assert (good.results["steps"], good.results["rows"]) == (10, 100)
    lines = [line for line in good.history if line["kind"] == "train"]
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert [line["rows"] for line in lines] == list(range(10, 101, 10))
    saved = json.loads((tmp_path / "sweep" / name / "run.json").read_text())
    assert (saved["position"]["epoch"], saved["position"]["row"]) == (1, 0)


@pytest.mark.parametrize("standardise", ["auto", False])
def test_a_weight_below_zero_ends_all(
    tmp_path: Path, rng: np.random.Generator, standardise: Any
) -> None:
    """Rows are the same for all: none is left behind for what is wrong with one."""
    x, weight = rng.standard_normal((200, 3)), np.ones(200)
    weight[117] = -1
    dataset = write_dataset(tmp_path / "a.zarr", X=x, y=x[:, 0], weight=weight)
    trainer = Trainer(
        ooc.models.Linear(standardise=standardise, standardise_target=standardise),
        sgd(),
        10,
        memory=MEMORY,
    )
    with pytest.raises(DataError, match=r"row 117 of weight has weight -1\.0"):
        trainer.fit_many(dataset, [sgd(0.1), sgd(0.01)])


@pytest.mark.slow
def test_halving_keeps_the_best_with_its_bits(labelled: Dataset, tmp_path: Path) -> None:
    rates = [1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1e-6]
    trainer = Trainer(Logistic(), sgd(), 16, memory=MEMORY)
    runs = trainer.fit_many(
        labelled, [sgd(rate) for rate in rates], 2, tmp_path / "sweep", halving=Halving()
    )
    left = [name for name, run in runs.items() if "dropped" not in run.results]
    assert len(left) == 1
    assert rates[int(left[0])] in (0.03, 0.1, 0.3)
    steps = sorted(int(r.results["dropped"].split()[-1]) for r in runs.values()
                   if "dropped" in r.results)  # fmt: skip
    assert steps == [47] * 4 + [94] * 2 + [188]
    for name, run in runs.items():
        # Each has a line of the last step that it took part in.
        lines = [line["step"] for line in run.history if line["kind"] == "train"]
        assert lines[-1] == int(run.results.get("dropped", "376").split()[-1])
        assert lines == sorted(set(lines))
        # One that was dropped has come to its end.
        again = ooc.resume(tmp_path / "sweep" / name).parameters
        np.testing.assert_array_equal(again, run.parameters)
    alone = Trainer(Logistic(), sgd(rates[int(left[0])]), 16, memory=MEMORY).fit(labelled, 2)
    assert runs[left[0]].results["parameters_sha256"] == alone.results["parameters_sha256"]


@given(models=st.integers(1, 40), steps=st.integers(1, 5000), factor=st.integers(2, 5))
def test_rungs_leave_as_many_as_asked(models: int, steps: int, factor: int) -> None:
    rungs = Halving(factor).rungs(models, steps)
    assert list(rungs) == sorted(set(rungs))
    assert all(0 < rung < max(steps, 2) for rung in rungs)
    left = models
    for _ in range(len(Halving(factor).rungs(models, 10**9))):
        left = -(-left // factor)
    assert left == 1


@pytest.mark.slow
def test_the_best_from_the_shell_is_best_on_rows_held_out(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Noise is learned by heart, the faster the better, and is worth nothing on other rows."""
    x, y = rng.standard_normal((400, 60)), rng.integers(0, 2, 400)
    write_dataset(tmp_path / "a.zarr", 50, X=x, y=y)
    options = "--lr 0.0001,0.5 --epochs 6 --batch-size 50 --validation 0.5 --validation-by row"
    folder = str(tmp_path / "runs")
    assert (
        main(["sweep", str(tmp_path / "a.zarr"), *options.split(), "--run", folder, "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    slow, fast = (result["runs"][f"lr={rate}"] for rate in ("0.0001", "0.5"))
    assert fast["loss"] < slow["loss"]
    assert fast["validation_loss"] > slow["validation_loss"]
    assert result["best"] == "lr=0.0001"


@pytest.mark.slow
def test_a_sweep_from_the_shell(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    options = ["--lr", "0.001,0.1", "--l2", "0,1e-3", "--batch-size", "64", "--run", "s"]
    assert main(["sweep", "labelled.zarr", *options, "--standardise", "no", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    names = {"lr=0.001,l2=0", "lr=0.001,l2=0.001", "lr=0.1,l2=0", "lr=0.1,l2=0.001"}
    assert set(result["runs"]) == names
    assert result["best"].startswith("lr=0.1")
    assert result["run"] == f"s/{result['best']}"
    assert ooc.load(result["run"]).evaluate(labelled)["accuracy"] > 0.8
    assert main(["sweep", "labelled.zarr", *options, "--standardise", "no"]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main(["report", *(f"s/{name}" for name in sorted(names)), "--out", "r.html"]) == 0
    assert "<svg" in Path("r.html").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizers": ["sgd"], "lr": [0.1, 0.1]}, "lr has the same value twice"),
        ({"optimizers": ["magic"], "lr": [0.1]}, "no optimizer is called 'magic'"),
        ({"optimizers": ["sgd"], "lr": [-1.0]}, "lr must be a positive finite number"),
    ],
)
def test_grids_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        grid(**settings)


def test_a_late_bloomer_is_kept_for_the_rows_since_the_rung_before() -> None:
    """Its loss since then is the least, though not that since the run began."""
    state = SimpleTrainState(4)
    recorders: Any = [SimpleNamespace(log=lambda moment: None)] * 4
    engine: Any = SimpleNamespace(train_state=state)
    watcher = HalvingWatcher(Halving(), engine, 8, recorders, [])
    assert (watcher.next_step(0), watcher.next_step(2)) == (2, 4)
    for step, losses, kept in ((2, [1, 2, 3, 9], [0, 1]), (4, [4, 4.5, 3, 9], [1])):
        state.totals[:, LOSS_SUM] = losses
        window: Any = None
        watcher.after(Moment(step, 0, True, False, False, window))
        assert np.flatnonzero(state.active).tolist() == kept
    assert watcher.results(0) == {"dropped": "among the worst after step 4"}
    assert watcher.results(2) == {"dropped": "among the worst after step 2"}
    assert watcher.results(1) == {}


class SimpleTrainState:
    """What halving knows of several descents."""

    def __init__(self, count: int) -> None:
        self.totals, self.active = np.zeros((count, 64)), np.ones(count, bool)

    def __len__(self) -> int:
        return len(self.active)


def test_names_that_cannot_be_folders(labelled: Dataset) -> None:
    trainer = Trainer(Logistic(), momentum(0.1), 64, memory=MEMORY)
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        trainer.fit_many(labelled, {"../a": sgd(0.1)})
    with pytest.raises(InputError, match="there is nothing to train"):
        trainer.fit_many(labelled, [])

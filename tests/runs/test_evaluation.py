"""A model's metrics on rows: those of the field's own functions on its predictions, and no more."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset
from sklearn import metrics as field

import ooc
from ooc.cli import main
from ooc.core.errors import DivergedError, InputError
from ooc.metrics import METRICS, Measured
from ooc.models import MLP, Autoencoder, Linear, Logistic, Model, Softmax
from ooc.runs.evaluation import evaluate_batches
from ooc.runs.run import Run
from ooc.stream.batch import Batch
from ooc.stream.plan import MIB, RESERVED_BYTES

KEYS = [key for metric in METRICS.values() for key in metric.keys]
CLASSES = [
    Logistic(),
    Softmax(classes=2),
    Softmax(classes=4),
    MLP(hidden=(5,), head="binary"),
    MLP(hidden=(5,), head="multiclass", outputs=3),
]
NUMBERS = [Linear(), MLP(hidden=(5,), head="regression"), MLP(head="regression", outputs=3)]


def trained(model: Model, rng: np.random.Generator) -> Run:
    layout = model.layout((4,))
    return Run(model, layout, rng.standard_normal(layout.size).astype(np.float32), (4,))


def batches_of(x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> list[Batch]:
    arrays = {"X": x, "y": y} | ({} if weight is None else {"w": weight})
    return [
        Batch({k: v[i : i + 70] for k, v in arrays.items()}, np.arange(i, i + 70), 0, 0, ROLES)
        for i in range(0, len(x), 70)
    ]


ROLES = ("X", "y", "w")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("model", CLASSES, ids=str)
def test_labels(model: Model, weighted: bool, rng: np.random.Generator) -> None:
    run, classes = trained(model, rng), max(getattr(model, "outputs", 2), 2)
    x = rng.standard_normal((300, 4)).astype(np.float32)
    y = rng.integers(0, classes, 300)
    weight = rng.random(300, np.float32) if weighted else None
    found = evaluate_batches(model, run.parameters, batches_of(x, y, weight))
    assert list(found) == KEYS
    outputs = model.predict(run.parameters, x)
    answers = outputs["prediction"]
    accuracy = field.accuracy_score(y, answers, sample_weight=weight)
    assert found["accuracy"] == pytest.approx(accuracy, rel=1e-12)
    matrix = field.confusion_matrix(y, answers, labels=range(classes), sample_weight=weight)
    np.testing.assert_allclose(found["confusion_matrix"], matrix, rtol=1e-12)
    probability = outputs["probability"]
    loss = field.log_loss(y, probability, sample_weight=weight, labels=range(classes))
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["r2"] is found["mean_absolute_error"] is None
    if classes > 2:
        assert found["auc"] is found["auc_error"] is None
        return
    ranked = probability if probability.ndim == 1 else probability[:, 1]
    area = field.roc_auc_score(y, ranked, sample_weight=weight)
    # Rounding the probabilities may tie a few pairs that the log-odds tell apart.
    assert abs(found["auc"] - area) <= found["auc_error"] + 1e-4
    assert found["auc_error"] < 1e-3


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("model", NUMBERS, ids=str)
def test_numbers(model: Model, weighted: bool, rng: np.random.Generator) -> None:
    run, outputs = trained(model, rng), getattr(model, "outputs", 1)
    x = rng.standard_normal((300, 4)).astype(np.float32)
    y = rng.standard_normal((300, outputs)) if outputs > 1 else rng.standard_normal(300)
    weight = rng.random(300, np.float32) if weighted else None
    found = evaluate_batches(model, run.parameters, batches_of(x, y, weight))
    assert list(found) == KEYS
    answers = model.predict(run.parameters, x)["prediction"]
    for key, twin in {
        "r2": field.r2_score,
        "mean_absolute_error": field.mean_absolute_error,
        "root_mean_squared_error": field.root_mean_squared_error,
    }.items():
        assert found[key] == pytest.approx(twin(y, answers, sample_weight=weight), rel=1e-6)
    assert found["accuracy"] is found["auc"] is found["confusion_matrix"] is None


def test_rows_without_targets_have_a_loss_alone(rng: np.random.Generator) -> None:
    model = Autoencoder(hidden=(), code=2)
    x = rng.standard_normal((100, 4)).astype(np.float32)
    found = evaluate_batches(model, trained(model, rng).parameters, batches_of(x, x[:, 0]))
    assert found.pop("loss") > 0
    assert set(found.values()) == {None}


def test_nothing_to_measure_and_a_loss_that_is_no_number(rng: np.random.Generator) -> None:
    run, x = trained(Linear(), rng), np.ones((5, 4), np.float32)
    with pytest.raises(InputError, match="there are no rows"):
        evaluate_batches(run.model, run.parameters, [])
    with pytest.raises(InputError, match="weights add up to 0"):
        evaluate_batches(run.model, run.parameters, batches_of(x, x[:, 0], np.zeros(5, "f4")))

    class Lost(Linear):
        def measure(self, parameters: np.ndarray, batch: object) -> Measured:
            return Measured(np.nan, 5.0, np.nan, 5)

    with pytest.raises(DivergedError, match="mean loss of linear is nan"):
        evaluate_batches(Lost(), run.parameters, batches_of(x, x[:, 0]))


@pytest.mark.slow
def test_a_run_evaluates_a_dataset_and_the_shell_prints_it(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    x = rng.standard_normal((900, 4)).astype(np.float32)
    y = (x[:, 0] + rng.standard_normal(900) > 0).astype(np.uint8)
    dataset = write_dataset(tmp_path / "a.zarr", 100, X=x, y=y)
    trainer = ooc.Trainer(Logistic(), ooc.optim.sgd(0.1), 50, memory="512MiB")
    run = trainer.fit(dataset, run_dir=tmp_path / "run")
    found = run.evaluate(dataset, "512MiB")
    log_odds = run.model.scores(run.parameters, x)[:, 0]  # type: ignore[attr-defined]
    assert abs(found["auc"] - field.roc_auc_score(y, log_odds)) <= found["auc_error"] < 1e-3
    assert found["rows"] == np.sum(found["confusion_matrix"]) == 900
    command = ["evaluate", str(tmp_path / "run"), str(dataset.path), "--memory", "512MiB"]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {key: printed[key] for key in KEYS} == {key: found[key] for key in KEYS}
    assert main(command) == 0
    table = capsys.readouterr().out
    assert "auc error" in table
    assert "true 1" in table
    assert "None" not in table


@pytest.mark.slow
def test_evaluation_holds_no_array_as_long_as_the_rows(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """In a fresh process, with rows of two bytes: scores of all would take 31 MiB as float32.

    With 300 classes, those of the few rows would take 229 MiB.
    """
    few, many = 200_000, 8_000_000
    for rows in (few, many):
        x, y = rng.integers(0, 9, (rows, 1), np.uint8), rng.integers(0, 2, rows, np.uint8)
        write_dataset(tmp_path / f"{rows}.zarr", 2**18, X=x, y=y)
    code = (
        "import json, numpy as np, ooc\n"
        "from pathlib import Path\n"
        "from ooc.models import Logistic, Softmax\n"
        "from ooc.runs.run import Run\n"
        "two, many = Logistic(), Softmax(classes=300)\n"
        f"for model, rows in ((two, {few}), (two, {few}), (two, {many}), (many, {few})):\n"
        "    layout = model.layout((1,))\n"
        "    run = Run(model, layout, np.linspace(-1, 1, layout.size, dtype=np.float32), (1,))\n"
        f"    dataset = ooc.open({str(tmp_path)!r} + f'/{{rows}}.zarr')\n"
        f"    print(json.dumps(run.evaluate(dataset, {RESERVED_BYTES + 32 * MIB})))\n"
        "    # Forget the peak of imports and compilation (Linux, proc(5)).\n"
        "    Path('/proc/self/clear_refs').write_text('5')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, small, large, wide = map(json.loads, done.stdout.splitlines())
    assert large["rows"] == many
    for found in (first, small, large, wide):
        peak, projected = found["memory_peak_bytes"], found["memory_projected_bytes"]
        assert peak <= projected <= RESERVED_BYTES + 32 * MIB
    assert large["memory_peak_bytes"] - small["memory_peak_bytes"] < 20 * MIB

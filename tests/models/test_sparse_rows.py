"""The linear family on sparse rows: as on the same rows stored dense, and as scikit-learn does."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zarr
from sklearn.linear_model import SGDClassifier
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import DataError, InputError
from ooc.models.loop import make_loop
from ooc.models.train_state import start
from ooc.stream.batch import Batch

MATRIX = random_matrix(503, 40, density=0.2)
SIGNAL = MATRIX @ np.random.default_rng(1).standard_normal(40)
LABELS = (SIGNAL > 0).astype(np.float32)
THIRDS = np.digitize(SIGNAL, [-0.5, 0.5])
STREAM: dict[str, Any] = {"memory": "512MiB", "block_rows": 30, "window": 4, "seed": 4}
MODELS = {
    "linear": (ooc.models.Linear(standardise_target=False), SIGNAL),
    "logistic": (ooc.models.Logistic(class_weights="balanced"), LABELS),
    "softmax": (ooc.models.Softmax(classes=3, scale=0.5), THIRDS),
    "svm": (ooc.models.LinearSVM(intercept=False), LABELS),
    # Four classes are worked on together, and then the rest.
    "softmax of six": (ooc.models.Softmax(classes=6), np.digitize(SIGNAL, [-2, -1, 0, 1, 2])),
}


def stores(path: Path, target: np.ndarray, matrix: Any = MATRIX) -> tuple[Any, Any]:
    """Write the same rows sparse and dense."""
    weight = np.linspace(0.5, 2, len(target))
    write_sparse(path / "sparse.zarr", matrix, y=target, weight=weight)
    group = zarr.create_group(path / "dense.zarr")
    for name, values in {"X": matrix.toarray(), "y": target, "weight": weight}.items():
        group.create_array(name, data=values, chunks=(30, *values.shape[1:]))
    return ooc.open(path / "sparse.zarr"), ooc.open(path / "dense.zarr")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", MODELS)
def test_training_is_that_of_the_same_rows_stored_dense(tmp_path: Path, name: str) -> None:
    model, target = MODELS[name]
    model = ooc.models.from_config(model.to_config() | {"standardise": False})
    sparse, dense = stores(tmp_path, target)
    optimizer = ooc.optim.sgd(0.05, l1=1e-3, l2=1e-3)
    trainer = ooc.Trainer(model, optimizer, batch_size=32, **STREAM)
    one, other = trainer.fit(sparse, epochs=3), trainer.fit(dense, epochs=3)
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=2e-4, atol=2e-6)
    assert one.results["loss"] == pytest.approx(other.results["loss"], rel=1e-5)
    told, wanted = (run.evaluate(rows) for run, rows in ((one, sparse), (other, dense)))
    assert told["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    scores = one.predict(sparse, "scores")
    np.testing.assert_allclose(scores, one.predict(dense, "scores"), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores, one.predict(MATRIX, "scores"), rtol=1e-6)
    one.predict_to(sparse, tmp_path / "predictions.zarr")
    written = ooc.open(tmp_path / "predictions.zarr", features="prediction")
    (batch,) = ooc.Loader(written, len(target), memory="512MiB", shuffle="none")
    assert np.array_equal(batch["prediction"], one.predict(sparse))


@pytest.mark.slow
def test_threads_do_not_change_the_bits_of_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares of sixteen rows may go to two threads: what their rows cost is not told by those."""
    sparse, _ = stores(tmp_path, THIRDS)
    trainer = ooc.Trainer(ooc.models.Softmax(classes=3), ooc.optim.adam(0.01), 32, **STREAM)
    monkeypatch.setattr("ooc.models.loop.parallel_threads", lambda _: 2)
    found = []
    for parallel in (False, True):
        monkeypatch.setattr("ooc.engines.parallel_choice.ParallelChoice.parallel", parallel)
        found.append(trainer.fit(sparse, epochs=2).parameters)
    assert np.array_equal(*found)
    state = start([ooc.optim.adam(0.01)], found[0], trainer.model)
    loop = make_loop(trainer.model, sparse, state, 32)
    assert loop.goes_parallel


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_differences_of_losses(dtype: str) -> None:
    matrix = MATRIX[:50].astype(dtype)
    arrays = {"X": matrix, "y": LABELS[:50]}
    batch = Batch(arrays, np.arange(50), 0, 0, ("X", "y", None))
    model = ooc.models.Logistic(dtype="float64", standardise=False, scale=0.7)
    point = np.random.default_rng(0).standard_normal(41)
    gradient, steps = np.zeros(41), 1e-5 * np.eye(41)
    model.loss_and_grad(point, batch, gradient)
    loss = [[model.loss_and_grad(point + sign * h, batch, np.zeros(41)) for h in steps]
            for sign in (1, -1)]  # fmt: skip
    np.testing.assert_allclose(gradient, np.subtract(*loss) / 2e-5, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_steps_are_those_of_scikit_learn(tmp_path: Path) -> None:
    sparse = ooc.open(write_sparse(tmp_path / "a.zarr", MATRIX, y=LABELS))
    # Its intercept has steps of a hundredth on sparse rows: its own rule against oscillation.
    peer = SGDClassifier(
        "log_loss", penalty=None, learning_rate="constant", eta0=0.05, shuffle=False, max_iter=2,
        tol=None, fit_intercept=False,
    ).fit(MATRIX.astype(np.float64), LABELS)  # fmt: skip
    model = ooc.models.Logistic(standardise=False, intercept=False)
    trainer = ooc.Trainer(model, ooc.optim.sgd(0.05), batch_size=1, memory="512MiB", shuffle="none")
    run = trainer.fit(sparse, epochs=2)
    np.testing.assert_allclose(run.parameters, peer.coef_[0], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    sparse = ooc.open(write_sparse(tmp_path / "a.zarr", MATRIX, y=LABELS))
    options = {"batch_size": 32, "validation": ooc.Validation(0.2, every=9), **STREAM}
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.adam(0.01), **options)
    whole = trainer.fit(sparse, epochs=3)
    stop = threading.Event()

    def count(now: Any) -> None:
        if now.step >= 17:
            stop.set()

    trainer.fit(
        sparse, epochs=3, run_dir=tmp_path / "run", stop=stop,
        callbacks=ooc.Callbacks(step_end=count, every=1),
    )  # fmt: skip
    run = ooc.resume(tmp_path / "run")
    assert np.array_equal(run.parameters, whole.parameters)
    assert run.results["steps"] == whole.results["steps"] == 39


def test_a_value_that_is_not_finite_names_row_and_feature(tmp_path: Path) -> None:
    matrix = MATRIX.copy()
    row = 119  # it waits for the next window: its batch is the third of the first one's 120 rows
    place = matrix.indptr[row]
    matrix.data[place] = np.nan
    sparse = ooc.open(write_sparse(tmp_path / "a.zarr", matrix, y=LABELS))
    options = STREAM | {"shuffle": "none"}
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), batch_size=50, **options)
    with pytest.raises(
        DataError, match=f"row {row} of X has nan in feature {matrix.indices[place]}"
    ):
        trainer.fit(sparse)
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(), batch_size=50, **options)
    with pytest.raises(
        DataError, match=f"row {row} of X has nan in feature {matrix.indices[place]}"
    ):
        trainer.fit(sparse)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (ooc.models.MLP(hidden=(4,), head="binary"), "mlp takes no sparse rows"),
        (ooc.models.Logistic(standardise=True), "standardise=True subtracts"),
    ],
)
def test_what_needs_dense_rows_is_refused(tmp_path: Path, model: Any, said: str) -> None:
    sparse = ooc.open(write_sparse(tmp_path / "a.zarr", MATRIX, y=LABELS))
    with pytest.raises(InputError, match=said):
        ooc.Trainer(model, ooc.optim.sgd(0.1), batch_size=50, memory="512MiB").fit(sparse)


WIDE = scipy.sparse.csr_array(
    (MATRIX.data, MATRIX.indices.astype(np.int64) * 97 % 3011, MATRIX.indptr), (503, 3011)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("linear", ooc.optim.sgd(0.05)),
        ("logistic", ooc.optim.adagrad(0.1)),
        ("softmax", ooc.optim.ftrl(0.1, 0.5, 0.7, 0.1)),
        ("softmax of six", ooc.optim.adagrad(0.1)),
        ("softmax of six", ooc.optim.sgd(0.05, schedule=ooc.schedules.cosine())),
        ("svm", ooc.optim.adagrad(0.1)),
        ("svm", ooc.optim.sgd(0.05)),
    ],
    ids=lambda given: getattr(given, "name", given),
)
def test_steps_of_touched_columns_are_those_of_all(
    tmp_path: Path, name: str, optimizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, target = MODELS[name]
    model = ooc.models.from_config(model.to_config() | {"standardise": False})
    path = write_sparse(tmp_path / "a.zarr", WIDE, y=target, weight=np.linspace(0.5, 2, 503))
    trainer = ooc.Trainer(model, optimizer, batch_size=50, **STREAM)
    few = trainer.fit(ooc.open(path), epochs=3)
    monkeypatch.setattr("ooc.models.step_kernels.WIDE", 1e9)
    every = trainer.fit(ooc.open(path), epochs=3)
    np.testing.assert_allclose(few.parameters, every.parameters, rtol=2e-4, atol=2e-6)
    assert few.results["loss"] == pytest.approx(every.results["loss"], rel=1e-5)
    assert np.count_nonzero(few.parameters) < 45 * model.outputs, "columns that no row has stay 0"


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [ooc.optim.ftrl(0.1), ooc.optim.sgd(0.1)], ids=["f", "s"])
def test_a_run_of_touched_columns_goes_on_to_the_same_bits(tmp_path: Path, optimizer: Any) -> None:
    sparse = ooc.open(write_sparse(tmp_path / "a.zarr", WIDE, y=LABELS))
    trainer = ooc.Trainer(ooc.models.Logistic(), optimizer, batch_size=50, **STREAM)
    whole = trainer.fit(sparse, epochs=2)
    stop = threading.Event()
    calls = ooc.Callbacks(step_end=lambda now: stop.set() if now.step == 7 else None, every=1)
    trainer.fit(sparse, epochs=2, run_dir=tmp_path / "run", stop=stop, callbacks=calls)
    assert np.array_equal(ooc.resume(tmp_path / "run").parameters, whole.parameters)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("values", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 7, 50])
def test_plain_steps_on_wide_rows_are_those_of_their_formula(
    tmp_path: Path, dtype: str, values: str, batch: int
) -> None:
    """``w -= rate / B * sum of slope * row``, with slopes before the batch; also of a last one."""
    matrix = WIDE.astype(values)
    sparse = ooc.open(write_sparse(tmp_path / "a.zarr", matrix, y=LABELS))
    model = ooc.models.Logistic(standardise=False, scale=0.5, dtype=dtype)
    options = STREAM | {"shuffle": "none"}
    run = ooc.Trainer(model, ooc.optim.sgd(0.3), batch_size=batch, **options).fit(sparse, epochs=2)
    w, b = np.zeros(matrix.shape[1]), 0.0
    for _ in range(2):
        for first in range(0, len(LABELS), batch):
            rows, targets = 0.5 * matrix[first : first + batch], LABELS[first : first + batch]
            slopes = 1 / (1 + np.exp(-(rows @ w + b))) - targets
            w = w - 0.3 / len(targets) * (rows.T @ slopes)
            b -= 0.3 * slopes.mean()
    tight = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-4, "atol": 2e-6}
    np.testing.assert_allclose(run.parameters, [*w, b], **tight)


def test_readers_do_not_change_the_bits_of_plain_steps(tmp_path: Path) -> None:
    sparse = ooc.open(write_sparse(tmp_path / "a.zarr", WIDE, y=LABELS))
    found = {
        ooc.Trainer(
            ooc.models.Logistic(), ooc.optim.sgd(0.1), batch_size=9, readers=readers, **STREAM
        ).fit(sparse, epochs=2).results["parameters_sha256"]
        for readers in (1, 3)
    }  # fmt: skip
    assert len(found) == 1


@pytest.mark.slow
def test_many_runs_of_plain_steps_are_each_of_them_alone(tmp_path: Path) -> None:
    sparse = ooc.open(write_sparse(tmp_path / "a.zarr", WIDE, y=LABELS))
    optimizers = {"slow": ooc.optim.sgd(0.05), "fast": ooc.optim.sgd(0.2)}
    trainer = ooc.Trainer(ooc.models.Logistic(), optimizers["slow"], batch_size=20, **STREAM)
    runs = trainer.fit_many(sparse, optimizers)
    for name, optimizer in optimizers.items():
        one = ooc.Trainer(ooc.models.Logistic(), optimizer, batch_size=20, **STREAM).fit(sparse)
        assert np.array_equal(runs[name].parameters, one.parameters)

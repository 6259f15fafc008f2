"""Training on rows that are transformed as they are read, and all that follows it."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zarr
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import DataError, InputError, TooSmallError

STREAM: dict[str, Any] = {"memory": "512MiB", "block_rows": 64, "window": 4, "seed": 4}


# scikit-learn's C: one over the penalty of the summed loss.
PENALTY = 0.3


def counts_of(rows: int = 500, columns: int = 60) -> tuple[Any, np.ndarray]:
    """Return counts in CSR, and labels that their shares tell."""
    matrix = random_matrix(rows, columns, 0.2)
    matrix.data = np.float32(np.random.default_rng(1).poisson(3, matrix.nnz) + 1)
    signal = matrix @ np.random.default_rng(2).standard_normal(columns)
    return matrix, (signal > np.median(signal)).astype(np.float32)


def logarithms(matrix: Any, total: float = 1e4) -> Any:
    """Return what scanpy's `normalize_total` and `log1p` make of counts."""
    totals = np.asarray(matrix.sum(axis=1)).reshape(-1).astype(np.float64)
    totals[totals == 0] = 1
    data = matrix.data * np.repeat(total / totals, np.diff(matrix.indptr))
    return scipy.sparse.csr_array(
        (np.log1p(data).astype(np.float32), matrix.indices, matrix.indptr), matrix.shape
    )


def codes_of(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return category codes of 4 columns, and labels that pairs of two columns tell."""
    truth, rng = np.random.default_rng(7), np.random.default_rng(seed)
    codes = rng.integers(0, [8, 8, 50, 300], (rows, 4))
    single, pair = truth.standard_normal(300), truth.standard_normal((8, 8))
    scores = 2.5 * pair[codes[:, 0], codes[:, 1]] + 0.5 * single[codes[:, 3]]
    return codes, (rng.random(rows) < 1 / (1 + np.exp(-scores))).astype(np.float32)


def write_codes(path: Path, codes: np.ndarray, labels: np.ndarray) -> Path:
    """Write category codes as columns of whole numbers, as `ooc convert` does."""
    group = zarr.create_group(path)
    group.create_array("X", data=codes.astype(np.int32), chunks=(256, codes.shape[1]))
    group.create_array("y", data=labels, chunks=(256,))
    return path


@pytest.mark.slow
def test_training_on_counts_is_that_on_their_logarithms(tmp_path: Path) -> None:
    matrix, labels = counts_of()
    counts = write_sparse(tmp_path / "counts.zarr", matrix, y=labels)
    logs = write_sparse(tmp_path / "logs.zarr", logarithms(matrix), y=labels)
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), batch_size=32, **STREAM)
    dataset = ooc.open(counts, transform="log-normalise")
    one, other = trainer.fit(dataset, epochs=3), trainer.fit(ooc.open(logs), epochs=3)
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=1e-4, atol=1e-6)
    # What was said once is the run's own: the same rows, opened as they are.
    told, wanted = one.evaluate(ooc.open(counts)), other.evaluate(ooc.open(logs))
    assert told["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    scores = other.predict(ooc.open(logs), "scores")
    np.testing.assert_allclose(
        one.predict(ooc.open(counts), "scores"), scores, rtol=1e-4, atol=1e-5
    )
    one.predict_to(ooc.open(counts), tmp_path / "predictions.zarr")
    found = zarr.open_group(tmp_path / "predictions.zarr")["prediction"][:]
    assert np.array_equal(found, one.predict(dataset))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["log-normalise", "hash:12", "hash-pairs:12"])
def test_a_run_goes_on_with_its_transform_to_the_same_bits(tmp_path: Path, text: str) -> None:
    matrix, labels = counts_of()
    path = write_sparse(tmp_path / "counts.zarr", matrix, y=labels)
    dataset = ooc.open(path, transform=text)
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.adagrad(0.1), batch_size=50, **STREAM)
    whole, stop = trainer.fit(dataset, epochs=2), threading.Event()
    calls = ooc.Callbacks(step_end=lambda now: stop.set() if now.step == 7 else None, every=1)
    run_dir = tmp_path / "run"
    trainer.fit(dataset, epochs=2, run_dir=run_dir, stop=stop, callbacks=calls)
    with pytest.raises(InputError, match="transform='hash:9'"):
        ooc.resume(run_dir, ooc.open(path, transform="hash:9"))
    # The dataset elsewhere, as it is stored.
    assert np.array_equal(ooc.resume(run_dir, ooc.open(path)).parameters, whole.parameters)
    loaded = ooc.load(run_dir)
    assert loaded.transform.partition(":")[0] == text.partition(":")[0]
    assert loaded.evaluate(ooc.open(path))["loss"] == whole.evaluate(dataset)["loss"]
    with pytest.raises(InputError, match="transforms rows as they are read"):
        loaded.predict(matrix.toarray())
    with pytest.raises(InputError, match="ONNX"):
        loaded.export(tmp_path / "model.onnx")
    assert loaded.export(tmp_path / "model.json").exists()


@pytest.mark.slow
def test_the_stream_is_the_same_with_any_number_of_readers(tmp_path: Path) -> None:
    codes, labels = codes_of(3000, 0)
    path = write_codes(tmp_path / "a.zarr", codes, labels)
    found = []
    for readers in (1, 5):
        loader = ooc.Loader(
            ooc.open(path, transform="hash-pairs:10"), 64, readers=readers, **STREAM
        )
        found.append(scipy.sparse.vstack([batch["X"] for batch in loader]).toarray())
    assert np.array_equal(*found)
    assert (np.count_nonzero(found[0], axis=1) <= 10).all()


@pytest.mark.slow
def test_pairs_of_hashed_codes_reach_what_scikit_learn_reaches(tmp_path: Path) -> None:
    train, labels = codes_of(6000, 1)
    test, truth = codes_of(3000, 2)
    path = write_codes(tmp_path / "train.zarr", train, labels)
    held_out = ooc.open(write_codes(tmp_path / "test.zarr", test, truth))
    found = {}
    for text in ("hash:14", "hash-pairs:14"):
        # The same objective as the peer's, at its optimum: what differs is how columns are hashed.
        method = ooc.optim.lbfgs(l2=1 / (PENALTY * len(train)), tolerance=1e-3)
        trainer = ooc.Trainer(ooc.models.Logistic(), method, memory="512MiB")
        run = trainer.fit(ooc.open(path, transform=text), report=False)
        found[text] = run.evaluate(held_out)["auc"]
    hasher = FeatureHasher(2**14, input_type="string")

    def text_of(codes: np.ndarray) -> list[list[str]]:
        rows = []
        for row in codes.tolist():
            names = [f"{j}={code}" for j, code in enumerate(row)]
            rows.append([*names, *(f"{a}*{b}" for i, a in enumerate(names) for b in names[:i])])
        return rows

    peer = LogisticRegression(C=PENALTY, max_iter=200).fit(hasher.transform(text_of(train)), labels)
    wanted = roc_auc_score(truth, peer.decision_function(hasher.transform(text_of(test))))
    assert found["hash-pairs:14"] > wanted - 0.01
    assert found["hash-pairs:14"] > found["hash:14"] + 0.1


def test_a_bad_row_ends_training_with_its_number(tmp_path: Path) -> None:
    matrix, labels = counts_of()
    matrix.data[matrix.indptr[123]] = -4
    path = write_sparse(tmp_path / "counts.zarr", matrix, y=labels)
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), batch_size=32, **STREAM)
    with pytest.raises(DataError, match=r"row 123 of X .* count below 0"):
        trainer.fit(ooc.open(path, transform="log-normalise"))


def test_pairs_that_do_not_fit_are_refused_before_a_row_is_read(tmp_path: Path) -> None:
    matrix = scipy.sparse.random(400, 5000, 0.4, "csr", dtype=np.float32, random_state=0)
    path = write_sparse(tmp_path / "a.zarr", matrix, chunk=2**17, y=np.ones(400, np.float32))
    with pytest.raises(TooSmallError, match="slabs"):
        ooc.Loader(ooc.open(path, transform="hash-pairs:18"), 32, memory="512MiB")
    ooc.Loader(ooc.open(path), 32, memory="512MiB")


def test_rows_with_unread_chunks_are_left_out(tmp_path: Path) -> None:
    codes, labels = codes_of(1000, 0)
    path = write_codes(tmp_path / "a.zarr", codes, labels)
    next(path.glob("X/c/1/0")).write_bytes(b"damaged")
    loader = ooc.Loader(
        ooc.open(path, transform="hash:8"), 50, on_bad_chunk="skip", memory="512MiB", block_rows=256
    )
    rows = np.concatenate([batch.rows for batch in loader])
    assert sorted(rows) == [*range(256), *range(512, 1000)]


def test_cells_of_anndata_are_normalised_as_scanpy_does(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    matrix, labels = counts_of()
    cells = anndata.AnnData(scipy.sparse.csr_matrix(matrix))
    cells.obs["y"] = labels
    dataset = ooc.open(cells, target="obs/y", transform="log-normalise")
    batch = next(iter(ooc.Loader(dataset, len(labels), memory="512MiB", shuffle="none")))
    wanted = logarithms(matrix).toarray()
    np.testing.assert_allclose(batch["X"].toarray(), wanted, rtol=1e-6)
    assert np.array_equal(batch["obs/y"], labels)

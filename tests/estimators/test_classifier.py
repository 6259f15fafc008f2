"""The classifier: scikit-learn's answers where those are known, on arrays and on stores."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import write_dataset
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ooc
from ooc.core.errors import InputError
from ooc.models import MLP, Linear, LinearSVM, Logistic, Softmax
from ooc.runs.classes import count_classes
from ooc.store.dataset import Dataset

X, CODES = load_iris(return_X_y=True)
LABELS = load_iris().target_names[CODES]
BINARY = np.where(CODES == 0, "rose", "iris")


@pytest.fixture
def labelled(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((600, 4)).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(600) > 0).astype(np.int64)
    return write_dataset(tmp_path / "a.zarr", 50, X=x, y=y, weight=rng.uniform(0.5, 2, 600))


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(LABELS, id="multiclass", marks=pytest.mark.slow),
        pytest.param(BINARY, id="binary"),
    ],
)
@pytest.mark.parametrize("class_weight", [None, pytest.param("balanced", marks=pytest.mark.slow)])
def test_it_is_scikit_learns_logistic_regression(labels: np.ndarray, class_weight: Any) -> None:
    """With weights: its C is one over l2 times their sum."""
    weights = np.random.default_rng(0).uniform(0, 3, len(X))
    other = LogisticRegression(C=0.5, class_weight=class_weight, tol=1e-12, max_iter=10_000)
    other.fit(X, labels, weights)
    mine = ooc.OOCClassifier(l2=1 / (0.5 * weights.sum()), class_weight=class_weight)
    mine.fit(X, labels, weights)
    assert mine.classes_.tolist() == other.classes_.tolist()
    np.testing.assert_allclose(mine.predict_proba(X), other.predict_proba(X), atol=1e-4)
    np.testing.assert_allclose(mine.decision_function(X), other.decision_function(X), atol=2e-3)
    np.testing.assert_allclose(mine.coef_, other.coef_, atol=2e-3)
    np.testing.assert_allclose(mine.intercept_, other.intercept_, atol=5e-3)
    assert mine.score(X, labels, weights) == other.score(X, labels, weights)
    assert mine.n_features_in_ == 4


def test_balanced_labels_count_rows_by_their_weights() -> None:
    weights = np.random.default_rng(1).uniform(0, 3, len(X)) * np.where(CODES == 0, 5, 1)
    other = LogisticRegression(C=0.5, class_weight="balanced", tol=1e-12).fit(X, BINARY, weights)
    mine = ooc.OOCClassifier(l2=1 / (0.5 * weights.sum()), class_weight="balanced")
    mine.fit(X, BINARY, weights)
    np.testing.assert_allclose(mine.predict_proba(X), other.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize(("labels", "classes"), [([0, 2], 3), ([0, 1], 2), ([3, 0, 1, np.nan], 4)])
def test_classes_of_a_store_go_up_to_the_largest_label(
    tmp_path: Path, labels: list[float], classes: int
) -> None:
    """Also where one of them has no row."""
    y = np.resize(np.array(labels, "f4"), 40)
    assert count_classes(write_dataset(tmp_path / "a.zarr", X=np.ones((40, 2)), y=y)) == classes


def test_weights_by_label_are_scikit_learns() -> None:
    weights = {"rose": 3.0, "iris": 0.5}
    total = len(X)
    other = LogisticRegression(C=1.0, class_weight=weights, tol=1e-12).fit(X, BINARY)
    mine = ooc.OOCClassifier(l2=1 / total, class_weight=weights).fit(X, BINARY)
    np.testing.assert_allclose(mine.predict_proba(X), other.predict_proba(X), atol=1e-4)


def test_coefficients_are_of_features_as_they_were_given() -> None:
    model = Logistic(standardise=True, dtype="float64")
    mine = ooc.OOCClassifier(model, l2=0.01).fit(X, BINARY)
    scores = X @ mine.coef_.T + mine.intercept_
    np.testing.assert_allclose(scores[:, 0], mine.decision_function(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("model", "has_probabilities", "is_exact"),
    [
        ("softmax", True, True),
        pytest.param("svm", False, False, marks=pytest.mark.slow),
        pytest.param(LinearSVM(loss="squared_hinge"), False, True, marks=pytest.mark.slow),
    ],
)
def test_of_two_labels_every_model_decides_alike(
    model: Any, has_probabilities: bool, is_exact: bool
) -> None:
    """By the full gradient, but where the loss has kinks."""
    mine = ooc.OOCClassifier(model, l2=0.01).fit(X, BINARY)
    decision = mine.decision_function(X)
    assert decision.shape == (len(X),)
    np.testing.assert_array_equal(mine.predict(X), mine.classes_[(decision > 0).astype(int)])
    assert mine.score(X, BINARY) > 0.95
    assert hasattr(mine, "predict_proba") == has_probabilities
    assert ("gradient_norm" in mine.run_.results) == is_exact


@pytest.mark.slow
def test_a_network_gets_the_head_of_the_labels() -> None:
    scaled = StandardScaler().fit_transform(X)
    for labels, width in ((BINARY, 2), (LABELS, 3)):
        mine = ooc.OOCClassifier(MLP(hidden=(8,)), optimizer="adam", lr=0.02, epochs=100)
        mine.fit(scaled, labels)
        assert mine.predict_proba(scaled).shape == (len(X), width)
        assert mine.score(scaled, labels) > 0.9
        with pytest.raises(AttributeError, match="mlp has no coefficients of features alone"):
            mine.coef_  # noqa: B018


@pytest.mark.slow
def test_an_ordinal_head_stays_one() -> None:
    """Its scores are K - 1 logits of a label above each, and make its probabilities."""
    scaled = StandardScaler().fit_transform(X)
    mine = ooc.OOCClassifier(MLP(hidden=(), head="ordinal", outputs=9)).fit(scaled, 5 + CODES)
    assert (mine.run_.model.head, mine.run_.model.outputs) == ("ordinal", 3)
    assert mine.score(scaled, 5 + CODES) > 0.95
    shares, above = mine.predict_proba(scaled), mine.decision_function(scaled)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(expit(above), 1 - np.cumsum(shares, axis=1)[:, :2], atol=1e-9)
    assert mine.predict(scaled).tolist() == (5 + shares.argmax(axis=1)).tolist()


def test_two_passes_over_parts_are_two_steps() -> None:
    """Of gradient descent, by NumPy; the second part's rows count by their weights."""
    x, y = X[:100].astype(np.float32), CODES[:100]
    parts, weights = np.split(np.random.default_rng(0).permutation(100), 2), np.ones(50)
    weights[:10] = 3.0
    mine = ooc.OOCClassifier(optimizer="sgd", lr=0.1, batch_size=50)
    mine.partial_fit(x[parts[0]], y[parts[0]], classes=[0, 1])
    mine.partial_fit(x[parts[1]], y[parts[1]], sample_weight=weights)
    w, b = np.zeros(4), 0.0
    for part, weight in zip(parts, (np.ones(50), weights), strict=True):
        error = weight * (1 / (1 + np.exp(-(x[part] @ w + b))) - y[part])
        w, b = w - 0.1 * error @ x[part] / 50, b - 0.1 * error.mean()
    np.testing.assert_allclose(mine.coef_[0], w, rtol=1e-5)
    np.testing.assert_allclose(mine.intercept_, [b], rtol=1e-5)
    assert mine.run_.results["steps"] == 2


def test_partial_fit_goes_on_from_a_fit_and_after_pickling() -> None:
    mine = ooc.OOCClassifier(l2=0.01).fit(X, BINARY)
    before = mine.coef_
    mine.partial_fit(X, BINARY)
    assert 0 < np.abs(mine.coef_ - before).max() < 1
    other = pickle.loads(pickle.dumps(mine))
    for each in (mine, other):
        each.partial_fit(X[::2], BINARY[::2])
    np.testing.assert_array_equal(mine.coef_, other.coef_)


@pytest.mark.slow
def test_a_store_is_trained_on_as_by_a_trainer(labelled: Dataset) -> None:
    """To the same bits; predictions of a store and of its array are the same."""
    rows = np.random.default_rng(4).standard_normal((50, 4)).astype(np.float32)
    mine = ooc.OOCClassifier(lr=0.1, batch_size=100, random_state=5).fit(labelled.path)
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), batch_size=100, seed=5)
    run = trainer.fit(labelled)
    np.testing.assert_array_equal(mine.run_.parameters, run.parameters)
    assert mine.classes_.tolist() == [0, 1]
    assert mine.n_features_in_ == 4
    assert mine.score(labelled) == run.evaluate(labelled)["accuracy"]
    other = write_dataset(Path(labelled.path).with_name("b.zarr"), 20, X=rows)
    for method in ("predict", "predict_proba", "decision_function"):
        of_store, of_array = getattr(mine, method)(other), getattr(mine, method)(rows)
        np.testing.assert_array_equal(of_store, of_array)
    mine.partial_fit(labelled)
    assert np.abs(mine.run_.parameters - run.parameters).max() > 0


@pytest.mark.slow
def test_it_works_in_pipelines_and_searches() -> None:
    pipe = make_pipeline(StandardScaler(), ooc.OOCClassifier(class_weight="balanced"))
    search = GridSearchCV(pipe, {"oocclassifier__l2": [100.0, 1e-3]}, cv=2).fit(X, LABELS)
    assert search.best_params_ == {"oocclassifier__l2": 1e-3}
    assert search.best_score_ > 0.9
    assert set(search.predict(X)) == set(LABELS)


def test_columns_of_a_frame_are_known_by_their_names(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    mine = ooc.OOCClassifier(l2=0.1).fit(frame, BINARY)
    assert mine.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        mine.predict(frame[["b", "a", "c", "d"]])
    lines = mine.export(tmp_path / "a.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["feature", "(intercept)", *"abcd"]
    assert float(lines[2].partition(",")[2]) == mine.coef_[0, 0]


def test_a_model_is_a_parameter_like_others() -> None:
    model = Softmax(classes=7, intercept=False, standardise=False, dtype="float64")
    mine = ooc.OOCClassifier(model, optimizer=ooc.optim.lbfgs(l2=0.1))
    other = clone(mine)
    assert other.get_params() == mine.get_params()
    other.fit(X, LABELS)
    assert other.run_.model.classes == 3
    assert other.intercept_.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("settings", "labels", "told"),
    [
        ({"model": "autoencoder"}, BINARY, "autoencoder does not predict labels; choose"),
        ({"model": Linear()}, BINARY, "linear does not predict labels; choose"),
        ({"model": "forest"}, BINARY, "no model is called 'forest'; choose one of: linear"),
        ({"model": 7}, BINARY, "a model is a name such as logistic, or one of ooc.models, not 7"),
        ({"model": "svm"}, LABELS, "svm takes 2 classes, but there are 3: choose logistic"),
        ({"optimizer": ooc.optim.sgd(0.1), "l2": 1.0}, BINARY, "sgd has its own lr, l2 and l1"),
        ({"optimizer": "newton"}, BINARY, "no optimizer is called 'newton'"),
        ({"optimizer": "lbfgs", "lr": 0.1}, BINARY, "lbfgs finds the length of each step"),
        ({}, np.full(150, "a"), "labels have one class, 'a'"),
        ({"memory": "1MiB"}, BINARY, "budget of 1.00 MiB is below"),
    ],
)
def test_what_does_not_fit_is_refused(
    settings: dict[str, Any], labels: np.ndarray, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        ooc.OOCClassifier(**settings).fit(X, labels)


def test_what_parts_and_stores_cannot_have_is_refused(labelled: Dataset, tmp_path: Path) -> None:
    balanced = ooc.OOCClassifier(class_weight="balanced")
    exact = ooc.OOCClassifier(optimizer="lbfgs")
    begun = ooc.OOCClassifier(lr=0.1).partial_fit(X, BINARY, classes=["iris", "rose"])
    folder = tmp_path / "labels.zarr"
    numbers = write_dataset(folder, X=np.ones((20, 2), "f4"), y=np.arange(20) / 8)
    refusals = {
        "needs all rows at once": lambda: balanced.partial_fit(X, BINARY, ["iris", "rose"]),
        "lbfgs asks for passes": lambda: exact.partial_fit(X, BINARY, ["iris", "rose"]),
        "label 'tulip' is none of": lambda: begun.partial_fit(X[:1], ["tulip"]),
        "leave y out": lambda: ooc.OOCClassifier().fit(labelled, BINARY),
        "no labels: from row 0 on there is 0.125": lambda: ooc.OOCClassifier().fit(numbers),
    }
    for told, refused in refusals.items():
        with pytest.raises(InputError, match=told):
            refused()


@pytest.mark.slow
def test_without_scikit_learn_one_sentence_says_how_to_install_it() -> None:
    """And all else is as ever."""
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from ooc import *\nimport ooc\nassert 'OOCClassifier' not in ooc.__all__\n"
        "try:\n    ooc.OOCClassifier\nexcept ValueError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wanted = "estimators need scikit-learn, which is not installed; pip install 'ooc[sklearn]'"
    assert done.stdout == f"{wanted} brings it\n"

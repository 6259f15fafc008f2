"""What estimators pass on to runs, what they answer of any model, and what they refuse."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import write_dataset
from scipy.special import softmax
from sklearn.utils import get_tags
from sklearn.utils.class_weight import compute_class_weight

import ooc
from ooc.core.errors import InputError
from ooc.estimators import estimator as estimators
from ooc.estimators.estimator import _seed_of, of_mean_one
from ooc.estimators.labels import labelled_classes
from ooc.estimators.templates import classifier_of, regressor_of, template_of
from ooc.models import MLP, Autoencoder, Linear, LinearSVM, Logistic, Softmax
from ooc.runs.run import Run
from ooc.store.dataset import Dataset
from ooc.store.held import hold

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3)).astype(np.float32)
BINARY, THREE = np.arange(60) % 2, np.arange(60) % 3
STEPS: dict[str, Any] = {"optimizer": "sgd", "lr": 0.1, "batch_size": 20}


def told(call: Any, kind: type[Exception] = InputError) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


@pytest.fixture
def stored(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "a.zarr", X=X, y=THREE, weight=np.ones(60))


@pytest.mark.slow
def test_a_fit_begins_anew_also_after_parts_and_parts_go_on_from_it() -> None:
    mine = ooc.OOCRegressor(**STEPS).partial_fit(X, X[:, 0]).partial_fit(X, X[:, 0])
    again = mine.fit(X, X[:, 1]).coef_.copy()
    fresh = ooc.OOCRegressor(**STEPS).fit(X, X[:, 1])
    np.testing.assert_array_equal(again, fresh.coef_)
    for each in (mine, fresh):
        each.partial_fit(X, X[:, 1])
    np.testing.assert_array_equal(mine.coef_, fresh.coef_)
    assert mine.run_.results["steps"] == 3
    assert np.abs(mine.coef_ - again).max() > 0


def test_weights_of_a_fit_are_of_mean_one_and_those_of_parts_count_as_they_are() -> None:
    """A step of one batch: its gradient is the mean over rows of weight times error."""
    weights = RNG.uniform(1, 5, 60)
    np.testing.assert_allclose(of_mean_one(weights), weights / weights.mean(), rtol=1e-12)
    assert of_mean_one(None) is None
    y = X[:, 0] + 1
    for method, each in (("fit", weights / weights.mean()), ("partial_fit", weights)):
        mine = ooc.OOCRegressor(optimizer="sgd", lr=0.1, batch_size=60, epochs=1)
        getattr(mine, method)(X, y, sample_weight=weights)
        np.testing.assert_allclose(mine.coef_, 0.1 * (each * y) @ X / 60, rtol=1e-4)
        assert mine.intercept_ == pytest.approx(0.1 * (each * y).mean(), rel=1e-5)


def test_sample_weights_that_cannot_be() -> None:
    for mine, y in ((ooc.OOCRegressor(), X[:, 0]), (ooc.OOCClassifier(), BINARY)):
        # scikit-learn's own words, in a version that looks for it.
        with pytest.raises(ValueError, match="zero"):
            mine.fit(X, y, np.zeros(60))
        with pytest.raises(ValueError, match=r"[Nn]egative"):
            mine.fit(X, y, np.r_[-1.0, np.ones(59)])


def test_a_seed_is_a_number_or_drawn_from_a_generator() -> None:
    assert (_seed_of(7), _seed_of(np.int32(7))) == (7, 7)
    drawn = _seed_of(np.random.RandomState(3))
    assert drawn == np.random.RandomState(3).randint(2**31 - 1) != _seed_of(3)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("settings", "asked", "budget"),
    [
        ({}, 2**30, "1GiB"),
        ({"memory": "700MiB"}, None, "700MiB"),
        ({"stream": ooc.StreamOptions(memory="800MiB")}, 800 * 2**20, "800MiB"),
        ({"memory": "700MiB", "stream": ooc.StreamOptions(memory="800MiB")}, None, "700MiB"),
    ],
)
def test_memory_is_beside_the_arrays_and_that_of_a_store_is_the_budget(
    stored: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    asked: int | None,
    budget: str,
) -> None:
    monkeypatch.setattr(estimators, "resident_bytes", lambda: 5)
    monkeypatch.setattr(estimators, "allowed_bytes", lambda: 2**40)
    mine = ooc.OOCClassifier(**STEPS, **settings)
    held = hold({"X": X, "y": THREE})
    assert mine._memory(held) == (settings["memory"] if asked is None else 5 + asked)
    assert mine._memory(stored) == settings.get("memory")
    monkeypatch.setattr(estimators, "allowed_bytes", lambda: 9)
    assert mine._memory(held) == (settings["memory"] if asked is None else 9)
    monkeypatch.undo()
    mine.fit(stored)
    seen: list[Any] = []
    answer = {"accuracy": 0.25, "r2": 0.5}
    monkeypatch.setattr(Run, "evaluate", lambda run, *given: seen.append(given[1]) or answer)
    monkeypatch.setattr(
        Run, "predict", lambda run, *given: seen.append(given[2]) or np.zeros(60, int)
    )
    assert mine.score(stored) == 0.25
    mine.predict(stored)
    assert seen == [budget] * 2


def test_class_weights_are_in_the_order_of_the_labels(
    stored: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As scikit-learn has them; those of a store that are balanced are left to its pass."""
    mine = ooc.OOCClassifier(class_weight={"c": 5.0, "a": 2.0})
    labels, codes = np.array(["a", "b", "c"]), np.array([0, 0, 1, 2, 2, 2])
    assert mine._class_weights(labels, codes, None) == (2.0, 1.0, 5.0)
    assert ooc.OOCClassifier()._class_weights(labels, codes, None) is None
    balanced = ooc.OOCClassifier(class_weight="balanced")
    assert balanced._class_weights(labels, None, None) == "balanced"
    expected = compute_class_weight("balanced", classes=np.arange(3), y=codes)
    assert balanced._class_weights(labels, codes, None) == pytest.approx(expected.tolist())
    weights = np.array([1.0, 3, 2, 0, 0, 0])
    assert balanced._class_weights(labels, codes, weights) == (0.5, 1.0, 0.0)
    found = ooc.OOCClassifier(class_weight={0: 2.0, 1: 1.0, 2: 4.0}, **STEPS).fit(stored)
    assert found.run_.model.class_weights == (2.0, 1.0, 4.0)
    parts = ooc.OOCClassifier(class_weight={"u": 3.0}, **STEPS)
    parts.partial_fit(X, np.where(BINARY, "u", "t"), classes=["t", "u"])
    assert parts.run_.model.class_weights == (1.0, 3.0)


class Own:
    """A run of a model of the user's own, with probabilities of one label or of each."""

    def __init__(self, probability: np.ndarray) -> None:
        self.model, self.class_names, self.row_shape = Linear(), (), (3,)
        self._probability = probability
        self.asked: list[str] = []

    def predict(self, rows: Any, output: str) -> np.ndarray:
        self.asked.append(output)
        return self._probability


def test_probabilities_of_any_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scores are known they are made of these, and else they are its own."""
    share = np.array([0.25, 1.0, 0.0])
    both = np.column_stack([1 - share, share])
    for given in (share, both):
        mine: Any = ooc.OOCClassifier(**STEPS)
        mine.n_features_in_, mine.classes_, mine.run_ = 3, np.arange(2), Own(given)
        with monkeypatch.context() as patch:
            patch.setattr("ooc.estimators.classifier.link_of", lambda model: None)
            np.testing.assert_array_equal(mine.predict_proba(X[:3]), both)
        assert mine.run_.asked == ["probability"]
        with warnings.catch_warnings(), monkeypatch.context() as patch:
            warnings.simplefilter("error")
            patch.setattr("ooc.estimators.classifier.link_of", lambda model: "softmax")
            found = mine.predict_log_proba(X[:3]) if given.ndim == 2 else None
        if found is not None:
            np.testing.assert_allclose(found, np.log(softmax(both, axis=1)), rtol=1e-12)
            assert mine.run_.asked[-1] == "scores"
            np.testing.assert_array_equal(mine.decision_function(X[:3]), both[:, 1] - both[:, 0])
            mine.classes_ = np.arange(3)
            np.testing.assert_array_equal(mine.decision_function(X[:3]), both)
    mine.run_ = Own(share[:, None])
    np.testing.assert_array_equal(mine.decision_function(X[:3]), share)


@pytest.mark.slow
def test_features_of_a_store_have_no_names_of_a_frame_before(stored: Dataset) -> None:
    for mine, y in ((ooc.OOCClassifier(**STEPS), THREE), (ooc.OOCRegressor(**STEPS), X[:, 0])):
        mine.fit(pd.DataFrame(X[:, :2], columns=list("ab")), y)
        assert mine.feature_names_in_.tolist() == ["a", "b"] and mine.n_features_in_ == 2
        mine.fit(stored)
        assert not hasattr(mine, "feature_names_in_") and mine.n_features_in_ == 3


@pytest.mark.slow
def test_what_is_given_beside_a_store_is_refused_whole(stored: Dataset) -> None:
    for how, role in (({"y": BINARY}, "target"), ({"sample_weight": X[:, 0]}, "weight")):
        (name,) = how
        for mine in (ooc.OOCClassifier(), ooc.OOCRegressor()):
            expected = (
                f"a dataset has its own targets and weights; leave {name} out, and name the array "
                f"that plays its part: ooc.open(path, {role}=...)"
            )
            assert told(lambda mine=mine, how=how: mine.fit(stored, **how)) == expected
            begun = type(mine)(**STEPS).fit(stored)
            assert told(lambda begun=begun, how=how: begun.score(stored, **how)) == expected


def test_labels_and_parameters_that_do_not_fit_are_refused_whole(stored: Dataset) -> None:
    begun = ooc.OOCClassifier(**STEPS).partial_fit(X, BINARY, classes=[0, 1])
    refusals: dict[str, Any] = {
        "labels have one class, 1, and 2 are needed to learn": lambda: ooc.OOCClassifier().fit(
            X, np.ones(60, int)
        ),
        "label 2 is none of the classes [0, 1]; name all of them in the first call": (
            lambda: begun.partial_fit(X, THREE)
        ),
        'class_weight="balanced" needs all rows at once; give weights by label, as '
        'sklearn.utils.class_weight.compute_class_weight("balanced", ...) tells them': (
            lambda: ooc.OOCClassifier(class_weight="balanced").partial_fit(X, BINARY, [0, 1])
        ),
        "the optimizer sgd has its own lr, l2 and l1; give them to it, or name it by a text": (
            lambda: ooc.OOCRegressor(optimizer=ooc.optim.sgd(0.1), l1=0.5).fit(X, X[:, 0])
        ),
        "a model is a name such as logistic, or one of ooc.models, not 7": lambda: template_of(
            7, {}  # type: ignore[arg-type]
        ),
        "Only binary classification is supported. svm takes 2 classes, but there are 4: choose "
        "logistic, softmax or mlp, or wrap it in sklearn.multiclass.OneVsRestClassifier": (
            lambda: classifier_of(LinearSVM(), 4)
        ),
        "autoencoder has no class weights; leave class_weight out": lambda: classifier_of(
            Autoencoder(), 2, "balanced"
        ),
        "linear does not predict labels; choose one that does: logistic, softmax, svm, mlp, or "
        "train it with ooc.Trainer": lambda: classifier_of(Linear(), 2),
        "logistic does not predict numbers; choose one that does: linear, mlp, or train it with "
        "ooc.Trainer": lambda: regressor_of(Logistic(), 1),
    }  # fmt: skip
    for message, refused in refusals.items():
        assert told(refused) == message


def test_models_are_those_of_so_many_labels_or_numbers() -> None:
    """A head follows the labels; settings that were given stay."""
    assert classifier_of(Logistic(intercept=False), 2) == Logistic(intercept=False)
    given = Logistic(intercept=False, standardise=True, scale=0.5, dtype="float64")
    softmax_of = Softmax(
        classes=3, intercept=False, standardise=True, scale=0.5, dtype="float64",
        class_weights=(1.0, 2.0, 3.0),
    )  # fmt: skip
    assert classifier_of(given, 3, (1.0, 2.0, 3.0)) == softmax_of
    assert classifier_of(Softmax(classes=7), 2) == Softmax(classes=2)
    network = MLP(hidden=(8,), head="regression", outputs=5)
    assert classifier_of(network, 2) == MLP(hidden=(8,), head="binary", outputs=1)
    assert classifier_of(network, 4) == MLP(hidden=(8,), head="multiclass", outputs=4)
    assert regressor_of(MLP(hidden=(8,)), 3) == MLP(hidden=(8,), head="regression", outputs=3)
    assert template_of("linear", {"standardise": False, "nothing": 1}) == Linear(standardise=False)
    assert template_of(given, {"standardise": False}) is given


def test_what_scikit_learn_is_told_of_them() -> None:
    for model, many in (("logistic", True), ("svm", False), ("mlp", True)):
        assert get_tags(ooc.OOCClassifier(model)).classifier_tags.multi_class is many
    for model, several in (("linear", False), ("mlp", True)):
        assert get_tags(ooc.OOCRegressor(model)).target_tags.multi_output is several
    for model, scores, shares in (("logistic", True, True), ("svm", True, False)):
        mine = ooc.OOCClassifier(model)
        assert hasattr(mine, "decision_function") is scores
        assert hasattr(mine, "predict_proba") is hasattr(mine, "predict_log_proba") is shares


def test_classes_of_a_store(tmp_path: Path) -> None:
    for name, y, classes, is_coded in (
        ("codes", [0, 1, 2], [0, 1, 2], False),
        ("from 0 on", [0, 3, 0], [0, 1, 2, 3], False),
        ("signs", [-1, 1, 1], [-1, 1], True),
        ("gaps", [3, 1, 1], [1, 3], True),
    ):
        dataset = write_dataset(tmp_path / f"{name}.zarr", X=np.ones((3, 1)), y=np.array(y))
        found, known = labelled_classes(dataset)
        assert (known.tolist(), found is not dataset) == (classes, is_coded)

"""What models with scores share: what the rows decide, weights of classes, and answers."""

from typing import Any

import numpy as np
import pytest

import ooc
from ooc.core.errors import InputError
from ooc.models import MLP, Linear, LinearSVM, Logistic, Softmax, from_config
from ooc.models.own_loss import own_loss
from ooc.stream.batch import Batch


class Told:
    """Statistics that are what they are told to be, and that note what they were asked for."""

    def __init__(self, features: tuple[float, float], target: tuple[float, float]) -> None:
        self.features, self.target = features, target
        self.asked: list[Any] = []

    def _of(self, name: str, numbers: tuple[float, float], width: int) -> Any:
        self.asked.append(name)
        return tuple(np.full(width, number) for number in numbers)

    def sample_moments(self) -> Any:
        return self._of("sample", self.features, 2)

    def moments(self) -> Any:
        return self._of("all", self.features, 2)

    def target_sample_moments(self) -> Any:
        return self._of("target sample", self.target, 1)

    def target_moments(self) -> Any:
        return self._of("all targets", self.target, 1)

    def class_counts(self, *given: Any) -> np.ndarray:
        self.asked.append(given)
        return np.array([30, 10, 60, 20][: given[0]])


NEAR, FAR = (0.5, 1.0), (300.0, 4.0)


@pytest.mark.parametrize(
    ("model", "features", "target", "decided", "asked"),
    [
        (Linear(), NEAR, NEAR, (False, False), ["sample", "target sample"]),
        (Linear(), FAR, NEAR, (True, False), ["sample", "target sample", "all"]),
        (Linear(), NEAR, FAR, (False, True), ["sample", "target sample", "all targets"]),
        (Linear(standardise=False), FAR, FAR, (False, True), ["target sample", "all targets"]),
        (Linear(standardise=True, standardise_target=True), NEAR, NEAR, (True, True),
         ["all", "all targets"]),
        (Linear(standardise=False, standardise_target=False), FAR, FAR, (False, False), []),
        (Linear(loss="poisson"), NEAR, FAR, (False, False), ["sample"]),
        (Linear(loss="poisson"), FAR, FAR, (True, False), ["sample", "all"]),
        (MLP(head="binary"), FAR, FAR, (True, False), ["sample", "all"]),
        (MLP(head="regression"), NEAR, FAR, (False, True),
         ["sample", "target sample", "all targets"]),
    ],
)  # fmt: skip
def test_rows_decide_what_is_left_to_them_and_no_more(
    model: Any, features: Any, target: Any, decided: tuple[bool, bool], asked: list[Any]
) -> None:
    told: Any = Told(features, target)
    prepared = model.prepare(told)
    settings = prepared.model.to_config()
    assert settings["standardise"] is decided[0]
    assert prepared.model.has_standard_targets is decided[1]
    assert told.asked == asked
    parts = set(prepared.parts)
    assert {name for name in parts if name.startswith("feature")} == (
        {"feature_mean", "feature_mean_rest", "feature_deviation"} if decided[0] else set()
    )
    assert {name for name in parts if name.startswith("target")} == (
        {"target_mean", "target_mean_rest", "target_deviation"} if decided[1] else set()
    )
    rest = {"standardise": None, "standardise_target": None}
    assert {**settings, **rest} == {**model.to_config(), **rest}


def test_sparse_rows_are_left_as_they_are_without_a_look() -> None:
    told: Any = Told(FAR, NEAR)
    told.is_sparse = True
    prepared: Any = Logistic().prepare(told)
    assert (prepared.model.standardise, told.asked, prepared.parts) == (False, [], {})


def test_without_an_intercept_targets_are_stretched_and_not_moved() -> None:
    told: Any = Told(NEAR, FAR)
    parts = Linear(intercept=False, standardise_target=True).prepare(told).parts
    assert (parts["target_mean"], parts["target_mean_rest"]) == (0, 0)
    assert parts["target_deviation"] == 4
    parts = Linear(standardise_target=True).prepare(told).parts
    assert (parts["target_mean"], parts["target_deviation"]) == (300, 4)


@pytest.mark.parametrize(
    ("model", "counted", "weights"),
    [
        (Logistic(class_weights="balanced"), (2, "logistic", "labels 0 and 1"), (40 / 60, 2.0)),
        (
            Softmax(classes=4, class_weights="balanced"),
            (4, "softmax", "whole labels from 0 to 3"),
            (1.0, 3.0, 0.5, 1.5),
        ),
        (
            MLP(head="multiclass", outputs=3, class_weights="balanced"),
            (3, "mlp", "whole labels from 0 to 2"),
            (100 / 90, 100 / 30, 100 / 180),
        ),
    ],
)
def test_balanced_classes_weigh_the_same_in_all(
    model: Any, counted: tuple[Any, ...], weights: tuple[float, ...]
) -> None:
    """N / (C n_c), of 30, 10, 60 and 20 rows."""
    told: Any = Told(NEAR, NEAR)
    assert np.isnan(model.label_weights).all() and len(model.label_weights) == counted[0]
    found: Any = model.prepare(told).model
    assert told.asked[0] == counted
    assert found.class_weights == pytest.approx(weights)
    assert found.label_weights == found.class_weights
    batch = Batch({"X": np.ones((3, 2)), "y": np.zeros(3)}, np.arange(3), 0, 0, ("X", "y", None))
    size = model.layout((2,)).size
    with pytest.raises(InputError) as refused:
        model.loss_and_grad(np.zeros(size, np.float32), batch, np.zeros(size))
    assert str(refused.value) == "classes have not been counted yet; give the model to a trainer"


@pytest.mark.parametrize(
    ("make", "weights", "message"),
    [
        (Logistic, (1,), "logistic takes 2 finite class weights of 0 or more, not [1.0]"),
        (Logistic, (1, -1), "logistic takes 2 finite class weights of 0 or more, not [1.0, -1.0]"),
        (LinearSVM, (1, np.inf), "svm takes 2 finite class weights of 0 or more, not [1.0, inf]"),
        (LinearSVM, (1, np.nan), "svm takes 2 finite class weights of 0 or more, not [1.0, nan]"),
        (
            lambda class_weights: Softmax(classes=3, class_weights=class_weights),
            (1, 2),
            "softmax takes 3 finite class weights of 0 or more, not [1.0, 2.0]",
        ),
        (
            Logistic,
            "even",
            "class_weights are one number for each class, or \"balanced\", not 'even'",
        ),
        (
            lambda class_weights: MLP(head="regression", class_weights=class_weights),
            (1,),
            "the regression head has no classes; leave class_weights out",
        ),
    ],
)
def test_weights_that_are_none_are_refused(make: Any, weights: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        make(class_weights=weights)
    assert str(refused.value) == message
    assert Logistic(class_weights=[0, 2]).label_weights == (0.0, 2.0)
    assert Logistic().label_weights == ()


@pytest.mark.slow
@pytest.mark.parametrize("make", [Linear, lambda loss: MLP((3,), head="regression", loss=loss)])
def test_a_poisson_model_predicts_rates(make: Any, rng: np.random.Generator) -> None:
    """The exponentials of its scores, also where it is compared with the targets."""
    x, y = rng.standard_normal((9, 2)).astype("f4"), rng.poisson(2.0, 9).astype("f4")
    model, plain = make(loss="poisson"), make(loss="squared")
    parameters = rng.standard_normal(model.layout((2,)).size).astype("f4")
    scores = model.scores(parameters, x)
    assert scores.shape == (9, 1)
    np.testing.assert_allclose(model.predict(parameters, x)["prediction"], np.exp(scores[:, 0]))
    assert np.array_equal(plain.predict(parameters, x)["prediction"], scores[:, 0])
    batch = Batch({"X": x, "y": y}, np.arange(9), 0, 0, ("X", "y", None))
    measured = model.measure(parameters, batch)
    np.testing.assert_allclose(measured.answers.predictions, np.exp(scores))
    assert measured.answers.targets[:, 0].tolist() == y.tolist()
    assert measured.loss == pytest.approx(np.sum(np.exp(scores[:, 0]) - y * scores[:, 0]), rel=1e-5)


def test_answers_are_labels_and_probabilities_or_margins(rng: np.random.Generator) -> None:
    x, parameters = rng.standard_normal((50, 2)).astype("f4"), np.float32([1.5, -2.0, 0.25])
    scores = x @ parameters[:2] + parameters[2]
    logistic = Logistic().predict(parameters, x)
    np.testing.assert_allclose(logistic["probability"], 1 / (1 + np.exp(-scores)), rtol=1e-5)
    svm = LinearSVM().predict(parameters, x)
    np.testing.assert_allclose(svm["margin"], scores, rtol=1e-5)
    assert set(svm) == {"prediction", "margin"}
    for found in (logistic, svm):
        assert found["prediction"].dtype == np.int64
        assert found["prediction"].tolist() == (scores > 0).astype(int).tolist()
    # A row on the border has label 0.
    none = np.zeros(3, np.float32)
    for model in (Logistic(), LinearSVM(), MLP(())):
        assert not model.predict(none, x)["prediction"].any()
    three = rng.standard_normal((3, 3)).astype("f4")
    wide = np.concatenate([three[:, :2].ravel(), three[:, 2]])
    each = np.exp((x @ three[:, :2].T + three[:, 2]).astype(float))
    for model in (Softmax(classes=3), MLP((), head="multiclass", outputs=3)):
        found = model.predict(wide, x)
        shares = each / each.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found["probability"], shares, rtol=1e-5)
        assert found["prediction"].tolist() == each.argmax(axis=1).tolist()


def test_losses_have_their_constants_and_refuse_others() -> None:
    assert Linear(loss="huber").constant == 1.35
    assert Linear(loss="huber", loss_constant=3).constant == 3
    assert Linear(loss="quantile").constant == 0.5
    assert Linear(loss="epsilon_insensitive").constant == 0.1
    assert (Linear().constant, Logistic().constant, MLP().constant) == (0, 0, 0)
    own = own_loss(lambda p, t: (0.5 * (p - t) ** 2, p - t))
    assert Linear(loss=own).constant == 0
    for make, message in (
        (lambda: Linear(loss=own, loss_constant=1.0),
         "a loss of your own has no constant; leave loss_constant out"),
        (lambda: LinearSVM(loss="huber"),
         "svm has no loss 'huber'; choose one of: hinge, squared_hinge"),
        (lambda: Linear(loss="logistic"),
         "linear has no loss 'logistic'; choose one of: squared, huber, quantile, poisson, "
         "epsilon_insensitive, or a classifier such as logistic or svm"),
        (lambda: MLP(head="binary", loss="huber"), None),
        (lambda: MLP(head="binary", outputs=3),
         "the binary head has 1 output, not 3; for 3 classes choose the multiclass head"),
        (lambda: from_config({"name": "linear", "depth": 3}), None),
    ):  # fmt: skip
        with pytest.raises(InputError) as refused:
            make()
        assert message is None or str(refused.value) == message


def test_targets_in_words_and_by_their_number() -> None:
    assert Softmax(classes=7).targets == "whole labels from 0 to 6"
    assert MLP(head="multiclass", outputs=5).targets == "whole labels from 0 to 4"
    assert (Logistic().targets, MLP().targets) == ("labels 0 and 1", "labels 0 and 1")
    heads: tuple[Any, ...] = (
        (MLP(head="regression", outputs=3), (3, 0)),
        (MLP(head="multiclass", outputs=3), (1, 3)),
        (MLP(), (1, 2)),
        (Linear(), (1, 0)),
        (Softmax(classes=4), (1, 4)),
        (LinearSVM(), (1, 2)),
        (ooc.models.Autoencoder(), (1, 0)),
    )
    for model, (width, classes) in heads:
        assert (model.target_width, model.class_count) == (width, classes)


def test_a_loss_has_the_link_that_makes_answers_of_its_scores() -> None:
    """Margins are no log-odds: there are no probabilities of them."""
    links: dict[Any, str] = {
        Linear(): "identity",
        Linear(loss="poisson"): "exponential",
        Linear(loss="huber"): "identity",
        Logistic(): "logistic",
        LinearSVM(): "margin",
        LinearSVM(loss="squared_hinge"): "margin",
        Softmax(classes=3): "softmax",
        MLP(): "logistic",
        MLP(head="multiclass", outputs=3): "softmax",
        MLP(head="regression", loss="poisson"): "exponential",
        ooc.models.Autoencoder(): "reconstruction",
    }
    for model, link in links.items():
        assert model.link == link
    scores, labels = np.float32([[0.5], [-2]]), np.float32([1, 1])
    none = np.empty(0, np.float32)
    assert LinearSVM(loss="squared_hinge").compare(scores, labels, none).probability is None
    assert Logistic().compare(scores, labels, none).probability is not None

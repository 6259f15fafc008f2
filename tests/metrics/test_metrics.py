"""Every metric of the table: batches do not matter, states do not grow."""

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.core.errors import DataError
from ooc.metrics import METRICS, Labels, Measured, Numbers, most_bytes, update, values
from ooc.metrics.measured import label_answers, measured, number_answers

NONE = np.empty(0, np.float32)


def some_rows(kind: str, rows: int, seed: int, whole_weights: bool = True) -> Measured:
    """Return rows as a model of two or five classes, with an order or none, or of two numbers."""
    rng = np.random.default_rng(seed)
    outputs = {"binary": 1, "classes": 5, "ordered": 5, "numbers": 2}[kind]
    scores = rng.standard_normal((rows, outputs)).astype(np.float32)
    weights = rng.integers(0, 4, rows).astype(np.float32)
    if not whole_weights:
        weights = rng.random(rows, np.float32)
    if kind == "numbers":
        targets = 1e6 + scores + rng.standard_normal((rows, outputs))
        return measured(float(rows), rows, weights, number_answers(scores, targets, weights))
    labels = rng.integers(0, max(outputs, 2), rows).astype(np.float32)
    answers = replace(label_answers(scores, labels, weights), has_order=kind == "ordered")
    return measured(float(rows), rows, weights, answers)


def part(batch: Measured, chosen: slice) -> Measured:
    """Return some rows of a batch."""
    answers = batch.answers
    assert answers is not None
    arrays = {name: value for name, value in vars(answers).items() if isinstance(value, np.ndarray)}
    kept = replace(answers, **{name: value[chosen] for name, value in arrays.items()})
    rows = len(kept.weights)
    return measured(float(rows), rows, kept.weights, kept)


@pytest.mark.parametrize("kind", ["binary", "classes", "ordered", "numbers"])
@given(st.lists(st.integers(0, 60), max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_batches_and_their_order_do_not_matter(kind: str, cuts: list[int], random) -> None:
    """Sums of whole weights are the same to the last bit, moments to rounding."""
    batch = some_rows(kind, 60, 1)
    whole: dict[str, np.ndarray] = {}
    update(whole, batch)
    edges = [0, *sorted(cuts), 60]
    parts = [part(batch, slice(*edge)) for edge in itertools.pairwise(edges)]
    in_turn: dict[str, np.ndarray] = {}
    in_another: dict[str, np.ndarray] = {}
    for each in parts:
        update(in_turn, each)
    random.shuffle(parts)
    for each in parts:
        update(in_another, each)
    for found in (in_turn, in_another):
        for name, state in whole.items():
            if name in ("regression", "calibration"):
                np.testing.assert_allclose(found[name], state, rtol=1e-9)
            else:
                assert np.array_equal(found[name], state, equal_nan=True)


@pytest.mark.parametrize("name", METRICS)
def test_states_are_bounded_and_their_values_json(name: str) -> None:
    metric, seen = METRICS[name], 0
    for kind, outputs in (("binary", 1), ("classes", 5), ("ordered", 5), ("numbers", 2)):
        few, many = some_rows(kind, 3, 2), some_rows(kind, 3000, 2)
        assert metric.size(few) == metric.size(many)
        assert 8 * metric.size(few) <= metric.most_bytes(outputs)
        if not metric.size(few):
            continue
        seen += 1
        state = np.zeros(metric.size(few))
        assert set(metric.values(state).values()) == {None}, "zeros are the state of no rows"
        metric.update(state, many)
        found = metric.values(state)
        assert tuple(found) == metric.keys
        assert json.loads(json.dumps(found)) == found
        assert None not in found.values() or (name, kind) == ("accuracy", "numbers")
    assert seen


@pytest.mark.parametrize(
    ("kind", "outputs"), [("binary", 1), ("classes", 5), ("ordered", 5), ("numbers", 2)]
)
def test_what_is_held_together_is_counted_together(kind: str, outputs: int) -> None:
    batch = some_rows(kind, 3, 2)
    used = [metric for metric in METRICS.values() if metric.size(batch)]
    assert most_bytes(outputs) >= sum(metric.most_bytes(outputs) for metric in used)


def numbers_of(value: Any) -> list[Any]:
    """Return a value's numbers, list by list; those of its parts, where it has some."""
    if not isinstance(value, dict):
        return [value]
    return [each for inner in value.values() for each in numbers_of(inner)]


@pytest.mark.parametrize("kind", ["binary", "classes", "ordered", "numbers"])
def test_a_weight_of_two_is_a_row_twice(kind: str) -> None:
    weighted = some_rows(kind, 200, 3)
    answers = weighted.answers
    assert answers is not None
    repeated = np.repeat(np.arange(200), answers.weights.astype(int))
    arrays = {name: value for name, value in vars(answers).items() if isinstance(value, np.ndarray)}
    kept = {name: value[repeated] for name, value in arrays.items()}
    twice = replace(answers, **{**kept, "weights": NONE})
    a: dict[str, np.ndarray] = {}
    b: dict[str, np.ndarray] = {}
    update(a, replace(weighted, loss=1.0))
    update(b, measured(1.0, len(repeated), NONE, twice))
    for key, value in values(a).items():
        if value is None:
            assert values(b)[key] is None
        else:
            for ours, twin in zip(numbers_of(value), numbers_of(values(b)[key]), strict=True):
                np.testing.assert_allclose(ours, twin, rtol=1e-9, atol=1e-9)


def test_sums_alone_give_loss_and_accuracy() -> None:
    states: dict[str, np.ndarray] = {}
    update(states, Measured(6.0, 4.0, 3.0, 9))
    found = values(states)
    assert (found.pop("loss"), found.pop("accuracy")) == (1.5, 0.75)
    assert set(found.values()) == {None}
    update(states, Measured(6.0, 4.0, np.nan, 9))
    assert values(states)["accuracy"] is None


@pytest.mark.parametrize("kind", ["binary", "numbers"])
def test_negative_weights_leave_out_what_is_not_defined_for_them(kind: str) -> None:
    batch = some_rows(kind, 50, 4)
    assert isinstance(batch.answers, Labels | Numbers)
    batch.answers.weights[7] = -1
    states: dict[str, np.ndarray] = {}
    update(states, batch)
    update(states, some_rows(kind, 50, 5))
    found = values(states)
    undefined = ["auc", "auc_error", "r2", "mean_absolute_error", "root_mean_squared_error"]
    assert {found[key] for key in undefined} == {None}
    assert found["loss"] is not None


@pytest.mark.parametrize("name", ["confusion_matrix", "regression", "calibration"])
def test_room_is_counted_for_what_an_update_makes_beside_the_state(name: str) -> None:
    """Another one of its size."""
    for kind, outputs in (("binary", 1), ("classes", 5), ("numbers", 2)):
        size = METRICS[name].size(some_rows(kind, 3, 2))
        assert METRICS[name].most_bytes(outputs) >= 2 * 8 * size


def test_of_many_classes_no_room_is_counted_for_a_matrix_that_is_left_out() -> None:
    room = METRICS["confusion_matrix"].most_bytes
    assert room(10**6) == room(100) == 2 * 8 * 100**2
    assert most_bytes(10**6) > most_bytes(100)


def test_rows_without_weight_have_no_mean() -> None:
    states: dict[str, np.ndarray] = {}
    update(states, Measured(0.0, 0.0, 0.0, 3))
    assert (values(states)["loss"], values(states)["accuracy"]) == (None, None)


def test_answers_are_the_likeliest_and_no_views_of_the_scores(rng: np.random.Generator) -> None:
    """A kernel may use the scores up."""
    for columns in (1, 2, 4):
        scores = rng.standard_normal((30, columns)).astype(np.float32)
        kept = scores.astype(np.float64)
        labels = rng.integers(0, max(columns, 2), 30).astype(np.float32)
        answers = label_answers(scores, labels, NONE)
        scores[:] = 99.0
        both = np.column_stack([0 * kept, kept]) if columns == 1 else kept
        shares = np.exp(both) / np.exp(both).sum(axis=1, keepdims=True)
        assert answers.classes == max(columns, 2)
        assert answers.predicted.tolist() == both.argmax(axis=1).tolist()
        wanted = shares[:, 1] if columns < 3 else shares.max(axis=1)
        assert answers.probability is not None
        np.testing.assert_allclose(answers.probability, wanted, rtol=1e-5)
        if columns < 3:
            assert answers.log_odds is not None
            np.testing.assert_allclose(answers.log_odds, both[:, 1] - both[:, 0], rtol=1e-5)
        else:
            assert answers.log_odds is None
        margins = label_answers(kept.astype(np.float32), labels, NONE, False)
        assert margins.probability is None
    numbers = rng.standard_normal((4, 2)).astype(np.float32)
    found = number_answers(numbers, numbers.ravel().astype(np.float64), NONE)
    numbers[:] = 99.0
    assert np.array_equal(found.predictions, found.targets)
    # A score of 0 is label 0, and large scores are no overflow.
    zero = label_answers(np.zeros((1, 1), np.float32), np.zeros(1), NONE)
    assert zero.predicted.tolist() == [0]
    large = label_answers(np.float32([[1e4, 0, 9e3]]), np.zeros(1), NONE)
    assert large.probability is not None and large.probability.tolist() == [1.0]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            Labels(2, np.float32([0, 2]), np.int64([0, 1]), np.float32([0.5, -3]), NONE),
            "row 1 of a batch has label 2.0 and log-odds -3.0, but the area under the ROC curve "
            "takes labels 0 and 1 and numbers; correct the model's measure, or leave out its "
            "answers",
        ),
        (
            Labels(3, np.float32([0, 1, 2]), np.int64([0, 3, 5]), None, NONE),
            "row 1 of a batch has label 1.0 and prediction 3, but there are 3 classes, from 0 on; "
            "correct the model's measure",
        ),
        (
            Labels(3, np.float32([0, 1]), np.int64([0, 2]), None, NONE, np.float32([1, -0.5])),
            "row 1 of a batch has probability -0.5; correct the model's measure, or leave out its "
            "probabilities",
        ),
        (
            Numbers(np.float32([[1, 2], [3, np.inf]]), np.float64([[4, 5], [6, 7]]), NONE),
            "row 1 of a batch has target [6.0, 7.0] and prediction [3.0, inf]; all of them must be "
            "finite: remove or fill such rows",
        ),
    ],
)
def test_answers_that_cannot_be_counted_are_named(answers: Any, message: str) -> None:
    with pytest.raises(DataError) as refused:
        update({}, Measured(1.0, 2.0, 1.0, len(answers.weights), answers))
    assert str(refused.value) == message


def test_probabilities_may_be_none_or_all() -> None:
    """0 and 1 are probabilities, each in a bin of its own; one on an edge lies below it."""
    probability = np.float32([0, 1, 0.25, 0.2421875])
    answers = Labels(2, np.float32([0, 1, 1, 0]), np.zeros(4, np.int64), None, NONE, probability)
    states: dict[str, np.ndarray] = {}
    update(states, Measured(1.0, 4.0, 2.0, 4, answers))
    curve = values(states)["calibration"]
    assert curve["weight"] == [1.0, 2.0, 1.0]
    assert curve["predicted"] == [0.0, 0.24609375, 1.0]
    assert curve["observed"] == [0.0, 0.5, 1.0]
    assert values(states)["calibration_error"] == pytest.approx(2 * (0.5 - 0.24609375) / 4)

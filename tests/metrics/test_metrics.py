"""Every metric of the table: batches do not matter, states do not grow."""

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.metrics import METRICS, Labels, Measured, Numbers, most_bytes, update, values
from ooc.metrics.measured import label_answers, measured, number_answers

NONE = np.empty(0, np.float32)


def some_rows(kind: str, rows: int, seed: int, whole_weights: bool = True) -> Measured:
    """Return rows as a model of two classes, of five, or of two numbers measures them."""
    rng = np.random.default_rng(seed)
    outputs = {"binary": 1, "classes": 5, "numbers": 2}[kind]
    scores = rng.standard_normal((rows, outputs)).astype(np.float32)
    weights = rng.integers(0, 4, rows).astype(np.float32)
    if not whole_weights:
        weights = rng.random(rows, np.float32)
    if kind == "numbers":
        targets = 1e6 + scores + rng.standard_normal((rows, outputs))
        return measured(float(rows), rows, weights, number_answers(scores, targets, weights))
    labels = rng.integers(0, max(outputs, 2), rows).astype(np.float32)
    return measured(float(rows), rows, weights, label_answers(scores, labels, weights))


def part(batch: Measured, chosen: slice) -> Measured:
    """Return some rows of a batch."""
    answers = batch.answers
    assert answers is not None
    arrays = {name: value for name, value in vars(answers).items() if isinstance(value, np.ndarray)}
    kept = replace(answers, **{name: value[chosen] for name, value in arrays.items()})
    rows = len(kept.weights)
    return measured(float(rows), rows, kept.weights, kept)


@pytest.mark.parametrize("kind", ["binary", "classes", "numbers"])
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
    for kind, outputs in (("binary", 1), ("classes", 5), ("numbers", 2)):
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


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("classes", 5), ("numbers", 2)])
def test_what_is_held_together_is_counted_together(kind: str, outputs: int) -> None:
    batch = some_rows(kind, 3, 2)
    used = [metric for metric in METRICS.values() if metric.size(batch)]
    assert most_bytes(outputs) >= sum(metric.most_bytes(outputs) for metric in used)


def numbers_of(value: Any) -> list[Any]:
    """Return a value's numbers, list by list; those of its parts, where it has some."""
    if not isinstance(value, dict):
        return [value]
    return [each for inner in value.values() for each in numbers_of(inner)]


@pytest.mark.parametrize("kind", ["binary", "classes", "numbers"])
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

"""The area under the ROC curve is within its stated error of scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score

from ooc.core.errors import DataError
from ooc.metrics.auc import AUC, BINS, EACH, HEAD, SEVERAL, SIZE, rank_of
from ooc.metrics.measured import Measured, label_answers, measured

NONE = np.empty(0, np.float32)


def rows_of(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray = NONE) -> Measured:
    answers = label_answers(scores.reshape(-1, 1), labels.astype(np.float32), weights)
    return measured(0.0, len(scores), weights, answers)


def sketch(*batches: Measured) -> tuple[float, float]:
    state = np.zeros(SIZE)
    for batch in batches:
        AUC.update(state, batch)
    found = AUC.values(state)
    return found["auc"], found["auc_error"]


# Ties, zeros of both signs, the smallest and the largest numbers, and neighbours of each other.
scores = st.one_of(
    st.floats(width=32, allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, 1.0000001192092896, -1.0, 3.4e38, -3.4e38]),
)
labels = st.lists(st.tuples(scores, st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(label for _, label in rows) < len(rows)
)


@pytest.mark.slow
@given(rows=labels, data=st.data())
def test_the_error_is_at_most_the_stated_one(rows: list[tuple[float, bool]], data) -> None:
    score = np.array([score for score, _ in rows], np.float32)
    label = np.array([label for _, label in rows])
    found, error = sketch(rows_of(score, label))
    # What scikit-learn refuses keeps its order and its ties as ranks.
    ranks = np.unique(score, return_inverse=True)[1].astype(float)
    assert abs(found - roc_auc_score(label, ranks)) <= error
    positive = st.floats(2.0**-10, 2.0**10, width=32)
    weight = data.draw(arrays.arrays(np.float32, len(rows), elements=positive))
    found, error = sketch(rows_of(score, label, weight))
    assert abs(found - roc_auc_score(label, ranks, sample_weight=weight)) <= error


@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_ranks_keep_the_order_of_numbers(a: float, b: float) -> None:
    first, second = (int(rank_of(np.float32(x).view(np.uint32))) for x in (a, b))
    assert 0 <= first < 2**32
    assert (first < second, first == second) == (a < b, a == b)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("apart", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("width", [0.05, 1.0, 30.0])
def test_the_stated_error_is_small_on_typical_scores(apart: float, width: float) -> None:
    rng = np.random.default_rng(8)
    label = rng.integers(0, 2, 100_000)
    score = (width * (rng.standard_normal(label.size) + apart * (label - 0.5))).astype(np.float32)
    found, error = sketch(rows_of(score, label))
    off = abs(found - roc_auc_score(label, score))
    assert off <= error < 2e-4
    assert off < 2e-5


def test_ties_are_exact_and_neighbours_are_not_known() -> None:
    label = np.arange(10) % 2
    ties = rows_of(np.ones(10, np.float32), label)
    assert sketch(ties, ties) == pytest.approx((0.5, 0), abs=1e-9)
    neighbours = rows_of(np.float32(1) + np.float32(2**-20) * label.astype(np.float32), label)
    assert sketch(neighbours) == pytest.approx((0.5, 0.5))
    assert sketch(ties, rows_of(np.float32([1 + 2**-20]), np.array([1])))[1] > 0.1


def test_scores_apart_are_exact_and_orders_of_batches_the_same() -> None:
    low, high = np.float32([-3, -2, 1]), np.float32([2, 5])
    first, second = rows_of(low, np.array([0, 0, 1])), rows_of(high, np.array([0, 1]))
    assert sketch(first, second) == sketch(second, first)
    assert sketch(first, second) == pytest.approx((5 / 6, 0), abs=1e-9)


def test_one_label_alone_has_no_area() -> None:
    assert sketch(rows_of(np.float32([1, 2]), np.array([1, 1]))) == (None, None)


def test_two_classes_of_softmax_are_compared_by_the_difference_of_their_scores(
    rng: np.random.Generator,
) -> None:
    both, label = rng.standard_normal((500, 2)).astype(np.float32), rng.integers(0, 2, 500)
    found, error = sketch(
        measured(0.0, 500, NONE, label_answers(both, label.astype(np.float32), NONE))
    )
    assert abs(found - roc_auc_score(label, both[:, 1] - both[:, 0])) <= error
    three = label_answers(np.zeros((4, 3), np.float32), np.zeros(4, np.float32), NONE)
    assert AUC.size(measured(0.0, 4, NONE, three)) == 0


def test_what_cannot_be_ranked_is_named() -> None:
    with pytest.raises(DataError, match=r"row 1 of a batch has label 1.0 and log-odds nan"):
        sketch(rows_of(np.float32([0, np.nan]), np.array([0, 1])))
    with pytest.raises(DataError, match=r"row 0 of a batch has label 2.0"):
        sketch(rows_of(np.float32([0, 1]), np.array([2, 1])))


def test_weights_lie_in_the_bins_of_their_scores() -> None:
    state = np.zeros(SIZE)
    scores = np.float32([1, 1 + 2**-20, -1])
    AUC.update(state, rows_of(scores, np.array([1, 0, 1]), np.float32([2, 3, 5])))
    bins = state[HEAD:].reshape(BINS, EACH)
    one = 1.0 + int(rank_of(np.float32(-1).view(np.uint32)))
    assert bins[bins.any(axis=1)].tolist() == [[0, 5, one], [3, 2, SEVERAL]]

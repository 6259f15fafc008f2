"""The confusion matrix is scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ooc.core.errors import DataError
from ooc.metrics import METRICS
from ooc.metrics.confusion import MOST_CLASSES
from ooc.metrics.measured import Labels, Measured, measured

NONE = np.empty(0, np.float32)
CONFUSION = METRICS["confusion_matrix"]


def rows_of(classes: int, labels: list, predicted: list, weights: np.ndarray = NONE) -> Measured:
    true, answers = np.float32(labels), np.int64(predicted)
    return measured(0.0, len(labels), weights, Labels(classes, true, answers, None, weights))


def matrix_of(batch: Measured) -> list[list[float]]:
    state = np.zeros(CONFUSION.size(batch))
    CONFUSION.update(state, batch)
    return CONFUSION.values(state)["confusion_matrix"]


@given(st.integers(2, 9), st.integers(1, 50), st.integers(0, 99))
def test_it_counts_as_scikit_learn_does(classes: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, classes, (2, rows))
    twin = confusion_matrix(true, predicted, labels=range(classes))
    assert matrix_of(rows_of(classes, true, predicted)) == twin.tolist()
    weights = rng.random(rows, np.float32)
    twin = confusion_matrix(true, predicted, labels=range(classes), sample_weight=weights)
    found = matrix_of(rows_of(classes, true, predicted, weights))
    np.testing.assert_allclose(found, twin, rtol=1e-12)


@given(st.integers(2, 5), st.integers(1, 30), st.integers(0, 99))
def test_precision_and_recall_are_those_of_scikit_learn(classes: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, classes, (2, rows))
    state = np.zeros(classes**2)
    CONFUSION.update(state, rows_of(classes, true, predicted))
    found = CONFUSION.values(state)["per_class"]
    labels = range(classes)
    twins = precision_recall_fscore_support(true, predicted, labels=labels, zero_division=np.nan)
    for name, twin in zip(("precision", "recall", "f1", "weight"), twins, strict=True):
        np.testing.assert_allclose(np.array(found[name], float), twin, rtol=1e-12)


def test_rows_are_true_labels_and_counts_whole() -> None:
    found = matrix_of(rows_of(2, [0, 0, 1], [1, 1, 1]))
    assert repr(found) == "[[0, 2], [0, 1]]"


def test_many_classes_are_left_out() -> None:
    assert MOST_CLASSES == 100
    assert CONFUSION.size(rows_of(MOST_CLASSES, [0], [0])) == MOST_CLASSES**2
    assert CONFUSION.size(rows_of(MOST_CLASSES + 1, [0], [0])) == 0


@pytest.mark.parametrize(
    ("label", "predicted"), [(3, 0), (-1, 0), (0.5, 0), (np.nan, 0), (0, 3), (0, -1)]
)
def test_a_label_outside_the_classes_is_named(label: float, predicted: int) -> None:
    with pytest.raises(DataError, match=r"row 1 of a batch has label .* there are 3 classes"):
        matrix_of(rows_of(3, [0, label], [0, predicted]))

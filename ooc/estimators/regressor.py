"""The regressor."""

import math
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted

from ooc.core.errors import InputError
from ooc.estimators.estimator import (
    OOCEstimator,
    arrays_as_dataset,
    is_stored,
    of_mean_one,
    opened,
)
from ooc.estimators.templates import regressor_of, settings_of, template_of
from ooc.models import Model
from ooc.optim import Method, Optimizer
from ooc.store.dataset import Dataset
from ooc.stream.options import StreamOptions
from ooc.training.watchers.validation import Validation


class OOCRegressor(RegressorMixin, OOCEstimator):
    """A regressor for scikit-learn, trained by `ooc.Trainer`, on arrays or on what is larger.

    Parameters
    ----------
    model
        The name of one of `ooc.models.MODELS` that predicts numbers, or such a model; the outputs
        of an "mlp" are as many as the targets of a row.
    optimizer, lr, l2, l1, tol, epochs, batch_size, memory, random_state, validation, stream
        See `ooc.OOCClassifier`.

    Attributes
    ----------
    run_
        The `ooc.runs.run.Run` that training left.
    coef_, intercept_
        (F,) and a number, of features and targets as they were given.
    n_features_in_, feature_names_in_, n_iter_
        As scikit-learn's own; `n_iter_` counts passes.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> regressor = OOCRegressor().fit(x, 2 * x[:, 0] + 1)
    >>> np.round(regressor.coef_, 5), round(regressor.intercept_, 5)
    (array([2.]), 1.0)
    """

    def __init__(
        self,
        model: str | Model = "linear",
        *,
        optimizer: str | Optimizer | Method = "auto",
        lr: float | None = None,
        l2: float = 0.0,
        l1: float = 0.0,
        tol: float = 1e-6,
        epochs: int | None = None,
        batch_size: int | str = 256,
        memory: str | int | None = None,
        random_state: Any = None,
        validation: Validation | None = None,
        stream: StreamOptions | None = None,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.lr, self.l2, self.l1, self.tol = lr, l2, l1, tol
        self.epochs, self.batch_size = epochs, batch_size
        self.memory, self.random_state = memory, random_state
        self.validation, self.stream = validation, stream

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "OOCRegressor":  # noqa: N803
        """Train from the beginning.

        Parameters
        ----------
        X
            Rows (n, F), or a path, a URL or what `ooc.open` returned; then `y` and `sample_weight`
            are left out: the dataset has its own.
        y
            Targets (n,), or (n, T) for an "mlp".
        sample_weight
            (n,) numbers of 0 or more; the objective is the weighted mean, and its penalty.

        Raises
        ------
        InputError
            If anything does not fit, before any work.
        """
        model, dataset = self._prepared(X, y, sample_weight, is_first=True, is_whole=True)
        self._fit(model, dataset)
        return self

    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: Any = None,
        sample_weight: Any = None,
    ) -> "OOCRegressor":
        """Pass over rows once, from where the last call, or `fit`, has come to.

        What is left to the data, such as a learning rate, is found in the first call's rows.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`; weights count as they are.
        """
        is_first = not hasattr(self, "run_")
        model, dataset = self._prepared(X, y, sample_weight, is_first, is_whole=False)
        self._partial_fit(model, dataset)
        return self

    def _prepared(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any,
        is_first: bool,
        is_whole: bool,
    ) -> tuple[Model, Dataset]:
        """Return the model for these targets, and rows as a dataset."""
        if is_stored(X):
            dataset = opened(X, y, sample_weight)
            if dataset.target is None:
                raise InputError(f"{dataset.no_targets}; name those to train on with target=")
            if is_first:
                self._note_features(dataset)
            outputs = math.prod(dataset.arrays[dataset.target].shape[1:])
            return regressor_of(template_of(self.model, {}), outputs), dataset
        checks = {"multi_output": self._takes_several, "y_numeric": True}
        X, y = self._rows_of(X, reset=is_first, y=y, **checks)  # noqa: N806
        if (y.ndim == 2 and y.shape[1] == 1) or not self._takes_several:
            y = column_or_1d(y, warn=True)
        weights = self._weights_of(sample_weight, X)
        model = regressor_of(template_of(self.model, self._in_memory(X)), y[:1].size)
        return model, arrays_as_dataset(X, y, of_mean_one(weights) if is_whole else weights)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the numbers of each row, (n,) or (n, T)."""
        return self._predict(X, "prediction")

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:  # noqa: N803
        """Return R2; of a dataset by its own targets and weights."""
        if not is_stored(X):
            return float(super().score(X, y, sample_weight))
        check_is_fitted(self)
        return self._evaluate(opened(X, y, sample_weight), "r2")

    def _linear_parts(self) -> tuple[np.ndarray, Any]:
        coefficients, intercepts = super()._linear_parts()
        return coefficients[0], float(intercepts[0])

    @property
    def _takes_several(self) -> bool:
        """Whether a row may have several targets."""
        return "outputs" in settings_of(template_of(self.model, {}))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = self._takes_several
        return tags

"""The classifier."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ooc.core.errors import InputError
from ooc.estimators.estimator import (
    OOCEstimator,
    Weights,
    arrays_as_dataset,
    is_stored,
    of_mean_one,
    opened,
)
from ooc.estimators.labels import check_sorted, labelled_classes
from ooc.estimators.templates import (
    OF_LABELS,
    WITH_PROBABILITIES,
    classifier_of,
    link_of,
    template_of,
)
from ooc.models import Model
from ooc.models.compiled import BALANCED
from ooc.models.ordinal import probabilities
from ooc.models.scored import LOGISTIC, ORDINAL
from ooc.optim import Method, Optimizer
from ooc.runs.outputs import SCORES
from ooc.stream.options import StreamOptions
from ooc.training.watchers.validation import Validation


def _has_probabilities(estimator: "OOCClassifier") -> bool:
    return link_of(template_of(estimator.model, {})) not in set(OF_LABELS) - set(WITH_PROBABILITIES)


def _has_scores(estimator: "OOCClassifier") -> bool:
    return link_of(template_of(estimator.model, {})) is not None


class OOCClassifier(ClassifierMixin, OOCEstimator):
    """A classifier for scikit-learn, trained by `ooc.Trainer`, on arrays or on what is larger.

    Parameters
    ----------
    model
        The name of one of `ooc.models.MODELS` that predicts labels, or such a model; classes, and
        the head of an "mlp", are those of the labels. "logistic" is softmax regression where there
        are more than two. A name stands for the model that the shell makes of it; for arrays, for
        one that standardises nothing, and is as precise as they are.
    optimizer
        The name of one of `ooc.optim.OPTIMIZERS` or `ooc.optim.FULL_GRADIENT`, also with numbers
        as in "adam:0.9,0.99", or an optimizer, which then has its own `lr`, `l2` and `l1`. "auto"
        is "lbfgs" for arrays, exact to `tol`, unless `lr` or `l1` is given or the loss has kinks
        as the hinge; and else "sgd".
    lr, l2, l1
        Learning rate, by default from a short range test, and penalties; l2 is scikit-learn's
        1 / (C n), or alpha / n of ridge regression.
    tol
        Norm of the gradient at which a method on the full gradient is done.
    epochs
        Passes over the rows; by default as `ooc.Trainer` has it, and for arrays at most 1000 of a
        method on the full gradient, which ends by itself.
    batch_size
        Rows of a step, or "full".
    class_weight
        None, "balanced", or a weight for each label, as scikit-learn takes it.
    memory
        Bytes that the process may use; by default 1 GiB, for arrays beside what it holds already.
    random_state
        Seed of everything random; None is 0.
    validation
        See `ooc.Validation`; not used by `partial_fit`.
    stream
        Further options of how rows are read and mixed, see `ooc.StreamOptions`.

    Attributes
    ----------
    classes_
        The labels, sorted; of a store's categories in its order.
    run_
        The `ooc.runs.run.Run` that training left.
    coef_, intercept_
        (1, F) and (1,), or (K, F) and (K,) for softmax: of features as they were given.
    n_features_in_, feature_names_in_, n_iter_
        As scikit-learn's own; `n_iter_` counts passes.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> classifier = OOCClassifier(l2=0.1).fit(x, ["low", "low", "high", "high"])
    >>> classifier.predict([[-1.0], [4.0]])
    array(['low', 'high'], dtype='<U4')
    """

    def __init__(
        self,
        model: str | Model = "logistic",
        *,
        optimizer: str | Optimizer | Method = "auto",
        lr: float | None = None,
        l2: float = 0.0,
        l1: float = 0.0,
        tol: float = 1e-6,
        epochs: int | None = None,
        batch_size: int | str = 256,
        class_weight: str | Mapping[Any, float] | None = None,
        memory: str | int | None = None,
        random_state: Any = None,
        validation: Validation | None = None,
        stream: StreamOptions | None = None,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.lr, self.l2, self.l1, self.tol = lr, l2, l1, tol
        self.epochs, self.batch_size, self.class_weight = epochs, batch_size, class_weight
        self.memory, self.random_state = memory, random_state
        self.validation, self.stream = validation, stream

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "OOCClassifier":  # noqa: N803
        """Train from the beginning.

        Parameters
        ----------
        X
            Rows (n, F), or a path, a URL or what `ooc.open` returned; then `y` and `sample_weight`
            are left out: the dataset has its own.
        y
            Labels (n,) of any kind.
        sample_weight
            (n,) numbers of 0 or more; the objective is the weighted mean, and its penalty.

        Raises
        ------
        InputError
            If anything does not fit, before any work.
        """
        if is_stored(X):
            template = template_of(self.model, {})
            dataset, classes = labelled_classes(opened(X, y, sample_weight), template)
            weights = self._class_weights(classes, None, None)
            model = classifier_of(template, len(classes), weights)
            self._note_features(dataset)
        else:
            X, y = self._rows_of(X, reset=True, y=y)  # noqa: N806
            check_classification_targets(y)
            classes, codes = np.unique(column_or_1d(y, warn=True), return_inverse=True)
            if len(classes) < 2:
                raise InputError(
                    f"labels have one class, {classes.tolist()[0]!r}, and 2 are needed to learn"
                )
            template = template_of(self.model, self._in_memory(X))
            check_sorted(classes, template)
            weights = self._weights_of(sample_weight, X)
            model = classifier_of(
                template, len(classes), self._class_weights(classes, codes, weights)
            )
            dataset = arrays_as_dataset(X, codes, of_mean_one(weights))
        self.classes_ = classes
        self._fit(model, dataset)
        return self

    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: Any = None,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> "OOCClassifier":
        """Pass over rows once, from where the last call, or `fit`, has come to.

        What is left to the data, such as a learning rate, is found in the first call's rows.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`; weights count as they are.
        classes
            All labels that there will ever be, in the first call on arrays.
        """
        if self.class_weight == BALANCED:
            raise InputError(
                'class_weight="balanced" needs all rows at once; give weights by label, as '
                'sklearn.utils.class_weight.compute_class_weight("balanced", ...) tells them'
            )
        if is_stored(X):
            dataset = opened(X, y, sample_weight)
            if not hasattr(self, "classes_"):
                template = template_of(self.model, {})
                dataset, self.classes_ = labelled_classes(dataset, template)
                self._note_features(dataset)
        else:
            first = _check_partial_fit_first_call(self, classes)
            X, y = self._rows_of(X, reset=first, y=y)  # noqa: N806
            check_classification_targets(y)
            check_sorted(self.classes_, template_of(self.model, {}))
            labels = column_or_1d(y, warn=True)
            unknown = np.setdiff1d(labels, self.classes_)
            if len(unknown):
                known = self.classes_.tolist()
                raise InputError(
                    f"label {unknown.tolist()[0]!r} is none of the classes {known}; name all of "
                    "them in the first call"
                )
            codes = np.searchsorted(self.classes_, labels)
            dataset = arrays_as_dataset(X, codes, self._weights_of(sample_weight, X))
        settings = self._in_memory(X) if dataset.held else {}
        weights = self._class_weights(self.classes_, None, None)
        template = template_of(self.model, settings)
        self._partial_fit(classifier_of(template, len(self.classes_), weights), dataset)
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the likeliest label of each row, (n,)."""
        found = self._predict(X, "prediction")
        return found if self.run_.class_names else self.classes_[found]

    @available_if(_has_scores)
    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return what speaks for the second of two labels, (n,), or scores of all, (n, K).

        Of labels that have an order, K - 1: logits of a label above each but the last.
        """
        scores = self._predict(X, SCORES)
        if link_of(self.run_.model) == ORDINAL:
            # What is larger speaks for higher labels: logits of P(y > k).
            scores = -scores
        if scores.shape[1] == 1:
            return scores[:, 0]
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the probability of each label, (n, K)."""
        check_is_fitted(self)
        link = link_of(self.run_.model)
        if link is None:
            found = self._predict(X, "probability")
        elif link == ORDINAL:
            found = probabilities(self._predict(X, SCORES))
        else:
            scores = self._predict(X, SCORES).astype(np.float64)
            found = expit(scores[:, 0]) if link == LOGISTIC else softmax(scores, axis=1)
        return np.column_stack([1.0 - found, found]) if found.ndim == 1 else found

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the logarithms of probabilities, (n, K)."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:  # noqa: N803
        """Return the share of right labels; of a dataset by its own targets and weights."""
        if not is_stored(X):
            return float(super().score(X, y, sample_weight))
        check_is_fitted(self)
        return self._evaluate(opened(X, y, sample_weight), "accuracy")

    def _class_weights(
        self, classes: np.ndarray, codes: np.ndarray | None, weights: Weights
    ) -> Any:
        """Return what the model takes: of arrays, "balanced" counts each row by its weight."""
        if self.class_weight is None or (self.class_weight == BALANCED and codes is None):
            return self.class_weight
        if self.class_weight != BALANCED:
            found = compute_class_weight(self.class_weight, classes=classes, y=classes)
            return tuple(found.tolist())
        counts = np.bincount(codes, weights)  # type: ignore[arg-type]
        balanced = counts.sum() / (len(classes) * np.where(counts == 0, np.inf, counts))
        return tuple(balanced.tolist())

    def _class_names(self) -> Any:
        return self.classes_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        template = template_of(self.model, {})
        is_binary = link_of(template) not in (None, *WITH_PROBABILITIES)
        tags.classifier_tags.multi_class = not is_binary
        return tags

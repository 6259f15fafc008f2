"""The `SGDClassifier` that a job asks for; scikit-learn's own loop and dask-ml's train the same."""

from typing import Any

import numpy as np
from peers import harness
from sklearn.linear_model import SGDClassifier


class WithOnes(SGDClassifier):
    """Takes its intercept for the coefficient of a column of ones.

    Where iterates are averaged, each call of `partial_fit` would begin anew with an intercept of
    zero, and the average would be far from the optimum.
    """

    def partial_fit(self, features: np.ndarray, *args: Any, **kwargs: Any) -> SGDClassifier:
        """Learn from rows."""
        widened = np.ones((len(features), features.shape[1] + 1), np.float32)
        widened[:, :-1] = features
        return super().partial_fit(widened, *args, **kwargs)


def make(job: harness.Job) -> SGDClassifier:
    """Return a classifier for logistic loss without a penalty.

    By default its rate is constant and suits the number of rows. Otherwise the settings are
    ``schedule``, a rate's schedule by scikit-learn's name; ``rate``, which is its ``eta0``;
    ``power``, its ``power_t``; ``alpha``, which is all that "optimal" looks at; and ``average``,
    the row from which iterates are averaged.
    """
    settings = job.settings
    average = int(settings.get("average", 0))
    kind = WithOnes if average else SGDClassifier
    return kind(
        loss="log_loss",
        penalty=None,
        learning_rate=settings.get("schedule", "constant"),
        eta0=float(settings.get("rate", job.learning_rate / job.batch_size)),
        power_t=float(settings.get("power", 0.5)),
        alpha=float(settings.get("alpha", 1e-4)),
        average=average or False,
        fit_intercept=not average,
        random_state=0,
    )


def parameters(classifier: SGDClassifier) -> np.ndarray:
    """Return coefficients and, last, the intercept."""
    if isinstance(classifier, WithOnes):
        return classifier.coef_[0]
    return np.append(classifier.coef_[0], classifier.intercept_)

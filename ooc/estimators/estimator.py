"""What the classifier and the regressor share: from parameters to a trainer, from rows to a run."""

import math
import warnings
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ooc.core.errors import InputError
from ooc.core.process import allowed_bytes, resident_bytes
from ooc.core.sizes import parse_size
from ooc.estimators.templates import is_smooth
from ooc.models import Model
from ooc.models.coefficients import linear_parts
from ooc.objects.opening import is_openable
from ooc.objects.opening import open as open_object
from ooc.optim import FULL_GRADIENT, OPTIMIZERS, Method, Optimizer, as_method
from ooc.optim.named import make_named
from ooc.runs.run import Run
from ooc.store.dataset import Dataset
from ooc.store.held import hold
from ooc.stream.options import StreamOptions
from ooc.training.increments import Increment, take_steps
from ooc.training.trainer import FULL, Trainer
from ooc.training.watchers.validation import Validation

AUTO, EXACT, STEPS = "auto", "lbfgs", "sgd"
# A pass over arrays in memory is cheap, and such a method ends by itself.
MOST_PASSES = 1000

Weights: TypeAlias = np.ndarray | None


def is_stored(rows: Any) -> bool:
    """Tell whether rows are what `ooc.open` takes, or returned."""
    return isinstance(rows, Dataset) or is_openable(rows)


def opened(rows: Any, y: Any = None, sample_weight: Any = None) -> Dataset:
    """Return the dataset that rows name; refuse targets or weights beside it."""
    for name, role, given in (("y", "target", y), ("sample_weight", "weight", sample_weight)):
        if given is not None:
            raise InputError(
                f"a dataset has its own targets and weights; leave {name} out, and name the array "
                f"that plays its part: ooc.open(path, {role}=...)"
            )
    return rows if isinstance(rows, Dataset) else open_object(rows)


class OOCEstimator(BaseEstimator):
    """Parameters, training and prediction of both estimators; they say what targets are."""

    model: str | Model
    optimizer: str | Optimizer | Method
    lr: float | None
    l2: float
    l1: float
    tol: float
    epochs: int | None
    batch_size: int | str
    memory: str | int | None
    random_state: Any
    validation: Validation | None
    stream: StreamOptions | None

    @property
    def coef_(self) -> np.ndarray:
        """Coefficients of the features as they were given, of a linear model."""
        return self._linear_parts()[0]

    @property
    def intercept_(self) -> Any:
        """What is added to a linear model's scores."""
        return self._linear_parts()[1]

    def _linear_parts(self) -> tuple[np.ndarray, Any]:
        check_is_fitted(self)
        try:
            return linear_parts(self.run_.model, self.run_.layout, self.run_.parameters)
        except InputError as error:
            raise AttributeError(str(error)) from None

    def export(self, path: str | PathLike[str]) -> Path:
        """Write the model in the format of the path's suffix, with its names; see `Run.export`."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        return self.run_.export(path, feature_names=names, class_names=self._class_names())

    def _class_names(self) -> Any:
        return None

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def _in_memory(self, values: np.ndarray) -> dict[str, Any]:
        """Return settings that a named model gets for arrays: as those of scikit-learn's own.

        Nothing is standardised but by a pipeline, and parameters are as precise as the features.
        """
        dtype = np.promote_types(values.dtype, np.float32).name
        return {"standardise": False, "standardise_target": False, "dtype": dtype}

    def _rows_of(self, X: Any, reset: bool = False, **checks: Any) -> Any:  # noqa: N803
        """Return arrays that scikit-learn has looked at; y, too, where it is among the checks."""
        return validate_data(self, X, reset=reset, dtype="numeric", **checks)

    def _weights_of(self, sample_weight: Any, rows: np.ndarray) -> Weights:
        if sample_weight is None:
            return None
        how = {"dtype": np.float64, "ensure_non_negative": True}
        weights: np.ndarray = _check_sample_weight(sample_weight, rows, **how)
        if not weights.any():
            raise InputError("all sample weights are zero: there is nothing to learn from")
        return weights

    def _fit(self, model: Model, dataset: Dataset) -> None:
        """Train from the beginning."""
        optimizer = self._optimizer(bool(dataset.held) and is_smooth(model))
        trainer, epochs = self._trainer(model, optimizer, dataset), self.epochs
        if epochs is None and dataset.held and as_method(optimizer).takes_all_rows:
            epochs = MOST_PASSES
        self._descent: Increment | None = None
        self.run_: Run = trainer.fit(dataset, epochs=epochs, report=False)
        self.n_iter_ = int(self.run_.results["epochs"])
        if self.run_.results.get("ended", "by itself") is None:
            warnings.warn(
                f"{as_method(optimizer).name} was not done after {self.n_iter_} passes: its "
                f"gradient's norm is {self.run_.results['gradient_norm']:.2g}, above tol="
                f"{self.tol:g}; give more epochs, or bring features to one scale, as "
                "sklearn.preprocessing.StandardScaler does",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _partial_fit(self, model: Model, dataset: Dataset) -> None:
        """Pass over rows once, from where the estimator stands."""
        trainer = self._trainer(model, self._optimizer(False), dataset)
        before: Increment | Run | None = getattr(self, "_descent", None)
        before = before or getattr(self, "run_", None)
        self._descent = descent = take_steps(trainer, dataset, before)
        self.run_ = descent.run()

    def _optimizer(self, is_exact: bool) -> Optimizer | Method:
        """Return what trains; "auto" may be exact where a pass is cheap and nothing is against."""
        name, given = self.optimizer, {"lr": self.lr, "l2": self.l2, "l1": self.l1}
        if not isinstance(name, str):
            if any(given.values()):
                raise InputError(
                    f"the optimizer {as_method(name).name} has its own lr, l2 and l1; give them to "
                    "it, or name it by a text"
                )
            return name
        if name == AUTO:
            name = EXACT if is_exact and self.lr is None and not self.l1 else STEPS
        settings: dict[str, Any] = {"l2": self.l2}
        if self.l1:
            settings["l1"] = self.l1
        if name in FULL_GRADIENT:
            settings["tolerance"] = self.tol
        known: dict[str, Any] = {**OPTIMIZERS, **FULL_GRADIENT}
        made: Optimizer | Method = make_named("optimizer", known, name, self.lr, **settings)
        return made

    def _trainer(self, model: Model, optimizer: Optimizer | Method, dataset: Dataset) -> Trainer:
        options: dict[str, Any] = {}
        if self.random_state is not None:
            options["seed"] = _seed_of(self.random_state)
        if (memory := self._memory(dataset)) is not None:
            options["memory"] = memory
        rows = self.batch_size
        rows = rows if rows == FULL else min(int(rows), dataset.rows)
        return Trainer(
            model, optimizer, rows, validation=self.validation, stream=self.stream, **options
        )

    def _memory(self, dataset: Dataset) -> str | int | None:
        """Return the budget: for arrays it is what the process holds already, and the usual one."""
        if self.memory is not None or not dataset.held:
            return self.memory
        return min(resident_bytes() + parse_size(self._usual_memory), allowed_bytes())

    @property
    def _usual_memory(self) -> str | int:
        return (self.stream or StreamOptions()).memory

    def _predict(self, X: Any, output: str) -> np.ndarray:  # noqa: N803
        check_is_fitted(self)
        if is_stored(X):
            return self.run_.predict(opened(X), output, self.memory or self._usual_memory)
        if len(self.run_.row_shape) == 1:
            X = self._rows_of(X)  # noqa: N806
        return self.run_.predict(X, output)

    def _evaluate(self, dataset: Dataset, metric: str) -> float:
        found = self.run_.evaluate(dataset, self.memory or self._usual_memory)
        return float(found[metric])

    def _note_features(self, dataset: Dataset) -> None:
        self.n_features_in_ = math.prod(dataset.row_shape)
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_


def arrays_as_dataset(rows: np.ndarray, target: np.ndarray, weights: Weights) -> Dataset:
    """Return arrays as a dataset."""
    arrays = {"X": rows, "y": target}
    return hold(arrays if weights is None else {**arrays, "weight": weights})


def of_mean_one(weights: Weights) -> Weights:
    """Return weights with a mean of 1: a penalty then weighs what it does without weights."""
    return None if weights is None else weights * (len(weights) / weights.sum())


def _seed_of(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))

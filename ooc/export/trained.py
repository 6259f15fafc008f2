"""What is written of a trained model: its parameters, and the names of features and classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.models.contract import Layout, Model
from ooc.models.scored import LOGISTIC, MARGIN
from ooc.version import VERSION


@dataclass(frozen=True)
class Trained:
    """A trained model with its names.

    Attributes
    ----------
    feature_names, class_names
        One for each feature of a row, and for each class; empty where nobody gave them.
    input_dtype
        What rows are to come as, where a format says so; None for float32.

    Raises
    ------
    InputError
        If there are as many names as nothing that they could be of, or one of them twice.
    """

    model: Model
    layout: Layout
    parameters: np.ndarray
    row_shape: tuple[int, ...]
    feature_names: Sequence[Any] = ()
    class_names: Sequence[Any] = ()
    input_dtype: str | None = None

    def __post_init__(self) -> None:
        counts = {"feature": math.prod(self.row_shape), "class": self.classes}
        for kind, names in (("feature", self.feature_names), ("class", self.class_names)):
            if len(names) not in (0, counts[kind]):
                raise InputError(
                    f"{self.model.name} has {counts[kind]} of what {kind} names are for, but there "
                    f"are {len(names)} names; give one for each, or none"
                )
            if len({str(name) for name in names}) < len(names):
                raise InputError(f"{kind} names are to differ, but one of them is there twice")

    @property
    def classes(self) -> int:
        """C, the number of classes; 0 where the model predicts none."""
        counted = int(getattr(self.model, "class_count", 0))
        return counted or 2 * (getattr(self.model, "link", None) in (LOGISTIC, MARGIN))

    @property
    def features(self) -> list[str]:
        """Names of the features, by default x0, x1 and so on, or x0_0 of rows with more axes."""
        if len(self.feature_names):
            return [str(name) for name in self.feature_names]
        return ["x" + "_".join(map(str, place)) for place in np.ndindex(self.row_shape)]

    @property
    def labels(self) -> np.ndarray:
        """What each class is called, (C,): by default its number."""
        names = np.asarray(self.class_names)
        if not len(names):
            return np.arange(self.classes)
        return names if names.dtype.kind in "iufb" else names.astype(str)

    def notes(self) -> dict[str, Any]:
        """Return what the model is, JSON-ready, for formats that keep such beside it."""
        names = {"features": list(map(str, self.feature_names)), "classes": self.labels.tolist()}
        described = {"model": self.model.to_config(), "row_shape": list(self.row_shape)}
        return {"ooc": VERSION, **described, **names}

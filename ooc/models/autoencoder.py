"""The autoencoder: features through a narrow code and back; it needs no targets."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.models.network import DenseNetwork, check_width
from ooc.models.scored import RECONSTRUCTION
from ooc.models.standardise import standardisation


@dataclass(frozen=True)
class Autoencoder(DenseNetwork):
    """Autoencoder (Hinton and Salakhutdinov 2006): half the squared error of reconstruction.

    The loss of a row is the sum over its features, after they were multiplied by `scale`. Rows
    that a trained autoencoder reconstructs badly are unlike those that it was trained on.

    Attributes
    ----------
    hidden
        Units of the layers before the code; after it they come in reverse.
    code
        Units of the code, which has the activation, too.

    Examples
    --------
    >>> model = Autoencoder(hidden=(128,), code=16)
    >>> model.units(784)
    (128, 16, 128, 784)
    """

    code: int = 16
    name: ClassVar[str] = "autoencoder"
    needs_target = False
    loss_name = "squared"
    targets = "none"
    link = RECONSTRUCTION

    def __post_init__(self) -> None:
        super().__post_init__()
        check_width("code", self.code)

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Take any targets: they are not used."""

    def units(self, features: int) -> tuple[int, ...]:
        """Return the units of all layers; the last one gives the features again."""
        return (*self.hidden, self.code, *reversed(self.hidden), features)

    def compare(self, scores: np.ndarray, target: np.ndarray | None, weights: np.ndarray) -> None:
        """Return None: there is nothing to compare with."""

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the reconstruction, in units of the features, and each row's error.

        The error is that of rows as the network sees them.
        """
        scores, inputs = self.scores(parameters, features), self.inputs(parameters, features)
        error = 0.5 * ((scores - inputs) ** 2).sum(axis=1, dtype=np.float64)
        standard = standardisation(self.layout(features.shape[1:]), parameters, self.scale)
        units = scores / standard.factor
        units += standard.shift if standard.shift.size else 0.0
        return {"prediction": units.astype(np.float32), "error": error.astype(np.float32)}

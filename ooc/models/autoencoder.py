"""The autoencoder: features through a narrow code and back; it needs no targets."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ooc.kernels.losses import LOSSES, Loss
from ooc.models.network import DenseNetwork, check_width
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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_width("code", self.code)

    @property
    def chosen_loss(self) -> Loss:
        """The squared error."""
        return LOSSES["squared"]

    @property
    def targets(self) -> str:
        """What targets it takes."""
        return "none"

    @property
    def target_width(self) -> int:
        """No targets: the features are."""
        return 0

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Take any targets: they are not used."""

    def units(self, features: int) -> tuple[int, ...]:
        """Return the units of all layers; the last one gives the features again."""
        return (*self.hidden, self.code, *reversed(self.hidden), features)

    def answers(self, scores: np.ndarray, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the reconstruction, as the network sees rows, and each row's error."""
        error = 0.5 * ((scores - inputs) ** 2).sum(axis=1, dtype=np.float64)
        return {"prediction": scores, "error": error.astype(np.float32)}

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the reconstruction, in units of the features, and each row's error."""
        found = super().predict(parameters, features)
        standard = standardisation(self.layout(features.shape[1:]), parameters, self.scale)
        units = found["prediction"] / standard.factor
        units += standard.shift if standard.shift.size else 0.0
        return {**found, "prediction": units.astype(np.float32)}

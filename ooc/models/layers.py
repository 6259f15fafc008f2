"""Dense layers, which a model declares that is made of them: so it can be written elsewhere."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ooc.models.contract import Layout


class DenseLayer(NamedTuple):
    """One layer f(X W^T + b).

    Attributes
    ----------
    weights
        W, (units, inputs).
    biases
        b, (units,).
    activation
        f, an entry of `ooc.kernels.activations.ACTIVATIONS`.
    """

    weights: np.ndarray
    biases: np.ndarray
    activation: str = "identity"


class Layered(Protocol):
    """A model whose scores are those layers of its standardised features, one after the other."""

    def layers(self, layout: Layout, parameters: np.ndarray) -> Sequence[DenseLayer]:
        """Return the layers, as views of the parameters where they can be."""

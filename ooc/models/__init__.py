"""Models by name. A new model is one file and one entry here."""

from collections.abc import Mapping
from typing import Any

from ooc.core.errors import InputError
from ooc.core.numbers import entry_of
from ooc.models.autoencoder import Autoencoder
from ooc.models.classification import LinearSVM, Logistic, Softmax
from ooc.models.contract import Layout, Model
from ooc.models.embedding_mlp import EmbeddingMLP
from ooc.models.mlp import MLP
from ooc.models.pinn import PINN
from ooc.models.regression import Linear

MODELS: dict[str, type] = {
    "linear": Linear,
    "logistic": Logistic,
    "softmax": Softmax,
    "svm": LinearSVM,
    "mlp": MLP,
    "autoencoder": Autoencoder,
    "embedding_mlp": EmbeddingMLP,
}


def from_config(config: Mapping[str, Any]) -> Model:
    """Make a model from what its `to_config` returned.

    Raises
    ------
    InputError
        If there is no such model, or it has no such setting.

    Examples
    --------
    >>> from_config({"name": "softmax", "classes": 3}).classes
    3
    """
    settings = dict(config)
    name = settings.pop("name", None)
    make = entry_of("model", MODELS, name)
    try:
        model: Model = make(**settings)
    except TypeError as error:
        raise InputError(f"model {name} cannot be made from {settings}: {error}") from None
    return model


__all__ = [
    "MLP",
    "MODELS",
    "PINN",
    "Autoencoder",
    "EmbeddingMLP",
    "Layout",
    "Linear",
    "LinearSVM",
    "Logistic",
    "Model",
    "Softmax",
    "from_config",
]

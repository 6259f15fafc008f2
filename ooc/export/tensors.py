"""The parts of the parameter vector by their names: safetensors, which holds no code."""

import json

import numpy as np

from ooc.core.errors import InputError
from ooc.export.trained import Trained


def as_safetensors(trained: Trained) -> bytes:
    """Return all parts, and in the metadata, as "ooc", what the model is: JSON."""
    try:
        from safetensors.numpy import save
    except ImportError:
        raise InputError(
            "safetensors files need safetensors, which is not installed; pip install 'ooc[export]' "
            "brings it"
        ) from None
    parts = trained.layout.views(trained.parameters)
    tensors = {name: np.ascontiguousarray(values) for name, values in parts.items()}
    # Entries of the metadata have no order; one entry is the same bytes each time.
    written: bytes = save(tensors, metadata={"ooc": json.dumps(trained.notes())})
    return written

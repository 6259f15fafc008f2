"""A trained detector in its folder: the network's parameters and the limits."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ooc.core.destination import write_whole
from ooc.core.errors import InputError
from pipelines.beam_current.network import LENGTH, RelativeAutoencoder
from pipelines.beam_current.residuals import Network
from pipelines.beam_current.state import Limits

FILE, PARAMETERS = "detector.json", "parameters.npy"


@dataclass(frozen=True)
class Trained:
    """All that a detector needs to watch a stream.

    Attributes
    ----------
    rate
        Times a second.
    """

    model: RelativeAutoencoder
    parameters: np.ndarray
    limits: Limits
    rate: int

    @property
    def channels(self) -> int:
        """Of the stream."""
        return len(self.model.gains)

    @cached_property
    def network(self) -> Network:
        """What it expects."""
        return Network(self.model, self.parameters, LENGTH)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / PARAMETERS, self.parameters)
        model = {key: value for key, value in self.model.to_config().items() if key != "name"}
        told = {"model": model, "limits": self.limits.to_json(), "rate": self.rate}
        write_whole(folder / FILE, json.dumps(told).encode())


def load(folder: Path) -> Trained:
    """Read a detector.

    Raises
    ------
    InputError
        If there is none in the folder, or it is damaged.
    """
    try:
        told = json.loads((folder / FILE).read_text())
        model = RelativeAutoencoder(**told["model"])
        parameters = np.load(folder / PARAMETERS, allow_pickle=False)
        size = model.layout((LENGTH, len(model.gains))).size
        if parameters.shape != (size,):
            raise ValueError(f"{parameters.size} parameters, not {size}")
        return Trained(model, parameters, Limits.from_json(told["limits"]), int(told["rate"]))
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no detector; train one with python -m pipelines.beam_current"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the detector in {folder} is damaged ({error}); train it anew") from None

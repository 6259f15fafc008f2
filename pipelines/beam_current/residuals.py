"""What a stream's readings are beyond what was expected: a window at a time, for all channels.

An *expectation* turns windows of readings (windows, times, channels) into what the detector looks
at. All that detectors differ in is here: the autoencoder, and plain methods beside it.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipelines.beam_current.network import LOWEST, RelativeAutoencoder


@dataclass(frozen=True)
class Residuals:
    """What of some windows is not as expected.

    Attributes
    ----------
    parts
        (times, channels) float32, parts of what the channel reads.
    common
        (times,) mean reading over the channels, each by its gain, which turns parts into mA.
    """

    parts: np.ndarray
    common: np.ndarray


class Expectation(Protocol):
    """What is expected of windows."""

    @property
    def gains(self) -> np.ndarray:
        """Of each channel, (channels,)."""

    @property
    def length(self) -> int:
        """Times of a window."""

    def residuals(self, windows: np.ndarray) -> Residuals:
        """Return what of windows (windows, times, channels) is not expected."""


@dataclass(frozen=True)
class Network:
    """The trained autoencoder."""

    model: RelativeAutoencoder
    parameters: np.ndarray
    length: int

    @property
    def gains(self) -> np.ndarray:
        """Of each channel."""
        return np.array(self.model.gains)

    def residuals(self, windows: np.ndarray) -> Residuals:
        """Return what the network does not reconstruct."""
        inputs = self.model.inputs(self.parameters, windows)
        return self._parts(inputs - self.model.scores(self.parameters, windows), windows)

    def expected(self, windows: np.ndarray) -> np.ndarray:
        """Return the readings that the network expects, in mA."""
        found = self.residuals(windows)
        shape = windows.shape
        unexpected = found.parts * found.common[:, None] * self.gains
        return np.asarray(windows - unexpected.reshape(shape), np.float32)

    def _parts(self, unlike: np.ndarray, windows: np.ndarray) -> Residuals:
        spreads = np.array(self.model.spreads, np.float32)
        parts = unlike.reshape(-1, windows.shape[2]) * spreads
        return Residuals(parts, common_of(windows, self.gains))


@dataclass(frozen=True)
class Components:
    """The first principal components of the same windows, by scikit-learn's PCA."""

    model: RelativeAutoencoder
    mean: np.ndarray
    axes: np.ndarray
    length: int

    @property
    def gains(self) -> np.ndarray:
        """Of each channel."""
        return np.array(self.model.gains)

    def residuals(self, windows: np.ndarray) -> Residuals:
        """Return what lies beside the components."""
        inputs = self.model.inputs(np.empty(0), windows) - self.mean
        unlike = inputs - (inputs @ self.axes.T) @ self.axes
        parts = unlike.reshape(-1, windows.shape[2]) * np.array(self.model.spreads, np.float32)
        return Residuals(parts, common_of(windows, self.gains))


@dataclass(frozen=True)
class Itself:
    """No expectation: relative readings as they are, for EWMA and CUSUM."""

    model: RelativeAutoencoder
    length: int

    @property
    def gains(self) -> np.ndarray:
        """Of each channel."""
        return np.array(self.model.gains)

    def residuals(self, windows: np.ndarray) -> Residuals:
        """Return relative readings."""
        inputs = self.model.inputs(np.empty(0), windows)
        parts = inputs.reshape(-1, windows.shape[2]) * np.array(self.model.spreads, np.float32)
        return Residuals(parts, common_of(windows, self.gains))


def common_of(windows: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return the mean reading over channels at each time, each by its gain: (times,)."""
    weights = (1 / gains / len(gains)).astype(np.float32)
    return np.maximum(windows.reshape(-1, windows.shape[2]) @ weights, LOWEST)

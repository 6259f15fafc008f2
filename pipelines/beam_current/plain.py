"""Plain methods beside the network: what each needs is the same windows, and nothing learned twice.

PCA reconstructs windows as the network does. EWMA and CUSUM charts follow relative readings, with
no expectation of the mains. An isolation forest judges windows by simple features of theirs.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
from numba import njit

from pipelines.beam_current.calibration import Method
from pipelines.beam_current.detector import Statistics, step
from pipelines.beam_current.network import LENGTH, RelativeAutoencoder
from pipelines.beam_current.residuals import Components, Itself, common_of
from pipelines.beam_current.state import BOX, SLOW, State

TREES, SAMPLED_UNITS = 50, 150
EWMA_TIMES, EWMA_UNITS = 2 / (BOX + 1), 2 / (SLOW[0] + 1)
SLACK = 0.5  # of a standard deviation, of CUSUM


def components(model: RelativeAutoencoder, units: Iterable[np.ndarray], code: int) -> Components:
    """Return the principal components of some units' windows, as many as the network's code."""
    from sklearn.decomposition import PCA

    rows = np.concatenate([_inputs(model, unit) for unit in units])
    fitted = PCA(code, svd_solver="randomized", random_state=0).fit(rows)
    mean, axes = fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32)
    return Components(model, mean, axes, LENGTH)


def pca(model: RelativeAutoencoder, units: Iterable[np.ndarray], code: int) -> Method:
    """Return the detector on what lies beside the principal components."""
    return partial(step, components(model, units, code))


def ewma(model: RelativeAutoencoder) -> Method:
    """Return charts of exponentially weighted means (Roberts 1959), per time and per unit."""

    def fast(values: np.ndarray, memory: np.ndarray) -> np.ndarray:
        return _ewma(values, memory, EWMA_TIMES)

    def slow(values: np.ndarray, memory: np.ndarray) -> np.ndarray:
        return _ewma(values, memory, EWMA_UNITS)

    return _chart(Itself(model, LENGTH), fast, slow)


def cusum(model: RelativeAutoencoder, noise: np.ndarray, spread: np.ndarray) -> Method:
    """Return charts of cumulative sums (Page 1954), per time and per unit.

    `noise` and `spread` are deviations of times in mA and of units, parts.
    """

    def fast(values: np.ndarray, memory: np.ndarray) -> np.ndarray:
        return _cusum(values / noise, memory)

    def slow(values: np.ndarray, memory: np.ndarray) -> np.ndarray:
        return _cusum(values / spread, memory)

    return _chart(Itself(model, LENGTH), fast, slow)


Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _chart(itself: Itself, fast: Filter, slow: Filter) -> Method:
    """Return a method whose filters remember what they need."""
    memories: dict[str, np.ndarray] = {}
    centre: list[np.ndarray] = []

    def take(state: State, block: np.ndarray) -> Statistics:
        channels = block.shape[1]
        if state.seen == 0:
            memories["fast"], memories["slow"] = np.zeros((2, 2, channels))
        found = step(itself, state, block)
        windows = block.reshape(-1, itself.length, channels)
        parts = itself.residuals(windows)
        absolute = parts.parts * parts.common[:, None] * itself.gains
        moved = fast(absolute - np.median(absolute, axis=0), memories["fast"])
        by_window = np.abs(moved).reshape(windows.shape)
        at = by_window.argmax(axis=1)
        highest = np.take_along_axis(by_window, at[:, None], axis=1)[:, 0]
        if not centre:
            centre.append(state.units[-1].copy())
        followed = slow((state.units[-1] - centre[0])[None], memories["slow"])
        starts = np.arange(len(windows))[:, None] * itself.length
        both = np.repeat(followed, len(SLOW), axis=0)  # of whole units alone
        return replace(found, fast=highest, fast_at=starts + at, slow=both)

    return take


def forest(
    model: RelativeAutoencoder, units: Iterable[np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return an isolation forest's score of each window of a unit (Liu, Ting and Zhou 2008)."""
    from sklearn.ensemble import IsolationForest

    rows = np.concatenate([_features(model, unit) for unit in units])
    fitted = IsolationForest(n_estimators=TREES, random_state=0, n_jobs=1).fit(rows)

    def score(unit: np.ndarray) -> np.ndarray:
        found: np.ndarray = -fitted.score_samples(_features(model, unit))
        return found

    return score


def _features(model: RelativeAutoencoder, unit: np.ndarray) -> np.ndarray:
    """Return of each window and channel the mean, the deviation and the largest distance."""
    windows = unit.reshape(-1, LENGTH, unit.shape[1])
    rows = _inputs(model, unit).reshape(windows.shape)
    mean = rows.mean(axis=1)
    far = np.abs(rows - mean[:, None]).max(axis=1)
    common = common_of(windows, np.array(model.gains)).reshape(len(windows), LENGTH)
    fall = np.ptp(common, axis=1, keepdims=True) / common.mean(axis=1, keepdims=True)
    return np.concatenate([mean, rows.std(axis=1), far, fall], axis=1)


def _inputs(model: RelativeAutoencoder, unit: np.ndarray) -> np.ndarray:
    return model.inputs(np.empty(0), unit.reshape(-1, LENGTH, unit.shape[1]))


@njit(cache=True)
def _ewma(values: np.ndarray, memory: np.ndarray, share: float) -> np.ndarray:
    out = np.empty_like(values)
    for t in range(values.shape[0]):
        for c in range(values.shape[1]):
            memory[0, c] += share * (values[t, c] - memory[0, c])
            out[t, c] = memory[0, c]
    return out


@njit(cache=True)
def _cusum(values: np.ndarray, memory: np.ndarray) -> np.ndarray:
    out = np.empty_like(values)
    for t in range(values.shape[0]):
        for c in range(values.shape[1]):
            memory[0, c] = max(0.0, memory[0, c] + values[t, c] - SLACK)
            memory[1, c] = max(0.0, memory[1, c] - values[t, c] - SLACK)
            out[t, c] = max(memory[0, c], memory[1, c])
    return out

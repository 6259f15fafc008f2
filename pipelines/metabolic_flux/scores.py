"""How near generated states are to real ones: mass, bounds, marginals, and a classifier."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ooc.core.random_keys import Purpose, generator
from pipelines.common.table import Table
from pipelines.metabolic_flux.frame import Frame
from pipelines.metabolic_flux.network import Network

NEAR = 0.05  # a Kolmogorov-Smirnov distance that counts as near
# A flux may be outside of its bounds by so much, mmol/gDW/h, as linear programs allow.
TOLERANCE = 1e-6
TREES = 60


@dataclass(frozen=True)
class Score:
    """What a set of generated states is worth beside a real one of the same conditions.

    Attributes
    ----------
    unbalanced
        Median of ||S v||_inf / ||v||_inf.
    fluxes_outside, states_outside
        Share of all fluxes outside of their bounds, and of states with any.
    auc
        Area under the ROC curve of boosted trees that tell generated states from real ones by
        fluxes and condition, on states that they did not learn from.
    reactions_near, near_within
        Share of reactions whose distribution over all conditions is within a Kolmogorov-Smirnov
        distance of `NEAR`; and of those within each condition.
    growth_mean, growth_worst
        Kolmogorov-Smirnov distance of growth within conditions: mean, and largest.
    """

    unbalanced: float
    fluxes_outside: float
    states_outside: float
    auc: float
    reactions_near: float
    near_within: float
    growth_mean: float
    growth_worst: float

    def to_json(self) -> dict[str, Any]:
        """Return all numbers by name."""
        return asdict(self)


def score(
    network: Network,
    frame: Frame,
    real: np.ndarray,
    states: np.ndarray,
    condition: np.ndarray,
    seed: int = 0,
) -> Score:
    """Score generated states (rows, R) against real ones of the same conditions (rows,).

    Distributions are compared of fluxes rounded to `TOLERANCE`: the last digits of a flux that is
    fixed tell how it was computed, and nothing of the state.
    """
    residual = np.abs(states @ network.stoichiometry.T).max(axis=1)
    unbalanced = float(np.median(residual / np.abs(states).max(axis=1)))
    outside = (states < frame.lower[condition] - TOLERANCE) | (
        states > frame.upper[condition] + TOLERANCE
    )
    real, states = (np.round(each / TOLERANCE) * TOLERANCE for each in (real, states))
    pooled = distances(real, states)
    within, growth = [], []
    for each in np.unique(condition):
        of_it, moving = condition == each, frame.is_moving[each]
        found = distances(real[of_it], states[of_it])
        within.append(found[moving])
        growth.append(found[network.growth])
    return Score(
        unbalanced, float(outside.mean()),
        float(outside.any(axis=1).mean()), separability(real, states, condition, seed),
        float(np.mean(pooled <= NEAR)), float(np.mean(np.concatenate(within) <= NEAR)),
        float(np.mean(growth)), float(np.max(growth)),
    )  # fmt: skip


def distances(real: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return the Kolmogorov-Smirnov distance of each column of (rows, R), (R,).

    Examples
    --------
    >>> distances(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.0], [1.0], [5.0], [6.0]]))
    array([0.5])
    """
    found = np.empty(real.shape[1])
    for column, (one, other) in enumerate(zip(np.sort(real.T), np.sort(states.T), strict=True)):
        every = np.concatenate([one, other])
        shares = (np.searchsorted(each, every, "right") / len(each) for each in (one, other))
        found[column] = np.abs(np.subtract(*shares)).max()
    return found


def separability(
    real: np.ndarray, states: np.ndarray, condition: np.ndarray, seed: int = 0
) -> float:
    """Return the area under the ROC curve of a two-sample classifier on held-out halves.

    Boosted trees of scikit-learn (Lopez-Paz and Oquab 2017 on such tests); 0.5 is the best.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    rows = np.column_stack([np.concatenate([real, states]), np.tile(condition, 2)])
    labels = np.repeat([0, 1], len(real))
    order = generator(seed, Purpose.SPLIT).permutation(len(rows))
    learned, judged = np.split(order, [len(order) // 2])
    trees = HistGradientBoostingClassifier(max_iter=TREES, random_state=seed)
    # More threads wait for each other longer than these few rows take.
    with threadpool_limits(1, "openmp"):
        trees.fit(rows[learned], labels[learned])
        return float(roc_auc_score(labels[judged], trees.predict_proba(rows[judged])[:, 1]))


def table_of(names: Sequence[str], scores: Sequence[Score]) -> Table:
    """Return scores side by side, one line each."""
    head = (
        "", "|Sv|/|v|", "fluxes outside", "states outside", "AUC", "KS near", "within conditions",
        "growth KS",
    )  # fmt: skip
    rows = [
        (
            name, f"{each.unbalanced:.1e}", f"{each.fluxes_outside:.2%}",
            f"{each.states_outside:.1%}", f"{each.auc:.3f}", f"{each.reactions_near:.0%}",
            f"{each.near_within:.0%}", f"{each.growth_mean:.3f}",
        )
        for name, each in zip(names, scores, strict=True)
    ]  # fmt: skip
    return Table("generated states against real ones", head, tuple(rows))

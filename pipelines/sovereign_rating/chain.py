"""The hidden life of a country's credit: a Markov chain, month by month, with few states.

A country is in a regime. Now and then something turns: what it does to the credit is decided, and
the rating shows it three to six months later. Hidden are the regime and a turn under way; the
rating is seen. What is to be expected of any month ahead is therefore known exactly.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

NOTCHES = 22  # 0 is default, 21 the best
AHEAD = 12  # months from a forecast to what is foretold
REGIMES = ("calm", "stress", "reform")
# From a regime (row) to that of the next month.
REGIME_STEP = np.array([[0.98, 0.011, 0.009], [0.025, 0.968, 0.007], [0.02, 0.004, 0.976]])
# A month without a turn under way brings one so often, by regime.
TURN_CHANCE = np.array([0.003, 0.12, 0.09])
STEPS = (-2, -1, 1)  # notches that a turn brings
STEP_SHARES = np.array([[0.1, 0.4, 0.5], [0.45, 0.5, 0.05], [0.01, 0.04, 0.95]])
LEADS = (3, 4, 5, 6)  # months from a turn to its arrival, all alike
TURNS = 1 + len(STEPS) * LEADS[-1]  # none, or a step with 1 to 6 months left
STATES = len(REGIMES) * TURNS


def state_of(regime: int, turn: int) -> int:
    """Return the number of a hidden state."""
    return regime * TURNS + turn


def turn_of(step: int, left: int) -> int:
    """Return the number of a turn: which of the steps, and the months left to its arrival."""
    return 1 + step * LEADS[-1] + left - 1


def parts_of(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the regimes of hidden states, and which step is under way (-1 for none).

    Examples
    --------
    >>> parts_of(np.array([state_of(2, turn_of(1, 4)), state_of(0, 0)]))
    (array([2, 0]), array([ 1, -1]))
    """
    turns = states % TURNS
    return states // TURNS, np.where(turns, (turns - 1) // LEADS[-1], -1)


@dataclass(frozen=True)
class Links:
    """All that may happen within a month, by the rating that it begins with.

    Attributes
    ----------
    first
        (NOTCHES + 1,) where the links of each rating begin.
    source, target
        (links,) hidden states before and after.
    rating
        (links,) after.
    chance
        (links,) float64.
    """

    first: np.ndarray
    source: np.ndarray
    target: np.ndarray
    rating: np.ndarray
    chance: np.ndarray


@cache
def links() -> Links:
    """Return the chain's links."""
    found, first = list[tuple[int, int, int, float]](), [0]
    for rating in range(NOTCHES):
        for state in range(STATES):
            found += _links_of(rating, state)
        first.append(len(found))
    source, target, after, chance = (np.array(each) for each in zip(*found, strict=True))
    return Links(np.array(first), source, target, after, chance)


def _links_of(rating: int, state: int) -> list[tuple[int, int, int, float]]:
    turn, found = state % TURNS, []
    for regime, chance in enumerate(REGIME_STEP[state // TURNS]):
        if turn == 0:
            begins = chance * TURN_CHANCE[regime]
            found.append((state, state_of(regime, 0), rating, chance - begins))
            for step in range(len(STEPS)):
                each = begins * STEP_SHARES[regime, step] / len(LEADS)
                for left in LEADS:
                    found.append((state, state_of(regime, turn_of(step, left)), rating, each))
            continue
        step, left = (turn - 1) // LEADS[-1], (turn - 1) % LEADS[-1] + 1
        if left > 1:
            found.append((state, state_of(regime, turn_of(step, left - 1)), rating, chance))
        else:
            moved = min(max(rating + STEPS[step], 0), NOTCHES - 1)
            found.append((state, state_of(regime, 0), moved, chance))
    return found


def regime_shares() -> np.ndarray:
    """Return how often each regime is met in the long run, (3,)."""
    values, vectors = np.linalg.eig(REGIME_STEP.T)
    share = np.real(vectors[:, np.argmax(np.real(values))])
    found: np.ndarray = share / share.sum()
    return found


def first_states() -> np.ndarray:
    """Return how likely each hidden state is in the first month, without a turn, (STATES,)."""
    found = np.zeros(STATES)
    found[::TURNS] = regime_shares()
    return found

"""The hidden life of a country's credit: a Markov chain, month by month, with few states.

A country is in a regime. Now and then something turns: what it does to the credit is decided, and
arrives three to six months later. The credit moves in half notches, and the agency follows once it
is a whole notch off. Hidden are the regime, the half notch between credit and rating (the gap), and
a turn under way; the rating is seen. What is expected of any month ahead is therefore exact.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

NOTCHES = 22  # 0 is default, 21 the best
AHEAD = 12  # months from a forecast to what is foretold
REGIMES = ("calm", "stress", "reform")
# From a regime (row) to that of the next month.
REGIME_STEP = np.array([[0.976, 0.013, 0.011], [0.03, 0.96, 0.01], [0.025, 0.005, 0.97]])
# A month without a turn under way brings one so often, by regime.
TURN_CHANCE = np.array([0.02, 0.2, 0.15])
STEPS = (-3, -1, 1)  # half notches that a turn brings
STEP_SHARES = np.array([[0.04, 0.45, 0.51], [0.5, 0.4, 0.1], [0.02, 0.06, 0.92]])
LEADS = (3, 4, 5, 6)  # months from a turn to its arrival, all alike
GAPS = (-1, 0, 1)
TURNS = 1 + len(STEPS) * LEADS[-1]  # none, or a step with 1 to 6 months left
STATES = len(REGIMES) * len(GAPS) * TURNS


def state_of(regime: int, gap: int, turn: int) -> int:
    """Return the number of a hidden state."""
    return (regime * len(GAPS) + gap + 1) * TURNS + turn


def turn_of(step: int, left: int) -> int:
    """Return the number of a turn: which of the steps, and the months left to its arrival."""
    return 1 + step * LEADS[-1] + left - 1


def parts_of(states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return regimes, gaps, and which step is under way (-1 for none) of hidden states."""
    turns = states % TURNS
    gaps = states // TURNS % len(GAPS) - 1
    return states // (TURNS * len(GAPS)), gaps, np.where(turns, (turns - 1) // LEADS[-1], -1)


def arrive(rating: int, gap: int, half_notches: int) -> tuple[int, int]:
    """Return rating and gap after the credit has moved and the agency has followed.

    Examples
    --------
    >>> arrive(10, 0, -1), arrive(10, -1, -1), arrive(10, -1, -3), arrive(0, 0, -3)
    ((10, -1), (9, 0), (8, 0), (0, 0))
    """
    credit = min(max(2 * rating + gap + half_notches, 0), 2 * (NOTCHES - 1))
    off = credit - 2 * rating
    moved = rating + (abs(off) // 2) * (1 if off > 0 else -1)
    return moved, credit - 2 * moved


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
    turn, gap = state % TURNS, state // TURNS % len(GAPS) - 1
    found = []
    for regime, chance in enumerate(REGIME_STEP[state // (TURNS * len(GAPS))]):
        if turn == 0:
            begins = chance * TURN_CHANCE[regime]
            found.append((state, state_of(regime, gap, 0), rating, chance - begins))
            for step in range(len(STEPS)):
                each = begins * STEP_SHARES[regime, step] / len(LEADS)
                for left in LEADS:
                    found.append((state, state_of(regime, gap, turn_of(step, left)), rating, each))
            continue
        step, left = (turn - 1) // LEADS[-1], (turn - 1) % LEADS[-1] + 1
        if left > 1:
            target = state_of(regime, gap, turn_of(step, left - 1))
            found.append((state, target, rating, chance))
        else:
            moved, gap_after = arrive(rating, gap, STEPS[step])
            found.append((state, state_of(regime, gap_after, 0), moved, chance))
    return found


def regime_shares() -> np.ndarray:
    """Return how often each regime is met in the long run, (3,)."""
    values, vectors = np.linalg.eig(REGIME_STEP.T)
    share = np.real(vectors[:, np.argmax(np.real(values))])
    found: np.ndarray = share / share.sum()
    return found


def first_states() -> np.ndarray:
    """Return how likely each hidden state is in the first month: no turn, any gap, (STATES,)."""
    found = np.zeros(STATES)
    for regime, share in enumerate(regime_shares()):
        for gap in GAPS:
            found[state_of(regime, gap, 0)] = share / len(GAPS)
    return found

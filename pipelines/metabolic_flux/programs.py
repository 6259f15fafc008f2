"""Linear programs over a network: flux balance analysis, flux ranges, and bounds without loops.

All are solved by HiGHS (Huangfu and Hall 2018) through SciPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import block_array, csr_array, diags_array, eye_array
from scipy.sparse.csgraph import connected_components

from ooc.core.errors import InputError
from pipelines.metabolic_flux.network import LARGEST_FLUX, Network

INFEASIBLE = 2
# Fluxes of a closed loop that are taken for none.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Optimum:
    """The largest flux of one reaction, and a state (R,) that has it."""

    value: float
    fluxes: np.ndarray


def maximise(network: Network, reaction: int, sign: float = 1.0) -> Optimum:
    """Return the largest flux of a reaction at steady state; the least with sign -1.

    With the reaction of growth it is flux balance analysis (Orth, Thiele and Palsson 2010).

    Raises
    ------
    InputError
        If no state keeps all bounds, or the flux has none.
    """
    cost = np.zeros(len(network.reactions))
    cost[reaction] = -sign
    balance = csr_array(network.stoichiometry)
    found = linprog(
        cost, A_eq=balance, b_eq=np.zeros(balance.shape[0]),
        bounds=np.column_stack([network.lower, network.upper]), method="highs",
    )  # fmt: skip
    if found.x is None:
        what = "no state keeps all its bounds" if found.status == INFEASIBLE else found.message
        raise InputError(
            f"{network.name} has no largest flux of {network.reactions[reaction]}: {what}; widen "
            "the bounds of uptake, or leave the condition out"
        )
    return Optimum(float(found.x[reaction]), found.x)


def ranges(network: Network, reactions: Sequence[int]) -> np.ndarray:
    """Return least and largest flux of some reactions, (reactions, 2): flux variability."""
    found = [[maximise(network, each, sign).value for sign in (-1.0, 1.0)] for each in reactions]
    return np.array(found).reshape(-1, 2)


def loop_reactions(network: Network) -> np.ndarray:
    """Return the places of reactions that can run while nothing enters or leaves.

    Such a loop would turn for ever without a difference of chemical potential, which the second
    law forbids (Beard, Liang and Qian 2002). One program finds a loop with as many reactions as
    can turn at once in either direction; reversible ones count as two.
    """
    inner = np.setdiff1d(np.arange(len(network.reactions)), network.exchanges)
    inner = inner[inner != network.growth]
    matrix = network.stoichiometry[:, inner]
    # A loop scales: with the signs alone, fluxes of at most 1 tell which of them turn.
    highest = [(network.upper[inner] > 0).astype(float), (network.lower[inner] < 0).astype(float)]
    turns, may = np.zeros(len(inner), bool), _on_cycles(matrix, highest)
    for forward in range(2):
        for place in np.flatnonzero((highest[forward] > 0) & may & ~turns):
            cost = np.zeros(len(inner))
            cost[place] = -1.0 if forward == 0 else 1.0
            found = linprog(
                cost, A_eq=csr_array(matrix), b_eq=np.zeros(len(matrix)),
                bounds=np.column_stack([-highest[1], highest[0]]), method="highs",
            )  # fmt: skip
            # A reaction that goes back and forth is no loop: it is one variable here.
            turns |= np.abs(found.x) > _TOLERANCE if -found.fun > _TOLERANCE else False
    return inner[turns]


def _on_cycles(matrix: np.ndarray, highest: Sequence[np.ndarray]) -> np.ndarray:
    """Return which reactions lead from a metabolite to one from which a path leads back.

    Others are in no loop. `highest` tells which run forward, and which backward.
    """
    consumes, makes = (csr_array((side * matrix > 0).astype(np.int64)) for side in (-1, 1))
    forward, backward = (diags_array(each.astype(np.int64), dtype=np.int64) for each in highest)
    graph = consumes @ forward @ makes.T + makes @ backward @ consumes.T
    _, component = connected_components(graph, connection="strong")
    found = np.zeros(matrix.shape[1], bool)
    for place in range(matrix.shape[1]):
        ends = component[matrix[:, place] < 0], component[matrix[:, place] > 0]
        # Where one side is empty here, nothing comes back.
        found[place] = len(np.intersect1d(*ends)) > 0
    return found


def without_loops(network: Network) -> Network:
    """Return the network with the bounds that its reactions have where no loop turns.

    The fluxes of `loop_reactions` alone are concerned. Their ranges without loops come from mixed
    integer programs with the loop law: a potential difference against each reaction's direction,
    that adds up to nothing around every loop (Schellenberger, Lewis and Palsson 2011). Loops are
    so bounded by what the medium feeds, rather than by a bound of 1000; what remains, states in
    which both halves of a loop are on, within those bounds, is measured and told.
    """
    loops = loop_reactions(network)
    if not len(loops):
        return network
    lower, upper = network.lower.copy(), network.upper.copy()
    kernel = null_space(network.stoichiometry[:, loops])
    for place in loops:
        least, most = (_loopless(network, loops, kernel, place, sign) for sign in (-1.0, 1.0))
        lower[place], upper[place] = max(lower[place], least), min(upper[place], most)
    return network.bounded(lower, upper)


def _loopless(
    network: Network, loops: np.ndarray, kernel: np.ndarray, place: int, sign: float
) -> float:
    """Return the largest flux (times sign) of states in which no loop turns."""
    reactions, count = len(network.reactions), len(loops)
    most = LARGEST_FLUX
    chosen = csr_array((np.ones(count), (np.arange(count), loops)), shape=(count, reactions))
    one = eye_array(count)
    none = csr_array((count, count))
    wide = csr_array((count, reactions))
    # Variables: fluxes, directions a in {0, 1}, potential differences G.
    balance = np.hstack([network.stoichiometry, np.zeros((len(network.metabolites), 2 * count))])
    closed = np.hstack([np.zeros((kernel.shape[1], reactions + count)), kernel.T])
    rules = [
        LinearConstraint(csr_array(balance), 0.0, 0.0),
        LinearConstraint(csr_array(closed), 0.0, 0.0),
        # v <= most a, v >= -most (1 - a): the flux goes the way a says.
        LinearConstraint(block_array([[chosen, -most * one, none]]), -most, 0.0),
        # G between 1 and most where a = 0, between -most and -1 where a = 1.
        LinearConstraint(block_array([[wide, (most + 1) * one, one]]), 1.0, most),
    ]
    cost = np.zeros(reactions + 2 * count)
    cost[place] = -sign
    lower = np.concatenate([network.lower, np.zeros(count), np.full(count, -most)])
    upper = np.concatenate([network.upper, np.ones(count), np.full(count, most)])
    kinds = np.concatenate([np.zeros(reactions), np.ones(count), np.zeros(count)])
    found = milp(cost, constraints=rules, integrality=kinds, bounds=Bounds(lower, upper))
    if found.x is None:
        raise InputError(
            f"{network.name}: no state without loops has a largest flux of "
            f"{network.reactions[place]}: {found.message}"
        )
    return float(found.x[place])

"""One set of coordinates for the flux spaces of all conditions: what a model is given and gives.

A coordinate follows one flux, the same one in each condition in which it is free, so that a network
that is told the condition has one thing to learn of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.metabolic_flux.network import Network
from pipelines.metabolic_flux.space import Space, aligned

# A flux is told from others where so much of its deviation is its own.
_OWN = 1e-2


@dataclass(frozen=True)
class Frame:
    """States v = centre + y basis of each condition, with coordinates y of one meaning.

    Attributes
    ----------
    centres
        (C, R) float64, about the mean state of each condition.
    bases
        (C, D, R) float64; 0 for a coordinate that a condition lacks.
    inverses
        (C, R, D) float64: y = (v - centre) inverse.
    lower, upper
        (C, R) float64 bounds.
    is_used
        (C, D) bool, coordinates that a condition has.
    follows
        (D,) places of the fluxes that coordinates follow.
    """

    centres: np.ndarray
    bases: np.ndarray
    inverses: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    is_used: np.ndarray
    follows: np.ndarray

    @property
    def conditions(self) -> int:
        """C, the number of conditions."""
        return len(self.centres)

    @property
    def dimensions(self) -> int:
        """D, coordinates in all."""
        return self.bases.shape[1]

    @property
    def is_moving(self) -> np.ndarray:
        """(C, R) bool, fluxes that are not the same in all states of a condition."""
        found: np.ndarray = np.any(self.bases != 0, axis=1)
        return found

    @property
    def deviations(self) -> np.ndarray:
        """(C, R) about the standard deviation of each flux: that of coordinates is about 1."""
        found: np.ndarray = np.sqrt((self.bases**2).sum(axis=1))
        return found

    def coordinates(self, fluxes: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Return y of states (rows, R) in their conditions, (rows, D) float64."""
        moved = fluxes - self.centres[condition]
        found = np.empty((len(moved), self.dimensions))
        for each in np.unique(condition):
            found[condition == each] = moved[condition == each] @ self.inverses[each]
        return found

    def fluxes(self, coordinates: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Return the states of coordinates (rows, D), (rows, R) float64."""
        found = self.centres[condition]
        for each in np.unique(condition):
            of_it = condition == each
            found[of_it] += coordinates[of_it].astype(np.float64) @ self.bases[each]
        return found


def frame_of(network: Network, spaces: Sequence[Space]) -> Frame:
    """Return common coordinates: growth first, then exchanges, then what else there is to tell."""
    inner = np.setdiff1d(np.arange(len(network.reactions)), network.exchanges)
    others = [int(each) for each in (*network.exchanges, *inner) if each != network.growth]
    order = [network.growth, *others]
    chosen = [pivots(space.basis, order) for space in spaces]
    rank = {place: number for number, place in enumerate(order)}
    follows = sorted({place for each in chosen for place in each}, key=rank.__getitem__)
    slot = {place: number for number, place in enumerate(follows)}
    shape = len(spaces), len(follows), len(network.reactions)
    bases, inverses = np.zeros(shape), np.zeros((shape[0], shape[2], shape[1]))
    is_used = np.zeros(shape[:2], bool)
    for number, (space, places) in enumerate(zip(spaces, chosen, strict=True)):
        slots = [slot[place] for place in places]
        basis = aligned(space, np.array(places)).basis
        bases[number, slots] = basis
        inverses[number][:, slots] = np.linalg.pinv(basis)
        is_used[number, slots] = True
    return Frame(
        np.stack([space.centre for space in spaces]), bases, inverses,
        np.stack([space.network.lower for space in spaces]),
        np.stack([space.network.upper for space in spaces]), is_used, np.array(follows),
    )  # fmt: skip


def pivots(basis: np.ndarray, order: Sequence[int]) -> list[int]:
    """Return the first fluxes in an order that together determine a state, as many as D.

    Parameters
    ----------
    basis
        (D, R).
    order
        All places of fluxes, by preference.
    """
    dimensions = len(basis)
    known, found = np.zeros((0, dimensions)), list[int]()
    size = np.sqrt((basis**2).sum(axis=0))
    # Those that nearly depend on others come last, where nothing else is left.
    for least in (_OWN, 1e-6):
        for place in order:
            if len(found) == dimensions:
                return found
            if place in found or size[place] < 1e-9:
                continue
            own = basis[:, place].copy()
            for _ in range(2):  # once more, against rounding
                own -= known.T @ (known @ own)
            if np.linalg.norm(own) > least * size[place]:
                known = np.vstack([known, own / np.linalg.norm(own)])
                found.append(place)
    return found

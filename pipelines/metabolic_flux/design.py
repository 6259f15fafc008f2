"""Design: which generated states make most of a product while cells still grow."""

from dataclasses import dataclass

import numpy as np

from ooc.core.errors import InputError
from pipelines.common.table import Table
from pipelines.metabolic_flux.environment import Condition
from pipelines.metabolic_flux.frame import Frame
from pipelines.metabolic_flux.generate import Generator
from pipelines.metabolic_flux.network import Network
from pipelines.metabolic_flux.programs import maximise
from pipelines.metabolic_flux.scores import TOLERANCE


@dataclass(frozen=True)
class Design:
    """The best generated state of a condition, beside the optimum of flux balance analysis.

    Attributes
    ----------
    condition
        Its name.
    feasible
        Share of generated states that keep S v = 0 and all bounds.
    growing
        Share that grow at the floor or above, too.
    product, growth, uptake
        Of the best one; NaN where none is feasible.
    bound
        Largest flux of the product at that floor of growth, by flux balance analysis.
    fluxes
        (R,) float64, the best state; NaN where none is feasible.
    """

    condition: str
    feasible: float
    growing: float
    product: float
    growth: float
    uptake: float
    bound: float
    fluxes: np.ndarray

    @property
    def yield_(self) -> float:
        """Product made for each unit of the carbon source taken up."""
        return self.product / self.uptake if self.uptake > 0 else float("nan")


def design(
    network: Network,
    frame: Frame,
    conditions: tuple[Condition, ...],
    draw: Generator,
    product: int,
    floor: float,
    rows: int,
    seed: int,
) -> list[Design]:
    """Generate states of each condition, keep the feasible, and rank by yield at a growth floor.

    Parameters
    ----------
    product
        Place of the reaction that secretes it.
    floor
        Least growth, as a share of the condition's optimum.
    rows
        States of each condition.

    Returns
    -------
    list of Design
        One a condition, the largest yield first.

    Raises
    ------
    InputError
        If the floor is no share, or nothing in any condition can make the product.
    """
    if not 0 <= floor < 1:
        raise InputError(f"the growth floor is a share from 0 to below 1, not {floor}")
    found = []
    for number, condition in enumerate(conditions):
        least = max(floor * condition.optimum, frame.lower[number, network.growth])
        bounded = network.bounded(frame.lower[number].copy(), frame.upper[number].copy())
        bounded.lower[network.growth] = least
        bound = maximise(bounded, product).value
        states = draw(np.full(rows, number), seed + number)
        feasible = is_feasible(network, frame, states, number)
        growing = feasible & (states[:, network.growth] >= least)
        uptake = -states[:, condition.source]
        worth = np.where(growing & (uptake > 0), states[:, product] / np.maximum(uptake, 1e-9), -1)
        best = int(np.argmax(worth))
        chosen = states[best] if growing[best] else np.full(states.shape[1], np.nan)
        found.append(
            Design(
                condition.name, float(feasible.mean()), float(growing.mean()),
                float(chosen[product]), float(chosen[network.growth]),
                float(-chosen[condition.source]), bound, chosen,
            )
        )  # fmt: skip
    if max(each.bound for each in found) < TOLERANCE:
        raise InputError(
            f"no condition can make {network.reactions[product]} while cells grow; choose another "
            "product or a lower growth floor"
        )
    return sorted(found, key=lambda each: -np.nan_to_num(each.yield_, nan=-1.0))


def is_feasible(network: Network, frame: Frame, states: np.ndarray, condition: int) -> np.ndarray:
    """Return which states (rows, R) keep all bounds, and S v = 0 up to `TOLERANCE` of |v|."""
    residual = np.abs(states @ network.stoichiometry.T).max(axis=1)
    inside = (states >= frame.lower[condition] - TOLERANCE) & (
        states <= frame.upper[condition] + TOLERANCE
    )
    found: np.ndarray = inside.all(axis=1) & (residual <= TOLERANCE * np.abs(states).max(axis=1))
    return found


def table_of(designs: list[Design], product: str) -> Table:
    """Return designs as a table."""
    head = ("condition", "feasible", "growing", "product", "growth", "yield", "FBA's best")
    rows = tuple(
        (
            each.condition, f"{each.feasible:.0%}", f"{each.growing:.1%}", f"{each.product:.2f}",
            f"{each.growth:.3f}", f"{each.yield_:.2f}", f"{each.bound:.2f}",
        )
        for each in designs
    )  # fmt: skip
    return Table(f"designs for {product}, mmol/gDW/h", head, rows)

"""Conditions: the same network on another carbon source, with less oxygen, without a reaction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ooc.core.errors import InputError
from pipelines.metabolic_flux.network import LARGEST_FLUX, Network
from pipelines.metabolic_flux.programs import maximise

UPTAKE = 10.0  # of the carbon source
OXYGEN_LEVELS = (1.0, 0.5, 0.0)
LIMITED_OXYGEN = 5.0
# A condition in which less grows than this share of the best is left out.
LEAST_GROWTH = 0.02
# States grow at least at this share of the condition's optimum: cells that do not are none.
GROWTH_FLOOR = 0.1


@dataclass(frozen=True)
class Condition:
    """What cells are given, and what they lack.

    Attributes
    ----------
    name
        As it is shown: "glc__D, oxygen 1".
    source
        Place of the exchange that feeds carbon.
    oxygen
        1 for as much as there is, 0.5 for a limited uptake, 0 for none.
    knockout
        Place of the reaction that is taken out, or None.
    optimum
        The largest growth, 1/h, by flux balance analysis.
    """

    name: str
    source: int
    oxygen: float
    knockout: int | None
    optimum: float


def carbon_sources(network: Network) -> list[int]:
    """Return the exchanges that can feed growth alone, the one of the medium first.

    That one is the exchange whose uptake is limited below the largest flux.
    """
    exchanges = network.exchanges
    limited = [int(place) for place in exchanges if -LARGEST_FLUX < network.lower[place] < 0]
    if not limited:
        raise InputError(
            f"{network.name} has no exchange with a limited uptake, which would be its carbon "
            "source: give one a lower bound such as -10"
        )
    best = maximise(network, network.growth).value
    closed = [int(place) for place in exchanges if network.lower[place] == 0]
    found = [limited[0]]
    for place in [*limited[1:], *closed]:
        trial = _fed(network, limited, place)
        if _growth(trial) > LEAST_GROWTH * best:
            found.append(place)
    return found


def conditions_of(network: Network, count: int) -> list[Condition]:
    """Return so many conditions that cells grow in: sources by oxygen, then knockouts.

    Raises
    ------
    InputError
        If the network has fewer.
    """
    sources, oxygen = carbon_sources(network), _oxygen(network)
    levels = OXYGEN_LEVELS if oxygen is not None else (1.0,)
    medium = sources[0]
    knocked = _knockouts(network)
    wanted: list[tuple[int, float, int | None]] = [(medium, level, None) for level in levels]
    others: list[tuple[int, float, int | None]] = [
        (source, level, None) for source in sources[1:] for level in levels
    ]
    lacking: list[tuple[int, float, int | None]] = [
        (medium, level, place) for place in knocked for level in levels[:1]
    ]
    # By turns, so that few conditions have some of each.
    for number in range(max(len(others), len(lacking))):
        wanted += others[number : number + 1] + lacking[number : number + 1]
    best = maximise(network, network.growth).value
    found: list[Condition] = []
    for source, level, knockout in wanted:
        if len(found) == count:
            break
        draft = Condition(_name(network, source, level, knockout), source, level, knockout, 0.0)
        optimum = _growth(applied(network, draft))
        if optimum > LEAST_GROWTH * best:
            found.append(Condition(draft.name, source, level, knockout, optimum))
    if len(found) < count:
        raise InputError(
            f"{network.name} has {len(found)} conditions in which it grows, not {count}: "
            f"{len(sources)} carbon sources, {len(levels)} oxygen levels, {len(knocked)} knockouts"
        )
    return found


def applied(network: Network, condition: Condition, floor: float = GROWTH_FLOOR) -> Network:
    """Return the network in a condition, with a floor of growth as a share of its optimum."""
    sources = [
        int(place) for place in network.exchanges if -LARGEST_FLUX < network.lower[place] < 0
    ]
    found = _fed(network, sources, condition.source)
    lower, upper = found.lower.copy(), found.upper.copy()
    oxygen = _oxygen(network)
    if oxygen is not None and condition.oxygen < 1:
        lower[oxygen] = -LIMITED_OXYGEN if condition.oxygen > 0 else 0.0
    if condition.knockout is not None:
        lower[condition.knockout] = upper[condition.knockout] = 0.0
    lower[network.growth] = max(lower[network.growth], floor * condition.optimum)
    return network.bounded(lower, upper)


def descriptors(conditions: Sequence[Condition]) -> np.ndarray:
    """Return what a model is told of each condition, (conditions, E) float64.

    Which source and which knockout it is, one of each, and the level of oxygen.
    """
    sources = sorted({each.source for each in conditions})
    knocked = sorted({each.knockout for each in conditions if each.knockout is not None})
    table = np.zeros((len(conditions), len(sources) + 1 + len(knocked)))
    for row, each in enumerate(conditions):
        table[row, sources.index(each.source)] = 1.0
        table[row, len(sources)] = each.oxygen
        if each.knockout is not None:
            table[row, len(sources) + 1 + knocked.index(each.knockout)] = 1.0
    return table


def _growth(network: Network) -> float:
    """Return the largest growth, 0 where no state keeps all bounds: nothing keeps cells alive."""
    try:
        return maximise(network, network.growth).value
    except InputError:
        return 0.0


def _fed(network: Network, limited: Sequence[int], source: int) -> Network:
    lower = network.lower.copy()
    lower[list(limited)] = 0.0
    lower[source] = network.lower[source] if network.lower[source] < 0 else -UPTAKE
    return network.bounded(lower, network.upper)


def _oxygen(network: Network) -> int | None:
    for place in network.exchanges:
        if "o2_" in network.reactions[place].lower().replace("co2", ""):
            return int(place)
    return None


def _knockouts(network: Network) -> list[int]:
    """Return internal reactions that the best state uses and growth does without."""
    best = maximise(network, network.growth)
    inner = np.setdiff1d(np.arange(len(network.reactions)), network.exchanges)
    used = [
        int(place)
        for place in inner
        if abs(best.fluxes[place]) > 1e-6
        and network.lower[place] <= 0 <= network.upper[place]
        and place != network.growth
    ]
    found = []
    for place in used:
        lower, upper = network.lower.copy(), network.upper.copy()
        lower[place] = upper[place] = 0.0
        if _growth(network.bounded(lower, upper)) > LEAST_GROWTH * best.value:
            found.append(place)
    return found


def _name(network: Network, source: int, level: float, knockout: int | None) -> str:
    feed = network.reactions[source].removeprefix("R_").removeprefix("EX_").removesuffix("_e")
    told = {1.0: "aerobic", 0.5: "little oxygen", 0.0: "anaerobic"}[level]
    without = "" if knockout is None else f", no {network.reactions[knockout].removeprefix('R_')}"
    return f"{feed}, {told}{without}"

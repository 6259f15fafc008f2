"""A metabolic network: stoichiometry, bounds, and which reactions exchange with the medium.

Fluxes are in mmol per gram of dry weight and hour, growth in 1/h.
"""

from dataclasses import dataclass, replace

import numpy as np

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator

LARGEST_FLUX = 1000.0


@dataclass(frozen=True)
class Network:
    """Metabolites, reactions, and what limits their fluxes.

    Attributes
    ----------
    name
        Of the model.
    metabolites, reactions
        Their identifiers, M and R of them.
    stoichiometry
        (M, R) float64, S: at steady state S v = 0.
    lower, upper
        (R,) float64 bounds of the fluxes.
    growth
        Place of the reaction that is the objective.

    Raises
    ------
    InputError
        If shapes do not fit, a number is not finite, or bounds cross.
    """

    name: str
    metabolites: tuple[str, ...]
    reactions: tuple[str, ...]
    stoichiometry: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    growth: int

    def __post_init__(self) -> None:
        shape = len(self.metabolites), len(self.reactions)
        if self.stoichiometry.shape != shape:
            raise InputError(
                f"{self.name} has stoichiometry of shape {self.stoichiometry.shape}, but "
                f"{shape[0]} metabolites and {shape[1]} reactions"
            )
        if not np.isfinite(self.stoichiometry).all():
            row, column = np.argwhere(~np.isfinite(self.stoichiometry))[0]
            raise InputError(
                f"{self.name}: {self.metabolites[row]} has no finite coefficient in "
                f"{self.reactions[column]}; correct the model"
            )
        for place in np.flatnonzero(~(self.lower <= self.upper)):
            raise InputError(
                f"{self.name}: reaction {self.reactions[place]} has lower bound "
                f"{self.lower[place]} above its upper bound {self.upper[place]}; correct the model"
            )

    @property
    def exchanges(self) -> np.ndarray:
        """Places of reactions of a single metabolite, which let it into or out of the medium."""
        return np.flatnonzero((self.stoichiometry != 0).sum(axis=0) == 1)

    def place(self, reaction: str) -> int:
        """Return the place of a reaction.

        Raises
        ------
        InputError
            If there is no such reaction; with those of a similar name.
        """
        if reaction in self.reactions:
            return self.reactions.index(reaction)
        similar = [each for each in self.reactions if reaction.lower() in each.lower()]
        hint = f"; did you mean {', '.join(similar[:5])}?" if similar else ""
        raise InputError(f"{self.name} has no reaction {reaction!r}{hint}")

    def bounded(self, lower: np.ndarray, upper: np.ndarray) -> "Network":
        """Return the same network with other bounds."""
        return replace(self, lower=lower, upper=upper)


def generate_network(metabolites: int, reactions: int, seed: int) -> Network:
    """Draw a network in which cells grow, and none of whose reactions can turn in a closed loop.

    Metabolites stand in a line, and every internal reaction turns one into one or two that come
    behind it: half a unit of each, so that nothing is made of nothing. A backbone leads from each
    to the next, the others are drawn. Some at the front can be taken up, one of them is fed; some
    leave; growth takes three from the middle, and maintenance has a floor.

    Raises
    ------
    InputError
        If there are too few metabolites or reactions.

    Examples
    --------
    >>> network = generate_network(12, 30, 0)
    >>> network.stoichiometry.shape, len(network.exchanges)
    ((12, 30), 6)
    """
    least = metabolites + max(2, metabolites // 40) + max(4, metabolites // 6) + 4
    if metabolites < 8 or reactions < least:
        raise InputError(
            f"a generated network needs at least 8 metabolites, and for {metabolites} at least "
            f"{least} reactions, not {reactions}"
        )
    random = generator(seed, Purpose.DATA)
    taken, leaving = max(2, metabolites // 40), max(4, metabolites // 6)
    inner = reactions - taken - leaving - 2
    matrix = np.zeros((metabolites, reactions))
    lower, upper = np.zeros(reactions), np.full(reactions, LARGEST_FLUX)
    for k in range(inner):
        is_backbone = k < metabolites - 1
        source = k if is_backbone else int(random.integers(metabolites - 1))
        reach = np.arange(source + 1, min(metabolites, source + 3 + metabolites // 4))
        count = 1 if is_backbone else min(int(random.integers(1, 3)), len(reach))
        products = [source + 1] if is_backbone else random.choice(reach, count, replace=False)
        matrix[source, k] = -1.0
        matrix[products, k] = 1.0 / count
    # Whatever is exchanged has a negative coefficient: a flux below 0 takes it up.
    for k in range(taken):
        matrix[k, inner + k] = -1.0
    lower[inner] = -10.0
    places = np.linspace(metabolites // 3, metabolites - 1, leaving).round().astype(int)
    matrix[places, inner + taken + np.arange(leaving)] = -1.0
    middle = metabolites // 2 + np.arange(3)
    matrix[middle, -2] = -10.0 * np.array([1.0, 0.5, 0.25])
    matrix[[metabolites - 2, metabolites - 1], -1] = -1.0, 1.0
    lower[-1] = 0.5
    names = (
        *(f"turn{k}" for k in range(inner)), *(f"take{k}" for k in range(taken)),
        *(f"leave{k}" for k in range(leaving)), "growth", "maintenance",
    )  # fmt: skip
    told = tuple(f"m{k}" for k in range(metabolites))
    name = f"generated-{metabolites}x{reactions}-seed{seed}"
    return Network(name, told, names, matrix, lower, upper, reactions - 2)

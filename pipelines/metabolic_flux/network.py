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
    """Draw a network in which every reaction conserves mass and none can run in a closed loop.

    Metabolites have whole masses, and reactions turn heavier ones into lighter ones: with masses m,
    m S <= 0 inside, so that no cycle of internal reactions alone is possible. The heaviest ones are
    taken up, all may leave, and growth takes some of middle mass.

    Raises
    ------
    InputError
        If there are too few reactions to take up, turn over and excrete.

    Examples
    --------
    >>> network = generate_network(12, 30, 0)
    >>> network.stoichiometry.shape, len(network.exchanges)
    ((12, 30), 9)
    """
    if metabolites < 8 or reactions < metabolites * 4 // 3 + 8:
        raise InputError(
            f"a generated network needs at least 8 metabolites and a third more reactions, and 8 "
            f"beside, not {metabolites} and {reactions}"
        )
    random = generator(seed, Purpose.DATA)
    taken = max(2, metabolites // 40)
    leaving = max(6, metabolites // 6)
    inner = reactions - taken - leaving - 2
    matrix = np.zeros((metabolites, reactions))
    lower, upper = np.zeros(reactions), np.full(reactions, LARGEST_FLUX)
    names = []
    # Metabolites are in order of mass, the heaviest first.
    for k in range(inner):
        source = k if k < metabolites - 1 else int(random.integers(metabolites - 2))
        reach = min(metabolites, source + 2 + metabolites // 4)
        count = min(int(random.integers(1, 3)), reach - source - 1)
        products = random.choice(np.arange(source + 1, reach), count, replace=False)
        matrix[source, k] = -1.0
        matrix[products, k] = 1.0 if count == 1 else 0.5
        names.append(f"turn{k}")
    first = inner
    for k in range(taken):
        matrix[k, first + k] = -1.0
        lower[first + k], upper[first + k] = -10.0, 0.0
        names.append(f"take{k}")
    first += taken
    places = np.unique(np.linspace(metabolites // 3, metabolites - 1, leaving).astype(int))
    for k in range(leaving):
        matrix[places[k % len(places)], first + k] = -1.0
        names.append(f"leave{k}")
    middle = np.arange(metabolites // 4, metabolites // 4 + max(3, metabolites // 100))
    matrix[middle, -2] = -1.0
    upper[-2] = LARGEST_FLUX
    names += ["growth", "maintenance"]
    matrix[metabolites - 2, -1] = -1.0
    lower[-1] = 0.5
    told = tuple(f"m{k}" for k in range(metabolites))
    return Network(
        f"generated-{metabolites}x{reactions}-{seed}", told, tuple(names), matrix, lower, upper,
        reactions - 2,
    )  # fmt: skip

"""Rows as they are drawn: nine classes, over-dispersed counts, compositions, and what follows.

Contacts, surface, area and dG follow parameters that are fitted to measured complexes
(`pipelines.protein_interfaces.complexes`). The other columns have constants of the literature, each
named where it stands, or of nobody: those make structure to be learned, and no claim.
"""

import numpy as np

from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import Columns
from pipelines.protein_interfaces.columns import (
    AREA,
    CHARACTERS,
    CLASSES,
    ENERGY,
    INTERFACE,
    IS,
    RESIDUES,
    SURFACE,
    WHOLE,
    WIDTH,
    hundredths,
)
from pipelines.protein_interfaces.complexes import Parameters, predict

# Large interfaces beside those of standard size: 20 of 75 (Lo Conte, Chothia and Janin 1999,
# J Mol Biol 285:2177); how much larger is of nobody.
LARGE, LARGER = 0.27, 1.5
# Amino acids of proteins, percent, in the order of `RESIDUES` (UniProtKB/Swiss-Prot, statistics).
BACKGROUND = np.array([
    8.25, 1.38, 5.46, 6.72, 3.86, 7.07, 2.27, 5.91, 5.80, 9.65,
    2.41, 4.06, 4.74, 3.93, 5.53, 6.65, 5.36, 6.86, 1.10, 2.92,
])  # fmt: skip
# Of the interface's amino acids each class has its own, drawn once: this is what makes the classes
# modes that can be told apart, and stands for nothing that was measured.
TILT, TILT_SEED = 0.5, 2015
# An interface is made of helices, strands or loops, which prefer other amino acids: conformational
# parameters of helix, strand and turn (Chou and Fasman 1978, Adv Enzymol 47:45), in the order of
# `RESIDUES`, to a power of nobody. Loops come in more segments, strands with more bonds.
STRUCTURES = np.array([
    [1.42, 0.70, 1.01, 1.51, 1.13, 0.57, 1.00, 1.08, 1.16, 1.21,
     1.45, 0.67, 0.57, 1.11, 0.98, 0.77, 0.83, 1.06, 1.08, 0.69],
    [0.83, 1.19, 0.54, 0.37, 1.38, 0.75, 0.87, 1.60, 0.74, 1.30,
     1.05, 0.89, 0.55, 1.10, 0.93, 0.75, 1.19, 1.70, 1.37, 1.47],
    [0.66, 1.19, 1.46, 0.74, 0.60, 1.56, 0.95, 0.47, 1.01, 0.59,
     0.60, 1.56, 1.52, 0.98, 0.95, 1.43, 0.96, 0.50, 0.96, 1.14],
])  # fmt: skip
STRUCTURE_SHARES, STRUCTURE_POWER = (0.35, 0.25, 0.40), 1.5
SEGMENTS, BONDS = np.array([0.10, 0.17, 0.30]), np.array([0.9, 1.6, 0.9])
# Dirichlet concentrations: of characters in the interface, and of amino acids within a character.
CHARACTER, WITHIN_INTERFACE, WITHIN_SURFACE = 60.0, 60.0, 80.0
AREA_OF_BOND = 170.0  # buried, for each hydrogen bond (Lo Conte et al. 1999)
WATERS = 0.010  # for each square Angstrom (Rodier et al. 2005, Proteins 60:36)
AREA_OF_RESIDUE, ATOMS_OF_RESIDUE = 36.0, 4.4  # buried, each side (Lo Conte et al. 1999)
DRY, DRIER = 0.3, 0.35  # share of dry interfaces, and their waters beside others': of nobody
WITHOUT_BRIDGES, BRIDGES = 0.25, 0.35  # no salt bridge at all; else for each charged pair
SMALLEST_AREA = 200.0


def tilted_compositions() -> np.ndarray:
    """Return the shares of amino acids within each character: (3 structures, 9 classes, 20)."""
    tilts = generator(TILT_SEED, Purpose.TRUTH).standard_normal((len(CLASSES), len(RESIDUES)))
    of_structures = STRUCTURES[:, None] ** STRUCTURE_POWER
    return _within(BACKGROUND * of_structures * np.exp(TILT * tilts))


def draw_rows(rng: np.random.Generator, rows: int, given: Parameters) -> Columns:
    """Draw rows: "X" (rows, 64) float32, and "y" (rows,) uint8, the class."""
    shares = np.array(given.shares) / np.sum(given.shares)
    edges = np.cumsum(shares)[:-1]
    labels = np.searchsorted(edges, rng.random(rows), side="right")
    x = np.empty((rows, WIDTH))
    large = rng.random(rows) < LARGE
    built = np.searchsorted(np.cumsum(STRUCTURE_SHARES)[:-1], rng.random(rows), side="right")
    contacts = _contacts(rng, labels, large, given)
    surface = _surface(rng, labels, given)
    x[:, :6] = contacts
    x[:, SURFACE] = surface / 100
    x[:, CHARACTERS] = surface @ IS.T / 100
    area = contacts @ np.array(given.area[:6]) + given.area[6]
    area *= 1 + given.area_spread * rng.standard_normal(rows)
    area = np.maximum(np.rint(area), SMALLEST_AREA)
    noise = given.energy_spread * rng.standard_normal(rows)
    x[:, AREA], x[:, ENERGY] = area, predict(contacts, x[:, CHARACTERS]) + noise
    interface = _interface(rng, labels, built, contacts)
    x[:, INTERFACE] = interface / 100
    x[:, SURFACE.stop :] = _further(rng, contacts, area, interface / WHOLE, large, built)
    return {"X": x.astype(np.float32), "y": labels.astype(np.uint8)}


def _contacts(
    rng: np.random.Generator, labels: np.ndarray, large: np.ndarray, given: Parameters
) -> np.ndarray:
    """Draw counts (rows, 6): negative binomial once the size is known."""
    mean = 1 + LARGE * (LARGER - 1)
    between = LARGE * (1 - LARGE) * (LARGER - 1) ** 2 / mean**2
    left = max((1 + given.size) / (1 + between) - 1, 0.01)
    size = np.where(large, LARGER, 1.0) / mean * _factor(rng, left, len(labels))
    dispersion = np.array(given.dispersion)
    own = rng.standard_gamma(np.broadcast_to(1 / dispersion, (len(labels), 6))) * dispersion
    found: np.ndarray = rng.poisson(np.array(given.contacts)[labels] * size[:, None] * own)
    return found


def _surface(rng: np.random.Generator, labels: np.ndarray, given: Parameters) -> np.ndarray:
    """Draw the surface's amino acids in hundredths, (rows, 20): characters, then within each."""
    characters = _dirichlet(rng, given.concentration * np.array(given.surface)[labels])
    within = rng.standard_gamma(np.broadcast_to(WITHIN_SURFACE * _within(BACKGROUND),
                                                (len(labels), len(RESIDUES))))  # fmt: skip
    return hundredths(_within(within) * (characters @ IS))


def _interface(
    rng: np.random.Generator, labels: np.ndarray, built: np.ndarray, contacts: np.ndarray
) -> np.ndarray:
    """Draw the interface's amino acids in hundredths: half of its characters are the contacts'."""
    cc, cp, ac, pp, ap, aa = contacts.T
    sides = np.stack([2 * pp + cp + ap, 2 * aa + ac + ap, 2 * cc + cp + ac], axis=1) + 1.0
    usual = BACKGROUND @ IS.T / BACKGROUND.sum()
    means = 0.5 * sides / sides.sum(axis=1, keepdims=True) + 0.5 * usual
    characters = _dirichlet(rng, CHARACTER * means)
    within = rng.standard_gamma(WITHIN_INTERFACE * tilted_compositions()[built, labels])
    return hundredths(_within(within) * (characters @ IS))


def _further(
    rng: np.random.Generator,
    contacts: np.ndarray,
    area: np.ndarray,
    interface: np.ndarray,
    large: np.ndarray,
    built: np.ndarray,
) -> np.ndarray:
    """Draw the counts that follow from contacts, area and composition, (rows, 13)."""
    rows, total = len(area), contacts.sum(axis=1)
    aromatic = interface[:, [RESIDUES.index(r) for r in "FHWY"]].sum(axis=1)
    cations = interface[:, [RESIDUES.index(r) for r in "KR"]].sum(axis=1)
    is_dry, has_bridges = rng.random(rows) < DRY, rng.random(rows) >= WITHOUT_BRIDGES
    split = rng.beta(20, 20, rows)
    sides = np.stack([split, 1 - split]) * area / AREA_OF_RESIDUE
    residues = 1 + rng.poisson(sides * _factor(rng, 0.01, (2, rows)))
    atoms = residues + rng.poisson(
        (ATOMS_OF_RESIDUE - 1) * residues * _factor(rng, 0.02, (2, rows))
    )
    waters = WATERS * area * np.where(is_dry, DRIER, 1.3) * _factor(rng, 0.08, rows)
    found = [
        rng.poisson(area / AREA_OF_BOND * BONDS[built] * _factor(rng, 0.08, rows)),
        rng.poisson(BRIDGES * contacts[:, 0] * has_bridges),
        rng.poisson(waters),
        rng.poisson(2 * total * aromatic**2),
        rng.poisson(2 * total * aromatic * cations),
        *residues,
        *atoms,
        *(1 + rng.poisson(residues * SEGMENTS[built])),
        1 + rng.poisson(np.where(large, 0.9, 0.15)),
        rng.poisson(area / 1500),
    ]
    return np.stack(found, axis=1)


def _factor(rng: np.random.Generator, variance: float, shape: int | tuple[int, ...]) -> np.ndarray:
    """Draw gamma factors of mean 1."""
    return rng.standard_gamma(1 / variance, shape) * variance


def _dirichlet(rng: np.random.Generator, concentrations: np.ndarray) -> np.ndarray:
    drawn = rng.standard_gamma(concentrations)
    found: np.ndarray = drawn / drawn.sum(axis=1, keepdims=True)
    return found


def _within(values: np.ndarray) -> np.ndarray:
    """Divide amino acids by the sum of those of their character, (..., 20)."""
    found: np.ndarray = values / (values @ IS.T @ IS)
    return found

"""The 81 measured complexes: read, predicted from, and fitted to.

They are those of the affinity benchmark (Kastritis et al. 2011) that PRODIGY's linear predictor was
made for (Vangone and Bonvin 2015, eLife 4:e07454).
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ooc.core.errors import InputError
from pipelines.protein_interfaces.columns import CLASSES, CONTACTS

FILE = "prodigy-interfaces.json"
# dG = contacts @ weights + surface @ weights + constant, kcal/mol; contacts are CC CP AC PP AP AA,
# percentages of the surface polar, apolar, charged.
OF_CONTACTS = np.array([-0.09459, 0.0, -0.10007, 0.19577, -0.22671, 0.0])
OF_SURFACE = np.array([0.0, 0.18681, 0.13810])
CONSTANT = -15.9433
# What its authors report on these complexes.
CORRELATION, ERROR = 0.74, 1.89
# A class of n complexes has the mean of all with the weight of so many.
OF_ALL = 4


@dataclass(frozen=True)
class Complexes:
    """The measured complexes.

    Attributes
    ----------
    names
        Entries of the Protein Data Bank.
    labels
        (81,) places in `CLASSES`.
    contacts
        (81, 6) counts.
    surface
        (81, 3) percent polar, apolar, charged.
    area, energy
        (81,) buried, square Angstrom, and measured dG, kcal/mol.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    contacts: np.ndarray
    surface: np.ndarray
    area: np.ndarray
    energy: np.ndarray

    def table(self) -> np.ndarray:
        """Return the first 11 columns of a row: contacts, area, dG, surface: (81, 11) float32."""
        parts = (self.contacts, self.area[:, None], self.energy[:, None], self.surface)
        return np.concatenate(parts, axis=1, dtype=np.float32)


@dataclass(frozen=True)
class Parameters:
    """What rows are drawn from; see `pipelines.protein_interfaces.world`.

    Attributes
    ----------
    shares
        (9,) of the classes.
    contacts
        (9, 6) mean counts.
    size
        Variance of the factor, of mean 1, that all contacts of an interface share.
    dispersion
        (6,) variance of the factor that each count has for itself.
    surface
        (9, 3) mean shares polar, apolar, charged.
    concentration
        Of the Dirichlet distribution of those.
    area
        (7,) square Angstrom for each contact, and the constant.
    area_spread, energy_spread
        Relative deviation of the area, and that of dG from the linear predictor.
    """

    shares: tuple[float, ...]
    contacts: tuple[tuple[float, ...], ...]
    size: float
    dispersion: tuple[float, ...]
    surface: tuple[tuple[float, ...], ...]
    concentration: float
    area: tuple[float, ...]
    area_spread: float
    energy_spread: float


def read(path: Path) -> Complexes:
    """Read the complexes.

    Raises
    ------
    InputError
        If the file is not there, or an entry lacks something.
    """
    try:
        entries = json.loads(path.read_text())
        keys = ("DG", "BSA", *CONTACTS, "nis_p", "nis_a", "nis_c")
        table = np.array([[float(each[key]) for key in keys] for each in entries.values()])
        labels = np.array([CLASSES.index(each["Functional_class"]) for each in entries.values()])
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; OOC_REAL_DATA names its folder") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not hold complexes as PRODIGY's: {error!r}") from None
    return Complexes(
        tuple(entries), labels, table[:, 2:8], table[:, 8:], table[:, 1], table[:, 0]
    )  # fmt: skip


def measured() -> Complexes | None:
    """Read the complexes from the folder that OOC_REAL_DATA names; None if it is not set."""
    folder = os.environ.get("OOC_REAL_DATA")
    return read(Path(folder) / FILE) if folder else None


def predict(contacts: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Return dG by the published predictor, kcal/mol: (rows,).

    Parameters
    ----------
    contacts, surface
        (rows, 6) counts and (rows, 3) percentages, as in `Complexes`.

    Examples
    --------
    >>> one = predict(np.array([[5, 4, 20, 2, 11, 25]]), np.array([[31.65, 41.77, 26.58]]))
    >>> one.round(2)  # 1A2K, for which -9.0 is published
    array([-9.05])
    """
    found: np.ndarray = contacts @ OF_CONTACTS + surface @ OF_SURFACE + CONSTANT
    return found


def agreement(complexes: Complexes) -> tuple[float, float]:
    """Return the correlation of the published predictor with dG, and its root mean square error."""
    told = predict(complexes.contacts, complexes.surface)
    error = math.sqrt(np.mean((told - complexes.energy) ** 2))
    return float(np.corrcoef(told, complexes.energy)[0, 1]), error


def fit(complexes: Complexes) -> Parameters:
    """Fit what rows are drawn from, by moments, to three digits.

    With a factor of mean 1 and variance v for all counts of an interface, and k_i for one of them,
    counts of mean m have cov(i, j) = m_i m_j v, and var(i) = m_i + m_i^2 ((1 + v)(1 + k_i) - 1).
    """
    labels, contacts = complexes.labels, complexes.contacts
    surface = complexes.surface / complexes.surface.sum(axis=1, keepdims=True)
    means = _class_means(contacts, labels)
    ratio = contacts / means[labels] - 1
    pairs = (ratio.T @ ratio / len(labels))[np.triu_indices(6, 1)]
    size = float(pairs.mean())
    spread = np.mean((contacts - means[labels]) ** 2 - contacts, axis=0)
    dispersion = (spread / np.mean(means[labels] ** 2, axis=0) + 1) / (1 + size) - 1
    shares = _class_means(surface, labels)
    variance = np.mean((surface - shares[labels]) ** 2, axis=0)
    concentration = float((shares * (1 - shares)).mean() / variance.mean() - 1)
    design = np.column_stack([contacts, np.ones(len(contacts))])
    area = np.linalg.lstsq(design, complexes.area, rcond=None)[0]
    told = design @ area
    counts = np.bincount(labels, minlength=len(CLASSES))
    return Parameters(
        shares=_digits(counts / len(labels)),
        contacts=tuple(map(_digits, means)),
        size=_digit(size),
        dispersion=_digits(np.maximum(dispersion, 0.02)),
        surface=tuple(map(_digits, shares)),
        concentration=_digit(concentration),
        area=_digits(area),
        area_spread=_digit(float(np.std(complexes.area / told))),
        energy_spread=_digit(agreement(complexes)[1]),
    )


def _class_means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    counts = np.bincount(labels, minlength=len(CLASSES))
    sums = np.stack([values[labels == c].sum(axis=0) for c in range(len(CLASSES))])
    found: np.ndarray = (sums + OF_ALL * values.mean(axis=0)) / (counts + OF_ALL)[:, None]
    return found


def _digit(value: float) -> float:
    return float(f"{value:.3g}")


def _digits(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(_digit, values.tolist()))


# What `fit` finds of the 81 complexes: taken where their file is not there.
FITTED = Parameters(
    shares=(0.111, 0.037, 0.148, 0.0494, 0.0864, 0.0988, 0.136, 0.0988, 0.235),
    contacts=(
        (5.2, 9.54, 16.0, 5.17, 16.6, 14.7),
        (6.23, 9.0, 18.2, 5.45, 17.4, 19.1),
        (5.98, 8.31, 20.2, 3.32, 17.4, 23.5),
        (6.95, 9.88, 16.6, 2.39, 11.7, 15.2),
        (7.06, 8.82, 16.0, 3.47, 12.7, 15.7),
        (5.38, 8.42, 14.8, 4.26, 15.3, 14.5),
        (7.24, 8.87, 15.5, 3.88, 14.1, 17.2),
        (7.63, 9.33, 16.8, 4.1, 16.2, 15.6),
        (7.55, 9.17, 15.4, 4.27, 13.6, 14.5),
    ),
    size=0.0615,
    dispersion=(0.411, 0.108, 0.0528, 0.356, 0.0476, 0.0332),
    surface=(
        (0.406, 0.348, 0.246),
        (0.376, 0.359, 0.265),
        (0.38, 0.367, 0.253),
        (0.328, 0.36, 0.311),
        (0.311, 0.373, 0.316),
        (0.364, 0.359, 0.278),
        (0.319, 0.353, 0.328),
        (0.36, 0.369, 0.27),
        (0.327, 0.373, 0.3),
    ),
    concentration=93.9,
    area=(37.4, 21.7, 16.1, 25.4, 15.0, 18.6, 251.0),
    area_spread=0.0952,
    energy_spread=1.88,
)

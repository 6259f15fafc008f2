"""What a row of 64 numbers is: names of columns, and which of them are counts and compositions."""

import numpy as np

CLASSES = ("A", "AB", "EI", "ER", "ES", "NC", "OG", "OR", "OX")
# Of docking benchmark 4 (Hwang et al. 2010), with NC for pairs that are not cognate.
CLASS_NAMES = {
    "A": "antibody and antigen", "AB": "antigen and bound antibody", "EI": "enzyme and inhibitor",
    "ER": "enzyme and regulator", "ES": "enzyme and substrate", "NC": "not cognate",
    "OG": "with a G protein", "OR": "with a receptor", "OX": "others",
}  # fmt: skip
STABLE = -9.0  # kcal/mol, or below

# Contacts between charged (C), polar (P) and apolar (A) residues.
CONTACTS = ("CC", "CP", "AC", "PP", "AP", "AA")
# Amino acids, and what they are on the surface that touches nothing (ProtScale's classes as
# PRODIGY takes them, Vangone and Bonvin 2015).
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
CHARGED, APOLAR = "DEKR", "AFILMPV"
FURTHER_COUNTS = (
    "hydrogen bonds", "salt bridges", "bridging waters", "aromatic pairs", "cation-pi pairs",
    "residues, first", "residues, second", "atoms, first", "atoms, second",
    "segments, first", "segments, second", "patches", "cavities",
)  # fmt: skip
NAMES = (
    *CONTACTS, "buried area", "dG", "surface polar %", "surface apolar %", "surface charged %",
    *(f"interface {residue} %" for residue in RESIDUES),
    *(f"surface {residue} %" for residue in RESIDUES),
    *FURTHER_COUNTS,
)  # fmt: skip
WIDTH = len(NAMES)
AREA, ENERGY = 6, 7
CHARACTERS = slice(8, 11)  # polar, apolar, charged: sums of the surface's amino acids
INTERFACE, SURFACE = slice(11, 31), slice(31, 51)
COUNTS = (*range(6), *range(51, 64))

# Of each amino acid whether it is polar, apolar, charged: (3, 20) bool.
IS = np.array(
    [
        [r not in CHARGED + APOLAR for r in RESIDUES],
        [r in APOLAR for r in RESIDUES],
        [r in CHARGED for r in RESIDUES],
    ]
)
WHOLE = 10_000  # hundredths of a percent


def hundredths(shares: np.ndarray) -> np.ndarray:
    """Round shares of a whole to hundredths of a percent that sum to 10,000: (rows, parts) int64.

    What is missing after cutting off goes to the largest remainders (Hamilton's method).

    Parameters
    ----------
    shares
        (rows, parts), not negative; each row is divided by its sum.

    Examples
    --------
    >>> hundredths(np.array([[1.0, 1.0, 1.0]]))
    array([[3334, 3333, 3333]])
    """
    exact = shares * (WHOLE / shares.sum(axis=1, keepdims=True))
    found = np.floor(exact).astype(np.int64)
    missing = WHOLE - found.sum(axis=1)
    order = np.argsort(found - exact, axis=1, kind="stable")
    first = np.arange(shares.shape[1]) < missing[:, None]
    np.put_along_axis(found, order, np.take_along_axis(found, order, axis=1) + first, axis=1)
    return found


def is_stable(rows: np.ndarray) -> np.ndarray:
    """Tell of rows, (rows, 64), which bind with -9 kcal/mol or less: (rows,) bool."""
    found: np.ndarray = rows[:, ENERGY] <= STABLE
    return found


def faults(rows: np.ndarray) -> dict[str, int]:
    """Count the rows that break a constraint, by its name; sums are of whole hundredths.

    A hundredth of a percent is not exact in float32: what is summed is the nearest whole number of
    hundredths, of which a value is at most 1e-3 away.

    Parameters
    ----------
    rows
        (rows, 64).
    """
    counts = rows[:, list(COUNTS)]
    percent = rows[:, CHARACTERS.start : SURFACE.stop].astype(np.float64) * 100
    whole = np.rint(percent).astype(np.int64)
    characters, interface, surface = whole[:, :3], whole[:, 3:23], whole[:, 23:]
    found = {
        "counts that are no counts": (counts < 0) | (counts != np.rint(counts)),
        "percentages that are no hundredths": (np.abs(percent - whole) > 1e-3) | (whole < 0),
        "interfaces that do not sum to 100": interface.sum(axis=1) != WHOLE,
        "surfaces that do not sum to 100": surface.sum(axis=1) != WHOLE,
        "characters that are not those of the surface": surface @ IS.T != characters,
        "areas that are not positive": rows[:, AREA] <= 0,
        "values that are not finite": ~np.isfinite(rows),
    }
    return {
        name: int(np.count_nonzero(bad.reshape(len(rows), -1).any(axis=1)))
        for name, bad in found.items()
    }

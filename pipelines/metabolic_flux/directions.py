"""Sparse directions of a null space, along which large spaces are walked between rounded ones.

In many dimensions a rounded direction moves every flux, and the least of them ends its step. A
direction of few fluxes goes further, and costs less; the rounded ones carry what is slow along
those.
"""

from dataclasses import dataclass

import numpy as np

# What elimination takes for zero, and digits that tell two fluxes apart.
_ZERO, _DIGITS = 1e-11, 8


@dataclass(frozen=True)
class Directions:
    """Directions in the null space, and one flux of each set of fluxes that move in proportion.

    Attributes
    ----------
    pointers, places, values
        (K + 1,), (nonzeros,) int64 and (nonzeros,) float64: direction k moves the `chosen` fluxes
        at places[pointers[k] : pointers[k + 1]].
    chosen
        (C,) places of fluxes among all.
    lower, upper
        (C,) float64: where any flux of the set meets a bound.
    """

    pointers: np.ndarray
    places: np.ndarray
    values: np.ndarray
    chosen: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def sparse_null_space(matrix: np.ndarray) -> np.ndarray:
    """Return a basis of the null space of a matrix (M, R) with few non-zeros, (D, R) float64.

    Rows are eliminated one after the other, the one with the fewest vectors first, and of those the
    one that fills in least (Markowitz 1957).

    Examples
    --------
    >>> sparse_null_space(np.array([[1.0, -1.0, -1.0]])).tolist()
    [[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    rows, columns = matrix.shape
    vectors: list[dict[int, float]] = [{j: 1.0} for j in range(columns)]
    left = [{int(m): float(matrix[m, j]) for m in np.flatnonzero(matrix[:, j])}
            for j in range(columns)]  # fmt: skip
    vectors_of = [{int(j) for j in np.flatnonzero(matrix[m])} for m in range(rows)]
    waiting, alive = set(range(rows)), set(range(columns))
    while waiting:
        row = min(waiting, key=lambda m: (len(vectors_of[m]), m))
        waiting.discard(row)
        if not vectors_of[row]:
            continue
        pivot = min(vectors_of[row], key=lambda j: (len(left[j]), len(vectors[j]), j))
        for other in sorted(vectors_of[row] - {pivot}):
            factor = -left[other][row] / left[pivot][row]
            _add(vectors[other], vectors[pivot], factor)
            before = set(left[other])
            left[other][row] = -factor * left[pivot][row]
            _add(left[other], left[pivot], factor)
            left[other].pop(row, None)
            for m in before - set(left[other]):
                vectors_of[m].discard(other)
            for m in set(left[other]) - before:
                vectors_of[m].add(other)
        for m in left[pivot]:
            vectors_of[m].discard(pivot)
        alive.discard(pivot)
    found = np.zeros((len(alive), columns))
    for number, each in enumerate(sorted(alive)):
        found[number, list(vectors[each])] = list(vectors[each].values())
    return found


def directions_of(
    basis: np.ndarray, state: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> Directions:
    """Return the directions of a sparse basis (D, R), with bounds (R,) met from a state (R,)."""
    moving = np.flatnonzero(np.any(basis != 0, axis=0))
    first = basis[np.argmax(basis[:, moving] != 0, axis=0), moving]
    told = np.round(basis[:, moving] / first, _DIGITS) + 0.0
    sets: dict[bytes, list[int]] = {}
    for number in range(len(moving)):
        sets.setdefault(told[:, number].tobytes(), []).append(number)
    chosen = np.array([moving[each[0]] for each in sets.values()])
    least, most = np.empty(len(chosen)), np.empty(len(chosen))
    for number, each in enumerate(sets.values()):
        ratios = first[each] / first[each[0]]
        ends = [(bound[moving[each]] - state[moving[each]]) / ratios for bound in (lower, upper)]
        least[number] = state[chosen[number]] + np.minimum(*ends).max()
        most[number] = state[chosen[number]] + np.maximum(*ends).min()
    rows, places = np.nonzero(basis[:, chosen])
    pointers = np.searchsorted(rows, np.arange(len(basis) + 1))
    return Directions(pointers, places, basis[:, chosen][rows, places], chosen, least, most)


def _add(target: dict[int, float], source: dict[int, float], factor: float) -> None:
    for key, value in source.items():
        total = target.get(key, 0.0) + factor * value
        if abs(total) < _ZERO:
            target.pop(key, None)
        else:
            target[key] = total

"""Why a kernel refused a row, in words that say what to do."""

from typing import Any

import numpy as np

from ooc.core.errors import DataError, DivergedError
from ooc.kernels.counters import BAD_TARGET, BAD_WEIGHT
from ooc.models.contract import Model
from ooc.models.declarations import needs_of
from ooc.store.joined import stored_number
from ooc.store.stores import told_row

# Beyond it, the squares of a few features are beyond float32.
LARGEST_FEATURE = 1e18


def explain(
    model: Model,
    status: int,
    row: str,
    values: np.ndarray,
    target: float | None,
    weight: float | None = None,
    where: str = "",
    roles: tuple[str | None, ...] = (None, None, None),
    holder: Any = None,
) -> DataError | DivergedError:
    """Tell a bad target from a bad feature from a step that was too long.

    Parameters
    ----------
    status, row
        What the kernel returned, and the row's place in the dataset, see `told_row`.
    where
        What `place_of` returned.
    roles
        Names of the arrays of features, targets and weights, where they are known.
    holder
        A window or a batch, which knows what its features are made of.
    """
    of_target, of_weight = (f" of {name}" if name else "" for name in roles[1:])
    if status == BAD_TARGET:
        taken = getattr(model, "targets", "other targets")
        largest = 0.0 if target is None else float(np.max(np.abs(target)))
        if float(np.finfo(np.float32).max) < largest < np.inf:
            taken = "numbers that float32 holds"
        return DataError(
            f"row {row}{of_target} has target {target}, but {model.name} takes {taken}; "
            "correct the row, name another target, or choose another model"
        )
    if status == BAD_WEIGHT:
        return DataError(
            f"row {row}{of_weight} has weight {weight}; weights are finite numbers of at "
            "least 0: correct the row, or name another weight"
        )
    flat = np.array(values, np.float64).reshape(-1)
    if getattr(model, "takes_missing", False):
        flat[np.isnan(flat)] = 0.0
    finite = np.isfinite(flat)
    if not finite.all():
        column = int(np.argmin(finite))
        value = np.asarray(values).reshape(-1)[column]
        of_features, place = _told_feature(holder, roles[0], column)
        return DataError(
            f"row {row}{of_features} has {value} in {place}; remove or fill such rows first"
        )
    scale = float(getattr(model, "scale", 1.0))
    if flat.size and np.abs(flat * scale).max() > LARGEST_FEATURE:
        largest = int(np.argmax(np.abs(flat)))
        scaled = "" if scale == 1 else f" times the scale of {scale:g}"
        of_features, place = _told_feature(holder, roles[0], largest)
        return DataError(
            f"row {row}{of_features} has {flat[largest]:g}{scaled} in {place}, whose "
            "square overflows float32; standardise the features (subtract the mean, divide by "
            "the standard deviation), scale them, or remove the row"
        )
    return DivergedError(
        f"the loss is not finite at row {row}{where}, whose data are finite: the steps are too "
        "long; lower the learning rate, or standardise the features"
    )


def explain_integers(model: Model, row: str, integers: np.ndarray) -> DataError:
    """Say which integer of a row a model does not take.

    Parameters
    ----------
    integers
        All that came of the row, as the kernel has them; the model tells by its `integer_bounds`,
        the least and the largest, which of them is none of its own.
    """
    low, high = getattr(model, "integer_bounds", (0, np.iinfo(np.int64).max))
    flat = np.asarray(integers).reshape(-1)
    is_own = (flat >= low) & (flat <= high)
    place = int(np.argmin(is_own))
    names = " and ".join(needs_of(model).integers) or "the features"
    return DataError(
        f"row {row} of {names} has {flat[place]} at place {place}, but {model.name} takes integers "
        f"from {low} to {high}; correct the row, or make the model for more"
    )


def _told_feature(holder: Any, features: str | None, place: int) -> tuple[str, str]:
    """Say of which array a feature is, and its place there."""
    array, own = stored_number(holder, features, place)
    return (f" of {array}" if array else ""), f"feature {own}"


def place_of(step: int, rate: float, rows: np.ndarray, holder: Any = None) -> str:
    """Name a step, its learning rate and the rows of its batch; `holder` knows their stores.

    Examples
    --------
    >>> place_of(7, 0.5, np.array([3, 1, 4, 1, 5]))
    ' (step 7, learning rate 0.5, batch of rows 3, 1, 4 and 2 more)'
    """
    first = ", ".join(told_row(holder, row) for row in rows[:3].tolist())
    rest = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f" (step {step}, learning rate {rate:g}, batch of rows {first}{rest})"

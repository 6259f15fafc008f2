"""Why a kernel refused a row, in words that say what to do."""

import numpy as np

from ooc.core.errors import DataError, DivergedError
from ooc.kernels.counters import BAD_TARGET


def explain(
    model: str,
    targets: str,
    status: int,
    row: int,
    values: np.ndarray,
    target: float | None,
    where: str = "",
) -> DataError | DivergedError:
    """Tell a bad target from a bad feature from a step that was too long.

    Parameters
    ----------
    model, targets
        The model's name, and what targets it takes.
    status
        What the kernel returned.
    row, values, target
        The row's place in the dataset, its features and its target.
    where
        Step, learning rate and batch, in words, as `place_of` gives them.
    """
    if status == BAD_TARGET:
        return DataError(
            f"row {row} has target {target}, but {model} takes {targets}; "
            "correct the row, name another target, or choose another model"
        )
    finite = np.isfinite(np.asarray(values, np.float64)).reshape(-1)
    if not finite.all():
        column = int(np.argmin(finite))
        value = np.asarray(values).reshape(-1)[column]
        return DataError(
            f"row {row} has {value} in feature {column}; remove or fill such rows first"
        )
    return DivergedError(
        f"the loss is not finite at row {row}{where}, whose data are finite: the steps are too "
        "long; lower the learning rate, or standardise the features"
    )


def place_of(step: int, rate: float, rows: np.ndarray) -> str:
    """Name a step, its learning rate and the rows of its batch.

    Examples
    --------
    >>> place_of(7, 0.5, np.array([3, 1, 4, 1, 5]))
    ' (step 7, learning rate 0.5, batch of rows 3, 1, 4 and 2 more)'
    """
    first = ", ".join(str(row) for row in rows[:3].tolist())
    rest = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f" (step {step}, learning rate {rate:g}, batch of rows {first}{rest})"

"""What a trained model says of rows: one of its outputs, also for an array in memory."""

from typing import Any

import numpy as np

from ooc.core.compile_child import load_kernels
from ooc.core.errors import InputError
from ooc.core.progress import silent
from ooc.models.contract import BatchLike, Model
from ooc.models.declarations import arrays_of, predictions_of
from ooc.runs.scoring import SCORED_BYTES, scoring_kernels
from ooc.store.held import hold
from ooc.store.sparse_rows import is_matrix
from ooc.stream.batch import Batch

# What outputs are made of, where a model has scores: no output of its own, and never stored.
SCORES = "scores"
# Outputs that are labels, where a model predicts any.
OF_LABELS = ("prediction", "median")


def output_of(model: Model, parameters: np.ndarray, batch: BatchLike, output: str) -> np.ndarray:
    """Return one of a model's outputs for a batch, (rows, ...).

    Raises
    ------
    InputError
        If it has none of this name.
    """
    scores: Any = getattr(model, "scores_in_unit", None)
    if output == SCORES and scores is not None:
        of_batch: Any = getattr(model, "batch_scores", None)
        found: np.ndarray = (
            scores(parameters, batch.features) if of_batch is None else of_batch(parameters, batch)
        )
        return found
    outputs = predictions_of(model, parameters, batch)
    if output not in outputs:
        known = ", ".join([*outputs, *([SCORES] if scores is not None else [])])
        raise InputError(f"the model has no output {output!r}; it has: {known}")
    return outputs[output]


def own_copy(values: np.ndarray, batch: Batch) -> np.ndarray:
    """Return an output that outlives the batch that it was made of.

    Examples
    --------
    >>> rows = np.float32([[1], [2]])
    >>> batch = Batch({"X": rows}, np.arange(2), 0, 0, ("X", None, None))
    >>> own_copy(rows[:, 0], batch).base is rows, own_copy(rows + 1, batch).tolist()
    (False, [[2.0], [3.0]])
    """
    arrays = [each for each in batch.arrays.values() if isinstance(each, np.ndarray)]
    is_shared = any(np.may_share_memory(values, each) for each in arrays)
    return values.copy() if is_shared else values


def predict_rows(
    model: Model, parameters: np.ndarray, row_shape: tuple[int, ...], rows: Any, output: str
) -> np.ndarray:
    """Return one of a model's outputs for the rows of an array, a few at a time.

    Raises
    ------
    InputError
        If they are not numbers of the shape that the model was trained on, or it has no such
        output, or it needs further arrays.
    """
    values = rows if is_matrix(rows) else np.asarray(rows)
    if values.shape[1:] != row_shape or values.ndim == 0:
        wanted = ", ".join(map(str, ("rows", *row_shape)))
        raise InputError(
            f"the model was trained on rows of shape {row_shape}: it takes an array of shape "
            f"({wanted}), or what ooc.open returns, not a {type(rows).__name__} of shape "
            f"{values.shape}"
        )
    if is_matrix(values):
        return _predict_sparse(model, parameters, values, output)
    dataset = hold({"X": values})
    arrays_of(model, dataset, with_target=False)
    load_kernels(scoring_kernels(model, dataset, with_target=False), silent)
    native, parts = values.dtype.newbyteorder("="), []
    step = max(1, SCORED_BYTES // max(1, values[:1].nbytes))
    for first in range(0, len(values), step):
        part = np.ascontiguousarray(values[first : first + step], native)
        numbers = np.arange(first, first + len(part))
        batch = Batch({"X": part}, numbers, 0, 0, dataset.roles)
        parts.append(output_of(model, parameters, batch, output))
    return np.concatenate(parts)


def _predict_sparse(model: Model, parameters: np.ndarray, rows: Any, output: str) -> np.ndarray:
    """Return one of a model's outputs for the rows of a SciPy matrix in CSR."""
    parts, count = [], rows.shape[0]
    step = max(1, SCORED_BYTES * count // max(1, rows.data.nbytes + rows.indices.nbytes))
    for first in range(0, count, step):
        part = rows[first : first + step]
        numbers = np.arange(first, first + part.shape[0])
        batch = Batch({"X": part}, numbers, 0, 0, ("X", None, None))
        parts.append(output_of(model, parameters, batch, output))
    return np.concatenate(parts)

"""The gradient of a batch by a model's kernel: the window loop, without a step."""

import numpy as np

from ooc.kernels.counters import LOSS_SUM, OK
from ooc.kernels.share import TOUCHED
from ooc.models.contract import BatchLike, Layout, Model
from ooc.models.declarations import Kernel, dtype_of
from ooc.models.loop import Rows, WindowLoop
from ooc.models.scratch import columns_of
from ooc.models.train_state import at_rest


def batch_gradient(
    model: Model, kernel: Kernel, parameters: np.ndarray, batch: BatchLike, out_grad: np.ndarray
) -> tuple[int, int, float]:
    """Fill a batch's mean gradient, (P,) float64.

    Returns
    -------
    status, row, loss
        `OK` and the loss summed over the rows, or the row of the dataset that cannot be used.
    """
    layout, count = model.layout(batch.features.shape[1:]), len(batch.rows)
    columns = columns_of(model, batch.arrays, batch.roles)
    state = at_rest(model, np.asarray(parameters, dtype_of(model)))
    loop = WindowLoop(model, layout, kernel, columns, state, count)
    loop.begin(batch.step, seed=batch.seed)
    arrays = {column.name: np.ascontiguousarray(batch.arrays[column.name]) for column in columns}
    rows = Rows(arrays, np.arange(count, dtype=np.int32), np.zeros(1, np.int64), count)
    status = loop.run(rows, flush=True, place=0)
    if status == OK:
        _spread(layout, loop, out_grad)
    row = int(batch.rows[loop.bad_row]) if status != OK and loop.bad_row >= 0 else -1
    return status, row, float(state.totals[0, LOSS_SUM])


def _spread(layout: Layout, loop: WindowLoop, out: np.ndarray) -> None:
    """Write the gradient to the whole vector, touched rows to their places."""
    start, rows, width = layout.touched_place
    out[:start] = loop.gradient[:start]
    if width == 0:
        return
    table = out[start:].reshape(rows, width)
    table[:] = 0.0
    # Gradients lie in the order in which shares named the rows, each once.
    names, reports = loop.scratch["touched"][0], loop.scratch["reports"][0]
    lists = [names[slot, : reports[slot, TOUCHED]] for slot in range(loop.sizes.slots)]
    touched = list(dict.fromkeys(np.concatenate(lists).tolist()))
    values = loop.gradient[start:].reshape(-1, width)
    table[touched] = values[: len(touched)]

"""What an engine will call, listed before it is made: so that a child compiles what is missing."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from ooc.core.compile_child import Compilation
from ooc.core.compiler import kernel_for, parts_of
from ooc.kernels.lane_loop import run_lane_window
from ooc.kernels.quasi_newton import learn
from ooc.kernels.window_loop import run_window
from ooc.kernels.work import WORK
from ooc.models.contract import Model
from ooc.models.declarations import dtype_of, kernel_for_data, phases_of
from ooc.models.loop import driver, make_loop
from ooc.models.step_kernels import with_lazy_penalties
from ooc.models.train_state import at_rest
from ooc.optim import Method, Optimizer, lazy, sgd
from ooc.optim.penalties import clip_scale
from ooc.optim.settings import SETTINGS, rate_at
from ooc.optim.step import step_piece
from ooc.store.chunks import reading_kernels
from ooc.store.dataset import Dataset
from ooc.store.transforms import transform_kernels
from ooc.stream.order import order_kernels


def engine_kernels(
    model: Model, dataset: Dataset, methods: Sequence[Method], batch_size: int, lanes: int = 1
) -> list[Compilation]:
    """Return the compilations that training needs: the loop, its parts, and the order of rows."""
    layout, dtype = model.layout(dataset.row_shape), dtype_of(model)
    settings, gradient, mask = np.zeros(SETTINGS), np.zeros(1), np.zeros(1, np.bool_)
    rest = [
        *parts_of(lambda: kernel_for_data(model, dataset)),
        *parts_of(lambda: _updates(model, methods, dtype)),
        *order_kernels(),
        *reading_kernels(dataset),
        *transform_kernels(dataset),
        kernel_for(rate_at, settings, 0),
    ]
    if getattr(model, "kernel", None) is None:
        piece = (1, np.zeros(1, dtype), gradient, np.zeros((0, layout.size)), settings, 0.0, 0)
        whole = kernel_for(step_piece, *piece, mask, 0, 1.0)
        return [whole, kernel_for(clip_scale, gradient, settings), *rest]
    # The largest come first: two children share them, and end together.
    found: list[Compilation] = []
    steps = {dtype} if any(each.optimizer is not None for each in methods) else set()
    exact = {np.dtype(np.float64)} if any(each.full is not None for each in methods) else set()
    for each in sorted(steps | exact, key=str):
        # Of sparse rows a range test, or an optimizer, may need other parts than a gradient.
        is_sparse = dataset.arrays[dataset.features].is_sparse
        penalised = with_lazy_penalties(methods, model, dataset, batch_size)
        for optimizers in ([], *([[each.optimizer for each in penalised], [sgd(1.0)]] * is_sparse)):
            for count in {1, lanes}:
                given = (model, dataset, each, batch_size, optimizers, count)
                found += parts_of(partial(_loop, *given))
        if any(one.optimizer is not None and one.optimizer.is_lazy for one in penalised):
            found.append(
                kernel_for(
                    lazy.write_settled, np.zeros(1, each), np.zeros((2, 1)), np.zeros(1, each)
                )
            )
        for take in (run_window, run_lane_window)[: 1 + (lanes > 1)]:
            found.append(kernel_for(take, np.zeros(1, WORK), each.type(1)))
    if any(each.full is not None and each.full.dense for each in methods):
        matrix, vector = np.zeros((1, 1)), np.zeros(1)
        rest.append(kernel_for(learn, matrix, vector, vector, 1.0, 1.0, 1.0))
    return [*found, *rest]


def _updates(model: Model, methods: Sequence[Method], dtype: np.dtype) -> None:
    """Ask for all updates and schedules, and for the step without length of a range test."""
    sgd(1.0).address(dtype)
    own = [phase.optimizer for phase in phases_of(model)]
    for optimizer in (*(method.optimizer for method in methods), *own):
        if optimizer is not None:
            optimizer.address(dtype)
            optimizer.rates.address()


def _loop(
    model: Model,
    dataset: Dataset,
    dtype: np.dtype,
    batch_size: int,
    optimizers: Sequence[Optimizer | None],
    lanes: int,
) -> None:
    """Ask for a loop and all that it may call; memory that nobody touches takes no room."""
    state = at_rest(model, np.zeros(model.layout(dataset.row_shape).size, dtype))
    loop = make_loop(model, dataset, state, batch_size, optimizers=optimizers, lanes=lanes)
    if loop.goes_parallel:
        driver(dtype, parallel=True)

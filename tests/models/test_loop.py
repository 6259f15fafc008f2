"""What binds a model to the loop: pieces, columns, sizes, and the bytes that the plan counts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bag import Bag
from hypothesis import given
from hypothesis import strategies as st
from linear_twin import problem, twin
from loops import loop_of
from recorder import Recorder

from ooc.core.errors import DataError
from ooc.kernels import work as places
from ooc.models import MLP, Layout, Logistic
from ooc.models.declarations import kernel_of
from ooc.models.scratch import columns_of, loop_bytes, pieces_of, width_of
from ooc.models.train_state import start
from ooc.optim import sgd
from ooc.stream.batch import Batch

FURTHER = {"a": (20, 3), "b": (20, 1), "ids": (20,), "more": (20, 2)}


def arrays_of(model: Any) -> dict[str, np.ndarray]:
    arrays = {"X": np.zeros((20, 2), np.float32), "y": np.zeros(20)}
    if model.name == "bag":
        return {"X": np.zeros((20, 3), np.int64), "y": np.zeros(20)}
    if model.name == "recorder":
        kinds = {"a": float, "b": float, "ids": int, "more": int}
        arrays |= {name: np.zeros(shape, kinds[name]) for name, shape in FURTHER.items()}
        arrays["w"] = np.zeros(20)
    return arrays


@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("batch", [1, 64, 5000])
@pytest.mark.parametrize(
    "model", [Logistic(), MLP((9,)), Bag(), Recorder(20)], ids=lambda model: model.name
)
def test_the_scratch_takes_the_bytes_that_the_plan_counts(
    model: Any, batch: int, models: int
) -> None:
    """No more than counted, and not many fewer."""
    arrays = arrays_of(model)
    layout = model.layout(arrays["X"].shape[1:])
    first = np.zeros(layout.size, getattr(model, "dtype", np.float32))
    loop = loop_of(model, arrays, start([sgd(0.1)] * models, first, model), batch, threads=8)
    kernel = kernel_of(model, layout, first)
    assert kernel is not None
    counted = loop_bytes(model, layout, kernel, loop.columns, batch, models)
    held = sum(array.nbytes for array in loop.scratch.values())
    assert held <= counted
    assert counted <= 1.5 * held + 70_000 * loop.sizes.threads


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    fixed=st.sets(st.integers(0, 5)),
    second=st.sets(st.integers(0, 5)),
    heavy=st.sets(st.integers(0, 5)),
    piece=st.integers(1, 12),
)
def test_pieces_are_all_that_is_trained_each_once(
    sizes: list[int], fixed: set[int], second: set[int], heavy: set[int], piece: int
) -> None:
    """With the phase and the decay of each parameter's part."""
    names = [str(number) for number in range(len(sizes))]
    layout = Layout(
        dict(zip(names, [(size,) for size in sizes], strict=True)),
        fixed=frozenset(name for name in names if int(name) in fixed),
        groups={name: "second" for name in names if int(name) in second},
    )
    decay = {name: 0.5 for name in names if int(name) in heavy}
    table, decays = pieces_of(layout, ("first", "second"), decay, piece)
    seen: dict[int, tuple[int, float]] = {}
    for (first, last, phase), own in zip(table.tolist(), decays.tolist(), strict=True):
        assert 0 < last - first <= piece
        for entry in range(first, last):
            assert entry not in seen
            seen[entry] = (phase, own)
    expected = {
        entry: (int(int(name) in second), 0.5 * (int(name) in heavy))
        for name, (first, last) in layout.spans().items()
        for entry in range(first, last)
        if int(name) not in fixed
    }
    assert seen == expected


def test_arrays_go_where_the_model_wants_them() -> None:
    model: Any = Recorder(20)
    found = arrays_of(model)
    columns = columns_of(model, found, ("X", "y", "w"))
    starts = {column.name: (column.place, column.start) for column in columns}
    assert starts == {
        "X": (places.FEATURES, 0),
        "y": (places.TARGETS, 0),
        "w": (places.WEIGHTS, 0),
        "a": (places.FURTHER, 0),
        "b": (places.FURTHER, 3),
        "ids": (places.INTEGERS, 0),
        "more": (places.INTEGERS, 1),
    }
    assert [width_of(columns, place) for place in range(5)] == [2, 1, 1, 4, 3]
    without = {name: kind for name, kind in found.items() if name != "w"}
    assert "w" not in {column.name for column in columns_of(model, without, ("X", "y", "w"))}


def test_a_batch_s_gradient_does_not_depend_on_memory_and_names_rows_of_the_dataset() -> None:
    x, y, weights, parameters, _ = problem("logistic", 300, 4, True, 1)
    model, gradient = Logistic(standardise=False), np.full(5, np.nan)
    rows = np.random.default_rng(1).permutation(10**6)[:300]
    batch = Batch(
        {"X": np.asfortranarray(x), "y": y[::-1][::-1], "w": weights}, rows, 0, 0, ("X", "y", "w")
    )
    loss = model.loss_and_grad(parameters, batch, gradient)
    expected, slope = twin("logistic", x, y, weights, parameters, True, 1)
    assert loss * 300 == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5)
    wrong = y.copy()
    wrong[123] = 3
    bad = replace(batch, arrays={**batch.arrays, "y": wrong})
    with pytest.raises(DataError, match=f"row {rows[123]} of y has target 3"):
        model.loss_and_grad(parameters, bad, gradient)

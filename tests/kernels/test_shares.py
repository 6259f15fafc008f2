"""Shares of a batch: what a model is handed, in any number, on any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_twin import model_of, problem
from loops import Stream, descend, loop_of, recut, stream_of
from recorder import Recorder, records_of

from ooc.core.random_keys import Purpose, key, prefix
from ooc.kernels.counters import OK
from ooc.models import MLP
from ooc.models.contract import Model
from ooc.models.declarations import Phase
from ooc.models.loop import Rows
from ooc.models.train_state import start
from ooc.optim import adam, sgd

ROWS = 1003
NETWORK = MLP((7,), "tanh", standardise=False, dropout=0.25, weight_decay=0.01)


def stream() -> Stream:
    x, y, weights, _, _ = problem("logistic", ROWS, 6, True, 1)
    return stream_of({"X": x, "y": y, "w": weights.astype(np.float32)}, (13, 14, 70))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("batch", [64, 250, 2000])
@pytest.mark.parametrize("model", [model_of("logistic"), NETWORK], ids=lambda m: m.name)
def test_no_bit_depends_on_threads(model: Model, batch: int, several: bool) -> None:
    optimizers = [sgd(0.1), adam(0.1, clip_norm=0.5)] if several else [adam(0.1)]
    first = model.init(model.layout((6,)), np.random.default_rng(1))
    sizes = {"most_rows": 24, "least_rows": 4, "shares": 8, "piece": 3}
    one, _ = descend(model, stream(), optimizers, first, batch, **sizes)
    two, loop = descend(model, stream(), optimizers, first, batch, parallel=True, **sizes)
    assert loop.threads == 2
    assert np.array_equal(one.parameters, two.parameters)
    assert np.array_equal(one.state, two.state)
    assert np.array_equal(one.totals, two.totals)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 3, 7])
def test_no_bit_depends_on_how_many_shares_have_a_slot(
    slots: int, several: bool, parallel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares that have no slot are added to sums on the way, in the same order."""
    model, optimizers = model_of("logistic"), [adam(0.1), sgd(0.1)][: 1 + several]
    first = model.init(model.layout((6,)), np.random.default_rng(1))
    for batch in (64, 333, 2000):
        whole, loop = descend(model, stream(), optimizers, first, batch, most_rows=8)
        assert loop.sizes.slots == loop.sizes.shares == -(-batch // 8)
        with monkeypatch.context() as patched:
            patched.setattr("ooc.models.scratch.MOST_SLOT_BYTES", 1)
            patched.setattr("ooc.models.scratch.FEWEST_SLOTS", slots)
            folded, loop = descend(
                model, stream(), optimizers, first, batch, parallel=parallel, most_rows=8
            )
        assert loop.sizes.slots == slots < loop.sizes.shares
        assert np.array_equal(whole.parameters, folded.parameters)
        assert np.array_equal(whole.state, folded.state)
        assert np.array_equal(whole.totals, folded.totals)


@pytest.mark.slow
@settings(max_examples=12)
@given(
    batch=st.integers(1, 200),
    most_rows=st.sampled_from([4, 8, 32]),
    places=st.sets(st.integers(0, ROWS), max_size=5),
)
def test_a_model_is_handed_every_row_once_in_shares_of_its_batches(
    batch: int, most_rows: int, places: set[int]
) -> None:
    """With the place in the batch, the number and the seed of the step, and the phase's turn."""
    rows = np.arange(ROWS)
    arrays = {
        "X": np.stack([rows, -rows], 1).astype(np.float32),
        "y": (rows % 7).astype(np.int8),
        "w": (rows % 5).astype(np.float64),
        "a": np.stack([rows * 2.0, rows * 3.0, rows * 5.0], 1),
        "b": (rows % 3).astype(np.float16),
        "ids": rows.astype(np.uint64) + 2**60,
        "more": np.stack([rows, rows + 2**40], 1),
    }
    whole = recut(stream_of(arrays, seed=4), sorted(places))
    model = Recorder(ROWS)
    train_state = start([sgd(1.0)], np.zeros(model.layout((2,)).size), model)
    loop = loop_of(model, arrays, train_state, batch, most_rows=most_rows)
    loop.begin(run_key=int(prefix(9, Purpose.BATCH)))
    for number in range(len(whole.windows)):
        last = number == len(whole.windows) - 1
        assert loop.run(whole.rows(number), last, place=0) == OK
    seen = records_of(train_state.parameters[0])
    assert len(seen) == ROWS
    for place, row in enumerate(whole.visited):
        step, inside = divmod(place, batch)
        share = loop.kernel.share_rows(batch)
        found = seen[int(row)]
        assert found["features"] == [row, -row]
        assert (found["target"], found["weight"]) == (row % 7, row % 5)
        assert found["further"] == [2 * row, 3 * row, 5 * row, row % 3]
        assert found["integers"] == [row, row, row]
        assert (found["step"], found["first"]) == (step, inside // share * share)
        assert found["turn"] == (0, 0, 1)[step % 3]
        assert found["seed"] == key(9, Purpose.BATCH, index=step) % 2**20


def test_one_seed_may_be_given_for_every_step() -> None:
    arrays = {name: np.ones((20, width)) for name, width in (("X", 2), ("a", 3), ("b", 1))}
    arrays |= {name: np.ones(20) for name in ("y", "w")}
    arrays |= {"ids": np.zeros(20, np.int64), "more": np.zeros((20, 2), np.int64)}
    arrays["X"][:, 0] = np.arange(20)
    model = Recorder(20)
    train_state = start([sgd(1.0)], np.zeros(model.layout((2,)).size), model)
    loop = loop_of(model, arrays, train_state, 5)
    loop.begin(step=100, seed=77)
    rows = Rows(arrays, np.arange(20, dtype=np.int32), np.zeros(1, np.int64), 20)
    assert loop.run(rows, True, place=0) == OK
    seen = records_of(train_state.parameters[0])
    assert {found["seed"] for found in seen.values()} == {77}
    assert [seen[row]["step"] for row in (0, 5, 19)] == [100, 101, 103]


def test_a_recorder_says_what_it_needs() -> None:
    assert Recorder.phases == (Phase("most", 2), Phase("rest", 1))

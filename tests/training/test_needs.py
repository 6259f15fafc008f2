"""What a run needs with an evaluation beside it, and which rows it trains and is evaluated on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.core.errors import InputError
from ooc.engines.engine import demand_of
from ooc.models import Linear, Logistic
from ooc.optim import adam, as_method, lbfgs, sgd
from ooc.store.dataset import Dataset
from ooc.store.selection import Selection
from ooc.stream.options import StreamOptions
from ooc.training.budget import Needs
from ooc.training.preparation import loaders_of
from ooc.training.trainer import Trainer

MODEL = Logistic(standardise=False)
STREAM = StreamOptions(
    memory="400MiB", seed=3, readers=9, io="direct", on_bad_chunk="skip", missing_values="fill:2",
    lanes=2,
)  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    x = rng.standard_normal((500, 5)).astype(np.float32)
    y = (x[:, 0] + rng.standard_normal(500) > 0).astype(np.int64)
    return write_dataset(tmp_path / "a.zarr", 10, X=x, y=y)


def needs_of(stream: StreamOptions = STREAM, **changes: Any) -> Needs:
    methods = [as_method(adam(0.1)), as_method(sgd(0.1))]
    return replace(Needs(methods, 32, 64, False, stream, None, 1000), **changes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_evaluation_is_held_beside_with_the_best_parameters_of_each(
    rows: Dataset, dtype: str
) -> None:
    model, needs = Logistic(standardise=False, dtype=dtype), needs_of()
    alone = demand_of(model, rows, needs.methods, 64, False, 1000, needs.stream.lanes)
    assert needs.demand(model, rows, None) == alone
    plan: Any = SimpleNamespace(projected=90_000, terms={"reserved": 50_000})
    best = 2 * 6 * np.dtype(dtype).itemsize
    expected = alone.model_bytes + (90_000 - 50_000 - 1000) + best
    assert needs.demand(model, rows, plan) == replace(alone, model_bytes=expected)


def test_rows_are_evaluated_by_the_smallest_loader_that_there_is() -> None:
    assert needs_of().scoring() == {
        "memory": "400MiB", "missing_values": "fill:2", "on_bad_chunk": "skip", "readers": 2,
        "window": 1,
    }  # fmt: skip


def selected(dataset: Dataset) -> np.ndarray:
    assert isinstance(dataset.selection, Selection)
    return np.flatnonzero(dataset.selection.contains(0, 500, {}))


@pytest.mark.parametrize("by", ["block", "row"])
@pytest.mark.parametrize("full", [False, True])
def test_a_share_is_held_out_as_a_split_by_the_run_s_seed(
    rows: Dataset, by: str, full: bool
) -> None:
    """A batch of all rows has those that are left; the others are read in order."""
    held = ooc.Validation(0.2, by=by)
    needs = needs_of(replace(STREAM, lanes=1), validation=held, full=full, batch_size=32)
    loader, held_out = loaders_of(needs, MODEL, rows)
    assert held_out is not None
    for seed, is_same in ((3, True), (0, False)):
        sides = ooc.split(rows, 0.2, seed=seed, by=by)
        found = [selected(loader.dataset), selected(held_out.dataset)]
        for one, other in zip(found, map(selected, sides), strict=True):
            assert np.array_equal(one, other) is is_same
    count = len(found[0])
    assert loader.plan.batch_size == (count if full else 32)
    assert loader.plan.largest_batch == (count if full else 64)
    assert loader.stream == replace(STREAM, lanes=1)
    evaluated = np.concatenate([batch.rows for batch in held_out])
    np.testing.assert_array_equal(evaluated, found[1])
    assert (held_out.stream.shuffle, held_out.plan.readers) == ("none", 2)
    assert held_out.stream.missing_values == "fill:2"
    assert held_out.plan.terms["held"] == loader.plan.terms["held"] == 1000


def test_a_dataset_of_its_own_is_evaluated_on_as_it_is(rows: Dataset, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "b.zarr", X=np.ones((30, 5), "f4"), y=np.arange(30) % 2)
    validation = ooc.Validation(other)
    assert validation.sides(rows, STREAM) == validation.largest_sides(rows) == (rows, other)
    whole, same = ooc.Validation(0.3, by="row").largest_sides(rows)
    assert whole is same and whole.rows == 500
    assert whole.selection is not None and whole.selection.by == "row"
    configs = [each.to_config() for each in (validation, ooc.Validation(0.3, 5, 2, "row"))]
    assert configs == [
        {"data": other.path, "every": None, "patience": None, "by": "block"},
        {"data": 0.3, "every": 5, "patience": 2, "by": "row"},
    ]


def test_missing_values_are_those_of_the_run_where_a_share_is_held_out(
    rows: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "ooc.training.watchers.validation.split",
        lambda *given, **more: seen.append((given, more)) or (rows, rows),
    )
    ooc.Validation(0.25, by="row").sides(rows, STREAM)
    ooc.Validation(by="y", groups=[4, 5]).sides(rows, STREAM)
    ooc.Validation(0.25, ordered=True, test=0.125).sides(rows, STREAM)
    rest = {"missing_values": "fill:2", "ordered": False, "groups": None}
    assert seen == [
        ((rows, 0.25, 3), {**rest, "by": "row"}),
        ((rows, 0.1, 3), {**rest, "by": "y", "groups": (4, 5)}),
        ((rows, (0.25, 0.125), 3), {**rest, "by": "block", "ordered": True}),
    ]


def test_the_steps_of_a_full_batch_are_of_the_rows_that_are_left(rows: Dataset) -> None:
    for optimizer in (sgd(0.1), lbfgs()):
        made = Trainer(MODEL, optimizer, "full", memory="512MiB", validation=ooc.Validation(0.2))
        results = made.fit(rows, 3).results
        assert (results["steps"], results["rows"]) == (3, 3 * 400)
        assert results["validation"]["loss"] > 0


def test_an_evaluation_that_cannot_be_is_refused_before_any_work(
    rows: Dataset, tmp_path: Path
) -> None:
    bare = write_dataset(tmp_path / "bare.zarr", X=np.ones((30, 5), "f4"))
    narrow = write_dataset(tmp_path / "narrow.zarr", X=np.ones((30, 4), "f4"), y=np.zeros(30))
    for data, told in (
        (bare, f"{bare.path} has no targets; name those to compare with by target="),
        (
            narrow,
            f"the model was trained on rows of shape (5,), but X of {narrow.path} has rows of "
            "shape (4,)",
        ),
    ):
        made = Trainer(MODEL, sgd(0.1), 32, memory="512MiB", validation=ooc.Validation(data))
        with pytest.raises(InputError) as error:
            made.fit(rows, 1, tmp_path / "run")
        assert str(error.value) == told
        assert not (tmp_path / "run").exists()


def test_rows_that_are_held_out_are_the_same_for_each_way_of_sampling(rows: Dataset) -> None:
    """Those that are drawn are never among them."""
    held = ooc.split(rows, 0.2, seed=3, by="block")[1]
    for sampling in ("once", "replacement", "balanced"):
        stream = StreamOptions(memory="512MiB", seed=3, sampling=sampling)
        made = Trainer(MODEL, sgd(0.1), 50, stream=stream, validation=ooc.Validation(0.2))
        run = made.fit(rows, 1)
        expected = run.evaluate(held, "512MiB")
        assert run.results["validation_loss"] == pytest.approx(expected["loss"], rel=1e-9)
        assert run.results["rows"] == 400
        drawn = np.concatenate([batch.rows for batch in made.loader(rows)])
        assert not np.isin(drawn, selected(held)).any()


def test_a_model_for_numbers_is_evaluated_in_the_unit_of_targets(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((200, 3)) * [1, 10, 100] + 5
    y = 1000 * x[:, 0] + 500 * rng.standard_normal(200)
    dataset = write_dataset(tmp_path / "a.zarr", 10, X=x, y=y)
    model = Linear(standardise=True, standardise_target=True)
    made = Trainer(
        model, sgd(0.1), 20, memory="512MiB", validation=ooc.Validation(0.2, by="row"), seed=4
    )
    run = made.fit(dataset, 2)
    held = ooc.split(dataset, 0.2, seed=4, by="row")[1]
    used = np.flatnonzero(held.selection.contains(0, 200, {}))  # type: ignore[union-attr]
    error = run.predict(x[used]).astype(float) - y[used]
    assert run.results["validation_loss"] == pytest.approx((error**2).mean() / 2, rel=1e-4)
    # What is standardised are the rows that are trained on, by their own moments.
    trained = np.setdiff1d(np.arange(200), used)
    views = run.layout.views(run.parameters)
    np.testing.assert_allclose(views["feature_mean"], x[trained].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(views["feature_deviation"], x[trained].std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(views["target_mean"], y[trained].mean(), rtol=1e-5)

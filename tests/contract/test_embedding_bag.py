"""Integers that stay integers, and a table of which only touched rows are updated."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from contract.cases import FIRST_ID, tagged_rows
from contract.embedding_bag import EmbeddingBag
from contract.twins import embedding, table_row
from ooc.core.errors import InputError
from ooc.models.declarations import arrays_of
from ooc.runs import checkpoint
from ooc.training.session import first_parameters


def test_labels_follow_from_identifiers_and_features(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    rows = write_dataset(tmp_path / "a.zarr", chunk_rows=128, **tagged_rows(8192, rng))
    trainer = ooc.Trainer(EmbeddingBag(), ooc.optim.adam(0.02), 128, memory="1GiB")
    run = trainer.fit(rows, epochs=5)
    assert run.evaluate(rows)["accuracy"] > 0.95
    loader = ooc.Loader(rows, 8192, memory="1GiB", shuffle="none")
    assert (run.predict(rows) == next(iter(loader))["y"]).mean() > 0.95


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint32"])
def test_neighbours_above_two_to_the_24_are_told_apart(tmp_path: Path, dtype: str) -> None:
    """Float32 takes both identifiers for one; here they have opposite labels."""
    assert np.float32(2**24) == np.float32(2**24 + 1)
    label = np.arange(640) % 2
    ids = (FIRST_ID + label).astype(dtype)[:, None]
    features = np.ones((640, 1), np.float32)
    rows = write_dataset(tmp_path / "a.zarr", X=features, ids=ids, y=label.astype(np.int8))
    model = EmbeddingBag(ids=1)
    places = model.places(np.array([FIRST_ID, FIRST_ID + 1]))
    assert places.tolist() == [table_row(FIRST_ID, 1024), table_row(FIRST_ID + 1, 1024)]
    run = ooc.Trainer(model, ooc.optim.adam(0.1), 64, memory="1GiB").fit(rows, epochs=3)
    assert run.evaluate(rows)["accuracy"] == 1


def test_rows_that_no_batch_touched_keep_bits_and_state(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    columns = tagged_rows(640, rng)
    rows = write_dataset(tmp_path / "a.zarr", **columns)
    model = EmbeddingBag()
    layout = model.layout((3,))
    ooc.Trainer(model, ooc.optim.adam(0.02), 64, memory="1GiB").fit(rows, 2, tmp_path / "run")
    arrays, _ = checkpoint.load(tmp_path / "run")
    first, stop = layout.spans()["table"]
    before = first_parameters(model, layout, 0, {})[first:stop].reshape(-1, model.width)
    after = arrays["parameters"][first:stop].reshape(-1, model.width)
    state = arrays["optimizer_state"][:, first:stop].reshape(-1, model.rows, model.width)
    touched = np.zeros(model.rows, bool)
    touched[[table_row(identifier, model.rows) for identifier in np.unique(columns["ids"])]] = True
    assert 40 < touched.sum() <= 60
    assert np.array_equal(after[~touched], before[~touched])
    assert not state[:, ~touched].any()
    assert (after[touched] != before[touched]).any(axis=1).all()
    assert state[1, touched].any(axis=1).all()


def test_a_lazy_adam_in_numpy_takes_the_same_steps(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Moments of a row decay when it is touched; the correction counts all steps of the run."""
    rows = write_dataset(tmp_path / "a.zarr", **tagged_rows(640, rng))
    model, rate = EmbeddingBag(rows=256, width=3), 0.02
    trainer = ooc.Trainer(model, ooc.optim.adam(rate), 16, memory="1GiB")
    run, layout = trainer.fit(rows, 1), model.layout((3,))
    parameters = first_parameters(model, layout, 0, {}).astype(np.float64)
    gradient, first, second = np.zeros((3, layout.size))
    table, stop = layout.spans()["table"]
    for batch in trainer.loader(rows):
        embedding(model, parameters, batch, gradient)
        lazy = gradient != 0
        lazy[:table] = True
        ids = np.unique([table_row(i, model.rows) for i in batch["ids"].ravel()])
        assert lazy[table:stop].sum() == len(ids) * model.width
        first[lazy] = 0.9 * first[lazy] + 0.1 * gradient[lazy]
        second[lazy] = 0.999 * second[lazy] + 0.001 * gradient[lazy] ** 2
        one, two = (1 - beta ** (batch.step + 1) for beta in (0.9, 0.999))
        move = rate * (first / one) / (np.sqrt(second / two) + 1e-8)
        parameters[lazy] -= move[lazy]
    moved = np.abs(parameters - first_parameters(model, layout, 0, {})).max()
    assert np.allclose(run.parameters, parameters, rtol=0, atol=1e-3 * moved)


def test_what_is_missing_or_no_integer_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    columns = tagged_rows(64, rng)
    model = EmbeddingBag()
    bare = {name: columns[name] for name in ("X", "y")}
    with pytest.raises(InputError, match="no array 'ids', which embedding_bag needs"):
        arrays_of(model, write_dataset(tmp_path / "bare.zarr", **bare))
    floats = bare | {"ids": columns["ids"].astype(np.float32)}
    with pytest.raises(InputError, match=r"ids .* has type float32, but embedding_bag needs int"):
        arrays_of(model, write_dataset(tmp_path / "floats.zarr", **floats))

"""How many rows are scored at a time, what that takes, and what is told on the way."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zarr
from datasets import write_dataset
from labelled import trainer, write_labelled
from random_runs import trained
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc import metrics
from ooc.core.errors import InputError
from ooc.core.progress import Progress
from ooc.engines.engine import scoring_bytes
from ooc.models import Linear, Logistic, Softmax
from ooc.runs import outputs, run_directory, scoring
from ooc.runs.run_directory import read_history
from ooc.runs.scoring import SCORED_BYTES, scoring_demand

MEMORY = "512MiB"


@pytest.mark.parametrize("with_target", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(20, 3), (80_000, 6), (10, 600_000)])
def test_so_many_rows_are_scored_at_a_time_that_they_take_two_mebibytes_with_their_outputs(
    tmp_path: Path, rows: int, columns: int, with_target: bool
) -> None:
    """One at least, and no more than there are; eight copies of the outputs are alive at once.

    Of rows there are fewer: a linear model scores them where they lie.
    """
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", shape=(rows, columns), chunks=(10, columns), dtype="f4")
    group.create_array("y", shape=(rows,), chunks=(10,), dtype="i8")
    dataset, model = ooc.open(tmp_path / "a.zarr"), Softmax(classes=4, standardise=False)
    layout = model.layout((columns,))
    outputs_of = model.predict(np.zeros(layout.size, np.float32), np.zeros((1, columns), "f4"))
    output_bytes = sum(each.nbytes for each in outputs_of.values())
    row_bytes = 4 * columns + 8 * with_target
    count, names, demand = scoring_demand(model, layout, dataset, with_target, 77)
    most = SCORED_BYTES // (row_bytes + output_bytes)
    assert count == {3: 20, 6: most, 600_000: 1}[columns] and (columns != 6 or 1 < most < rows)
    assert names == (("X", "y") if with_target else ("X",))
    held = 8 * layout.size + scoring_bytes(model, layout) + 8 * count * output_bytes
    if with_target:
        held += metrics.most_bytes(sum(each.size for each in outputs_of.values()))
    assert (demand.model_bytes, demand.batch_copies, demand.held_bytes) == (held, 3, 77)


def test_scores_of_a_linear_model_take_a_tile_or_changed_coefficients() -> None:
    """Not what a gradient takes, which has a tile for each share and sums for each thread."""
    layout, plain = Softmax(classes=4).layout((5000,)), Softmax(classes=4, standardise=False)
    assert scoring_bytes(plain, layout, is_sparse=True) == 0
    changed = scoring_bytes(Softmax(classes=4, standardise=True), layout, is_sparse=True)
    assert changed >= 8 * 2 * layout.size
    tile = scoring_bytes(plain, layout)
    assert 4 * 4 * 5000 <= tile <= plain.scratch_bytes(layout, 128)
    network = ooc.models.MLP(hidden=(8,))
    assert scoring_bytes(network, network.layout((5000,))) >= network.scratch_bytes(
        network.layout((5000,)), 128
    )


def test_progress_is_told_after_the_first_batch_each_fiftieth_and_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).standard_normal((365, 6)).astype(np.float32)
    dataset, run = write_dataset(tmp_path / "a.zarr", X=x), trained(Linear(standardise=False))
    monkeypatch.setattr(scoring, "SCORED_BYTES", 3 * (6 * 4 + 4) + 1)
    for call in (
        lambda told: run.predict(dataset, memory=MEMORY, report=told),
        lambda told: run.predict_to(dataset, tmp_path / "out.zarr", MEMORY, told),
    ):
        told: list[Progress] = []
        call(told.append)
        found = [each for each in told if each.memory_budget_bytes]
        assert [each.rows for each in found] == [3, 153, 303, 365]
        assert {each.total_rows for each in found} == {365}
        assert [each.bytes for each in found] == [24 * each.rows for each in found]
        assert any(each.text == "reading the first rows" for each in told)


def test_a_sparse_matrix_is_scored_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any matrix of SciPy's in CSR, as its rows would be were they dense, and its store."""
    matrix = random_matrix(90, 6, 0.5)
    run = trained(Logistic(standardise=False))
    dense = run.predict(matrix.toarray(), "probability")
    store = ooc.open(write_sparse(tmp_path / "a.zarr", matrix))
    np.testing.assert_allclose(run.predict(store, "probability", MEMORY), dense, rtol=1e-5)
    for size in (1, 200, 2**20):
        monkeypatch.setattr(outputs, "SCORED_BYTES", size)
        for given in (matrix, scipy.sparse.csr_matrix(matrix)):
            np.testing.assert_allclose(run.predict(given, "probability"), dense, rtol=1e-5)
    with pytest.raises(InputError, match=r"takes an array of shape \(rows, 6\)"):
        run.predict(matrix[:, :5])


def test_rows_in_memory_have_the_numbers_of_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = trained(Linear(standardise=False)), list[Any]()

    def noted(model: Any, parameters: Any, batch: Any, output: str) -> np.ndarray:
        seen.append((batch.rows.tolist(), batch.features.shape[0], output))
        return np.zeros(len(batch.rows))

    monkeypatch.setattr(outputs, "output_of", noted)
    monkeypatch.setattr(outputs, "SCORED_BYTES", 3 * 6 * 8)
    rows = np.ones((8, 6))
    for given, each in ((rows, 3), (scipy.sparse.csr_array(rows), 2)):
        seen.clear()
        assert len(run.predict(given, "scores")) == 8
        assert [number for numbers, *_ in seen for number in numbers] == list(range(8))
        assert max(count for _, count, _ in seen) == each
        assert {output for *_, output in seen} == {"scores"}


def test_what_a_model_says_is_named_where_there_is_no_such_output() -> None:
    for model, names in (
        (Logistic(standardise=False), "prediction, probability, scores"),
        (SimpleNamespace(predict=lambda parameters, features: {"a": features}, name="own"), "a"),
    ):
        batch: Any = ooc.runs.outputs.Batch(
            {"X": np.ones((2, 6), np.float32)}, np.arange(2), 0, 0, ("X", None, None)
        )
        with pytest.raises(InputError) as error:
            outputs.output_of(model, np.zeros(7, np.float32), batch, "odds")  # type: ignore[arg-type]
        assert str(error.value) == f"the model has no output 'odds'; it has: {names}"


def test_a_new_run_begins_its_history_anew_where_one_had_only_begun(tmp_path: Path) -> None:
    dataset = write_labelled(tmp_path / "a.zarr")
    for name in ("", "a", "b"):
        (tmp_path / "run" / name).mkdir(exist_ok=True, parents=True)
        run_directory.append_history(tmp_path / "run" / name, {"kind": "train", "step": 99})
    optimizers = {"a": ooc.optim.sgd(0.1), "b": ooc.optim.sgd(0.2)}
    trainer().fit_many(dataset, optimizers, 1, tmp_path / "run")
    for name in optimizers:
        steps = [line["step"] for line in read_history(tmp_path / "run" / name)]
        assert max(steps) == 24
    until = ooc.Callbacks(lambda now: now.step == 2)
    (tmp_path / "alone").mkdir()
    run_directory.append_history(tmp_path / "alone", {"kind": "train", "step": 99})
    trainer().fit(dataset, 1, tmp_path / "alone", callbacks=until, stop=threading.Event())
    assert max(line["step"] for line in read_history(tmp_path / "alone")) == 2

"""What a trainer is given comes to where it counts, and what does not fit is refused whole."""

import platform
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import scipy
import zarr
from datasets import write_dataset
from labelled import write_labelled

import ooc
from ooc.core.errors import InputError
from ooc.models import Linear, Logistic
from ooc.optim import adam, hybrid, lbfgs, momentum, sgd
from ooc.optim.schedules import cosine
from ooc.runs import checkpoint
from ooc.store.dataset import Dataset
from ooc.stream.options import StreamOptions
from ooc.training.session import check_same, load_train_state, tracks_of, versions, with_rates
from ooc.training.trainer import Trainer
from ooc.version import VERSION

STREAM = StreamOptions(
    memory="600MiB", seed=3, shuffle="blocks", window=4, lanes=2, readers=2, io="buffered",
    on_bad_chunk="skip", missing_values="drop", block_rows=50,
)  # fmt: skip


@pytest.fixture
def labelled(tmp_path: Path) -> Dataset:
    return write_labelled(tmp_path / "a.zarr")


def trainer(**more: Any) -> Trainer:
    options: dict[str, Any] = {"stream": STREAM, **more}
    return Trainer(Logistic(standardise=False), sgd(0.1), 64, **options)


def stopped(made: Trainer, dataset: Dataset, folder: Path) -> None:
    stop = threading.Event()
    until = ooc.Callbacks(lambda now: stop.set() if now.step == 5 else None)
    made.fit(dataset, 2, folder, stop=stop, callbacks=until)


def told(call: Any) -> str:
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def test_a_resume_is_that_of_the_trainer_as_it_was_with_what_is_given_now(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bits depend on what was saved; where, when and how it is told is free."""
    made = trainer(
        steering=ooc.Steering(batch=[(3, 96)]),
        validation=ooc.Validation(0.2, every=7, patience=9, by="row"),
    )
    stopped(made, labelled, tmp_path / "run")
    seen: list[Any] = []
    monkeypatch.setattr(Trainer, "resume", lambda *given: seen.extend(given) or "gone on")
    ooc.resume(tmp_path / "run")
    assert seen[0] == made_again(made) and seen[1].path == labelled.path
    assert seen[2:] == [tmp_path / "run", True, None, ooc.Callbacks(), False, (), None]
    seen.clear()
    given: dict[str, Any] = {
        "report": lambda progress: None, "stop": threading.Event(),
        "callbacks": ooc.Callbacks(every=3), "same_data": True, "trackers": [print],
        "client": object(),
    }  # fmt: skip
    saving, other = ooc.Saving(every_steps=2, keep=1), replace(labelled, target="y")
    free = {"memory": "500MiB", "readers": 5, "io": "direct"}
    found: Any = ooc.resume(tmp_path / "run", other, saving=saving, log_every=11, **given, **free)
    assert found == "gone on"
    stream = replace(STREAM, **free)
    again = replace(made_again(made), saving=saving, log_every=11, stream=stream)
    assert seen[0] == again
    assert seen[1] is other and seen[2:] == [tmp_path / "run", *given.values()]


def made_again(made: Trainer) -> Trainer:
    """Return a trainer of the settings that bits depend on, and of the same budget."""
    method = ooc.optim.as_method(made.optimizer)  # type: ignore[arg-type]
    stream = replace(made.stream, readers=None, io="auto")
    return replace(made, optimizer=method, stream=stream)


@pytest.mark.slow
def test_what_a_resume_cannot_have_is_told_whole(labelled: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stopped(trainer(), labelled, run)
    assert told(lambda: ooc.resume(run, seed=4)) == (
        "there is no option 'seed' here; those of the stream are: memory, readers, io"
    )
    side = ooc.split(labelled, 0.2, seed=1)[0]
    stopped(trainer(), side, tmp_path / "side")
    arrays, saved = checkpoint.load(tmp_path / "side")
    saved["trained_on"] = None  # as an earlier version did not note it
    checkpoint.save(tmp_path / "side", 5, arrays, saved, keep=1)
    assert told(lambda: ooc.resume(tmp_path / "side")) == (
        f"the run in {tmp_path}/side was trained on one side of a split of {labelled.path}; give "
        "that side with dataset="
    )
    held = trainer(validation=ooc.Validation(ooc.split(labelled, 0.2, seed=1)[1]))
    stopped(held, side, tmp_path / "held")
    assert told(lambda: ooc.resume(tmp_path / "held")) == (
        f"the run in {tmp_path}/held is evaluated on {labelled.path}; make its trainer again, and "
        "call its resume"
    )
    assert held.resume(side, tmp_path / "held").results["epochs"] == 2


def test_a_run_of_before_an_option_was_there_did_as_its_default_says(
    labelled: Dataset, tmp_path: Path
) -> None:
    made = trainer(stream=StreamOptions(memory="512MiB"))
    whole = made.fit(labelled, 2).results
    stopped(made, labelled, tmp_path / "run")
    arrays, saved = checkpoint.load(tmp_path / "run")
    del saved["trainer"]["lanes"], saved["trainer"]["missing_values"]
    checkpoint.save(tmp_path / "run", 5, arrays, saved)
    assert "setting: lanes was None, here it is 1" in told(lambda: ooc.resume(tmp_path / "run"))
    seen: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "resume", lambda *given: seen.extend(given))
        ooc.resume(tmp_path / "run")
    assert seen[0].stream == StreamOptions(memory="512MiB")
    assert whole["epochs"] == 2


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "change",
    [
        {"finished": 1}, {"finished": None}, {"epochs": 0}, {"row_shape": [4]},
        {"position": {"epoch": -1}}, {"position": {"epoch": 3}},
    ],
)  # fmt: skip
def test_a_place_where_no_run_was_saved_is_refused(
    labelled: Dataset, tmp_path: Path, change: dict[str, Any]
) -> None:
    made = trainer()
    stopped(made, labelled, tmp_path)
    arrays, saved = checkpoint.load(tmp_path)
    if change == {"epochs": 0}:
        saved["position"]["epoch"] = 1
    for name, value in change.items():
        saved[name] = {**saved[name], **value} if isinstance(value, dict) else value
    checkpoint.save(tmp_path, 5, arrays, saved, keep=1)
    assert told(lambda: made.resume(labelled, tmp_path)).startswith(
        f"the checkpoint in {tmp_path} holds what ooc does not save (ValueError: "
    )


def test_bits_depend_on_these_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert versions() == {
        "ooc": VERSION, "numpy": np.__version__, "numba": numba.__version__,
        "scipy": scipy.__version__, "python": platform.python_version(),
    }  # fmt: skip
    here = {"a": (1, 2), "b": {"c": 0.5}}
    check_same("runs/a", "setting", {"a": [1, 2], "b": {"c": 0.5}}, here)
    assert told(lambda: check_same("runs/a", "setting", {"a": [1, 3], "b": {"c": 1}}, here)) == (
        "runs/a cannot go on with another setting: a was [1, 3], here it is [1, 2]; b.c was 1, "
        "here it is 0.5; use the setting of the run, or train anew in another directory"
    )


def test_tracks_have_names_folders_and_settings_of_their_own(tmp_path: Path) -> None:
    methods: Any = {"a": sgd(0.1), "b": adam(0.2)}
    for run_dir, folders in ((tmp_path, [tmp_path / "a", tmp_path / "b"]), (None, [None, None])):
        tracks = tracks_of({"seed": 5, "optimizer": "other"}, methods, run_dir)
        assert [track.name for track in tracks] == ["a", "b"]
        assert [track.folder for track in tracks] == folders
        for track, method in zip(tracks, methods.values(), strict=True):
            assert track.settings == {"seed": 5, "optimizer": method.to_config()}


def test_rates_are_found_for_those_that_have_none_and_schedules_span_the_run(
    labelled: Dataset,
) -> None:
    model, texts = Logistic(standardise=False), list[str]()
    loader = trainer(stream=StreamOptions(memory="512MiB")).loader(labelled)
    methods = [sgd(0.5, schedule=cosine(warmup=4)), momentum(), lbfgs(), sgd(schedule=cosine(9))]
    first = np.zeros(6, np.float32)
    given: Any = [ooc.optim.as_method(each) for each in methods]
    known, found = with_rates(given, model, loader, first, 3, lambda now: texts.append(now.text))
    optimizers: list[Any] = [each.optimizer for each in known]
    # 1500 rows in batches of 64: 24 steps an epoch.
    assert optimizers[0] == sgd(0.5, schedule=cosine(3 * 24 - 4, warmup=4))
    assert optimizers[1].rates == cosine(3 * 24)
    assert optimizers[2] is None and optimizers[3].schedule == cosine(9)
    assert found is not None and optimizers[3].rate == found.rate
    assert optimizers[1].rate > 0
    assert texts == ["trying learning rates"] * 2
    known, found = with_rates(given[:1], model, loader, first, 3)
    assert found is None


def test_what_a_descent_was_saved_with_is_what_it_goes_on_with() -> None:
    model = Linear(standardise=False, standardise_target=False)
    method = ooc.optim.as_method(adam(0.1))
    arrays = {
        "iterate": np.arange(4, dtype=np.float32), "optimizer_state": np.ones((2, 4)),
        "totals": load_size(model, method),
    }  # fmt: skip
    state = load_train_state(method, arrays, model)
    np.testing.assert_array_equal(state.parameters[0], arrays["iterate"])
    np.testing.assert_array_equal(state.state[0], arrays["optimizer_state"])
    np.testing.assert_array_equal(state.totals[0], arrays["totals"])
    for name, wrong, why in (
        ("iterate", np.zeros(4), "iterate of type float64"),
        ("iterate", np.zeros((2, 2), np.float32), "iterate of type float32"),
        ("optimizer_state", np.ones((1, 4)), r"optimizer_state of shape \(1, 4\), not \(2, 4\)"),
        ("optimizer_state", np.ones((2, 4), "f4"), r"optimizer_state of shape \(2, 4\), not"),
        ("totals", np.ones(3), r"totals of shape \(3,\), not"),
    ):
        with pytest.raises(ValueError, match=why):
            load_train_state(method, {**arrays, name: wrong}, model)


def load_size(model: Any, method: Any) -> np.ndarray:
    """Return totals as a descent has them, with numbers in."""
    from ooc.models.train_state import start

    return start([method], np.zeros(4, np.float32), model).totals[0] + 7.0


def test_settings_that_do_not_go_together_are_told_whole(labelled: Dataset, tmp_path: Path) -> None:
    model, steering = Logistic(), ooc.Steering(batch=[(0, 8)])
    many = Trainer(model, sgd(), 64)
    refusals: dict[str, Any] = {
        'batch_size is a number of rows, or "full", not \'all\'': lambda: Trainer(
            model, sgd(), "all"
        ),
        "log_every must be a whole number of at least 1, not 0": lambda: Trainer(
            model, sgd(), log_every=0
        ),
        "there is no batch to steer where a step takes all rows": lambda: Trainer(
            model, sgd(), "full", steering=steering
        ),
        "there is nothing to train: give at least one optimizer": lambda: many.fit_many(
            labelled, {}
        ),
        "lbfgs asks for passes of its own; train it with fit": lambda: many.fit_many(
            labelled, {"a": sgd(0.1), "b": lbfgs()}
        ),
        "'a/b' cannot be the name of a folder; choose another name": lambda: many.fit_many(
            labelled, {"a/b": sgd(0.1)}
        ),
        "'' cannot be the name of a folder; choose another name": lambda: many.fit_many(
            labelled, {"": sgd(0.1)}
        ),
        "a batch of 1501 rows is larger than the dataset of 1500 rows; lower the batch size to "
        "1500 or less": lambda: Trainer(model, sgd(0.1), 1501, memory="512MiB").fit(labelled),
    }  # fmt: skip
    for message, refused in refusals.items():
        assert told(refused) == message
    assert Trainer(model, hybrid(), 64, steering=steering).steering is steering


@pytest.mark.parametrize("taken", ["", "b"])
def test_a_sweep_s_place_and_those_of_all_its_runs_are_free_before_any_work(
    labelled: Dataset, tmp_path: Path, taken: str
) -> None:
    folder = tmp_path / "sweep" / taken
    checkpoint.save(folder, 1, {"a": np.zeros(1)}, {})
    with pytest.raises(InputError, match=f"^{folder} already holds a run"):
        trainer().fit_many(labelled, {"a": sgd(0.1), "b": sgd(0.2)}, 1, tmp_path / "sweep")
    assert not (tmp_path / "sweep" / "a").exists()


def test_optimizers_in_a_row_are_named_by_their_numbers(labelled: Dataset) -> None:
    runs = trainer().fit_many(labelled, [sgd(0.1), sgd(0.2)], 1)
    assert list(runs) == ["0", "1"]
    assert [run.results["learning_rate"] for run in runs.values()] == [0.1, 0.2]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("batch", "epochs", "steps"), [(64, 9, 9 * 24), (1500, 200, 200), ("full", 200, 200)]
)
def test_by_default_there_are_as_many_epochs_as_two_hundred_steps_take(
    labelled: Dataset, batch: Any, epochs: int, steps: int
) -> None:
    run = Trainer(Logistic(standardise=False), sgd(0.01), batch, memory="512MiB").fit(labelled)
    assert (run.results["epochs"], run.results["steps"]) == (epochs, steps)


def test_rows_of_a_full_gradient_are_read_in_their_order(labelled: Dataset) -> None:
    made = Trainer(Logistic(standardise=False), lbfgs(), memory="512MiB")
    assert made.loader(labelled).plan.order.shuffle == "none"
    assert made.loader(labelled).plan.batch_size == 1500
    mixed = Trainer(Logistic(standardise=False), hybrid(), 64, memory="512MiB").loader(labelled)
    assert (mixed.plan.order.shuffle, mixed.plan.batch_size) == ("blocks", 64)


def test_a_run_knows_what_its_features_are_called(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "a.zarr", X=np.eye(20, 3), y=np.arange(20) % 2)
    made, stop = (
        Trainer(Logistic(standardise=False), sgd(0.1), 5, memory="512MiB"),
        threading.Event(),
    )
    assert made.fit(dataset, 1).feature_names == ()
    zarr.open_group(dataset.path, mode="r+")["X"].attrs["feature_names"] = ["u", "v", "w"]
    until = ooc.Callbacks(lambda now: stop.set() if now.step == 1 else None)
    first = made.fit(dataset, 2, tmp_path / "run", stop=stop, callbacks=until)
    again = ooc.resume(tmp_path / "run", report=False)
    assert first.results["steps"] == 1 and again.results["steps"] == 8
    for run in (first, again, ooc.load(tmp_path / "run")):
        assert run.feature_names == ("u", "v", "w")

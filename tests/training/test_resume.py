"""A run that is saved anywhere, killed or stopped, ends with the bits of one that never was."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from pairs import few

import ooc
from ooc.core.errors import DivergedError, InputError
from ooc.models import MLP, Linear, Logistic
from ooc.optim import OPTIMIZERS, adam, averaged, momentum, sgd
from ooc.optim.schedules import cosine, plateau
from ooc.runs import checkpoint
from ooc.runs.run_directory import HISTORY, locked, read_history
from ooc.store.dataset import Dataset
from ooc.training.trainer import Trainer
from ooc.training.watchers.callbacks import Callbacks
from ooc.training.watchers.saver import Saving
from ooc.training.watchers.steering import Steering
from ooc.training.watchers.validation import Validation

MEMORY = "768MiB"


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 16 * 2**10)


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    x = rng.standard_normal((1500, 5)).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(1500) > 0).astype(np.int64)
    return write_dataset(tmp_path / "labelled.zarr", chunk_rows=50, X=x, y=y)


def stopped_after(step: int) -> tuple[Callbacks, threading.Event]:
    """Return what stops a run right after a step, as a signal would."""
    stop = threading.Event()

    def at_step(now: object) -> None:
        if now.step >= step:  # type: ignore[attr-defined]
            stop.set()

    return Callbacks(step_end=at_step), stop


def interrupted(trainer: Trainer, dataset: Dataset, epochs: int, step: int, folder: Path) -> None:
    callbacks, stop = stopped_after(step)
    run = trainer.fit(dataset, epochs, folder, stop=stop, callbacks=callbacks)
    assert run.results["steps"] == step


@pytest.mark.slow
@pytest.mark.parametrize(
    "trainer",
    [
        Trainer(Logistic(), momentum(0.1, l2=1e-3), 128, memory=MEMORY),
        Trainer(MLP(hidden=(6,), dropout=0.3), adam(0.01), 128, memory=MEMORY),
    ],
    ids=["linear", "network"],
)
def test_saved_and_restored_at_every_step(
    labelled: Dataset, tmp_path: Path, trainer: Trainer
) -> None:
    """24 steps in two epochs and several windows; batches cross them."""
    whole = trainer.fit(labelled, 2, tmp_path / "whole").results
    assert whole["steps"] == 24
    for step in range(1, 25):
        folder = tmp_path / str(step)
        interrupted(trainer, labelled, 2, step, folder)
        assert checkpoint.steps(folder)[-1] == step
        other = replace(trainer, readers=step % 3 + 1)
        resumed = other.resume(labelled, folder).results
        for key in ("parameters_sha256", "steps", "rows", "epochs", "loss"):
            assert resumed[key] == whole[key], (step, key)


@pytest.mark.slow
@pytest.mark.parametrize("name", few(OPTIMIZERS, ["adam", "averaged"]))
def test_every_optimizer_goes_on(labelled: Dataset, tmp_path: Path, name: str) -> None:
    """With a schedule over the run, both penalties, clipping, evaluations and a standardisation."""
    optimizer = OPTIMIZERS[name](0.02, l1=1e-4, l2=1e-3, clip_norm=0.5, schedule=cosine(warmup=3))
    trainer = Trainer(
        Logistic(standardise=True, class_weights="balanced"),
        optimizer,
        64,
        memory=MEMORY,
        validation=Validation(0.2, every=5),
    )
    whole = trainer.fit(labelled, 2, tmp_path / "whole").results
    interrupted(trainer, labelled, 2, 17, tmp_path / "part")
    resumed = ooc.resume(tmp_path / "part", readers=1).results
    for key in ("parameters_sha256", "validation_loss", "best_step", "loss"):
        assert resumed[key] == whole[key]


@pytest.mark.slow
def test_the_plateau_s_factor_and_patience_go_on(labelled: Dataset, tmp_path: Path) -> None:
    trainer = Trainer(
        Logistic(),
        sgd(4.0, schedule=plateau(0.5, patience=1)),
        16,
        memory=MEMORY,
        validation=Validation(0.3, every=4, patience=6),
        log_every=1,
    )
    whole = trainer.fit(labelled, 5, tmp_path / "whole")
    assert whole.results["stopped_early"]
    rates = {line["learning_rate"] for line in whole.history if line["kind"] == "train"}
    assert len(rates) > 1
    interrupted(trainer, labelled, 5, 15, tmp_path / "part")
    resumed = ooc.resume(tmp_path / "part")
    assert resumed.results["parameters_sha256"] == whole.results["parameters_sha256"]
    assert resumed.results["steps"] == whole.results["steps"]


@pytest.mark.slow
def test_a_full_gradient_goes_on(labelled: Dataset, tmp_path: Path) -> None:
    for model in (Logistic(), MLP(hidden=(4,), dropout=0.2)):
        trainer = Trainer(model, adam(0.1), "full", memory=MEMORY)
        whole = trainer.fit(labelled, 6, tmp_path / f"{model.name}-whole").results
        assert whole["steps"] == 6
        interrupted(trainer, labelled, 6, 3, tmp_path / model.name)
        assert (
            ooc.resume(tmp_path / model.name).results["parameters_sha256"]
            == whole["parameters_sha256"]
        )


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("each", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch_size", [700, "full"])
def test_a_batch_that_was_begun_is_begun_anew(
    labelled: Dataset, tmp_path: Path, batch_size: int | str, each: bool
) -> None:
    """Stopped at the end of a window, most of them in the middle of a batch."""
    trainer = Trainer(Logistic(), adam(0.1), batch_size, memory=MEMORY)
    whole = trainer.fit(labelled, 2).results
    windows = trainer.loader(labelled).plan.order.windows
    assert windows > 2
    for number in range(1, 2 * windows) if each else (1, windows, windows + 1):
        stop, seen, folder = threading.Event(), [], tmp_path / str(number)

        def after_window(
            progress: object,
            stop=stop,
            seen=seen,
            number=number,  # type: ignore[no-untyped-def]
        ) -> None:
            seen.append(progress)
            if len(seen) == number:
                stop.set()

        trainer.fit(labelled, 2, folder, after_window, stop)
        resumed = trainer.resume(labelled, folder).results
        for key in ("parameters_sha256", "steps", "rows", "loss"):
            assert resumed[key] == whole[key], (number, key)


@pytest.mark.slow
def test_a_found_rate_is_that_of_the_resumed_run(labelled: Dataset, tmp_path: Path) -> None:
    trainer = Trainer(Logistic(), averaged(), 64, memory=MEMORY)
    whole = trainer.fit(labelled, 2).results
    assert whole["learning_rate"] > 0
    interrupted(trainer, labelled, 2, 9, tmp_path / "part")
    resumed = ooc.resume(tmp_path / "part").results
    assert resumed["parameters_sha256"] == whole["parameters_sha256"]
    assert resumed["learning_rate"] == whole["learning_rate"]


@pytest.mark.slow
def test_the_best_parameters_may_be_of_before_the_stop(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Noise is learned by heart, so that evaluations are best at the beginning."""
    noise = rng.standard_normal((400, 60)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=noise, y=rng.integers(0, 2, 400))
    validation = Validation(0.5, every=1, by="row")
    trainer = Trainer(Logistic(), sgd(0.5), 50, memory=MEMORY, validation=validation)
    whole = trainer.fit(dataset, 8)
    interrupted(trainer, dataset, 8, 20, tmp_path / "run")
    assert 0 < whole.results["best_step"] < 20
    best = [line for line in whole.history if line["kind"] == "validation" and line["best"]][-1]
    assert best["step"] == whole.results["best_step"]
    for key in ("loss", "accuracy", "auc"):
        assert whole.results["validation"][key] == best[key]
    assert whole.results["validation_loss"] == best["loss"]
    resumed = ooc.resume(tmp_path / "run")
    assert np.array_equal(resumed.parameters, whole.parameters) and whole.parameters.any()
    for name in ("best_step", "validation_loss", "validation"):
        assert resumed.results[name] == whole.results[name]


def test_a_finished_run_is_returned_as_it_is(labelled: Dataset, tmp_path: Path) -> None:
    run = Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY).fit(labelled, 1, tmp_path / "run")
    again = ooc.resume(tmp_path / "run")
    assert np.array_equal(again.parameters, run.parameters)
    assert again.results["seconds"] == run.results["seconds"]


DAMAGES = [
    b"\xff\xfe\x00\n", b'{"step": "x"}\n', b"x" * 3 * 2**20 + b"\n", b"[1, 2]\n", b"7\n",
    b"null\n", b"{}\n", b'{"step": null, "kind": 3}\n', b"[" * 100_000 + b"\n", b"{\n", b"\n",
]  # fmt: skip


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "damage",
    [pytest.param(each, marks=[pytest.mark.slow] * (at > 2)) for at, each in enumerate(DAMAGES)],
    ids=range(11),
)
def test_a_damaged_history_is_no_reason_to_stop(
    labelled: Dataset, tmp_path: Path, damage: bytes
) -> None:
    trainer = Trainer(
        Logistic(), sgd(0.1), 64, memory=MEMORY, log_every=5, saving=Saving(every_steps=5)
    )
    whole = trainer.fit(labelled, 2).results
    interrupted(trainer, labelled, 2, 13, tmp_path)
    history = tmp_path / HISTORY
    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join([lines[0], damage, *lines[1:], damage[:-1]]))
    resumed = trainer.resume(labelled, tmp_path)
    assert resumed.results["parameters_sha256"] == whole["parameters_sha256"]
    steps = [line["step"] for line in read_history(tmp_path) if line["kind"] == "train"]
    assert steps == sorted({*steps, 5, 10, 15})
    assert len(ooc.load(tmp_path).history) == len(list(read_history(tmp_path)))


def test_history_has_each_step_once_and_a_cut_line_is_left_out(
    labelled: Dataset, tmp_path: Path
) -> None:
    trainer = Trainer(
        Logistic(), sgd(0.1), 64, memory=MEMORY, log_every=1, saving=Saving(every_steps=5)
    )
    interrupted(trainer, labelled, 2, 13, tmp_path)
    newest = max((tmp_path / checkpoint.FOLDER).glob("*"))
    newest.unlink()
    with (tmp_path / HISTORY).open("a") as stream:
        stream.write('{"kind": "train", "st')
    trainer.resume(labelled, tmp_path)
    steps = [line["step"] for line in read_history(tmp_path) if line["kind"] == "train"]
    assert steps == list(range(1, 49))
    kinds = {line["kind"] for line in read_history(tmp_path)}
    assert kinds == {"train", "resume", "checkpoint"}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "another setting: seed was 0, here it is 1"),
        ({"batch_size": 32}, "batch_size was 64, here it is 32"),
        ({"model": Linear()}, "model.name was logistic, here it is linear"),
        ({"optimizer": sgd(0.2)}, r"optimizer.rate was 0.1, here it is 0.2"),
        ({"memory": "500MiB"}, None),
    ],
)
def test_another_setting_is_refused_with_the_difference(
    labelled: Dataset, tmp_path: Path, change: dict[str, object], message: str | None
) -> None:
    trainer = Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY)
    interrupted(trainer, labelled, 2, 9, tmp_path)
    other = replace(trainer, **change)  # type: ignore[arg-type]
    if message is None:
        other.resume(labelled, tmp_path)
        return
    with pytest.raises(InputError, match=message):
        other.resume(labelled, tmp_path)


def test_another_plan_is_refused_with_the_difference(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY)
    interrupted(trainer, labelled, 2, 9, tmp_path)
    small_windows(monkeypatch, 4 * 2**10)
    with pytest.raises(InputError, match="blocks_per_window was"):
        trainer.resume(labelled, tmp_path)


def test_another_dataset_is_refused_with_the_difference(
    labelled: Dataset, tmp_path: Path, rng: np.random.Generator
) -> None:
    trainer = Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY)
    interrupted(trainer, labelled, 2, 9, tmp_path / "run")
    x, y = rng.standard_normal((1500, 5)).astype(np.float32), np.arange(1500) % 2
    same_shape = write_dataset(tmp_path / "b.zarr", chunk_rows=50, X=x, y=y)
    with pytest.raises(InputError, match="another dataset: sampled_rows_sha256 was"):
        trainer.resume(same_shape, tmp_path / "run")
    longer = write_dataset(tmp_path / "c.zarr", chunk_rows=50, X=np.vstack([x, x]), y=np.tile(y, 2))
    with pytest.raises(InputError, match="rows was 1500, here it is 3000"):
        ooc.resume(tmp_path / "run", dataset=longer)
    shutil.rmtree(labelled.path)
    with pytest.raises(InputError, match="does not exist"):
        ooc.resume(tmp_path / "run")


def test_another_version_is_refused_with_the_difference(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY)
    interrupted(trainer, labelled, 2, 9, tmp_path)
    monkeypatch.setattr("ooc.training.session.VERSION", "99.0")
    with pytest.raises(InputError, match=r"another version: ooc was .*, here it is 99\.0"):
        ooc.resume(tmp_path)


def test_two_processes_on_one_directory_are_refused(labelled: Dataset, tmp_path: Path) -> None:
    trainer = Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY)
    interrupted(trainer, labelled, 2, 9, tmp_path / "run")
    with (
        locked(tmp_path / "run"),
        pytest.raises(InputError, match=r"is being trained in by process \d+"),
    ):
        ooc.resume(tmp_path / "run")
    ooc.resume(tmp_path / "run")


def test_a_damaged_newest_checkpoint_costs_only_the_work_since_the_one_before(
    labelled: Dataset, tmp_path: Path
) -> None:
    trainer = Trainer(Logistic(), adam(0.1), 64, memory=MEMORY, saving=Saving(every_steps=4))
    whole = trainer.fit(labelled, 2).results
    interrupted(trainer, labelled, 2, 14, tmp_path)
    newest = max((tmp_path / checkpoint.FOLDER).glob("*"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="is damaged.*took that of step 12"):
        resumed = ooc.resume(tmp_path).results
    assert resumed["parameters_sha256"] == whole["parameters_sha256"]


def test_a_run_directory_tells_a_person_what_it_holds(labelled: Dataset, tmp_path: Path) -> None:
    Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY).fit(labelled, 1, tmp_path)
    told = json.loads((tmp_path / checkpoint.DESCRIPTION).read_text())
    for key in ("model", "optimizer", "plan", "position", "versions", "fingerprint", "results"):
        assert told[key]
    assert told["parameters_sha256"] == told["results"]["parameters_sha256"]


@pytest.mark.slow
def test_a_run_that_diverges_leaves_its_last_good_checkpoint(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((1000, 4)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 50, X=x, y=x.sum(axis=1))
    trainer = Trainer(Linear(), sgd(2.0), 10, memory=MEMORY, saving=Saving(every_steps=1))
    told = r"not finite .*step \d+.* learning rate 2.*holds the run after step (\d+)"
    with pytest.raises(DivergedError, match=told):
        trainer.fit(dataset, 50, tmp_path / "run")
    left = ooc.load(tmp_path / "run")
    assert left.results["steps"] > 1
    assert np.isfinite(left.parameters).all()


def test_a_run_from_another_folder_goes_on(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset that was named from one folder is found from another."""
    monkeypatch.chdir(tmp_path)
    trainer = Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY)
    interrupted(trainer, ooc.open("labelled.zarr"), 2, 9, tmp_path / "run")
    monkeypatch.chdir("/")
    assert ooc.resume(tmp_path / "run").results["epochs"] == 2


def test_roles_and_all_else_of_the_data_are_those_of_the_run(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Beside arrays of the usual names that it did not use; a chunk is not there."""
    x = rng.standard_normal((1500, 5)).astype(np.float32)
    y, odd = (x[:, 0] > 0).astype(np.int64), np.full(1500, np.nan)
    write_dataset(tmp_path / "a.zarr", 50, X=np.full_like(x, np.nan), Z=x, t=y, y=odd, weight=odd)
    (tmp_path / "a.zarr" / "Z" / "c" / "2" / "0").unlink()
    dataset = ooc.open(tmp_path / "a.zarr", "Z", "t", False, "fill")
    schedule = [(0, 1.0), (30, 0.5)]
    steering = Steering(temperature=schedule, by="batch", largest=256, every=4)
    trainer = Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY, steering=steering)
    whole = trainer.fit(dataset, 2).results
    interrupted(trainer, dataset, 2, 17, tmp_path / "part")
    resumed = ooc.resume(tmp_path / "part").results
    for key in ("parameters_sha256", "steps", "loss"):
        assert resumed[key] == whole[key]
    saved = json.loads((tmp_path / "part" / "run.json").read_text())["dataset"]
    path = str(tmp_path / "a.zarr")
    expected = {"path": path, "features": "Z", "target": "t", "weight": None, "missing": "fill"}
    assert saved == expected


@pytest.mark.slow
def test_a_real_limit_on_files_loses_nothing(labelled: Dataset, tmp_path: Path) -> None:
    """The kernel refuses to write more: one line, status 2, and the checkpoint before is whole."""
    interrupted(Trainer(Logistic(), sgd(0.1), 64, memory=MEMORY), labelled, 2, 9, tmp_path / "run")
    code = (
        "import resource, signal, sys\n"
        "from ooc.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        f"sys.exit(main(['resume', {str(tmp_path / 'run')!r}]))"
    )
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, "NUMBA_CACHE_DIR": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2, done.stderr
    assert "the checkpoint of step 9 is whole" in done.stderr or "File too large" in done.stderr
    assert checkpoint.load(tmp_path / "run")[1]["step"] == 9


Saved, Arrays = dict[str, Any], dict[str, np.ndarray]


def lost_model(saved: Saved, arrays: Arrays) -> None:
    del saved["model"]


def lost_trainer(saved: Saved, arrays: Arrays) -> None:
    del saved["trainer"]


def lost_position(saved: Saved, arrays: Arrays) -> None:
    del saved["position"]


def lost_watchers(saved: Saved, arrays: Arrays) -> None:
    saved["watchers"]["recorder"] = {}
    saved["watchers"]["recorder"]["rows"] = "many"


def null_model(saved: Saved, arrays: Arrays) -> None:
    saved["model"] = None


def negative_row_shape(saved: Saved, arrays: Arrays) -> None:
    saved["row_shape"] = [-4, -1]


def text_row_shape(saved: Saved, arrays: Arrays) -> None:
    saved["row_shape"] = "4"


def lost_parameters(saved: Saved, arrays: Arrays) -> None:
    del arrays["parameters"], arrays["iterate"]


def complex_parameters(saved: Saved, arrays: Arrays) -> None:
    arrays["parameters"] = arrays["iterate"] = arrays["iterate"].astype(np.complex64)


def text_parameters(saved: Saved, arrays: Arrays) -> None:
    arrays["parameters"] = arrays["iterate"] = arrays["iterate"].astype("U8")


def more_parameters(saved: Saved, arrays: Arrays) -> None:
    arrays["parameters"] = arrays["iterate"] = np.zeros(99, np.float32)


def other_state(saved: Saved, arrays: Arrays) -> None:
    arrays["optimizer_state"] = np.zeros((1, 1))


ODD = (
    lost_model, lost_trainer, lost_position, lost_watchers, null_model, negative_row_shape,
    text_row_shape, lost_parameters, complex_parameters, text_parameters, more_parameters,
    other_state,
)  # fmt: skip
LOADED = (lost_trainer, lost_position, lost_watchers, other_state)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("change", ODD, ids=lambda change: change.__name__)
def test_a_checkpoint_that_is_consistent_but_odd_is_refused_in_a_line(
    labelled: Dataset,
    tmp_path: Path,
    change: Callable[[Saved, Arrays], object],
) -> None:
    """Its hashes are right, and all checkpoints say the same."""
    trainer = Trainer(Logistic(), adam(0.1), 64, memory=MEMORY, saving=Saving(every_steps=5))
    interrupted(trainer, labelled, 2, 7, tmp_path)
    arrays, saved = checkpoint.load(tmp_path)
    change(saved, arrays)
    checkpoint.save(tmp_path, 7, arrays, saved, keep=1)
    for use in (ooc.resume, ooc.load):
        if use is ooc.load and change in LOADED:
            continue
        with pytest.raises(InputError) as told:
            use(tmp_path)
        assert "\n" not in str(told.value)
        assert str(tmp_path) in str(told.value)

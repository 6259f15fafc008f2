"""Python and the shell have the same defaults: the same settings give the same bits."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from datasets import write_dataset
from shell import Seen, make_small

import ooc
from ooc.cli import main
from ooc.cli.training import _show_sweep, stopping_signals
from ooc.core.stopping import Interrupted, status_of
from ooc.store.dataset import Dataset
from ooc.training.watchers.steering import Steering


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        (["--lr", "0.1"], ooc.optim.sgd(0.1)),
        ([], ooc.optim.sgd()),
        (["--optimizer", "lbfgs"], ooc.optim.lbfgs()),
    ],
    ids=["rate", "no rate", "all rows"],
)
def test_a_trainer_and_the_shell_give_the_same_bits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    optimizer: ooc.optim.Optimizer | ooc.optim.Method,
) -> None:
    """On rows sorted by their label, where the window for them is not what fits."""
    monkeypatch.setattr("ooc.stream.plan.LARGEST_WINDOW", 32 * 2**10)
    x = np.random.default_rng(0).standard_normal((20_000, 5)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", 100, X=x, y=np.arange(20_000) // 10_000)
    trainer = ooc.Trainer(ooc.models.Logistic(), optimizer)
    run = trainer.fit(dataset)
    fitting = ooc.Loader(dataset, 256, window="fit").plan.order.blocks_per_window
    assert run.results["blocks_per_window"] > fitting or optimizer.name == "lbfgs"
    command = ["train", dataset.path, "--model", "logistic", "--run", str(tmp_path / "run")]
    assert main([*command, *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parameters_sha256"] == run.results["parameters_sha256"]
    assert told["blocks_per_window"] == run.results["blocks_per_window"]


TRAINED = """
    --model logistic --standardise no --no-intercept --feature-scale 1/4 --class-weights 1,5
    --optimizer adam:0.8,0.9 --lr 0.5 --l2 0.25 --l1 0.125 --clip-norm 3 --schedule step:10,0.5
    --warmup 4 --batch-size 64 --epochs 3 --memory 512MiB --seed 9 --window 4 --lanes 2
    --readers 3 --io buffered --on-bad-chunk skip --missing-values fill:2 --block-rows 20
    --validation 0.25 --validation-by row --evaluate-every 7 --patience 2 --save-seconds 5
    --save-steps 11 --keep 2 --log-every 6 --temperature 0=1,50=0.5 --temperature-by batch
    --largest-batch 128 --steer-every 8 --missing fill --no-weight --run there
"""
SCORED = "--missing fill --missing-values drop --memory 300MiB --features X"


def test_every_option_comes_to_the_trainer(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shell makes the trainer that Python makes of the same settings."""
    seen = Seen()
    monkeypatch.setattr(ooc.Trainer, "fit", lambda *given, trackers: seen(*given, trackers))
    assert main(["train", dataset.path, *TRAINED.split()]) == 2
    assert "ooc: seen" in capsys.readouterr().err
    trainer, opened, epochs, run_dir, *_ = seen.given[0]
    schedule = ooc.schedules.staircase(10, 0.5, warmup=4)
    assert trainer == ooc.Trainer(
        ooc.models.Logistic(
            standardise=False, intercept=False, scale=0.25, class_weights=(1.0, 5.0)
        ),
        ooc.optim.adam(0.5, 0.8, 0.9, l2=0.25, l1=0.125, clip_norm=3.0, schedule=schedule),
        64,
        validation=ooc.Validation(0.25, every=7, patience=2, by="row"),
        saving=ooc.Saving(5.0, every_steps=11, keep=2),
        log_every=6,
        steering=Steering(temperature=[(0, 1.0), (50, 0.5)], by="batch", largest=128, every=8),
        memory="512MiB", seed=9, window=4, lanes=2, readers=3, io="buffered",
        on_bad_chunk="skip", missing_values="fill:2", block_rows=20,
    )  # fmt: skip
    assert isinstance(opened, Dataset)
    assert (opened.missing, opened.roles) == ("fill", ("X", "y", None))
    assert (epochs, run_dir) == (3, Path("there"))


def test_every_option_comes_to_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    monkeypatch.setattr("ooc.training.resume.resume", seen)
    options = "--memory 300MiB --readers 2 --io direct --same-data --save-seconds 7 --save-steps 3"
    assert main(["resume", "there", *options.split(), "--keep", "1", "--log-every", "4"]) == 2
    (run_dir,), given = seen.given
    del given["report"], given["stop"]
    assert run_dir == Path("there")
    assert given == {
        "memory": "300MiB", "readers": 2, "io": "direct", "same_data": True,
        "saving": ooc.Saving(7.0, every_steps=3, keep=1), "log_every": 4, "trackers": [],
    }  # fmt: skip


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_every_option_comes_to_what_scores_a_run(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    seen = Seen()
    own = {"evaluate": staticmethod(seen), "predict_to": staticmethod(seen), "trained_on": None}
    run = type("Run", (), own)
    monkeypatch.setattr("ooc.runs.loading.load", lambda run_dir: run)
    out = ["out.zarr"] if command == "predict" else []
    assert main([command, "there", dataset.path, *out, *SCORED.split()]) == 2
    opened, *given = seen.given[0]
    assert isinstance(opened, Dataset)
    assert opened.missing == "fill"
    assert opened.target == (None if command == "predict" else "y")
    assert [each for each in given if isinstance(each, str)] == [*out, "300MiB", "drop"]


def test_of_a_sweep_the_best_comes_first_and_what_was_dropped_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the loss on rows held out, where there are such; none at all is worse than any."""
    results: dict[str, dict[str, Any]] = {
        "dropped": {"loss": 0.01, "validation_loss": 0.01, "dropped": "at step 5"},
        "learned by heart": {"loss": 0.1, "validation_loss": 0.9},
        "none": {"loss": None},
        "best": {"loss": 0.3, "validation_loss": 0.2},
    }
    results = {name: {**each, "run": f"runs/{name}"} for name, each in results.items()}
    _show_sweep(results, as_json=False)
    printed = capsys.readouterr().out
    places = [
        printed.index(f" {name} ") for name in ("best", "learned by heart", "none", "dropped")
    ]
    assert places == sorted(places)
    assert "dropped: at step 5" in printed and "held out 0.2" in printed
    _show_sweep(results, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["best"], told["loss"], set(told["runs"])) == ("best", 0.3, set(results))


def test_a_second_signal_ends_at_once_and_the_first_one_is_the_status() -> None:
    with pytest.raises(Interrupted) as ended, stopping_signals() as stop:
        stop.in_steps = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
        os.kill(os.getpid(), signal.SIGUSR1)
        stop.clear()
        stop.wait(5)
    assert status_of(ended.value) == 128 + signal.SIGUSR1
    with stopping_signals() as stop:
        stop.in_steps = True
    with pytest.raises(typer.Exit) as left, stopping_signals() as stop:
        stop.in_steps = True
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.wait(5)
    assert left.value.exit_code == 128 + signal.SIGUSR1


def run_of(**results: object) -> Any:
    return type("Run", (), {"results": results})


def test_where_a_run_is_saved_and_what_it_came_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default in `runs`, under the dataset's name; of a sweep under each label there."""
    monkeypatch.chdir(tmp_path)
    make_small(tmp_path)
    made: list[Any] = []

    def fit(trainer: object, *given: object, **more: object) -> Any:
        made.append((*given[1:3], more))
        return run_of(loss=0.5, steps=2)

    def fit_many(trainer: object, *given: object) -> Any:
        made.append((*given[1:4], given[6]))
        rates = {"lr=1": run_of(loss=0.5), "lr=2": run_of(loss=0.25)}
        return dict(zip(given[1], rates.values(), strict=True))  # type: ignore[call-overload]

    monkeypatch.setattr(ooc.Trainer, "fit", fit)
    monkeypatch.setattr(ooc.Trainer, "fit_many", fit_many)
    assert main(["train", "small.zarr", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["loss"], told["steps"]) == ("runs/small", 0.5, 2)
    assert made.pop() == (None, Path("runs/small"), {"trackers": []})
    assert main(["sweep", "small.zarr", "--lr", "1,2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    optimizers, epochs, run_dir, halving = made.pop()
    assert (epochs, run_dir, halving) == (None, Path("runs/small-sweep"), None)
    assert list(optimizers.values()) == [ooc.optim.sgd(1.0), ooc.optim.sgd(2.0)]
    first, second = optimizers
    assert told["best"] == second
    assert told["run"] == f"runs/small-sweep/{second}"
    assert told["runs"][first]["run"] == f"runs/small-sweep/{first}"


@pytest.mark.parametrize("name", ["lr", "l2", "l1"])
def test_of_a_sweep_numbers_are_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    make_small(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = {"--lr": "1"} | {f"--{name}": "1;2"}
    assert main(["sweep", "small.zarr", *(word for pair in options.items() for word in pair)]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"ooc: --{name} are numbers with commas between, not '1;2'"


def test_what_training_is_not_given_is_the_trainers_own(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a rate it falls by a cosine; with one, and without a step, it is constant."""
    seen = Seen()
    monkeypatch.setattr(ooc.Trainer, "fit", lambda *given, trackers: seen(*given, trackers))
    cosine, constant = ooc.schedules.cosine(), ooc.schedules.constant()
    for options, optimizer in (
        ("", ooc.optim.sgd(schedule=cosine)),
        ("--optimizer adam:0.8", ooc.optim.adam(None, 0.8, schedule=cosine)),
        (
            "--schedule constant --warmup 3",
            ooc.optim.sgd(schedule=ooc.schedules.constant(warmup=3)),
        ),
        ("--lr 0.5", ooc.optim.sgd(0.5, schedule=constant)),
        ("--optimizer hybrid:1e-4", ooc.optim.hybrid(tolerance=1e-4)),
    ):
        assert main(["train", dataset.path, *options.split()]) == 2
        trainer, opened, epochs, *_ = seen.given[0]
        assert trainer == ooc.Trainer(ooc.models.Logistic(), optimizer), options
        assert epochs is None
        assert opened.roles == ("X", "y", None)  # type: ignore[attr-defined]

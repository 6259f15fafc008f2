"""Trackers get every line of a run, from Python and from the shell, in the packages' own files."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from shell import called, refused

import ooc
from ooc.cli.help import names_of
from ooc.store.dataset import Dataset
from ooc.training.watchers.callbacks import Situation

HALF = ooc.Validation(0.5, every=3, by="row")


def make_trainer(**settings: Any) -> ooc.Trainer:
    model = ooc.models.Logistic(standardise=False)
    return ooc.Trainer(model, ooc.optim.sgd(1e-6), 100, memory="512MiB", log_every=2, **settings)


def test_a_function_gets_settings_history_and_results(dataset: Dataset, tmp_path: Path) -> None:
    lines: list[Mapping[str, Any]] = []
    trainer = make_trainer(validation=HALF)
    run = trainer.fit(dataset, 2, tmp_path / "run", trackers=[lines.append])
    first, *history, last = lines
    assert {**first, "kind": "settings", "step": 0, "run": ""} == first
    assert {key: first[key] for key in trainer.to_config()} == trainer.to_config()
    saved = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").open()]
    # The save at the very end is noted after the results.
    both = [line for line in lines if line["kind"] not in ("settings", "results")]
    assert [{k: v for k, v in line.items() if k != "run"} for line in both] == saved
    assert {line["kind"] for line in history} >= {"train", "validation", "checkpoint"}
    (results,) = [line for line in lines if line["kind"] == "results"]
    assert results["loss"] == run.results["loss"] and results["step"] == run.results["steps"]
    assert last["kind"] in ("results", "checkpoint")


@pytest.mark.slow
def test_a_sweep_tells_its_runs_apart(dataset: Dataset) -> None:
    lines: list[Mapping[str, Any]] = []
    rates = {"low": ooc.optim.sgd(1e-7), "high": ooc.optim.sgd(1e-6)}
    runs = make_trainer().fit_many(dataset, rates, 1, trackers=[lines.append])
    for name, run in runs.items():
        own = [line for line in lines if line["run"] == name]
        assert own[0]["optimizer"] == rates[name].to_config()
        (results,) = [line for line in own if line["kind"] == "results"]
        assert results["parameters_sha256"] == run.results["parameters_sha256"]


@pytest.mark.slow
def test_validation_metrics_reach_callbacks_also_after_a_resume(
    dataset: Dataset, tmp_path: Path
) -> None:
    seen: list[tuple[int, float | None]] = []

    def note(now: Situation) -> None:
        seen.append((now.step, None if now.validation is None else now.validation["accuracy"]))

    def stop(now: Situation) -> bool:
        note(now)
        return now.step == 6

    trainer = make_trainer(validation=HALF)
    whole = trainer.fit(dataset, 2, callbacks=ooc.Callbacks(validation_end=note))
    measured = [each["accuracy"] for each in whole.history if each["kind"] == "validation"]
    assert seen == [(3, measured[0]), (6, measured[1]), (9, measured[2]), (12, measured[3])]
    seen.clear()
    trainer.fit(dataset, 2, tmp_path / "run", callbacks=ooc.Callbacks(note, every=2))
    assert seen[:2] == [(2, None), (4, measured[0])]
    other = tmp_path / "other"
    ended = trainer.fit(dataset, 2, other, callbacks=ooc.Callbacks(validation_end=stop))
    assert ended.results["steps"] == 6


@pytest.mark.parametrize("name", names_of("trackers"))
def test_a_package_that_is_not_installed_is_named(
    name: str,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in (name, f"{name}.summary"):
        monkeypatch.setitem(sys.modules, module, None)
    told = refused(
        capsys, "train", dataset.path, "--tracker", f"{name}:a", "--run", f"{tmp_path}/r"
    )
    assert f"the tracker {name} needs a package that is not installed; pip install {name}" in told
    assert not (tmp_path / "r").exists()


def test_a_run_goes_on_without_a_tracker_that_fails(dataset: Dataset, tmp_path: Path) -> None:
    """Its disk is full, say; a function of the user's own says itself what is wrong."""
    pytest.importorskip("tensorboard")
    track = ooc.trackers.tensorboard(tmp_path / "logs")
    (tmp_path / "logs").write_text("a file by now")
    with pytest.warns(UserWarning, match="goes on without its tracker tensorboard: .*File exists"):
        run = make_trainer().fit(dataset, 1, trackers=[track])
    assert run.results["steps"] == 11

    def fail(line: Mapping[str, Any]) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        make_trainer().fit(dataset, 1, trackers=[fail])


def test_no_such_tracker(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["train", dataset.path, "--run", f"{tmp_path}/r", "--tracker"]
    assert "choose one of: tensorboard, mlflow" in refused(capsys, *line, "wandb:a")
    assert "tensorboard needs a folder" in refused(capsys, *line, "tensorboard")
    (tmp_path / "file").touch()
    assert "it is a file" in refused(capsys, *line, f"tensorboard:{tmp_path}/file")


@pytest.mark.slow
def test_tensorboard_reads_what_was_written(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its own reader, of a run and of a sweep from the shell."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logs, run = str(tmp_path / "logs"), str(tmp_path / "run")
    options = ["--validation", "0.5", "--validation-by", "row", "--epochs", "2", "--lr", "1e-6"]
    line = ["train", dataset.path, *options, "--run", run, "--tracker", f"tensorboard:{logs}"]
    result = called(capsys, *line)
    read = accumulator.EventAccumulator(logs).Reload()
    history = [json.loads(each) for each in (tmp_path / "run" / "history.jsonl").open()]
    for kind, key in (("train", "loss"), ("train", "learning_rate"), ("validation", "accuracy")):
        expected = [(each["step"], each[key]) for each in history if each["kind"] == kind]
        found = [
            (each.step, float(each.tensor_proto.float_val[0]) if each.tensor_proto.float_val
             else float(accumulator.tensor_util.make_ndarray(each.tensor_proto)))
            for each in read.Tensors(f"{kind}/{key}")
        ]  # fmt: skip
        assert found == [(step, pytest.approx(value)) for step, value in expected] and found
    assert result["steps"] == history[-1]["step"]
    swept = ["sweep", dataset.path, "--lr", "1e-7,1e-6", "--run", f"{run}s", "--epochs", "1"]
    names = called(capsys, *swept, "--tracker", f"tensorboard:{logs}s")["runs"]
    assert {each.name for each in (tmp_path / "logss").iterdir()} == set(names)


@pytest.mark.slow
def test_mlflow_has_settings_and_metrics(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a new run of its own, and in the one that is active."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    try:
        trainer = make_trainer(validation=HALF)
        run = trainer.fit(dataset, 2, trackers=[ooc.trackers.mlflow("clicks")])
        client = mlflow.MlflowClient()
        (experiment,) = client.search_experiments(filter_string="name = 'clicks'")
        (kept,) = client.search_runs([experiment.experiment_id])
        assert kept.info.status == "FINISHED"
        assert kept.data.params["model/name"] == "logistic"
        assert kept.data.params["batch_size"] == "100"
        assert kept.data.metrics["results/loss"] == run.results["loss"]
        measured = client.get_metric_history(kept.info.run_id, "validation/accuracy")
        validations = [each for each in run.history if each["kind"] == "validation"]
        expected = [(each["step"], each["accuracy"]) for each in validations]
        assert [(each.step, each.value) for each in measured] == expected
        with mlflow.start_run() as active:
            trainer.fit(dataset, 1, trackers=[ooc.trackers.mlflow()])
            assert mlflow.active_run().info.status == "RUNNING"
        assert "results/loss" in client.get_run(active.info.run_id).data.metrics
    finally:
        mlflow.set_tracking_uri(None)

"""Settings in a file: what a run gives back trains it again, to the last bit."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset
from shell import Seen, called, refused

import ooc
from ooc.cli import main
from ooc.cli.config import toml_of
from ooc.cli.settings import settings_of
from ooc.store.dataset import Dataset

LINEAR = "--class-weights 1,5 --feature-scale 1/255 --no-intercept --lr 0.1 --schedule step:20,0.3"
CASES = [
    f"{LINEAR} --l2 1e-4 --l1 1e-5 --clip-norm 2 --seed 3 --window 7 --no-weight",
    pytest.param(
        "--model mlp --hidden 6,4 --classes 2 --dropout 0.1 --optimizer adam:0.8,0.99 --epochs 2 "
        "--validation 0.2 --validation-by row --evaluate-every 5 --warmup 3",
        marks=pytest.mark.slow,
    ),
    pytest.param("--optimizer hybrid --l2 1e-3 --epochs 6 --lr 0.01", marks=pytest.mark.slow),
    pytest.param("--optimizer cg:1e-4 --l2 1e-3 --epochs 9", marks=pytest.mark.slow),
    pytest.param(
        "--lr 0.1 --batch-schedule 4=64,9=128 --temperature 0=1,20=0.5", marks=pytest.mark.slow
    ),
    pytest.param("--lr 0.1 --auto-batch --largest-batch 128", marks=pytest.mark.slow),
    pytest.param("--optimizer averaged --batch-size 50", marks=pytest.mark.slow),  # rate found
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 3)).astype(np.float32)
    y = (x[:, 0] + rng.standard_normal(1000) > 0).astype(np.int64)
    write_dataset(tmp_path / "a.zarr", 10, X=x, y=y, weight=np.ones(1000))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("options", CASES)
def test_what_a_run_gives_back_trains_it_again(
    here: Path, capsys: pytest.CaptureFixture[str], options: str
) -> None:
    first = called(capsys, "train", "a.zarr", *options.split(), "--run", "one")
    assert main(["info", "one", "--config"]) == 0
    Path("run.toml").write_text(capsys.readouterr().out)
    again = called(capsys, "train", "--config", "run.toml", "--run", "two")
    assert again["parameters_sha256"] == first["parameters_sha256"]
    saved = [json.loads(Path(run, "run.json").read_text()) for run in ("one", "two")]
    for key in ("trainer", "epochs", "memory", "dataset", "parameters_sha256"):
        assert saved[0][key] == saved[1][key]


GIVEN = [
    "--model logistic --standardise no --no-intercept --feature-scale 1/4 --class-weights 1,5 "
    "--optimizer adam:0.8,0.9 --lr 0.5 --l2 0.25 --l1 0.125 --clip-norm 3 --schedule step:10,0.5 "
    "--warmup 4 --batch-size 64 --epochs 3 --memory 512MiB --seed 9 --window 4 --lanes 2 "
    "--on-bad-chunk skip --missing-values fill:2 --block-rows 20 --missing fill --no-weight",
    "--lr 0.1 --validation 0.25 --validation-by row --evaluate-every 7 --patience 2",
    "--lr 0.1 --temperature 0=1,50=0.5 --temperature-by batch --largest-batch 128 --steer-every 8",
    "--lr 0.1 --batch-schedule 5=64,9=128 --steer-every 3",
    "--lr 0.1 --auto-batch --largest-batch 128 --sampling weight",
    "--model mlp --hidden 6,4 --head multiclass --classes 3 --dropout 0.1 --activation tanh "
    "--weight-decay 0.25 --initialisation he --optimizer momentum:0.5 --warmup 7",
    "--model autoencoder --hidden 5 --code 2 --lr 0.1 --schedule plateau:0.5,3 --validation 0.5",
    "--model linear --loss huber --loss-constant 2 --standardise-target no --optimizer lbfgs",
    "--optimizer cg:0.001,64 --l2 0.5 --batch-size full",
    "--optimizer hybrid --lr 0.01 --l2 0.5 --shuffle none",
]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("options", GIVEN)
def test_every_setting_of_a_run_is_given_back(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    """The options that are printed for a run make the trainer that it had."""

    def trainer_of(*command: str) -> tuple[ooc.Trainer, Dataset, int | None]:
        seen = Seen()
        with monkeypatch.context() as patch:
            patch.setattr(ooc.Trainer, "fit", lambda *given, trackers: seen(*given))
            assert main(["train", *command]) == 2
        told = capsys.readouterr().err
        assert "ooc: seen" in told, told
        return seen.given[0][:3]  # type: ignore[return-value]

    trainer, dataset, epochs = trainer_of("a.zarr", *options.split())
    roles = {name: getattr(dataset, name) for name in ("features", "target", "weight", "missing")}
    saved = {
        "trainer": json.loads(json.dumps(trainer.to_config())),
        "dataset": {**roles, "path": dataset.path},
        "fingerprint": {"selection": None},
        "memory": trainer.stream.memory,
        "epochs": epochs,
    }
    Path("run.toml").write_text(toml_of(settings_of("run", saved)))
    again, same, passes = trainer_of("--config", "run.toml")
    assert again.to_config() == trainer.to_config()
    assert (again.stream.memory, passes) == (trainer.stream.memory, epochs)
    assert {name: getattr(same, name) for name in roles} == roles


def test_the_command_line_wins_and_lists_and_truths_are_read(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    Path("a.toml").write_text(
        'data = "a.zarr"\nseed = 4\nbatch_size = 100\nclass-weights = [1, 5.5]\nepochs = 1\n'
        "standardise = false\nintercept = false\nlr = 0.1\nno-weight = true\n"
        'tracker = ["tensorboard:logs/a"]\n'
    )
    called(capsys, "train", "--config", "a.toml", "--seed", "9", "--intercept", "--run", "one")
    trainer = json.loads(Path("one", "run.json").read_text())["trainer"]
    assert (trainer["seed"], trainer["batch_size"]) == (9, 100)
    model = trainer["model"]
    assert (model["class_weights"], model["standardise"]) == ([1.0, 5.5], False)
    assert model["intercept"] is True
    assert list(Path("logs", "a").iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "'epoch', which is no option of train; the nearest is 'epochs'"),
        ('config = "b.toml"', "a.toml has 'config', which is no option of train"),
        ("[model]\nname = 1", "'model' with a table; an option is a text, a number"),
        ("epochs = 1.5", "--epochs"),
        ("epochs = true", "--epochs"),
        ("epochs 3", "a.toml is no TOML file: "),
        ('run = "s3://bucket/run"', "s3://bucket/run is a URL"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    Path("a.toml").write_text(text)
    assert message in refused(capsys, "train", "a.zarr", "--config", "a.toml")
    assert not Path("runs").exists()


def test_texts_come_back_from_toml_as_they_were() -> None:
    """Read by the standard library; whatever a path may hold."""
    texts = {"data": 'a "b" \\ \n é \x7f \x01 🙂', "target": "obs/[x] = 1 # no"}
    numbers = {"lr": 1e-08, "seed": 2**40, "intercept": False}
    text = toml_of({"some": texts, "more": numbers})
    assert tomllib.loads(text) == {**texts, **numbers}


def test_the_version_is_the_packages_own(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ooc {version('ooc')}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ooc tr", {"train"}),
        pytest.param(
            "ooc train --validation-",
            {"--validation-by", "--validation-ordered", "--validation-groups"},
            marks=pytest.mark.slow,
        ),
        pytest.param("ooc train --optimizer lb", {"lbfgs"}, marks=pytest.mark.slow),
        pytest.param("ooc sweep --schedule co", {"constant", "cosine"}, marks=pytest.mark.slow),
    ],
)
def test_shells_complete_commands_options_and_names(words: str, expected: set[str]) -> None:
    asked = {"_OOC_COMPLETE": "complete_bash", "COMP_WORDS": words}
    asked["COMP_CWORD"] = str(len(words.split()) - 1)
    command = [sys.executable, "-m", "ooc"]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True)
    assert set(done.stdout.split()) == expected, done.stderr

"""Python and the shell have the same defaults: the same settings give the same bits."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.cli import main


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

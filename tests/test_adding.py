"""What adding costs: a loss, activation, optimizer and model of the pages, in a copy of `ooc`.

Each touches as many files as the page says, and trains through Python and through the shell.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from datasets import write_dataset
from documentation import PAGES, ROOT

PAGE = PAGES["adding"]
BLOCKS = re.findall(r"```python\n# (ooc/\S+)\n(.*?)```", PAGE, re.S)
MODEL, LOSS, ACTIVATION, OPTIMIZER = BLOCKS[:2], BLOCKS[2:3], BLOCKS[3:4], BLOCKS[4:]


def add(house: Path, blocks: list[tuple[str, str]]) -> None:
    for name, code in blocks:
        file = house / name
        before = file.read_text() + "\n\n" if file.exists() else ""
        file.write_text(before + code)


def copied(folder: Path) -> Path:
    shutil.copytree(ROOT / "ooc", folder / "ooc", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def touched(house: Path) -> list[str]:
    """Return the files that differ from those of the package."""
    files = {str(path.relative_to(house)): path for path in house.rglob("*.py")}
    return sorted(
        name
        for name, path in files.items()
        if not (ROOT / name).exists() or path.read_bytes() != (ROOT / name).read_bytes()
    )


@pytest.mark.parametrize(
    ("blocks", "files", "row"),
    [
        (LOSS, 1, "loss"),
        (ACTIVATION, 1, "activation"),
        (OPTIMIZER, 1, "optimizer"),
        (MODEL, 2, "model"),
    ],
    ids=["loss", "activation", "optimizer", "model"],
)
def test_it_touches_as_many_files_as_the_page_says(
    tmp_path: Path, blocks: list[tuple[str, str]], files: int, row: str
) -> None:
    house = copied(tmp_path)
    add(house, blocks)
    assert len(touched(house)) == files
    assert re.search(rf"^\| {row} \|.*\| {files} \|$", PAGE, re.M)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the copy that has all four, and data: y is a product of two features."""
    house = copied(tmp_path_factory.mktemp("house"))
    add(house, BLOCKS)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((4000, 6)).astype(np.float32)
    y = 0.5 + x[:, 0] * x[:, 1] - x[:, 2]
    write_dataset(house / "numbers.zarr", chunk_rows=100, X=x, y=y.astype(np.float32))
    write_dataset(house / "labels.zarr", chunk_rows=100, X=x, y=(y > 0.5).astype(np.int64))
    return house


def run(house: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(house), "NUMBA_CACHE_DIR": str(house / "cache")}
    environment["COLUMNS"] = "200"
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell(house: Path, *arguments: str) -> dict:
    printed = run(house, "-m", "ooc", *arguments, "--memory", "512MiB", "--json")
    return json.loads(printed.splitlines()[-1])


@pytest.mark.slow
def test_the_help_lists_what_was_added(house: Path) -> None:
    told = run(house, "-m", "ooc", "train", "--help")
    for name in ("log_cosh", "silu", "lion", "factorization_machine"):
        assert name in told


@pytest.mark.slow
def test_the_model_trains_with_the_optimizer_through_the_shell(house: Path) -> None:
    """Its rate is found, and its own numbers reach it."""
    model = ["--model", "factorization_machine:factors=3", "--loss", "logistic"]
    optimizer = ["--optimizer", "lion:0.9,0.98,0.1", "--batch-size", "50", "--epochs", "3"]
    found = shell(house, "train", "labels.zarr", *model, *optimizer, "--run", "runs/fm")
    assert found["loss"] < 0.5
    saved = json.loads((house / "runs" / "fm" / "run.json").read_text())
    assert saved["model"]["factors"] == 3
    assert saved["optimizer"]["constants"] == [0.9, 0.98, 0.1]
    assert 0 < saved["optimizer"]["rate"] < 1


PYTHON = dedent(
    """
    import json

    import numpy as np

    import ooc
    from ooc.models.factorization_machine import FactorizationMachine
    from ooc.stream.batch import Batch

    found, rng = {}, np.random.default_rng(1)

    # The gradient is the slope of the loss, and the loss is the twin's.
    x = rng.standard_normal((40, 4)).astype("f4")
    y = (x[:, 0] > 0).astype("f4")
    batch = Batch({"X": x, "y": y}, np.arange(40), 0, 0, ("X", "y", None))
    for loss in ("squared", "logistic"):
        model = FactorizationMachine(loss=loss, factors=3)
        layout = model.layout((4,))
        w = rng.standard_normal(layout.size).astype("f4")
        gradient, other = np.empty(layout.size), np.empty(layout.size)
        value = model.loss_and_grad(w, batch, gradient)
        part = {name: view.astype("f8") for name, view in layout.views(w).items()}
        pairs = np.triu(part["factors"].T @ part["factors"], 1)
        scores = part["intercept"] + x @ part["coefficients"][0]
        scores = scores + np.einsum("ni,ij,nj->n", x, pairs, x)
        if loss == "squared":
            twin = 0.5 * np.mean((scores - y) ** 2)
        else:
            twin = np.mean(np.logaddexp(0, scores) - y * scores)
        assert np.isclose(value, twin, rtol=1e-5), (loss, value, twin)
        for i in range(layout.size):
            up, down = w.copy(), w.copy()
            up[i] += 2**-7
            down[i] -= 2**-7
            slope = model.loss_and_grad(up, batch, other) - model.loss_and_grad(down, batch, other)
            assert np.isclose(gradient[i], 64 * slope, rtol=5e-3, atol=5e-4), (loss, i)

    # The optimizer's steps are those of its paper.
    optimizer = ooc.optim.lion(0.1, 0.9, 0.99, 0.5)
    w, m = np.array([1.0, -2.0], "f4"), np.zeros(2)
    expected, state = w.astype("f8"), optimizer.init(2)
    for step in range(5):
        g = rng.standard_normal(2)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
        optimizer.update(w, g.copy(), state, step)
    assert np.allclose(w, expected, rtol=1e-5)

    numbers, labels = ooc.open("numbers.zarr"), ooc.open("labels.zarr")

    def train(name, model, optimizer, dataset=numbers, epochs=6):
        trainer = ooc.Trainer(model, optimizer, 50, memory="512MiB")
        run = trainer.fit(dataset, epochs=epochs)
        found[name] = run.evaluate(dataset)["loss"]

    train("model", FactorizationMachine(), ooc.optim.adam(0.02))
    train("lion", FactorizationMachine(), ooc.optim.lion())
    train("lion, l1", ooc.models.Linear(), ooc.optim.lion(l1=0.01))
    train("lbfgs", FactorizationMachine(), ooc.optim.lbfgs(), epochs=100)
    train("loss", ooc.models.Linear(loss="log_cosh"), ooc.optim.sgd())
    network = ooc.models.MLP(hidden=(16,), activation="silu", head="regression")
    train("activation", network, ooc.optim.adam(0.01))
    both = ooc.models.MLP(hidden=(8,), activation="silu", head="regression", loss="log_cosh")
    train("all of them", both, ooc.optim.lion(0.003))
    print(json.dumps(found))
    """
)


@pytest.mark.slow
def test_each_trains_through_python(house: Path) -> None:
    (house / "trained.py").write_text(PYTHON)
    found = json.loads(run(house, "trained.py").splitlines()[-1])
    # Half the variance that a linear model leaves is 0.5.
    assert found["model"] < 0.05
    assert found["lion"] < 0.05
    assert found["lbfgs"] < 1e-4
    assert found["lion, l1"] == pytest.approx(0.5, rel=0.15)
    assert found["loss"] < 0.5
    assert found["activation"] < 0.1
    assert found["all of them"] < 0.3


@pytest.mark.slow
def test_each_trains_through_the_shell(house: Path) -> None:
    batches = ["--batch-size", "50", "--epochs", "6"]
    loss = ["--model", "linear", "--loss", "log_cosh", "--lr", "0.1"]
    assert shell(house, "train", "numbers.zarr", *loss, *batches, "--run", "runs/a")["loss"] < 0.5
    network = ["--model", "mlp", "--activation", "silu", "--optimizer", "lion:0.9", "--lr", "0.003"]
    found = shell(house, "train", "numbers.zarr", *network, *batches, "--run", "runs/b")
    assert found["loss"] < 0.5
    full = ["--model", "factorization_machine", "--optimizer", "lbfgs", "--run", "runs/c"]
    assert shell(house, "train", "numbers.zarr", *full)["loss"] < 1e-4
    grid = ["--optimizer", "adam,lion:0.9,0.99,0.1", "--lr", "0.003,0.02", "--run", "runs/d"]
    model = ["--model", "factorization_machine"]
    swept = shell(house, "sweep", "numbers.zarr", *model, *grid, *batches)
    assert len(swept["runs"]) == 4
    assert "optimizer=lion:0.9,0.99,0.1,lr=0.003" in swept["runs"]
    assert swept["loss"] < 0.5
    alone = ["--optimizer", "lion:0.9,0.99,0.1", "--lr", "0.003", "--run", "runs/e"]
    one = shell(house, "train", "numbers.zarr", *model, *alone, *batches)
    same = swept["runs"]["optimizer=lion:0.9,0.99,0.1,lr=0.003"]
    assert one["parameters_sha256"] == same["parameters_sha256"]


@pytest.mark.slow
def test_bench_measures_the_model(house: Path) -> None:
    found = shell(house, "bench", "labels.zarr", "--model", "factorization_machine")
    assert found["roofline_bytes_per_second"] > 0

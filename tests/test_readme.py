"""Every command, script and figure of the README is true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.stream.loader import Batch

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README, re.S)
SETUP, SHELL = (code for language, code in BLOCKS if language == "bash")
# Blocks that begin with a file's name are for `test_adding.py`.
SCRIPT, TRAINING, ESTIMATORS, EXPORT, MEMORY, MODEL = [
    code for language, code in BLOCKS if language == "python" and not code.startswith("# ooc/")
]


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.mark.slow
def test_shell_commands_and_the_script_work_as_pasted(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("")
    shell = ["bash", "-euo", "pipefail", "-c", SHELL]
    done = subprocess.run(shell, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "projected" in done.stdout
    assert (tmp_path / "predictions.zarr").is_dir()
    script = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(script, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loss, accuracy = map(float, done.stdout.split()[:2])
    assert loss < 0.4
    assert accuracy > 0.83
    assert "(1, 128)" in done.stdout


def test_the_training_script_works_as_pasted(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = rng.standard_normal((20_000, 4)).astype(np.float32)
    y = (x[:, 0] + rng.standard_normal(20_000) > 1).astype(np.int64)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=100, X=x, y=y)
    names: dict = {"ooc": ooc, "dataset": dataset}
    exec(compile(TRAINING, "README.md", "exec"), names)
    assert names["run"].results["epochs"] == 3
    assert set(names["runs"]) == {"0.01", "0.1", "1.0"}


def test_the_estimators_and_the_export_work_as_pasted(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = rng.standard_normal((2000, 4)).astype(np.float32)
    y = (x[:, 0] + 0.1 * rng.standard_normal(2000) > 0).astype(np.int64)
    names: dict = {"dataset": write_dataset(tmp_path / "a.zarr", chunk_rows=100, X=x, y=y)}
    exec(compile(ESTIMATORS + EXPORT, "README.md", "exec"), names)
    assert names["search"].best_params_ == {"oocclassifier__l2": 1e-3}
    assert names["regressor"].score(names["dataset"]) > 0.5
    expected = names["run"].predict(names["rows"], "probability")
    np.testing.assert_allclose(names["probabilities"], expected, rtol=1e-5)
    assert set(names["labels"]) <= {"no", "yes"}
    assert Path("coefficients.csv").exists()


def test_the_script_has_about_ten_lines() -> None:
    assert len([line for line in SCRIPT.splitlines() if line]) <= 10


def test_the_model_of_ones_own_is_short_and_keeps_the_contract(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Its gradient is the slope of its loss, and it learns what its branches can tell."""
    assert len(MODEL.splitlines()) <= 64
    names: dict = {"__name__": "branches"}
    exec(compile(MODEL, "README.md", "exec"), names)
    model = names["Branches"](units=8)
    assert isinstance(model, ooc.models.Model)
    x = rng.standard_normal((3000, 5)).astype(np.float32)
    y = np.tanh(x[:, 0] - x[:, 1]) + np.tanh(2 * x[:, 2] + x[:, 4])
    batch = Batch({"X": x[:200], "y": y[:200]}, np.arange(200), 0, 0, ("X", "y", None))
    layout = model.layout((5,))
    parameters = model.init(layout, rng)
    gradient, other = np.empty(layout.size), np.empty(layout.size)
    model.loss_and_grad(parameters, batch, gradient)
    for i in range(layout.size):
        up, down = parameters.copy(), parameters.copy()
        up[i] += 2**-6
        down[i] -= 2**-6
        slope = model.loss_and_grad(up, batch, other) - model.loss_and_grad(down, batch, other)
        assert gradient[i] == pytest.approx(32 * slope, rel=1e-2, abs=1e-3)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=100, X=x, y=y.astype(np.float32))
    run = ooc.Trainer(model, ooc.optim.adam(0.01), 50, memory="512MiB").fit(dataset, epochs=10)
    assert run.evaluate(dataset)["loss"] < 0.02 * y.var()


@pytest.mark.slow
@pytest.mark.parametrize(("bound", "outcome"), [("512MiB", "passed"), ("128MiB", "failed")])
def test_the_memory_test_passes_as_pasted_and_fails_below(
    tmp_path: Path, bound: str, outcome: str
) -> None:
    (tmp_path / "test_it.py").write_text(MEMORY.replace("512MiB", bound))
    options = ["-p", "ooc.testing.plugin", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert f"1 {outcome}" in done.stdout, done.stdout


def test_ci_runs_the_test_command() -> None:
    commands = SETUP.split("\n")
    assert commands[:2] == ["bash scripts/demo", "bash scripts/test"]
    assert "\nbash scripts/test\n" in (ROOT / ".ci" / "run").read_text()


def test_the_memory_table_is_what_its_script_prints() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "memory_table.py")]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert printed in README


def test_every_file_that_is_named_exists() -> None:
    for name in re.findall(r"`((?:ooc|pipelines|scripts|tests)/[\w/.]*)`", README):
        assert (ROOT / name).exists(), name


@pytest.mark.slow
def test_the_demo_runs_in_a_fresh_clone_and_again_with_what_is_there(tmp_path: Path) -> None:
    """The command of the README, a new virtual environment, the real size."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    plain = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "NUMBA_CACHE_DIR")}
    for _ in range(2):
        done = subprocess.run(
            ["bash", "scripts/demo"], cwd=clone, env=plain, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        number = r"([\d.,]+)"
        found = re.search(rf"loss on them  {number}   best possible {number}", done.stdout)
        assert found is not None, done.stdout
        assert float(found[1]) < 1.01 * float(found[2])
        assert "data, decoded  4.0" in done.stdout
        assert re.search(r"memory budget  512 MiB", done.stdout)
    assert "ooc make" not in done.stdout

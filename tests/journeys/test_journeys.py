"""The jobs of four trades: short scripts, from a file of the trade to a quality that is told.

Data are made by each trade's own library, and scikit-learn, on all rows in memory, says how good a
model of the same kind can be on the rows that are held out.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ooc.core.sizes import parse_size

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = ("cells", "climate", "clicks", "dask_arrays")
MOST_LINES = 12
# How far below scikit-learn's quality, with all rows in memory, one may be.
TOLERANCE = 0.02
# What each script's data are, and how many rows of it are few.
DATA = {
    "cells": ("cells", "zarr", 20_000),
    "climate": ("climate", "zarr", 6000),
    "clicks": ("clicks", "parquet", 60_000),
    "dask_arrays": ("events", "zarr", 40_000),
}


def code_lines(script: Path) -> list[str]:
    """Lines of a script but those that are empty, and its docstring."""
    text = script.read_text()
    (docstring, *_) = ast.parse(text).body
    lines = text.splitlines()[docstring.end_lineno :]
    return [line for line in lines if line.strip()]


def run(script: Path, *words: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(cwd)}
    command = [sys.executable, str(script), *words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what makes a script's data when they are first asked for."""
    folder = tmp_path_factory.mktemp("trades")

    def make(name: str) -> Path:
        trade, suffix, rows = DATA[name]
        path = folder / f"{trade}.{suffix}"
        if not path.exists():
            run(HERE / "generate.py", trade, str(path), str(rows), cwd=folder)
        return path

    return make


def in_memory_cells(path: Path) -> float:
    import anndata
    from sklearn.linear_model import SGDClassifier

    cells = anndata.read_zarr(path)
    rows = cells.X.multiply(1e4 / cells.X.sum(axis=1)).tocsr().log1p()
    labels, held = cells.obs["cell_type"].to_numpy(), cells.obs["donor"].isin(["D3", "D7"])
    # As many passes as the script takes.
    model = SGDClassifier("log_loss", alpha=1e-4, average=True, max_iter=1, tol=None)
    model.set_params(random_state=0).fit(rows[~held.to_numpy()], labels[~held])
    return float(model.score(rows[held.to_numpy()], labels[held]))


def in_memory_climate(path: Path) -> float:
    import xarray
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    weather = xarray.open_zarr(path)
    names = ["t2m", "d2m", "msl", "u10", "v10"]
    rows = np.hstack([weather[name].values.reshape(weather.sizes["time"], -1) for name in names])
    last, demand = len(rows) - round(0.2 * len(rows)), weather["demand"].values
    scaler = StandardScaler().fit(rows[:last])
    model = Ridge(100.0).fit(scaler.transform(rows[:last]), demand[:last])
    return float(model.score(scaler.transform(rows[last:]), demand[last:]))


def in_memory_clicks(path: Path) -> float:
    import pandas
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import roc_auc_score

    rows = pandas.read_parquet(path)
    words = [(f"{name}=" + rows[name].astype(str)).tolist() for name in rows.columns[1:]]
    hasher = FeatureHasher(2**20, input_type="string", alternate_sign=False)
    hashed, label = hasher.transform(zip(*words, strict=True)), rows["label"].to_numpy()
    last = len(label) - round(0.1 * len(label))
    model = SGDClassifier("log_loss", alpha=1e-5, average=True, random_state=0)
    model.fit(hashed[:last], label[:last])
    return float(roc_auc_score(label[last:], model.decision_function(hashed[last:])))


def in_memory_dask_arrays(path: Path) -> float:
    import zarr
    from sklearn.linear_model import LinearRegression

    group = zarr.open_group(path, mode="r")
    logs, outcome = np.log1p(group["counts"][:].astype(float)), group["outcome"][:]
    last = len(outcome) - round(0.1 * len(outcome))
    model = LinearRegression().fit(logs[:last], outcome[:last])
    return float(model.score(logs[last:], outcome[last:]))


IN_MEMORY = {
    "cells": in_memory_cells,
    "climate": in_memory_climate,
    "clicks": in_memory_clicks,
    "dask_arrays": in_memory_dask_arrays,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_job_is_a_script_of_a_few_lines(name: str) -> None:
    assert len(code_lines(HERE / f"{name}.py")) <= MOST_LINES
    assert max(len(line) for line in code_lines(HERE / f"{name}.py")) <= 100


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_job_is_done_as_well_as_scikit_learn_does_it_in_memory(
    made: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    _, quality = run(HERE / f"{name}.py", str(made(name)), cwd=tmp_path).split()
    best = IN_MEMORY[name](made(name))
    assert float(quality) >= best - TOLERANCE


PEAK = """
import runpy, sys
from ooc.core.process import peak_bytes
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(peak_bytes())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_job_stays_within_the_memory_that_its_script_names(
    made: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    script, watcher = HERE / f"{name}.py", tmp_path / "peak.py"
    watcher.write_text(PEAK)
    peak = int(run(watcher, str(script), str(made(name)), cwd=tmp_path).split()[-1])
    budgets = set(re.findall(r"""memory=['"](.*?)['"]""", script.read_text()))
    assert len(budgets) == 1
    assert peak <= parse_size(budgets.pop())

"""Promise: peak resident memory <= projected <= budget, in real processes on real data."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import write_dataset
from random_runs import trained

import ooc
from ooc.core.errors import InputError
from ooc.models import Linear
from ooc.optim import Method, adam, as_method, momentum, sgd
from ooc.runs.scoring import scoring_demand
from ooc.shuffle import exact
from ooc.store.dataset import Dataset
from ooc.stream.plan import MIB, RESERVED_BYTES, make_plan
from ooc.synthetic.kinds import Recipe, make
from ooc.training.budget import Needs

# Little more than what every run needs, so that the data do not fit into it.
BUDGET_MIB = RESERVED_BYTES // MIB + 64


def least_memory(line: list[str]) -> str:
    """Return the budget that a refusal names."""
    command = [sys.executable, "-m", "ooc", *line, "--memory", "200MiB", "--run", "unused"]
    said = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False).stderr
    return re.findall(r"raise the memory to (\d+MiB)", said)[0]


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of eight budgets, decoded."""
    path = tmp_path_factory.mktemp("big") / "big.zarr"
    rows = 8 * BUDGET_MIB * MIB // 516 + 1
    make(path, Recipe("logistic", rows))
    return path


def run(arguments: list[str], **environment: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "ooc", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return json.loads(done.stdout)


def exceeds(result: dict) -> bool:
    """Tell whether a run broke the promise."""
    peak, projected = result["memory_peak_bytes"], result["memory_projected_bytes"]
    return not peak <= projected <= result["memory_budget_bytes"]


@pytest.mark.slow
def test_training_on_eight_budgets_stays_inside_one(big: Path, tmp_path: Path) -> None:
    """With a cold compile cache, too: the compiler works inside the same budget."""
    options = ["--memory", f"{BUDGET_MIB}MiB", "--batch-size", "1024", "--lr", "0.05"]
    cold = {"NUMBA_CACHE_DIR": str(tmp_path / "cold")}
    result = run(["train", str(big), *options, "--run", str(tmp_path / "run")], **cold)
    decoded = result["bytes_per_second"] * result["seconds"]
    assert decoded >= 8 * result["memory_budget_bytes"]
    assert not exceeds(result)
    assert result["blocks_per_window"] >= 15
    assert result["loss"] < 0.4


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--model", "logistic"],
        ["train", "--model", "logistic", "--validation", "0.1"],
        ["train", "--model", "mlp", "--hidden", "64"],
        ["sweep", "--lr", "0.01,0.1,1", "--l2", "0,1e-4", "--halving"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
@pytest.mark.parametrize("mib", [BUDGET_MIB + 128, 2 * BUDGET_MIB])
def test_a_larger_budget_is_no_licence_for_more(
    big: Path, tmp_path: Path, arguments: list[str], mib: int
) -> None:
    """With all that a run looks for in the data before its first step."""
    command, *options = arguments
    result = run([command, str(big), *options, "--memory", f"{mib}MiB", "--run", f"{tmp_path}/r"])
    assert result["memory_projected_bytes"] > BUDGET_MIB * MIB
    assert not exceeds(result)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "model"),
    [
        pytest.param("linear", "linear", marks=pytest.mark.slow),
        pytest.param("logistic", "logistic", marks=pytest.mark.slow),
        ("softmax", "softmax"),
    ],
)
def test_every_model_stays_inside(tmp_path: Path, kind: str, model: str) -> None:
    path, run_dir = tmp_path / "a.zarr", tmp_path / "run"
    make(path, Recipe(kind, 160_000, 128))
    options = ["--memory", f"{BUDGET_MIB}MiB", "--batch-size", "512", "--lr", "0.01"]
    arguments = ["train", str(path), "--model", model, "--optimizer", "adam", *options]
    assert not exceeds(run([*arguments, "--run", str(run_dir)]))
    memory = ["--memory", f"{BUDGET_MIB}MiB"]
    assert not exceeds(run(["evaluate", str(run_dir), str(path), *memory]))
    assert not exceeds(run(["predict", str(run_dir), str(path), str(tmp_path / "p.zarr"), *memory]))


@pytest.mark.slow
def test_the_check_can_fail(big: Path, tmp_path: Path) -> None:
    """A process that holds what the plan does not know of is seen to break the promise."""
    code = (
        "import json, numpy as np, ooc\n"
        "hoard = []\n"
        f"dataset = ooc.open({str(big)!r})\n"
        "trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.05), 1024, "
        f"memory='{BUDGET_MIB}MiB')\n"
        "import threading; stop = threading.Event(); stop.set()\n"
        "print(json.dumps(dict(trainer.fit(dataset, stop=stop, "
        "report=lambda p: p.step and hoard.append(np.ones(400 * 2**20, np.uint8))).results)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert exceeds(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "values"), [(60, 1_000_000), (200, 300_000)])
def test_rows_of_many_values_stay_inside_the_least_budget_and_a_usual_one(
    tmp_path: Path, rows: int, values: int
) -> None:
    """With and without what is found in the rows; the least is what a refusal names."""
    group = zarr.open_group(tmp_path / "wide.zarr", mode="w")
    x = group.create_array("X", shape=(rows, values), chunks=(1, values), dtype="f4")
    for row in range(rows):
        x[row] = np.random.default_rng(row).standard_normal(values, dtype=np.float32)
    group.create_array("y", shape=(rows,), chunks=(1,), dtype="f4")[:] = np.arange(rows) + 1
    line = ["train", str(tmp_path / "wide.zarr"), "--model", "linear", "--batch-size", "8"]
    line += ["--epochs", "2"]
    for number, more in enumerate(
        [
            ["--lr", "1e-7"],
            ["--lr", "1e-7", "--standardise", "no"],
            ["--lr", "1e-7", "--optimizer", "adam", "--validation", "0.1"],
        ]
    ):
        for memory in (least_memory([*line, *more]), "1GiB")[: 1 if number else 2]:
            folder = f"{tmp_path}/run-{number}-{memory}"
            assert not exceeds(run([*line, *more, "--memory", memory, "--run", folder])), more


@pytest.mark.slow
def test_what_a_process_holds_beside_a_run_is_in_its_budget(big: Path) -> None:
    held, found = 400, []
    for room in (BUDGET_MIB, BUDGET_MIB + held + 160):
        code = (
            "import json, numpy as np, ooc\n"
            f"beside = np.ones({held} * 2**20, np.uint8)\n"
            f"dataset = ooc.open({str(big)!r})\n"
            "trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.05), 1024, "
            f"memory='{room}MiB')\n"
            "import threading; stop = threading.Event(); stop.set()\n"
            "print(json.dumps(dict(trainer.fit(dataset, stop=stop).results)))"
        )
        command = [sys.executable, "-c", code]
        found.append(subprocess.run(command, capture_output=True, text=True, check=False))
    assert re.search(r"held (384|400|416|432) MiB.*raise the memory", found[0].stderr)
    assert not exceeds(json.loads(found[1].stdout))


@pytest.mark.slow
def test_making_data_holds_a_few_chunks_and_not_the_data(tmp_path: Path) -> None:
    code = (
        "from ooc.synthetic.kinds import Recipe, make\n"
        "from ooc.core.process import peak_bytes\n"
        f"make({str(tmp_path)!r} + '/small', Recipe('logistic', 40_000), threads=2)\n"
        "before = peak_bytes()\n"
        f"make({str(tmp_path)!r} + '/large', Recipe('logistic', 600_000), threads=2)\n"
        "print(peak_bytes() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 24 * MIB


PLAIN = Linear(standardise=False, standardise_target=False)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("work", ["read", "train", "sweep", "evaluate", "predict", "shuffle"])
def test_what_a_process_holds_is_in_the_projection_of_all_that_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """As far as it is more than an ordinary process holds; and what does not fit is refused."""
    rows = np.ones((100, 6), np.float32)
    dataset, run = write_dataset(tmp_path / "a.zarr", X=rows, y=rows[:, 0]), trained(PLAIN)

    def projected(memory: str, folder: str = "out") -> int:
        trainer = ooc.Trainer(PLAIN, sgd(0.01), 10, memory=memory)
        if work == "read":
            return ooc.Loader(dataset, 10, memory=memory).plan.projected
        if work == "train":
            told = trainer.fit(dataset, 1).results
        elif work == "sweep":
            told = trainer.fit_many(dataset, {"a": sgd(0.01), "b": adam(0.01)}, 1)["b"].results
        elif work == "evaluate":
            told = run.evaluate(dataset, memory)
        elif work == "predict":
            told = run.predict_to(dataset, tmp_path / folder, memory)
        else:
            told = exact(dataset, tmp_path / folder, memory)
        return told["memory_projected_bytes"]

    monkeypatch.setattr("ooc.stream.plan._HELD_AT_FIRST", [])
    usual = projected("1GiB")
    monkeypatch.setattr("ooc.stream.plan._HELD_AT_FIRST", [])
    monkeypatch.setattr("ooc.stream.plan.resident_bytes", lambda: 500 * MIB)
    assert projected("1GiB", "again") >= usual + 200 * MIB
    with pytest.raises(InputError, match=r"raise the memory to \d+MiB"):
        projected("400MiB", "refused")
    assert not (tmp_path / "refused").exists()


FEATURES = 200_000


def wide(folder: Path) -> Dataset:
    """Return a dataset of long rows of which none is stored."""
    group = zarr.create_group(folder)
    group.create_array("X", shape=(1000, FEATURES), chunks=(10, FEATURES), dtype="f4")
    group.create_array("y", shape=(1000,), chunks=(10,), dtype="f4")
    return ooc.open(folder)


def test_every_vector_of_a_run_is_in_the_projection(tmp_path: Path) -> None:
    """Parameters and state of each descent, its best parameters, and what is saved of it."""
    dataset, vector = wide(tmp_path / "a.zarr"), 4 * FEATURES
    stream = ooc.StreamOptions(memory="2GiB")

    def needs(methods: list[Method], validation: ooc.Validation | None = None) -> Needs:
        return Needs(methods, 10, 10, False, stream, validation, 0)

    one, two, three = (as_method(each) for each in (sgd(0.1), momentum(0.1), adam(0.1)))
    cases = {"1": [one], "2": [two], "3": [three], "13": [one, three], "33": [three, three]}
    demands = {name: needs(methods).demand(PLAIN, dataset, None) for name, methods in cases.items()}
    sizes = {name: each.model_bytes for name, each in demands.items()}
    assert sizes["2"] - sizes["1"] >= vector, "a vector of state"
    assert sizes["3"] - sizes["1"] >= 2 * vector
    assert sizes["13"] - sizes["3"] >= 2 * vector, "parameters and gradient"
    assert sizes["33"] - sizes["3"] >= (1 + 2 * 2) * vector, "parameters, and state in float64"
    assert demands["1"].saved_bytes >= vector
    assert demands["13"].saved_bytes >= 2 * vector
    held_out = ooc.Validation(0.5)
    plan = make_plan(dataset, 10, ("X", "y"), stream)
    for methods in ([one], [one, three]):
        beside = needs(methods, held_out).demand(PLAIN, dataset, plan)
        extra = plan.projected - plan.terms["reserved"] + len(methods) * vector
        assert beside.model_bytes - needs(methods).demand(PLAIN, dataset, None).model_bytes >= extra
    _, _, scoring = scoring_demand(PLAIN, PLAIN.layout((FEATURES,)), dataset, True, 7 * MIB)
    assert scoring.model_bytes >= 2 * vector
    assert scoring.held_bytes == 7 * MIB

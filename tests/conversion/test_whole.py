"""Conversions as wholes: memory, shuffle, training on what was written, and the shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conversions import MEMORY, converted, people
from numpy.testing import assert_array_equal
from shell import called, refused

import ooc
from ooc.cli import main
from ooc.shuffle import exact_order

ROOT = Path(__file__).resolve().parents[2]


def test_the_shell_tells_what_was_read_skipped_and_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "a.csv", tmp_path / "a.zarr"
    people(50).to_csv(source, index=False)
    options = ["--target", "label", "--without", "when", "--memory", MEMORY]
    result = called(capsys, "convert", str(source), str(target), *options)
    assert result["rows"] == result["rows_read"] == 50
    assert result["columns"]["income"] == "X float64, feature 1"
    assert main(["convert", str(source), str(tmp_path / "b.zarr"), *options]) == 0
    printed = capsys.readouterr().out
    for part in ("50 rows read", "codes of 4 categories", "skipped: left out, as was asked for"):
        assert part in printed
    line = refused(capsys, "convert", str(source), str(tmp_path / "c.zarr"), "--columns", "city")
    assert "holds text" in line


def test_features_of_one_type_in_the_order_that_was_named(tmp_path: Path) -> None:
    frame = people(60)
    frame.to_csv(tmp_path / "a.csv", index=False)
    group, _ = converted(
        tmp_path / "a.csv",
        columns=["member", "age"],
        dtype="float32",
        target="income",
        weight="age",
    )
    assert group["X"].dtype == np.float32
    assert_array_equal(group["X"][:], frame[["member", "age"]].to_numpy(np.float32))
    assert_array_equal(group["y"][:], frame["income"])
    assert_array_equal(group["weight"][:], frame["age"])
    assert sorted(group.array_keys()) == ["X", "weight", "y"]


@pytest.mark.slow
def test_shuffled_rows_are_in_the_exact_order(tmp_path: Path) -> None:
    frame = people(3000)
    frame.to_parquet(tmp_path / "a.parquet")
    group, _ = converted(tmp_path / "a.parquet", target="label", shuffle=True, seed=5)
    order = exact_order(3000, 5)
    assert_array_equal(group["X"][:, 1], frame["income"].to_numpy()[order])
    assert_array_equal(group["y"][:], pd.Categorical(frame["label"]).codes[order])
    assert group["y"].attrs["categories"] == ["no", "yes"]


@pytest.mark.slow
def test_training_on_it_comes_to_the_bits_of_the_arrays_themselves(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((4000, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    with ooc.create(tmp_path / "own.zarr", {"X": ("float32", (6,)), "y": ("int64", ())}) as writer:
        writer.append({"X": x, "y": y})
    frame = pd.DataFrame(x, columns=list("abcdef")).assign(kind=np.where(y, "yes", "no"))
    frame.to_parquet(tmp_path / "a.parquet")
    converted(tmp_path / "a.parquet", target="kind")
    found = []
    for path in ("own.zarr", "a.parquet.out.zarr"):
        trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.5), memory="512MiB")
        run = trainer.fit(ooc.open(tmp_path / path))
        found.append(run.parameters)
    assert_array_equal(*found)
    assert run.class_names == ("no", "yes")


WRITE = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from sources.formats import CASES
CASES[sys.argv[1]].write(Path(sys.argv[2]), int(sys.argv[4]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["parquet", "csv", "npy", "npz", "hdf5", "netcdf", "svmlight", "h5ad", "images", "zarr"]
)
def test_memory_stays_inside_the_budget(tmp_path: Path, name: str) -> None:
    """The least budget that is not refused, and sources of it and more, decoded."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from sources.formats import CASES

    case = CASES[name]
    rows = {"svmlight": 60_000, "images": 6000, "csv": 300_000}.get(name, 1_500_000)
    source = tmp_path / f"source{case.suffix}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [name, str(source), str(ROOT / "scripts"), str(rows)]
    subprocess.run([sys.executable, "-c", WRITE, *words], check=True, env=environment)
    options = [f"--{key}={value}" for key, value in case.options]
    command = [sys.executable, "-m", "ooc", "convert", str(source), str(tmp_path / "a.zarr")]
    command += [*options, "--json"]
    small = subprocess.run(
        [*command, "--memory", "64MiB"], stderr=subprocess.PIPE, text=True, env=environment
    ).stderr
    least = small.split("raise the memory to ")[1].strip()
    done = subprocess.run(
        [*command, "--memory", least], stdout=subprocess.PIPE, text=True, check=True,
        env=environment,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["rows"] == rows
    peak, projected = result["memory_peak_bytes"], result["memory_projected_bytes"]
    assert peak <= projected <= result["memory_budget_bytes"], (peak >> 20, projected >> 20)

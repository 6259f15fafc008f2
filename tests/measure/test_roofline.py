"""The bench: parts and whole on the same data, and arithmetic that adds up."""

import json
from pathlib import Path

import numcodecs
import numpy as np
import pytest
from datasets import foreign

from ooc.cli import main
from ooc.measure.roofline import Costs, Round
from ooc.synthetic.kinds import Recipe, make


def test_the_roofline_is_the_larger_of_disk_and_cores() -> None:
    costs = Costs(disk=0.5, read=0.1, decode=0.3, gather=0.2, gradient=0.1)
    assert costs.roofline(cores=1) == pytest.approx(1 / 0.7)
    assert costs.roofline(cores=2) == pytest.approx(1 / 0.5)


def test_the_time_of_the_cores_adds_up() -> None:
    costs = Costs(disk=0.5, read=0.1, decode=0.3, gather=0.2, gradient=0.1)
    measured = Round(costs, 10.0, 9.0, 1.0, 10, costs.roofline(2))
    spent = measured.core_seconds(2)
    assert sum(spent.values()) == pytest.approx(20.0)
    assert spent["python"] == pytest.approx(2.0)
    assert spent["idle"] == pytest.approx(11.0)
    assert measured.fraction == pytest.approx(1.0 * 0.5)


@pytest.mark.slow
def test_it_measures_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "a.zarr", Recipe("logistic", 60_000, 128))
    picture = tmp_path / "bars.png"
    options = ["--memory", "512MiB", "--rounds", "1", "--picture", str(picture)]
    assert main(["bench", str(tmp_path / "a.zarr"), *options, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    for part in ("", "roofline_", "disk_", "decode_", "gather_", "gradient_"):
        assert result[f"{part}bytes_per_second"] > 1e6
    fraction = result["bytes_per_second"] / result["roofline_bytes_per_second"]
    assert result["fraction_of_roofline"] == pytest.approx(fraction)
    assert set(result["core_seconds"]) == {"read", "decode", "gather", "gradient", "python", "idle"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["bench", str(tmp_path / "a.zarr"), *options]) == 0
    printed = capsys.readouterr().out
    for word in ("fraction of roofline", "where the time of", "decode", "waited"):
        assert word in printed


def test_an_array_that_is_not_native_has_no_limit_to_compare_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filters = [numcodecs.AsType("f4", "f8")]
    x = {"data": np.ones((100, 2)), "chunks": (10, 2), "filters": filters}
    foreign(tmp_path / "a.zarr", 2, X=x, y={"data": np.ones(100), "chunks": (10,)})
    assert main(["bench", str(tmp_path / "a.zarr"), "--batch-size", "10"]) == 2
    assert "is not read by the native path" in capsys.readouterr().err


@pytest.mark.slow
def test_what_attributes_declare_is_part_of_decoding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Far from zero, too: no step is so long that measuring ends by it."""
    stored = np.arange(600_000, dtype="i2").reshape(20_000, 30)
    declared = {"scale_factor": 0.01, "add_offset": 1e4, "_FillValue": -999}
    x = {"data": stored, "chunks": (500, 30), "attributes": declared}
    y = {"data": np.arange(20_000.0), "chunks": (500,)}
    foreign(tmp_path / "a.zarr", 3, X=x, y=y)
    options = ["--model", "linear", "--missing-values", "drop", "--rounds", "1", "--json"]
    assert main(["bench", str(tmp_path / "a.zarr"), *options, "--memory", "512MiB"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 1e6 < result["decode_bytes_per_second"] < 1e11
    assert result["roofline_bytes_per_second"] > 1e6

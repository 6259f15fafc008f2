"""Points that no memory holds: drawn chunk by chunk, where they belong, and learned from."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from ooc.core.progress import silent
from pipelines.pinn.many_points import case_of, main, write_points
from pipelines.pinn.problems import plate


def test_points_of_each_tag_are_where_and_as_many_as_the_problem_has(tmp_path: Path) -> None:
    problem, rows = plate.PROBLEM, 20_000
    write_points(tmp_path / "points.zarr", problem, rows, 0, "float32", silent)
    store = zarr.open_group(tmp_path / "points.zarr", mode="r")
    arrays = {name: store[name][:] for name in ("X", "normal", "tag")}
    places, tags = np.asarray(arrays["X"], np.float64), arrays["tag"]
    assert len(places) == rows
    hole = tags == 1 + list(problem.conditions).index("hole")
    radius = np.hypot(*places.T)
    np.testing.assert_allclose(radius[hole], 1.0, atol=1e-6)
    np.testing.assert_allclose(arrays["normal"][hole], -places[hole], atol=1e-5)
    assert radius[tags == 0].min() > 1 - 1e-6 and places.max() <= plate.SIDE
    shares = np.bincount(tags) / rows
    assert shares[0] == pytest.approx(0.75, abs=1e-3)
    np.testing.assert_allclose(shares[1:], 0.05, atol=1e-3)
    # No stretch of rows is of one tag.
    assert np.bincount(tags[:500]).min() > 5


@pytest.mark.slow
def test_a_problem_is_learned_from_them_within_a_budget(tmp_path: Path) -> None:
    """In a process of its own, whose peak of memory is of nothing else."""
    command = [sys.executable, "-m", "pipelines.pinn.many_points", "--quick"]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 checks met" in done.stdout


def test_a_problem_without_a_reference_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert case_of("plasma").problem.name == "plasma"
    assert main(["--problem", "cavity"]) == 2
    assert "there is no problem 'cavity' with a reference; take" in capsys.readouterr().err

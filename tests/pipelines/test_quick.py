"""Every pipeline's quick run meets its checks, in a process of its own, and writes its page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DIGITS = pytest.mark.skipif(
    not os.environ.get("OOC_REAL_DATA"),
    reason="OOC_REAL_DATA is not set; it names the folder that holds the MNIST digits",
)
# Options beside --quick, how many checks there are at least, how many figures, and what is left.
RUNS = [
    pytest.param(
        "beam_current",
        ("--folder", "data"),
        *(5, 3 + bool(os.environ.get("OOC_REAL_DATA"))),
        ("alarm.png", "recall.png", "stretch.png", "detector"),
        id="beam_current",
    ),
    pytest.param(
        "cryo_em",
        ("--folder", "data"),
        *(7, 5, ("density.mrc", "slices.png", "correlations.png", "epochs.png", "descent-1-run")),
        id="cryo_em",
    ),
    pytest.param(
        "cryo_em",
        ("--folder", "data", "--alone", "--epochs", "1"),
        *(2, 5, ("density.mrc", "correlations.png", "descent-2-run")),
        id="cryo_em-alone",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "cryo_em",
        ("--folder", "data", "--poses", "unknown", "--snr", "1", "--images", "3k"),
        *(4, 5, ("density.mrc", "poses.npy", "pose-errors.png", "stages.png", "poses-seed0-run")),
        id="cryo_em-unknown-poses",
    ),
    pytest.param("descent_laws", (), 60, 11, (), id="descent_laws"),
    pytest.param(
        "metabolic_flux",
        ("--folder", "data"),
        *(17, 3, ("fluxes.png", "codes.png", "violations.png", "null-space-mirror-run")),
        id="metabolic_flux",
    ),
    pytest.param(
        "mnist",
        ("--folder", "data"),
        *(3, 1, ("confusion.png", "softmax-run")),
        id="softmax",
        marks=DIGITS,
    ),
    pytest.param(
        "mnist",
        ("--model", "mlp", "--hidden", "64", "--lr", "1e-3", "--folder", "data"),
        *(3, 1, ("mlp-run",)),
        id="mlp",
        marks=DIGITS,
    ),
    pytest.param(
        "molecules", ("--folder", "data"), 20, 2, ("descent.png", "minima.png"), id="molecules"
    ),
    pytest.param(
        "particles", ("--folder", "data"), 4, 1, ("particles.png", "mlp-run"), id="particles"
    ),
    pytest.param(
        "pinn",
        ("--folder", "data"),
        *(2, 2, ("cantilever-load.png", "poisson-ell.png")),
        id="pinn",
    ),
    pytest.param(
        "protein_interfaces",
        ("--folder", "data"),
        *(16, 4, ("marginals.png", "pairs.png", "compositions.png", "training.png", "pair-run")),
        id="protein_interfaces",
    ),
    pytest.param(
        "sovereign_rating",
        ("--folder", "data"),
        *(9, 3, ("confusion.png", "forecasts.png", "weights.png", "both-run", "figures-run")),
        id="sovereign_rating",
    ),
    pytest.param("stragglers", ("--folder", "data"), 40, 1, ("stragglers.png",), id="stragglers"),
    pytest.param("sorted_data", ("--folder", "data"), 9, 1, ("sorted-data.png",), id="sorted_data"),
]


def run(name: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run a pipeline in a folder, as from a shell."""
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-m", f"pipelines.{name}", "--json", "a.json", *options]
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "checks", "figures", "files"), RUNS)
def test_a_quick_run_meets_its_checks(
    tmp_path: Path, name: str, options: tuple[str, ...], checks: int, figures: int, files: tuple
) -> None:
    done = run(name, tmp_path, "--quick", "--html", "a.html", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["quick"]
    assert len(found["checks"]) >= checks
    assert all(each["met"] for each in found["checks"])
    for each in found["checks"]:
        assert each["name"] in done.stdout
    sources = re.findall(r'src="data:image/png;base64,', (tmp_path / "a.html").read_text())
    assert len(sources) == figures
    for file in files:
        assert (tmp_path / "data" / file).exists()


@pytest.mark.slow
@DIGITS
def test_the_same_seed_reads_digits_to_the_same_bits_and_uses_rows_again(tmp_path: Path) -> None:
    hashes = []
    for expansion in (" s", "used again"):
        done = run("mnist", tmp_path, "--quick", "--rows", "20k", "--folder", "data")
        found = json.loads((tmp_path / "a.json").read_text())
        assert found["expansion"].endswith(expansion), done.stdout
        saved = json.loads((tmp_path / "data" / "softmax-run" / "run.json").read_text())
        hashes.append(saved["parameters_sha256"])
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_an_archive_of_another_size_is_not_used_again(tmp_path: Path) -> None:
    options = ("--quick", "--searches", "13:2", "--folder", "data")
    assert run("molecules", tmp_path, *options, "--minima", "2k").returncode == 0
    data = tmp_path / "data"
    (data / "minima-2000-seed0.zarr").rename(data / "minima-3000-seed0.zarr")
    done = run("molecules", tmp_path, *options, "--minima", "3k")
    assert done.returncode == 2
    assert "was made with rows 2000, not 3000; remove it" in done.stderr

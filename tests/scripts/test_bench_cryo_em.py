"""All ways have the same particles, are judged alike, and what is wrong is told in a sentence."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ooc.store.columns import pieces_of
from pipelines.cryo_em.data import Imaging, open_images
from pipelines.cryo_em.maps import make_map
from pipelines.cryo_em.particles import open_particles

pytest.importorskip("mrcfile")
pytest.importorskip("starfile")

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SMALL = ["--images", "600", "--box", "16", "--rounds", "1", "--epochs", "1", "--snr", "4"]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delenv("OOC_REAL_DATA", raising=False)
    return import_module("bench_cryo_em")


def test_what_relion_would_have_written_is_what_the_store_has(
    bench: ModuleType, tmp_path: Path
) -> None:
    dataset = open_images(tmp_path, make_map(16), 5.0, 40, Imaging())
    star, envelopes = bench.write_particles(dataset, tmp_path)
    again = open_particles(tmp_path / "again", star)
    names = ("X", "rotation", "shift", "optics")
    (_, _, given), (_, _, found) = (next(pieces_of(each, names)) for each in (dataset, again))
    assert again.attributes["pixel"] == dataset.attributes["pixel"]
    assert_array_equal(found["X"], given["X"])
    for name in names[1:]:
        assert_allclose(found[name], given[name], rtol=1e-6, atol=2e-6)
    assert_array_equal(np.load(envelopes), given["optics"][:, 3])


@pytest.mark.slow
def test_our_ways_are_timed_and_judged_against_the_truth(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = ["--ways", "direct-inversion,descent", "--memory", "512MiB"]
    given = [*SMALL, *ways, "--folder", str(tmp_path), "--json", str(tmp_path / "found.json")]
    cores = os.sched_getaffinity(0)
    assert bench.main(given) == 0
    assert os.sched_getaffinity(0) == cores
    direct, descent = json.loads((tmp_path / "found.json").read_text())
    for way in (direct, descent):
        assert way["shell"] > 4
        (run,) = way["runs"]
        assert 0 < run["seconds"] < run["whole"]
        assert 2**26 < run["peak_bytes"] < 2**30
    told = capsys.readouterr().out
    assert "600 images of 16 x 16 pixels of 5 A, a generated density" in told
    assert "| ooc, direct inversion " in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--ways", "descent,relion"], "there is no way 'relion'; choose of descent"),
        (["--cores", "99999"], "--cores is from 1 to the "),
        (["--rounds", "0"], "--rounds and --epochs are at least 1"),
        (["--images", "9"], "--images is at least 512, not 9"),
        (["--images", "many"], "many"),
        (["--snr", "-1", "--ways", "descent"], "a signal-to-noise ratio is positive, not -1"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(tmp_path: Path, given: list[str], said: str) -> None:
    command = [sys.executable, str(SCRIPTS / "bench_cryo_em.py"), "--folder", str(tmp_path / "a")]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    environment.pop("OOC_REAL_DATA", None)
    done = subprocess.run([*command, *given], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("scripts/bench_cryo_em: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_peer_that_cannot_be_installed_is_told_before_any_work(
    bench: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unavailable(environment: object) -> Path:
        raise bench.UnavailableError("ERROR: No matching distribution found for aspire")

    monkeypatch.setattr(bench, "interpreter", unavailable)
    assert bench.main([*SMALL, "--folder", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.err == ("scripts/bench_cryo_em: ERROR: No matching distribution found for aspire\n")
    assert not list(tmp_path.glob("*.zarr"))

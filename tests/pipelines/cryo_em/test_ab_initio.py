"""From images alone to poses and a density; a run that is killed goes on to the same bits."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ooc
from ooc.core.errors import DataError, InputError
from ooc.core.progress import silent
from pipelines.cryo_em import pose_state
from pipelines.cryo_em.ab_initio import Settings, prepare, reconstruct
from pipelines.cryo_em.alignment import align
from pipelines.cryo_em.data import Imaging, make
from pipelines.cryo_em.density_sums import sphere
from pipelines.cryo_em.maps import make_map
from pipelines.cryo_em.orientations import angles_between
from pipelines.cryo_em.poses import random_rotations
from pipelines.cryo_em.resolution import HALVES, TRUTH, Correlation, correlate
from pipelines.cryo_em.training import check_images, noise_of

ROOT = Path(__file__).resolve().parents[3]
RUN = """
import sys
from pathlib import Path
import ooc
from pipelines.cryo_em import ab_initio
from pipelines.cryo_em.training import noise_of
ab_initio.SAVE_SECONDS, ab_initio.SAVE_SHARE = 0.0, 1e9  # after each step
dataset = ooc.open(sys.argv[1])
settings = ab_initio.Settings(seed=4, starts=1, steps=5, passes=2, batch_size=64)
task = ab_initio.prepare(dataset, 24, 5.0, noise_of(dataset), settings, "1GiB")
ab_initio.reconstruct(task, Path(sys.argv[2]), lambda state: print(state.step, flush=True))
print("end", flush=True)
"""


def run(images: Path, folder: Path, kill_at: int | None = None) -> list[str]:
    """Run as a process of its own, killed as soon as it tells of a step; return what it told."""
    command = [sys.executable, "-c", RUN, str(images), str(folder)]
    told = list[str]()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line.strip())
            if line.strip() == str(kill_at):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == (0 if kill_at is None else -signal.SIGKILL)
    return told


def blobs(box: int) -> np.ndarray:
    """Make a density of a few Gaussians, which has no symmetry at low resolution."""
    rng, along = np.random.default_rng(0), np.arange(box) - box // 2
    found = np.zeros((box,) * 3)
    for centre, width in zip(rng.uniform(-0.25, 0.25, (9, 3)) * box, rng.uniform(1, 2, 9),
                             strict=True):  # fmt: skip
        each = np.exp(-((along - centre[:, None]) ** 2) / (2 * width**2))
        found += np.einsum("x,y,z->zyx", *each)
    return found.astype(np.float32)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    images = tmp_path / "images.zarr"
    make(images, make_map(24), 5.0, 300, Imaging(1.0), silent)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(images, whole)[-1] == "end"
    run(images, killed, kill_at=4)  # in the start
    (killed / "checkpoints" / "step-000000000099.npz.partial").write_bytes(b"half")
    told = run(images, killed, kill_at=8)  # amid the first pass
    assert 4 <= int(told[0]) <= 6  # not from the beginning: more may be done before the signal
    assert run(images, killed)[-1] == "end"
    one, other = (np.load(sorted((each / "checkpoints").glob("*.npz"))[-1])
                  for each in (whole, killed))  # fmt: skip
    for name in ("poses", "volumes", "sums", "looks"):
        np.testing.assert_array_equal(one[name], other[name])
    assert one["poses"][:, :4].any(axis=1).all()


@pytest.mark.slow
def test_images_alone_give_density_and_poses(tmp_path: Path) -> None:
    truth = blobs(32)
    make(tmp_path / "images.zarr", truth, 5.0, 1000, Imaging(1.0, seed=1), silent)
    dataset = ooc.open(tmp_path / "images.zarr")
    given = np.concatenate([each["rotation"] for each in ooc.Loader(
        dataset, 500, arrays=("rotation",), shuffle="none", memory="512MiB")])  # fmt: skip
    box, pixel = check_images(dataset, ("optics",))
    settings = Settings(seed=1, starts=1, steps=50, passes=2, batch_size=100)
    task = prepare(dataset, box, pixel, noise_of(dataset), settings, "1GiB")
    state = reconstruct(task, tmp_path / "run")
    mean = state.arrays["volumes"].mean(axis=0)
    found = align(mean, truth)
    laid = found.lay(mean) * sphere(box)
    assert correlate(laid, truth * sphere(box), pixel).resolution(TRUTH) <= 15
    halves = Correlation(state.arrays["correlation"], pixel, box)
    assert halves.resolution(HALVES) <= 15
    errors = angles_between(found.poses(state.rotations(slice(None))), given)
    assert np.median(errors) <= 5
    # What it ends with is there without any further step.
    again = reconstruct(task, tmp_path / "run")
    assert again.step == state.step
    np.testing.assert_array_equal(again.poses, state.poses)
    # And it is not taken for what it is not.
    other = prepare(dataset, box, pixel, noise_of(dataset), Settings(seed=2), "1GiB")
    with pytest.raises(InputError, match=r"holds poses of other images or settings: .*seed was 1"):
        reconstruct(other, tmp_path / "run")


@pytest.mark.slow
def test_the_state_of_other_images_is_refused(tmp_path: Path) -> None:
    datasets = []
    for seed in (0, 1):
        path = tmp_path / f"{seed}.zarr"
        make(path, make_map(24), 5.0, 50, Imaging(1.0, seed=seed), silent)
        datasets.append(ooc.open(path))
    first, second = (pose_state.identity_of(each, {"seed": 0}) for each in datasets)
    state = pose_state.new_state(50)
    rotations = random_rotations(np.random.default_rng(0), 20).astype(np.float64)
    rows = np.arange(10, 30)
    state.put(rows, rotations, np.full((20, 2), 0.5), np.arange(20.0))
    state.position, state.step = {"epoch": 1}, 7
    pose_state.save(tmp_path / "run", state, first)
    found = pose_state.load(tmp_path / "run", first)
    assert found is not None
    assert (found.step, found.position, found.stage) == (7, {"epoch": 1}, 0)
    np.testing.assert_array_equal(found.known(slice(None)), np.isin(np.arange(50), rows))
    assert angles_between(found.rotations(rows), rotations).max() < 1e-3
    with pytest.raises(InputError, match=r"poses of other images .*sampled_rows_sha256 was"):
        pose_state.load(tmp_path / "run", second)
    assert pose_state.load(tmp_path / "none", first) is None


@pytest.mark.slow
def test_a_damaged_save_costs_what_came_after_the_one_before(tmp_path: Path) -> None:
    make(tmp_path / "a.zarr", make_map(24), 5.0, 50, Imaging(1.0), silent)
    identity = pose_state.identity_of(ooc.open(tmp_path / "a.zarr"), {})
    state = pose_state.new_state(50)
    for step in (1, 2):
        state.step = step
        pose_state.save(tmp_path / "run", state, identity)
    newest = tmp_path / "run" / "checkpoints" / "step-000000000002.npz"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="took that of step 1"):
        found = pose_state.load(tmp_path / "run", identity)
    assert found is not None
    assert found.step == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["step"] == 2


def test_a_pixel_that_is_not_finite_is_an_error_with_its_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fields = {"X": ("float32", (24, 24)), "optics": ("float32", (8,))}
    with ooc.create(tmp_path / "a.zarr", fields, {"pixel": 5.0}) as writer:
        values = rng.standard_normal((40, 24, 24)).astype(np.float32)
        values[17, 3, 3] = np.nan
        optics = np.tile([1.5e4, 1.5e4, 0, 50, 300, 2.7, 0.1, 0], (40, 1))
        writer.append({"X": values, "optics": optics})
    settings = Settings(starts=1, steps=2, passes=1, batch_size=40)
    task = prepare(ooc.open(tmp_path / "a.zarr"), 24, 5.0, np.ones(13), settings, "1GiB")
    with pytest.raises(DataError, match=r"row 17 of array X of .* not finite; mend or remove"):
        reconstruct(task, tmp_path / "run")


def test_images_without_optics_are_refused(tmp_path: Path) -> None:
    fields = {"X": ("float32", (24, 24))}
    with ooc.create(tmp_path / "a.zarr", fields, {"pixel": 5.0}) as writer:
        writer.append({"X": np.zeros((4, 24, 24), np.float32)})
    with pytest.raises(InputError, match=r"has no array 'optics' with rows of shape \(8,\)"):
        check_images(ooc.open(tmp_path / "a.zarr"), ("optics",))


@pytest.mark.parametrize(("changed", "message"), [
    ({"starts": 0}, "0 starts of 140 mini-batches"), ({"passes": 0}, "0 passes, cannot be"),
    ({"most_shift": 0.0}, "largest shift is positive"), ({"steps": 1}, "of 1 mini-batches"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(changed: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**changed)

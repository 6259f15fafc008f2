"""What is told of poses that were found, with and without a truth to hold them to."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

import ooc
from ooc.core.progress import silent
from pipelines.cryo_em.data import Imaging, make
from pipelines.cryo_em.maps import make_map, read_map
from pipelines.cryo_em.pose_state import COLUMNS
from pipelines.cryo_em.unknown_poses import find_poses

pytest.importorskip("mrcfile")
BOX, ROWS = 24, 90
COMMON = {"minutes", "memory peak, MiB"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "images.zarr"
    make(path, make_map(BOX), 5.0, ROWS, Imaging(1.0), silent)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("has_truth", [True, False])
@pytest.mark.parametrize("has_poses", [True, False])
def test_checks_and_pictures_are_of_what_is_known(
    images: Path, tmp_path: Path, has_truth: bool, has_poses: bool
) -> None:
    dataset = ooc.open(images)
    if not has_poses:
        (rows,) = ooc.Loader(dataset, ROWS, arrays=("X", "optics"), shuffle="none", memory="512MiB")
        fields = {"X": ("float32", (BOX, BOX)), "optics": ("float32", (8,))}
        with ooc.create(tmp_path / "bare.zarr", fields, {"pixel": 5.0}) as writer:
            writer.append({"X": rows["X"], "optics": rows["optics"]})
        dataset = ooc.open(tmp_path / "bare.zarr")
    options = Namespace(
        seed=0, starts=2, start_steps=3, passes=2, batch_size=40, most_shift=2.0, memory="1GiB",
        folder=tmp_path, particles=None, box=BOX,
    )  # fmt: skip
    truth = make_map(BOX) if has_truth else None
    told, shown = find_poses(options, dataset, truth, 2**30)
    names = {check.name for check in told.checks}
    resolution = {"resolution at 0.5 against the truth, A"} if has_truth else set()
    error = {"median pose error, degrees"} if has_truth and has_poses else set()
    assert names == COMMON | resolution | error
    assert [row[0] for row in told.tables[0].rows] == ["start 1", "start 2", "pass 1", "pass 2"]
    assert len(told.tables) == 1 + has_poses
    assert ("pose-errors" in {each.name for each in shown.pictures}) == has_poses
    assert len(shown.pictures) == 4 + has_poses
    poses = np.load(tmp_path / "poses.npy")
    assert poses.shape == (ROWS, COLUMNS)
    volume, pixel = read_map(tmp_path / "density.mrc")
    assert volume.shape == (BOX,) * 3
    assert pixel == pytest.approx(5.0)

"""Stacks with a STAR file become a dataset, and what is wrong with them is told by file and row."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

import ooc
from ooc.core.errors import InputError
from ooc.store.columns import pieces_of
from pipelines.cryo_em.maps import package, read_map, write_map
from pipelines.cryo_em.particles import open_particles, read_star
from pipelines.cryo_em.training import check_images

mrcfile = pytest.importorskip("mrcfile")
starfile = pytest.importorskip("starfile")
pandas = pytest.importorskip("pandas")

BOX, PIXEL = 16, 3.5
OPTICS = {
    "rlnOpticsGroup": [1, 2], "rlnImagePixelSize": [PIXEL, PIXEL], "rlnVoltage": [300.0, 200.0],
    "rlnSphericalAberration": [2.7, 1.4], "rlnAmplitudeContrast": [0.1, 0.07],
}  # fmt: skip


def particles() -> dict[str, list]:
    rng = np.random.default_rng(0)
    return {
        "rlnImageName": ["000002@a.mrcs", "000001@b.mrcs", "000001@a.mrcs", "000003@a.mrcs"],
        "rlnAngleRot": [10.0, 20.0, 30.0, -40.0], "rlnAngleTilt": [5.0, 90.0, 120.0, 60.0],
        "rlnAnglePsi": [0.0, 45.0, -90.0, 170.0], "rlnOriginXAngst": [3.5, 0.0, -7.0, 1.0],
        "rlnOriginYAngst": [0.0, 1.75, 0.0, 0.0], "rlnDefocusU": list(rng.uniform(1e4, 2e4, 4)),
        "rlnDefocusV": list(rng.uniform(1e4, 2e4, 4)), "rlnDefocusAngle": [0.0, 30.0, 60.0, 90.0],
        "rlnOpticsGroup": [1, 2, 1, 1],
    }  # fmt: skip


def stacks(folder: Path, pixel: float = PIXEL) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    found = {}
    for name, count in (("a.mrcs", 3), ("b.mrcs", 1)):
        found[name] = rng.standard_normal((count, BOX, BOX)).astype(np.float32)
        with mrcfile.new(folder / name, overwrite=True) as file:
            file.set_data(found[name])
            file.set_image_stack()
            file.voxel_size = pixel
    return found


def star(folder: Path, rows: dict[str, list], optics: dict[str, list] | None = None) -> Path:
    blocks = {"optics": pandas.DataFrame(optics or OPTICS), "particles": pandas.DataFrame(rows)}
    starfile.write(blocks, folder / "particles.star", overwrite=True)
    return folder / "particles.star"


def test_particles_become_a_dataset_with_poses_shifts_and_optics(tmp_path: Path) -> None:
    images, rows = stacks(tmp_path), particles()
    dataset = open_particles(tmp_path, star(tmp_path, rows))
    assert check_images(dataset) == (BOX, PIXEL)
    ((_, _, found),) = pieces_of(dataset, ("X", "rotation", "shift", "optics"))
    expected = [images["a.mrcs"][1], images["b.mrcs"][0], *images["a.mrcs"][[0, 2]]]
    assert_allclose(found["X"], expected)
    angles = np.stack([rows["rlnAngleRot"], rows["rlnAngleTilt"], rows["rlnAnglePsi"]], axis=1)
    turned = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    assert_allclose(found["rotation"], turned, atol=1e-6)
    assert_allclose(found["shift"], [[-1, 0], [0, -0.5], [2, 0], [-1 / 3.5, 0]], atol=1e-6)
    assert_allclose(found["optics"][:, 0], rows["rlnDefocusU"], rtol=1e-6)
    assert_allclose(found["optics"][:, 2], np.deg2rad(rows["rlnDefocusAngle"]), rtol=1e-6)
    assert_allclose(found["optics"][:, 4], [300, 200, 300, 300])
    assert_allclose(found["optics"][:, 6], [0.1, 0.07, 0.1, 0.1], rtol=1e-6)
    assert ooc.open(dataset.path).attributes["pixel"] == PIXEL


def test_particles_without_angles_are_for_those_who_find_them(tmp_path: Path) -> None:
    images, rows = stacks(tmp_path), particles()
    angles = [name for name in rows if name.startswith("rlnAngle")]
    some = {name: values for name, values in rows.items() if name != angles[1]}
    none = {name: values for name, values in rows.items() if name not in angles}
    for file, need in ((some, True), (some, False), (none, True)):
        with pytest.raises(InputError, match=r"there is no column _rlnAngle"):
            open_particles(tmp_path, star(tmp_path, file), need)
    dataset = open_particles(tmp_path, star(tmp_path, none), need_poses=False)
    assert set(dataset.arrays) == {"X", "optics"}
    assert check_images(dataset, ("optics",)) == (BOX, PIXEL)
    with pytest.raises(InputError, match="has no array 'rotation'"):
        check_images(dataset)
    ((_, _, found),) = pieces_of(dataset, ("X", "optics"))
    assert_allclose(found["X"][2], images["a.mrcs"][0])
    assert_allclose(found["optics"][:, 0], rows["rlnDefocusU"], rtol=1e-6)


def test_a_pixel_size_that_the_file_lacks_is_that_of_the_stacks(tmp_path: Path) -> None:
    optics = {name: values for name, values in OPTICS.items() if name != "rlnImagePixelSize"}
    stacks(tmp_path, 4.25)
    assert read_star(star(tmp_path, particles(), optics))[2] == pytest.approx(4.25)
    stacks(tmp_path, 0.0)
    with pytest.raises(InputError, match="no column _rlnImagePixelSize, and the stacks' headers"):
        read_star(star(tmp_path, particles(), optics))


BAD = [
    ("rlnImageName", 1, "000001@c.mrcs", r"row 2: stack c.mrcs is neither in .* nor here"),
    ("rlnImageName", 3, "000009@a.mrcs", r"row 4: image 9 of .*a.mrcs, which has 3"),
    ("rlnImageName", 0, "a.mrcs", r"row 1: _rlnImageName is 'a.mrcs', and not like 000012@"),
    ("rlnAngleTilt", 2, float("nan"), r"row 3: _rlnAngleTilt is nan, no finite number"),
    ("rlnDefocusU", 1, "deep", r"row 2: _rlnDefocusU is deep, no finite number"),
    ("rlnOpticsGroup", 2, 7, r"row 3: rlnOpticsGroup 7 is none of data_optics, which has 1, 2"),
]


@pytest.mark.parametrize(("column", "row", "value", "message"), BAD, ids=[b[3][:24] for b in BAD])
def test_a_bad_row_is_told(
    tmp_path: Path, column: str, row: int, value: object, message: str
) -> None:
    stacks(tmp_path)
    rows = particles()
    rows[column][row] = value
    with pytest.raises(InputError, match=message) as error:
        open_particles(tmp_path, star(tmp_path, rows))
    assert "particles.star" in str(error.value)
    assert not (tmp_path / "particles.zarr").exists()


def test_stacks_that_are_not_square_or_of_one_size_are_told(tmp_path: Path) -> None:
    stacks(tmp_path)
    for shape, message in (
        ((1, BOX, BOX + 2), rf"b.mrcs, of row 2 of .*, has images of {BOX + 2} x {BOX} pixels"),
        ((1, 20, 20), rf"b.mrcs, of row 2 of .*, has images of 20 pixels, and .*a.mrcs of {BOX}"),
    ):
        with mrcfile.new(tmp_path / "b.mrcs", overwrite=True) as file:
            file.set_data(np.zeros(shape, np.float32))
        with pytest.raises(InputError, match=message):
            read_star(star(tmp_path, particles()))
    (tmp_path / "b.mrcs").write_bytes(b"no stack")
    with pytest.raises(InputError, match=r"b.mrcs, of row 2 of .*, is no MRC stack"):
        read_star(star(tmp_path, particles()))


def test_columns_blocks_and_files_that_are_missing_are_told(tmp_path: Path) -> None:
    stacks(tmp_path)
    rows = particles()
    del rows["rlnAnglePsi"]
    with pytest.raises(InputError, match=r"data_particles: there is no column _rlnAnglePsi"):
        read_star(star(tmp_path, rows))
    starfile.write({"images": pandas.DataFrame(rows)}, tmp_path / "old.star")
    with pytest.raises(InputError, match=r"has no block data_optics, but images"):
        read_star(tmp_path / "old.star")
    with pytest.raises(InputError, match=r"nowhere.star does not exist"):
        read_star(tmp_path / "nowhere.star")
    different = {**OPTICS, "rlnImagePixelSize": [3.5, 4.0]}
    with pytest.raises(InputError, match=r"_rlnImagePixelSize is 3.5, 4, and must be one"):
        read_star(star(tmp_path, particles(), different))


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
def test_pixels_that_are_not_finite_are_told_and_nothing_is_left(tmp_path: Path) -> None:
    images = stacks(tmp_path)["a.mrcs"]
    images[2, 3, 3] = np.nan
    with mrcfile.new(tmp_path / "a.mrcs", overwrite=True) as file:
        file.set_data(images)
    with pytest.raises(InputError, match=r"a.mrcs, image 3, of row 4 of .*not finite"):
        open_particles(tmp_path, star(tmp_path, particles()))
    assert not (tmp_path / "particles.zarr").exists()


def test_a_map_that_is_written_is_valid_and_read_again(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).standard_normal((9, 9, 9)).astype(np.float32)
    write_map(tmp_path / "a.mrc", volume, 2.5)
    assert mrcfile.validate(tmp_path / "a.mrc")
    found, pixel = read_map(tmp_path / "a.mrc")
    assert pixel == pytest.approx(2.5)
    assert_allclose(found, volume)
    write_map(tmp_path / "b.mrc", volume, 0.0)
    with pytest.raises(InputError, match="no pixel size: its header says 0 A; give it with"):
        read_map(tmp_path / "b.mrc")
    write_map(tmp_path / "c.mrc", volume[:4], 1.0)
    with pytest.raises(InputError, match="a density is a cube"):
        read_map(tmp_path / "c.mrc")
    (tmp_path / "d.mrc").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is no MRC file"):
        read_map(tmp_path / "d.mrc")


def test_a_package_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^nowhere is not installed; pip install nowhere$"):
        package("nowhere")

"""Damage of every kind is named, with array, chunk, file and rows; or skipped and counted."""

import errno
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from datasets import foreign, small_windows, write_dataset
from pairs import pairs

import ooc
from ooc.core.errors import DataError, InputError
from ooc.models import Linear, Logistic
from ooc.optim import lbfgs, sgd
from ooc.store.chunks import BadChunkError, open_reader, read_path
from ooc.store.chunks.general import ZarrReader
from ooc.store.dataset import Dataset
from ooc.store.verify import verify
from ooc.training.trainer import Trainer
from ooc.training.watchers.saver import Saving

pytestmark = pytest.mark.usefixtures("either_way")
ROWS = 1000


def flip(content: bytearray) -> bytes:
    content[30] ^= 4
    return bytes(content)


def flip_index(content: bytearray) -> bytes:
    content[-10] ^= 1
    return bytes(content)


def point_outside(content: bytearray) -> bytes:
    """Rewrite the first entry of the index, and its checksum, to lie beyond the file."""
    import crc32c

    entries = 4
    start = len(content) - 16 * entries - 4
    struct.pack_into("<QQ", content, start, 10**9, 100)
    struct.pack_into("<I", content, len(content) - 4, crc32c.crc32c(bytes(content[start:-4])))
    return bytes(content)


# What is done to the file of rows 0 to 39, and the reason that is given.
DAMAGE: dict[str, tuple[Callable[[bytearray], bytes] | None, str]] = {
    "truncated": (lambda content: bytes(content[:100]), "index is damaged"),
    "cut short": (lambda content: bytes(content[:20]), "its index alone takes 68"),
    "bit-flipped": (flip, "CRC-32C"),
    "index bit-flipped": (flip_index, "index is damaged"),
    "index outside": (point_outside, "its index names bytes 1,000,000,000 to 1,000,000,100"),
    "zero-length": (lambda content: b"", "the file has 0 bytes"),
    "deleted": (None, "it is not stored; restore it"),
}


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    """1000 rows in chunks of 10, four to a shard."""
    x = rng.standard_normal((ROWS, 3)).astype(np.float32)
    return write_dataset(tmp_path / "a.zarr", X=x, y=np.arange(ROWS) % 2)


def damage(dataset: Dataset, kind: str, array: str = "X") -> Path:
    file = Path(dataset.path, array, "c", "0")
    file = file / "0" if file.is_dir() else file
    change = DAMAGE[kind][0]
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(bytearray(file.read_bytes())))
    return file


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("io", ["direct", "buffered", "auto"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(labelled: Dataset, kind: str, io: str) -> None:
    file = damage(labelled, kind)
    out = np.empty((10, 3), np.float32)
    with pytest.raises(BadChunkError) as caught:
        open_reader(labelled, "X", io).read_runs([(0, 10)], out)
    error = caught.value
    assert (error.array, error.cell, error.file, error.rows) == ("X", (0, 0), str(file), (0, 9))
    for part in ("chunk 0.0 of array X", "rows 0 to 9", str(file), DAMAGE[kind][1]):
        assert part in str(error)
    assert "\n" not in str(error)
    open_reader(labelled, "X", io).read_runs([(40, 50)], out)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_skipped_and_counted_where_the_user_says_so(labelled: Dataset, kind: str) -> None:
    damage(labelled, kind)
    lost = 10 if kind in ("bit-flipped", "index outside") else 40
    loader = ooc.Loader(labelled, 64, memory="512MiB", on_bad_chunk="skip")
    rows = np.concatenate([batch.rows for batch in loader])
    assert np.array_equal(np.sort(rows), np.arange(lost, ROWS))
    assert (loader.skipped_rows, loader.skipped_chunks) == (lost, lost // 10)
    trainer = Trainer(Logistic(), sgd(0.1), 64, memory="512MiB", on_bad_chunk="skip")
    run = trainer.fit(labelled, epochs=2)
    assert run.results["rows"] == 2 * (ROWS - lost)
    assert run.results["skipped_rows"] == 2 * lost
    assert run.results["epochs"] == 2
    with pytest.raises(BadChunkError):
        Trainer(Logistic(), sgd(0.1), 64, memory="512MiB").fit(labelled)


@pytest.mark.slow_after(1)
def test_damage_met_after_a_save_is_named_and_what_was_saved_goes_on(
    labelled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 2**10)
    saving = Saving(every_steps=1)
    trainer = Trainer(Logistic(), sgd(0.1), 10, memory="512MiB", shuffle="none", saving=saving)
    whole = trainer.fit(labelled, 1).results["parameters_sha256"]
    file = Path(labelled.path, "X", "c", "20", "0")
    stored, run = file.read_bytes(), tmp_path / "run"

    def damage_later(now: Any) -> None:
        if now.step == 2:
            file.write_bytes(b"damaged")

    with pytest.raises(DataError, match=r"chunk 8\d\.0 of array X.*holds the run after step \d+"):
        trainer.fit(labelled, 1, run, callbacks=ooc.Callbacks(step_end=damage_later))
    file.write_bytes(stored)
    resumed = ooc.resume(run, labelled, same_data=True)
    assert resumed.results["parameters_sha256"] == whole


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("model", "method"),
    pairs([Logistic(), Logistic(standardise=True), Linear()], [sgd(0.1), sgd(), lbfgs()]),
)
def test_windows_of_which_nothing_can_be_read(
    labelled: Dataset, monkeypatch: pytest.MonkeyPatch, model: Any, method: Any
) -> None:
    """The first ones are passed over; where no row is left, that is said."""
    small_windows(monkeypatch, 2**10)
    trainer = Trainer(model, method, 10, memory="512MiB", shuffle="none", on_bad_chunk="skip")
    files = sorted(Path(labelled.path, "X", "c").glob("*/0"), key=lambda file: int(file.parts[-2]))
    for file in files[:5]:
        file.write_bytes(b"damaged")
    epochs = 2 if method.name == "lbfgs" else 1
    run = trainer.fit(labelled, epochs)
    assert run.results["rows"] % (ROWS - 200) == 0 < run.results["rows"]
    for file in files:
        file.write_bytes(b"damaged")
    with pytest.raises((DataError, InputError), match=r"no row of .* could be used|too few rows"):
        trainer.fit(labelled, epochs)


@pytest.mark.slow_after(1)
def test_a_position_is_exact_where_blocks_are_skipped(
    labelled: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 4 * 2**10)
    damage(labelled, "deleted", "y")
    options = {"memory": "512MiB", "on_bad_chunk": "skip"}
    loader = ooc.Loader(labelled, 64, **options)
    states, stream = [loader.state_dict()], []
    for _ in range(2):
        for batch in loader:
            stream.append(batch.rows.tolist())
            states.append(loader.state_dict())
    assert len(stream) == 2 * 15
    for step in range(len(stream)):
        other = ooc.Loader(labelled, 64, **options)
        other.load_state_dict(states[step])
        assert next(iter(other)).rows.tolist() == stream[step]


@pytest.mark.parametrize("version", [2, 3])
def test_damage_to_a_file_of_one_chunk(tmp_path: Path, version: int) -> None:
    x = {"data": np.ones((100, 2), np.float32), "chunks": (10, 2)}
    folder = foreign(tmp_path / "a.zarr", version, X=x)
    dataset, out = ooc.open(folder), np.empty((100, 2), np.float32)
    file = folder / "X" / ("3.0" if version == 2 else "c/3/0")
    file.write_bytes(file.read_bytes()[:12])
    with pytest.raises(BadChunkError, match=r"chunk 3\.0 of array X .* rows 30 to 39"):
        open_reader(dataset, "X").read_runs([(0, 100)], out)
    file.write_bytes(b"")
    with pytest.raises(BadChunkError, match="the file is empty"):
        open_reader(dataset, "X").read_runs([(0, 100)], out)
    file.unlink()
    with pytest.raises(BadChunkError, match="it is not stored"):
        open_reader(dataset, "X").read_runs([(0, 100)], out)
    filled = ooc.open(folder, missing="fill")
    open_reader(filled, "X").read_runs([(0, 100)], out)
    assert out.sum() == 180


def test_a_header_that_lies_is_not_trusted(tmp_path: Path) -> None:
    """Without a checksum, blosc would read and write as far as its header says."""
    x = {"data": np.random.default_rng(0).random((100, 2)), "chunks": (100, 2)}
    folder = foreign(tmp_path / "a.zarr", 2, X=x)
    file, out = folder / "X" / "0.0", np.empty((100, 2))
    whole = file.read_bytes()
    for position, message in ((4, "decodes to"), (12, "header notes")):
        content = bytearray(whole)
        struct.pack_into("<I", content, position, 10**6)
        file.write_bytes(content)
        with pytest.raises(BadChunkError, match=message):
            open_reader(ooc.open(folder), "X").read_runs([(0, 100)], out)


@pytest.mark.slow_after(1)
def test_a_file_without_permission_is_named(labelled: Dataset) -> None:
    """In a child, which goes on as somebody else where root would be let in."""
    file = next(f for f in Path(labelled.path, "X", "c", "0").iterdir())
    file.chmod(0)
    for parent in file.parents:
        if os.geteuid() == 0 and parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    code = (
        "import os, ooc, numpy as np\n"
        "from ooc.store.chunks import open_reader\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        f"reader = open_reader(ooc.open({labelled.path!r}), 'X')\n"
        "reader.read_runs([(0, 10)], np.empty((10, 3), 'f4'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"cannot be read from {file}: Permission denied" in done.stderr


@pytest.mark.slow_after(1)
def test_transient_errors_are_retried_and_counted(
    labelled: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, failures = os.preadv, [errno.EIO, errno.EIO, errno.EAGAIN]

    def failing(*arguments: object) -> int:
        if failures:
            raise OSError(failures.pop(), "now and then")
        return whole(*arguments)  # type: ignore[arg-type]

    reader = open_reader(labelled, "X", "buffered")
    monkeypatch.setattr(os, "preadv", failing)
    reader.read_runs([(0, 10)], np.empty((10, 3), np.float32))
    assert reader.retries == 3


@pytest.mark.slow_after(1)
def test_lasting_errors_end_after_a_few_tries(
    labelled: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def broken(*arguments: object) -> int:
        calls.append(arguments)
        raise OSError(errno.EIO, "Input/output error")

    reader = open_reader(labelled, "X", "buffered")
    # What the compiled call leaves is read like this, too.
    monkeypatch.setattr("ooc.store.chunks.at_once.loaded_kernel", lambda: None)
    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(BadChunkError, match="Input/output error"):
        reader.read_runs([(0, 10)], np.empty((10, 3), np.float32))
    assert len(calls) == 4


def test_verify_lists_every_bad_chunk(labelled: Dataset) -> None:
    assert verify(labelled) == []
    damage(labelled, "bit-flipped")
    damage(labelled, "deleted", "y")
    found = [(bad.array, bad.rows) for bad in verify(labelled)]
    assert found == [
        ("X", (0, 9)),
        ("y", (0, 9)),
        ("y", (10, 19)),
        ("y", (20, 29)),
        ("y", (30, 39)),
    ]


def test_a_choice_that_there_is_not(labelled: Dataset) -> None:
    with pytest.raises(InputError, match="io is one of auto, direct, buffered"):
        read_path(labelled, "X", "fast")
    with pytest.raises(InputError, match="on_bad_chunk is one of raise, skip"):
        ooc.Loader(labelled, 64, memory="512MiB", on_bad_chunk="ignore")


def test_readers_through_zarr_python_name_damage_too(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    array = group.create_array("X", shape=(100, 2), chunks=(10, 2), dtype="f4", order="F")
    array[...] = np.ones((100, 2))
    dataset, out = ooc.open(tmp_path / "a.zarr"), np.empty((30, 2), np.float32)
    (tmp_path / "a.zarr" / "X" / "3.0").unlink()
    bad: list[BadChunkError] = []
    open_reader(dataset, "X").read_runs([(0, 10), (30, 40), (50, 60)], out, bad)
    assert [(error.run, error.rows) for error in bad] == [(1, (30, 39))]
    assert "is not stored" in str(bad[0])
    open_reader(ooc.open(tmp_path / "a.zarr", missing="fill"), "X").read_runs([(30, 40)], out[:10])
    assert not out[:10].any()


def test_a_chunk_whose_end_is_damaged_spoils_none_that_was_read_before(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """What a codec had decoded of it by then lies in the memory that the other one had."""
    values = rng.standard_normal(80_000)
    codec = zarr.codecs.ZstdCodec()
    path = foreign(
        tmp_path / "a.zarr", 3, X={"data": values, "chunks": (40_000,), "compressors": codec}
    )
    file = path / "X" / "c" / "1"
    file.write_bytes(file.read_bytes()[:-1000] + b"\xff" * 1000)
    reader, part, bad = open_reader(ooc.open(path), "X"), np.empty(10), list[BadChunkError]()
    for first in (5, 79_985, 20):
        reader.read_runs([(first, first + 10)], part, bad)
    assert [each.rows for each in bad] == [(40_000, 79_999)]
    np.testing.assert_array_equal(part, values[20:30])


@pytest.mark.parametrize("missing", ["raise", "fill"])
def test_a_chunk_that_a_shard_lacks_is_told_through_zarr_python(
    tmp_path: Path, missing: str
) -> None:
    """It is left out, as it holds nothing but the fill value, of a shard that is there."""
    values = np.arange(1.0, 41.0).reshape(40, 1)
    values[10:20] = 0
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
        group, shape = zarr.create_group(store), {"chunks": (10, 1), "shards": (40, 1)}
        group.create_array("X", shape=(40, 1), dtype="f8", **shape)[...] = values
    reader = open_reader(ooc.open(tmp_path / "a.zip", missing=missing), "X")
    assert isinstance(reader, ZarrReader)
    out, bad = np.empty((40, 1)), list[BadChunkError]()
    reader.read_runs([(0, 40)], out, bad)
    assert [each.rows for each in bad] == ([(10, 19)] if missing == "raise" else [])
    out[10:20] *= missing == "fill"
    np.testing.assert_array_equal(out, values)


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (0, 2, 1)])
def test_axes_in_any_order_are_read_as_zarr_python_wrote_them(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    values = np.arange(7 * 3 * 4, dtype=np.int32).reshape(7, 3, 4)
    given = {
        "data": values,
        "chunks": (3, 2, 4),
        "filters": zarr.codecs.TransposeCodec(order=order),
    }
    dataset = ooc.open(foreign(tmp_path / "a.zarr", 3, X=given))
    assert read_path(dataset, "X").native
    out = np.empty((5, 3, 4), np.int32)
    open_reader(dataset, "X").read_runs([(1, 6)], out)
    np.testing.assert_array_equal(out, values[1:6])

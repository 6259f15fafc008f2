"""Where an exact shuffle works: with room enough, gone on with by the same job alone."""

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import foreign, write_dataset

import ooc
from ooc.core.errors import DataError, InputError
from ooc.core.progress import Progress
from ooc.core.sizes import format_size
from ooc.shuffle import exact, workspace
from ooc.shuffle.external_sort import _planned
from ooc.shuffle.job import Job
from ooc.shuffle.records import RecordLayout
from ooc.shuffle.workspace import file_bytes, folders_beside
from ooc.store.copies import Copy
from ooc.store.dataset import Dataset
from ooc.store.destinations import LocalDestination
from ooc.store.fields import encode_chunk

MEMORY = "512MiB"


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "a.zarr", X=np.arange(400.0).reshape(200, 2), y=np.arange(200))


def planned(data: Dataset, seed: int = 0) -> tuple[Copy, Job]:
    return _planned(data.undecoded(), 2**30, seed, 1)


def test_bytes_of_files_are_those_of_all_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(bytes(10))
    (tmp_path / "a" / "b" / "two").write_bytes(bytes(7))
    assert [file_bytes(tmp_path / name) for name in ("a", "a/one", "a/b", "none")] == [17, 10, 7, 0]
    assert file_bytes("https://host/a") == 0
    told = folders_beside(LocalDestination(tmp_path / "new.zarr"))
    assert told == (tmp_path / ".new.zarr.shuffle", tmp_path / ".new.zarr.partial")


def test_scratch_of_the_same_job_is_kept_and_any_other_removed(
    data: Dataset, tmp_path: Path
) -> None:
    scratch, partial = folders_beside(LocalDestination(tmp_path / "new.zarr"))
    copy, job = planned(data)
    for seed, is_kept in ((0, False), (0, True), (5, False), (5, True)):
        copy, job = planned(data, seed)
        partial.mkdir(exist_ok=True)
        with (
            pytest.raises(KeyError),
            workspace.workspace(copy, LocalDestination(tmp_path / "new.zarr"), job) as folder,
        ):
            assert folder == scratch
            assert (folder / "piece-000000").exists() == is_kept
            assert partial.exists() == is_kept
            identity = json.loads((folder / "job.json").read_text())
            assert identity == json.loads(json.dumps(job.identity(copy.dataset)))
            (folder / "piece-000000").touch()
            raise KeyError
    with workspace.workspace(copy, LocalDestination(tmp_path / "new.zarr"), job):
        assert (scratch / "piece-000000").exists()
    assert not scratch.exists()
    assert partial.exists()


@pytest.mark.parametrize("there", [0, 5000])
def test_a_disk_has_room_for_scratch_and_store_less_what_is_there(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    """Rows in random order take what they take in a sample of 16 chunks, and a twentieth more."""
    copy, job = planned(data)
    place = LocalDestination(tmp_path / "folder" / "new.zarr")
    scratch, _ = folders_beside(place)
    if there:
        scratch.mkdir(parents=True)
        (scratch / "piece").write_bytes(bytes(there))
    order = np.random.Generator(np.random.SFC64(0)).permutation(200)
    parts = (np.arange(400.0).reshape(200, 2), np.arange(200))
    stays = int(1.05 * sum(len(encode_chunk(part[order])) for part in parts)) + 2**20
    needed = 200 * job.layout.record_bytes + 8 * len(job.unit_starts) + 4096 + stays - there
    seen: list[Path] = []

    def disk_usage(free: int) -> None:
        def usage(path: Path) -> Any:
            seen.append(path)
            return type("Usage", (), {"free": free})()

        monkeypatch.setattr(workspace.shutil, "disk_usage", usage)

    disk_usage(needed)
    workspace._check_free_space(copy, place, job)
    disk_usage(needed - 1)
    with pytest.raises(InputError) as refused:
        workspace._check_free_space(copy, place, job)
    parent = tmp_path / "folder" if there else tmp_path
    assert seen == [parent, parent]
    assert str(refused.value) == (
        f"shuffling to {tmp_path / 'folder' / 'new.zarr'} will take about "
        f"{format_size(job.scratch_bytes)} of scratch and {format_size(stays)} to stay, but "
        f"{parent} has {format_size(needed - 1)} free; choose another disk"
    )


def test_what_cannot_be_shuffled_there_is_refused_in_whole_sentences(
    data: Dataset, tmp_path: Path
) -> None:
    inside = Path(data.path) / "deep" / "new.zarr"
    with pytest.raises(InputError) as refused:
        exact(data, inside, MEMORY)
    assert str(refused.value) == (
        f"{inside} lies inside the source {data.path}; choose a path outside it"
    )
    with pytest.raises(InputError) as refused:
        exact(ooc.split(data)[0], tmp_path / "new.zarr", MEMORY)
    assert str(refused.value) == (
        f"{data.path} is one side of a split; shuffle the whole dataset first"
    )


def test_a_disk_that_fills_up_is_told_with_what_to_do(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        def write(*given: object) -> None:
            raise OSError(number, "no room")

        monkeypatch.setattr("ooc.shuffle.external_sort.Scratch.write", write)

    full(errno.ENOSPC)
    with pytest.raises(InputError) as refused:
        exact(data, tmp_path / "new.zarr", MEMORY)
    scratch, partial = folders_beside(LocalDestination(tmp_path / "new.zarr"))
    assert str(refused.value) == (
        f"the disk of {tmp_path / 'new.zarr'} filled up; free some space and give the same command "
        f"again to go on, or remove {scratch} and {partial}"
    )
    full(errno.EIO)
    with pytest.raises(OSError, match="no room") as failed:
        exact(data, tmp_path / "new.zarr", MEMORY)
    assert failed.value.filename == str(tmp_path / "new.zarr")


def test_rows_that_change_on_their_way_are_told_with_both_sums(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = exact(data, tmp_path / "good.zarr", MEMORY, seed=1)
    unpack = RecordLayout.unpack

    def damaged(self: RecordLayout, records: np.ndarray, order: np.ndarray, out: Any) -> None:
        unpack(self, records, order, out)
        out["X"][0, 1] += 1.0

    monkeypatch.setattr(RecordLayout, "unpack", damaged)
    with pytest.raises(DataError) as refused:
        exact(data, tmp_path / "new.zarr", MEMORY, seed=1)
    said = str(refused.value)
    assert said.startswith(
        f"the rows written to {tmp_path / 'new.zarr'} are not those of {data.path}: their sum is "
    )
    assert said.endswith(f", not {good['checksum']}; the disk or memory is faulty")
    assert said.count(good["checksum"]) == 1


def test_a_shuffle_tells_what_it_did_and_leaves_out(tmp_path: Path) -> None:
    x = np.arange(60.0).reshape(30, 2)
    arrays: Any = {
        "X": {"data": x, "chunks": (10, 2), "attributes": {"unit": "m"}},
        "when": {"data": np.arange(30), "chunks": (10,), "filters": None},
    }
    path = foreign(tmp_path / "a.zarr", 2, **arrays)
    file = path / "when" / ".zarray"
    metadata = json.loads(file.read_text()) | {"compressor": {"id": "unheard"}}
    file.write_text(json.dumps(metadata))
    heard: list[Progress] = []
    told = exact(
        ooc.open(path), tmp_path / "new.zarr", "400MiB", seed=9, threads=2, report=heard.append
    )
    assert told["rows"] == 30
    assert told["seed"] == 9
    assert told["memory_budget_bytes"] == 400 * 2**20
    assert told["memory_projected_bytes"] <= 400 * 2**20
    assert list(told["left_out"]) == ["when"]
    assert heard[0].text == f"leaves out when, as {told['left_out']['when']}"
    done = [each.rows for each in heard[1:]]
    # A third of a row for each time that it is read or written.
    assert done == sorted(done)
    assert (done[-1], heard[-1].total_rows, heard[-1].bytes) == (30, 30, 30 * 16)
    assert {each.memory_budget_bytes for each in heard[1:]} == {400 * 2**20}


def test_threads_and_what_is_held_are_those_of_the_plan(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is read past the page cache, in each of the three passes."""
    pools, modes = list[int](), list[str]()

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads: int, **options: Any) -> None:
            pools.append(threads)
            super().__init__(threads, **options)

    reader = Copy.reader

    def noted(self: Copy, dataset: Dataset, name: str, io: str) -> Any:
        modes.append(io)
        return reader(self, dataset, name, io)

    monkeypatch.setattr("ooc.shuffle.external_sort.ThreadPoolExecutor", Pool)
    monkeypatch.setattr("ooc.shuffle.external_sort.held_bytes", lambda: 64 * 2**20)
    monkeypatch.setattr(Copy, "reader", noted)
    exact(data, tmp_path / "new.zarr", MEMORY, threads=3)
    assert pools == [3, 3, 1, 3]  # one thread clears up while the others prove
    assert modes == ["auto"] * 2 + ["direct"] * 4  # a sample tells how much disk is needed
    copy, job = planned(data)
    assert job.terms["reserved"] == (288 + 64) * 2**20
    assert job.seed == 0
    assert planned(data, 7)[1].seed == 7
    assert copy.dataset.path == data.path
    with pytest.raises(InputError, match=r"of 300 MiB is below the \d+ MiB that .* raise the") as e:
        exact(data, tmp_path / "other.zarr", "300MiB")
    enough = int(str(e.value).rpartition(" ")[2].removesuffix("MiB"))
    assert _planned(data.undecoded(), enough * 2**20, 0, None)[1].projected <= enough * 2**20

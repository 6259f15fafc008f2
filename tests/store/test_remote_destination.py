"""A store that is written to a server: the same objects as files, whole or not there.

S3 is spoken with a real server of its API, and a proxy before it that fails as servers do.
"""

import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr
import zarr
from attack.servers import Proxy, proxy_before, s3_server
from conversions import MEMORY, people, small_shards

import ooc
from ooc.core.errors import InputError
from ooc.core.progress import Progress
from ooc.store.remote import UNFINISHED
from ooc.synthetic import Recipe, make

KEYS = {"key": "somebody", "secret": "that-nobody-sees"}
FIELDS = {"X": ("float32", (3,)), "y": ("int64", ())}
# Chunks of 10 rows, shards of 40.
CUT: Any = {"chunk_bytes": 120, "shard_bytes": 480}


class Far(NamedTuple):
    """A server's bucket: through a proxy as `ooc` sees it, and as fsspec does."""

    proxy: Proxy
    port: int
    bucket: Any

    def objects(self, name: str) -> dict[str, bytes]:
        """Return all objects of a store, by key."""
        self.bucket.invalidate_cache()
        found = self.bucket.find(f"data/{name}")
        return {path.removeprefix(f"data/{name}/"): self.bucket.cat_file(path) for path in found}


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("OOC_SERVER_SECONDS", "1")
        patch.setenv("OOC_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        patch.setattr("ooc.store.remote.FIRST_PAUSE", 0.002)
        with s3_server() as port, proxy_before(port) as proxy:
            patch.setenv("AWS_ENDPOINT_URL", proxy.url)
            patch.setenv("AWS_ACCESS_KEY_ID", KEYS["key"])
            patch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secret"])
            bucket = fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{port}", **KEYS)
            bucket.mkdir("data")
            yield Far(proxy, port, bucket)


def scratch() -> list[Path]:
    return sorted(Path(os.environ["OOC_SCRATCH"]).glob("*")) + sorted(
        Path(os.environ["OOC_SCRATCH"]).glob(".*")
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def rows(count: int) -> dict[str, np.ndarray]:
    values = np.arange(3.0 * count, dtype=np.float32).reshape(count, 3)
    return {"X": values, "y": np.arange(count)}


def write(path: str | Path, count: int = 95) -> None:
    with ooc.create(path, FIELDS, {"of": "tests"}, **CUT) as writer:
        writer.append(rows(count))


@pytest.mark.slow
def test_objects_are_the_files_of_a_local_store(far: Far, tmp_path: Path) -> None:
    write(tmp_path / "a.zarr")
    write("s3://data/same.zarr")
    assert far.objects("same.zarr") == files(tmp_path / "a.zarr")
    assert scratch() == []


@pytest.mark.slow
def test_zarr_python_and_xarray_read_what_is_written(far: Far) -> None:
    write("s3://data/read.zarr")
    options = {"endpoint_url": f"http://127.0.0.1:{far.port}", **KEYS}
    group = zarr.open_group("s3://data/read.zarr", mode="r", storage_options=options)
    np.testing.assert_array_equal(group["X"][...], rows(95)["X"])
    assert group.attrs["of"] == "tests"
    fields = {"X": ooc.store.fields.Field("float32", (3,), dimensions=("row", "column"))}
    with ooc.create("s3://data/named.zarr", fields, **CUT) as writer:
        writer.append({"X": rows(50)["X"]})
    found = xr.open_zarr("s3://data/named.zarr", storage_options=options, consolidated=False)
    np.testing.assert_array_equal(found["X"].to_numpy(), rows(50)["X"])
    assert found["X"].dims == ("row", "column")


@pytest.mark.slow
def test_a_large_object_is_a_multipart_upload(far: Far, rng: np.random.Generator) -> None:
    """Random bytes do not compress: the shard has 20 MiB, and the last part is a short one."""
    values = rng.integers(0, 256, (5 * 2**20, 4), np.uint8)
    with ooc.create("s3://data/large.zarr", {"X": ("uint8", (4,))}) as writer:
        writer.append({"X": values})
    tag = far.bucket.info("data/large.zarr/X/c/0/0")["ETag"]
    assert tag.strip('"').endswith("-3")
    np.testing.assert_array_equal(ooc.open("s3://data/large.zarr").arrays["X"].shape, values.shape)
    read = zarr.open_group(
        "s3://data/large.zarr",
        storage_options={"endpoint_url": f"http://127.0.0.1:{far.port}", **KEYS},
        mode="r",
    )
    np.testing.assert_array_equal(read["X"][...], values)


PASSING = ("resets", "closes", "answer lost", "500", "502", "503", "429", "no HTTP", "half a body")


@pytest.mark.slow
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_sent_again(far: Far, tmp_path: Path, fault: str) -> None:
    write(tmp_path / "a.zarr")
    name = f"{fault.replace(' ', '-')}.zarr"
    for pattern in ("PUT .*X/c/1", f"PUT .*{name}/zarr.json", "DELETE"):
        far.bucket.rm(f"data/{name}", recursive=True) if far.bucket.exists(f"data/{name}") else None
        with far.proxy.faulty(fault, pattern, times=2):
            write(f"s3://data/{name}")
        assert far.objects(name) == files(tmp_path / "a.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("step", ["uploads", "partNumber=2", "POST .*uploadId"])
@pytest.mark.parametrize("fault", ["answer lost", "503", "resets"])
def test_parts_are_sent_again_one_by_one(
    far: Far, rng: np.random.Generator, fault: str, step: str
) -> None:
    values, name = rng.integers(0, 256, (5 * 2**20, 4), np.uint8), f"parts-{fault}-{step[:4]}.zarr"
    with (
        far.proxy.faulty(fault, step, times=1),
        ooc.create(f"s3://data/{name}", {"X": ("uint8", (4,))}) as writer,
    ):
        writer.append({"X": values})
    far.bucket.invalidate_cache()
    assert far.bucket.info(f"data/{name}/X/c/0/0")["size"] > 20 * 2**20
    assert ooc.open(f"s3://data/{name}").rows == len(values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "pattern", "said"),
    [
        ("403", "PUT", "no permission to write to s3://data/{}: "),
        ("403", "PUT .*X/c/1", "no permission to write to s3://data/{}: "),
        ("503", "PUT .*X/c/1", "the server of s3://data/{} does not answer: it answers 503"),
        ("503, later", "PUT .*y/c/0", "and asks to wait for 120 s"),
        ("resets", "PUT .*X/zarr.json", "the server of s3://data/{} does not answer: "),
        ("500", "PUT .*zarr/zarr.json", "the server of s3://data/{} does not answer: "),
        ("403", "GET .*list-type", "no permission to write to s3://data/{}: "),
    ],
)
def test_what_does_not_pass_leaves_nothing_that_looks_whole(
    far: Far, fault: str, pattern: str, said: str
) -> None:
    name = f"fails-{zlib.crc32((fault + pattern).encode())}.zarr"
    with far.proxy.faulty(fault, pattern), pytest.raises(InputError) as told:
        write(f"s3://data/{name}")
    assert said.format(name) in str(told.value) and "\n" not in str(told.value)
    assert KEYS["secret"] not in str(told.value)
    assert far.objects(name) == {} and scratch() == []


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_told_before_any_work(far: Far, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make the bucket nowhere first, or check the URL"):
        make("s3://nowhere/a.zarr", Recipe("linear", 10, 2))
    np.save(tmp_path / "a.npy", np.zeros((20, 2)))
    for shuffle in (False, True):
        with pytest.raises(InputError, match="make the bucket nowhere first"):
            ooc.convert(tmp_path / "a.npy", "s3://nowhere/a.zarr", memory=MEMORY, shuffle=shuffle)
    assert scratch() == []


def test_what_is_there_already_is_refused_in_the_words_of_a_folder(far: Far) -> None:
    far.bucket.pipe("data/taken.zarr/notes.txt", b"mine")
    far.bucket.pipe("data/file.zarr", b"mine")
    for name in ("taken.zarr", "file.zarr"):
        with pytest.raises(InputError) as told:
            write(f"s3://data/{name}")
        assert str(told.value) == (
            f"s3://data/{name} already exists; choose another path or remove it first"
        )
    assert far.objects("taken.zarr") == {"notes.txt": b"mine"}


def test_what_another_machine_began_is_refused(far: Far) -> None:
    mark = {"token": "another", "host": "a-host", "scratch": "/a/folder"}
    far.bucket.pipe(f"data/begun.zarr/{UNFINISHED}", json.dumps(mark).encode())
    with pytest.raises(InputError) as told:
        write("s3://data/begun.zarr")
    assert str(told.value) == (
        "s3://data/begun.zarr is half-written: a-host began it, with its scratch in /a/folder; "
        "give the same command again there to go on, or remove what is there first"
    )
    with pytest.raises(InputError, match=r"begun.zarr is half-written: whoever writes it has not"):
        ooc.open("s3://data/begun.zarr")
    far.bucket.pipe(f"data/damaged.zarr/{UNFINISHED}", b"\xff{")
    with pytest.raises(InputError, match="another program began it"):
        write("s3://data/damaged.zarr")


@pytest.mark.slow
def test_what_somebody_else_writes_meanwhile_is_seen_in_the_end(far: Far) -> None:
    places = {"more": "X/c/9/0", "other": "X/c/0/0", "same size": "X/c/0/0", "mark": UNFINISHED}
    for name, changed in places.items():
        path = f"data/{name}.zarr"
        with (
            pytest.raises(InputError, match=r"was changed while it was written: .* begin anew"),
            ooc.create(f"s3://{path}", FIELDS, **CUT) as writer,
        ):
            writer.append(rows(50))
            there = far.bucket.cat(f"{path}/{changed}") if name == "same size" else b"{}."
            far.bucket.pipe(f"{path}/{changed}", bytes([there[0] ^ 1, *there[1:]]))
        # What has another's mark is another's.
        assert (far.objects(f"{name}.zarr") == {}) == (name != "mark" and name != "more")
        assert "zarr.json" not in far.objects(f"{name}.zarr")


def test_two_writers_on_one_machine_are_one_too_many(far: Far) -> None:
    with ooc.create("s3://data/two.zarr", FIELDS, **CUT) as writer:
        with pytest.raises(InputError, match=r"process \d+ is writing s3://data/two.zarr; wait"):
            write("s3://data/two.zarr")
        writer.append(rows(5))
    assert ooc.open("s3://data/two.zarr").rows == 5


@pytest.mark.slow
def test_a_killed_writer_s_rest_is_replaced(far: Far, tmp_path: Path) -> None:
    code = (
        "import os, sys, numpy as np, ooc\n"
        "with ooc.create(sys.argv[1], {'X': ('float32', (3,)), 'y': ('int64', ())},"
        " chunk_bytes=120, shard_bytes=480) as writer:\n"
        "    writer.append({'X': np.ones((200, 3)), 'y': np.zeros(200)})\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    url = "s3://data/replaced.zarr"
    killed = subprocess.run([sys.executable, "-c", code, url], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = far.objects("replaced.zarr")
    assert UNFINISHED in left and "X/c/3/0" in left and "zarr.json" not in left
    with pytest.raises(InputError, match="is half-written"):
        ooc.open(url)
    write(tmp_path / "a.zarr")
    write(url)
    assert far.objects("replaced.zarr") == files(tmp_path / "a.zarr")
    assert scratch() == []


KILLED = """
import os, sys
import ooc.conversion.budget as budget, ooc.conversion.arrays as arrays
import ooc.conversion.csv_text as csv_text
import ooc
budget.CHUNK_BYTES, budget.SHARD_BYTES, arrays.PIECE_BYTES = 2**9, 2**11, 2**11
csv_text.BLOCK_BYTES = 2**11
def die(progress):
    if not progress.text and progress.rows >= int(sys.argv[3]):
        os.kill(os.getpid(), 9)
ooc.convert(sys.argv[1], sys.argv[2], memory="2GiB", target="label", report=die)
"""


def kill_at(count: int, source: Path, url: str) -> None:
    command = [sys.executable, "-c", KILLED, str(source), url, str(count)]
    killed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@pytest.mark.slow
def test_a_killed_conversion_goes_on_to_the_same_bits(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With texts whose codes are sorted in the end."""
    small_shards(monkeypatch)
    frame = people(2000)
    frame.loc[1900:, "city"] = "Aachen"
    frame.to_csv(tmp_path / "a.csv", index=False)
    known: Any = {"memory": MEMORY, "target": "label", "report": False}
    ooc.convert(tmp_path / "a.csv", tmp_path / "whole.zarr", **known)
    url = "s3://data/killed.zarr"
    for count in (400, 1200):
        kill_at(count, tmp_path / "a.csv", url)
        left = far.objects("killed.zarr")
        assert UNFINISHED in left and "zarr.json" not in left and len(left) > 10
    result = ooc.convert(tmp_path / "a.csv", url, **known)
    assert result["rows_kept_from_before"] > 800
    assert far.objects("killed.zarr") == files(tmp_path / "whole.zarr")
    assert scratch() == []


@pytest.mark.slow
def test_after_an_outage_a_conversion_goes_on(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch)
    np.save(tmp_path / "a.npy", np.arange(8000.0).reshape(2000, 4))
    known: Any = {"memory": MEMORY, "report": False}
    ooc.convert(tmp_path / "a.npy", tmp_path / "whole.zarr", **known)
    url = "s3://data/outage.zarr"
    for pattern in ("PUT .*X/c/9", "PUT .*outage.zarr/zarr.json"):
        with far.proxy.faulty("503", pattern), pytest.raises(InputError) as told:
            ooc.convert(tmp_path / "a.npy", url, **known)
        assert "does not answer" in str(told.value)
        assert str(told.value).endswith(
            "what is written stays, and the same command goes on from there"
        )
        assert "zarr.json" not in far.objects("outage.zarr")
    result = ooc.convert(tmp_path / "a.npy", url, **known)
    assert result["rows_kept_from_before"] > 1900
    assert far.objects("outage.zarr") == files(tmp_path / "whole.zarr")


@pytest.mark.slow
def test_another_source_begins_anew_there(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch)

    def stop(progress: Progress) -> None:
        if not progress.text and progress.rows >= 1000:
            raise KeyboardInterrupt

    url = "s3://data/anew.zarr"
    np.save(tmp_path / "a.npy", np.zeros((2000, 4)))
    with pytest.raises(KeyboardInterrupt):
        ooc.convert(tmp_path / "a.npy", url, memory=MEMORY, report=stop)
    assert len(far.objects("anew.zarr")) > 1
    np.save(tmp_path / "a.npy", np.ones((300, 4)))
    result = ooc.convert(tmp_path / "a.npy", url, memory=MEMORY, report=False)
    assert "begins anew" in result["notes"][0] and result["rows_kept_from_before"] == 0
    ooc.convert(tmp_path / "a.npy", tmp_path / "whole.zarr", memory=MEMORY, report=False)
    assert far.objects("anew.zarr") == files(tmp_path / "whole.zarr")


@pytest.mark.slow
def test_sparse_rows_are_written_and_gone_on_with(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch)
    matrix = scipy.sparse.random(3000, 40, 0.2, format="csr", random_state=np.random.default_rng(1))
    scipy.sparse.save_npz(tmp_path / "a.npz", matrix)
    known: Any = {"memory": MEMORY, "report": False}
    ooc.convert(tmp_path / "a.npz", tmp_path / "whole.zarr", **known)
    url = "s3://data/sparse.zarr"
    for least in (500, 1700):

        def stop(progress: Progress, least: int = least) -> None:
            if not progress.text and progress.rows >= least:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ooc.convert(tmp_path / "a.npz", url, **(known | {"report": stop}))
    result = ooc.convert(tmp_path / "a.npz", url, **known)
    assert result["rows_kept_from_before"] > 0
    assert far.objects("sparse.zarr") == files(tmp_path / "whole.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["local", "far"])
def test_a_shuffle_writes_there_what_it_writes_here(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr("ooc.shuffle.job.CHUNK_BYTES", 2**9)
    monkeypatch.setattr("ooc.shuffle.job.SHARD_BYTES", 2**11)
    write(tmp_path / "a.zarr", 900)
    if source == "far":
        write("s3://data/plain.zarr", 900)
    data = ooc.open("s3://data/plain.zarr" if source == "far" else tmp_path / "a.zarr")
    ooc.shuffle.exact(ooc.open(tmp_path / "a.zarr"), tmp_path / "b.zarr", MEMORY, seed=3)
    url = f"s3://data/shuffled-{source}.zarr"
    monkeypatch.setattr(
        "ooc.shuffle.external_sort._Run._write_shards",
        stopped_once(ooc.shuffle.external_sort._Run._write_shards),
    )
    with pytest.raises(KeyboardInterrupt):
        ooc.shuffle.exact(data, url, MEMORY, seed=3)
    assert "zarr.json" not in far.objects(f"shuffled-{source}.zarr")
    ooc.shuffle.exact(data, url, MEMORY, seed=3)
    assert far.objects(f"shuffled-{source}.zarr") == files(tmp_path / "b.zarr")
    assert scratch() == []


def stopped_once(write_shards: Any) -> Any:
    """Return what writes all shards, and is stopped then the first time."""
    calls = []

    def run(self: Any, writer: Any) -> None:
        write_shards(self, writer)
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt

    return run


@pytest.mark.slow
def test_a_shuffled_conversion_goes_there_too(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch)
    pd.DataFrame({"a": np.arange(500.0), "y": np.arange(500)}).to_parquet(tmp_path / "a.parquet")
    known: Any = {"memory": MEMORY, "report": False, "shuffle": True}
    ooc.convert(tmp_path / "a.parquet", tmp_path / "b.zarr", **known)
    ooc.convert(tmp_path / "a.parquet", "s3://data/mixed.zarr", **known)
    assert far.objects("mixed.zarr") == files(tmp_path / "b.zarr")
    assert scratch() == []


def test_a_scratch_folder_that_cannot_be_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OOC_SCRATCH", str(tmp_path / "file" / "below"))
    with pytest.raises(
        InputError,
        match=r"file/below, for what is not at memory://s.zarr yet: .*"
        "Not a directory; name another folder in OOC_SCRATCH",
    ):
        write("memory://s.zarr")
    assert not fsspec.filesystem("memory").exists("/s.zarr")


@pytest.mark.parametrize("path", ["https://host/a.zarr", "file:///tmp/a.zarr"])
def test_urls_that_are_but_read_are_refused(path: str) -> None:
    with pytest.raises(InputError, match=r"give its local path, /tmp/a|is on a web server, which"):
        write(path)


def test_any_file_system_of_fsspec_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOC_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setattr("ooc.store.uploads.PIECE_BYTES", 100)  # files, and not their bytes
    write(tmp_path / "a.zarr")
    write("memory://some/a.zarr")
    memory = fsspec.filesystem("memory")
    found = {path.removeprefix("/some/a.zarr/"): memory.cat(path) for path in memory.find("/some")}
    assert found == files(tmp_path / "a.zarr")
    assert list((tmp_path / "scratch").iterdir()) == []
    memory.rm("/some", recursive=True)


def test_connections_count_in_the_plan_and_change_no_window(tmp_path: Path) -> None:
    """The stream of a budget is the same from a server as from a disk."""
    write(tmp_path / "a.zarr", 900)
    write("memory://plan.zarr", 900)
    local, remote = (
        ooc.Loader(ooc.open(path), batch_size=16, memory="512MiB").plan
        for path in (tmp_path / "a.zarr", "memory://plan.zarr")
    )
    assert remote.terms["connections"] == 64 * 2**19
    assert remote.order == local.order
    assert remote.projected == local.projected + 64 * 2**19 <= remote.budget
    fsspec.filesystem("memory").rm("/plan.zarr", recursive=True)

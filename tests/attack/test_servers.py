"""Servers and networks that fail in every way, before S3 and the web: one line, in bounded time."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import fsspec
import numpy as np
import pytest
from store.chunks.test_bombs import BOMBS, FAR

import ooc
from attack.ends import MEMORY, attack, end_of, is_progress
from attack.servers import FAULTS, Proxy, proxy_before, s3_server
from attack.stores import ROWS, train, values, write
from attack.test_bombs import write_packed
from ooc.store.chunks import open_reader

pytestmark = pytest.mark.slow
# The bound on a server, in seconds; what is promised is three times as much.
BOUND = 0.5
LARGE = 2**27
OUTAGES = tuple(FAULTS)[: tuple(FAULTS).index("403")]
# What is said where X/zarr.json, or a shard of X, is answered so; nothing where it does no harm.
OF_METADATA = {
    **dict.fromkeys(OUTAGES, "does not answer"),
    "403": "no permission to read",
    "403, 300 MB": "no permission to read",
    "404": "has no array 'X'",
    "shorter": "array X of",
    "300 MB longer": "it may have 67,108,864 bytes",
    "other bytes": "",
    "no ranges": "",
    "written again": "",
}
OF_CHUNKS = {
    **dict.fromkeys(OUTAGES, "no chunk is to blame"),
    "403": "no permission",
    "403, 300 MB": "no permission",
    "404": "rows 20 to 29, cannot be read from",
    "shorter": "rows 20 to 29, cannot be read from",
    "300 MB longer": "no chunk is to blame",
    "other bytes": "no chunk is to blame",
    "no ranges": "no chunk is to blame",
    "written again": "no chunk is to blame",
}
SKIPPED = ("404", "shorter")
# Every fault meets two commands, and one of each kind all of them.
COMMANDS, OTHERS = ("info", "train"), ("plan", "skip", "predict", "shuffle", "resume")
KINDS = ("silent", "half a body", "503", "403", "404", "shorter", "no ranges")
CASES = [(fault, command) for fault in FAULTS for command in COMMANDS]
CASES += [(fault, command) for fault in KINDS for command in OTHERS]
PASSING = [fault for fault in OUTAGES if "later" not in fault]
OF_WAYS = [(fault, "web") for fault in FAULTS]
OF_WAYS += [(fault, "S3, no shards") for fault in FAULTS if fault not in OUTAGES]
OF_BOMBS = ("train", "skip", "shuffle")
# What waits for a server, or has given it up, when its process ends; none is of no signal.
ENDINGS = [
    (signal.SIGINT, "sharded.zarr/zarr.json"),
    (signal.SIGTERM, "X/zarr.json"),
    (signal.SIGINT, "X/c/1"),
    (signal.SIGTERM, "X/c/1"),
    (None, "X/zarr.json"),
    (None, "X/c/"),
]


class Place(NamedTuple):
    """The proxy, and the folder of runs."""

    proxy: Proxy
    folder: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, patch = tmp_path_factory.mktemp("servers"), pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        patch.setenv(name, os.devnull)
    keys = {"key": "somebody", "secret": "that-nobody-sees"}
    patch.setenv("AWS_ACCESS_KEY_ID", keys["key"])
    patch.setenv("AWS_SECRET_ACCESS_KEY", keys["secret"])
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.setenv("OOC_SERVER_SECONDS", str(BOUND))
    patch.setattr("ooc.store.remote.FIRST_PAUSE", 0.002)
    with s3_server() as port, proxy_before(port) as proxy:
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        public = {"s3_additional_kwargs": {"ACL": "public-read"}}
        server = fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{port}", **keys, **public)
        server.mkdir("data", acl="public-read")
        for layout in ("sharded", "v2"):
            server.put(str(write(folder / f"{layout}.zarr", layout)), "data/", recursive=True)
        for name, (codec, make) in BOMBS.items():
            store = write_packed(folder / f"{name}.zarr", "v2", codec)
            size = LARGE if codec in ("gzip", "zlib", "zstd") else FAR  # of zeros, or said to be
            (store / "X" / "2.0").write_bytes(make(size))
            server.put(str(store), "data/", recursive=True)
        line = [*train("s3://data/sharded.zarr", folder / "run"), "--save-steps", "2"]
        end = end_of([*line, "--keep", "9"], 120)
        assert end.status == 0, end.err
        shutil.copytree(folder / "run", folder / "begun")
        max((folder / "begun" / "checkpoints").iterdir()).unlink()
        yield Place(proxy, folder)
    patch.undo()


def line_of(command: str, data: str, place: Place, folder: Path) -> list[str]:
    out, run = str(folder / "out.zarr"), folder / "run"
    if command == "resume":
        shutil.copytree(place.folder / "begun", run)
    return {
        "info": ["info", data],
        "plan": ["plan", data, "--memory", MEMORY, "--batch-size", "16"],
        "train": train(data, run),
        "skip": [*train(data, run), "--on-bad-chunk", "skip"],
        "predict": ["predict", str(place.folder / "run"), data, out, "--memory", MEMORY],
        "shuffle": ["shuffle", data, out, "--memory", MEMORY],
        "resume": ["resume", str(run)],
    }[command]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_end(tmp_path: Path, place: Place, fault: str) -> None:
    problems = []
    for command in [command for each, command in CASES if each == fault]:
        folder = tmp_path / command
        folder.mkdir()
        reads = command not in ("info", "plan")
        said = (OF_CHUNKS if reads else OF_METADATA)[fault]
        status = 2 if said else 0
        if command == "skip" and fault in SKIPPED:
            status, said = 0, "rows were left out"
        line = line_of(command, "s3://data/sharded.zarr", place, folder)
        with place.proxy.faulty(fault, "X/c/1" if reads else "X/zarr.json"):
            problems += attack(line, status, said)
        left = [path.name for path in folder.iterdir() if path.name != "run"]
        problems += [f"{command} left {left}"] if status and left else []
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_asked_for_again(place: Place, fault: str) -> None:
    reader = open_reader(ooc.open("s3://data/sharded.zarr"), "X")
    out = np.zeros((ROWS, 3), np.float32)
    with place.proxy.faulty(fault, "X/c/1", times=1):
        reader.read_runs([(0, ROWS)], out)
    assert np.array_equal(out, values()["X"])
    assert place.proxy.times == 0
    # What meets a kept connection that was closed is sent again by aiohttp, once and at once.
    assert reader.retries == 1 or fault in ("resets", "closes", "answer lost")


@pytest.mark.parametrize(("fault", "way"), OF_WAYS)
def test_other_ways_end_as_well(tmp_path: Path, place: Place, fault: str, way: str) -> None:
    """Whole objects are asked for where there are no shards, and ranges do not matter."""
    data, part = "s3://data/v2.zarr", r"X/2\.0"
    harmless = ["other bytes", "no ranges", "written again"]
    if way == "web":
        data, part = f"{place.proxy.url}/data/sharded.zarr", "X/c/1"
        harmless = ["written again"]  # tags of web servers need not be those of objects
    said = "" if fault in harmless else OF_CHUNKS[fault]
    if way != "web" and fault == "300 MB longer":
        said = "rows 20 to 29, cannot be read from"
    with place.proxy.faulty(fault, part):
        problems = attack(train(data, tmp_path / "run"), 2 if said else 0, said)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_behind_a_url_is_bounded(tmp_path: Path, place: Place, name: str) -> None:
    problems = []
    for command in OF_BOMBS:
        folder = tmp_path / command
        folder.mkdir()
        line = line_of(command, f"s3://data/{name}.zarr", place, folder)
        skips = command == "skip"
        names = ("rows were left out",) if skips else ("chunk 2.0 of array X", "rows 20 to 29")
        problems += attack(line, 0 if skips else 2, *names, most_grown=2**26)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(("number", "part"), ENDINGS)
def test_a_process_ends_without_what_it_waits_for(
    tmp_path: Path, place: Place, number: int | None, part: str
) -> None:
    """A line of ours, and nothing of the layers below, whose loop and threads end with it."""
    environment = {**os.environ, "OOC_SERVER_SECONDS": str(BOUND if number is None else 20)}
    line = [sys.executable, "-m", "ooc", *train("s3://data/sharded.zarr", tmp_path / "run")]
    with place.proxy.faulty("silent", part):
        child = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment)
        while place.proxy.times == 10**9 and child.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2)
        if number is not None:
            child.send_signal(number)
        begun = time.monotonic()
        _, err = child.communicate(timeout=30)
        assert time.monotonic() - begun < 5
    assert child.returncode == (2 if number is None else 128 + number), err
    told = [line for line in err.splitlines() if not is_progress(line)]
    assert len(told) == 1 and told[0].startswith("ooc: "), err

"""Data behind a URL: the same stream, the same bits, and one line for whatever goes wrong.

S3 is spoken with a real server of its API; nothing leaves the loopback interface.
"""

import json
import os
import pickle
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import numpy as np
import pytest
import zarr
from attack.servers import free_port, s3_server
from datasets import foreign, write_dataset
from pairs import pairs

import ooc
from ooc.cli import main
from ooc.core.errors import InputError
from ooc.models import Logistic
from ooc.optim import sgd
from ooc.store.chunks import BadChunkError, open_reader, read_path
from ooc.store.dataset import Dataset
from ooc.store.fingerprint import check_same_data, fingerprint
from ooc.training.trainer import Trainer

ROWS = 480
SECRET = "a-secret-that-nobody-sees"
# Puts a folder where its URL and options say.
Place = Callable[[Path], tuple[str, dict[str, Any]]]


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


@pytest.fixture(scope="module")
def s3_options() -> Iterator[dict[str, Any]]:
    """Storage options of an S3 server with a bucket called "data"."""
    with s3_server() as port:
        options = {"endpoint_url": f"http://127.0.0.1:{port}", "key": "somebody", "secret": SECRET}
        fsspec.filesystem("s3", **options).mkdir("data")
        yield options


class Handler(SimpleHTTPRequestHandler):
    """Serves files and ranges of them, also under the paths of Google's storage API."""

    server: "WebServer"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
            failing = self.server.failures > 0
            self.server.failures -= failing
        time.sleep(self.server.delay)
        try:
            self.send_error(503) if failing else self.answer()
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def answer(self) -> None:
        if found := re.match(r"/download/storage/v1/b/[^/]*/o/(.*)\?alt=media", self.path):
            self.path = "/" + unquote(found[1])
        file = Path(self.translate_path(self.path))
        if self.server.forbidden and self.path.endswith(self.server.forbidden):
            self.send_error(403)
            return
        if self.server.refuses_listing and not file.is_file():
            self.send_error(403 if file.is_dir() else 404)
            return
        wanted = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None or not file.is_file() or self.server.ignores_ranges:
            super().do_GET()
            return
        content = file.read_bytes()
        first = int(wanted[1]) if wanted[1] else max(0, len(content) - int(wanted[2]))
        stop = int(wanted[2]) + 1 if wanted[1] and wanted[2] else len(content)
        self.send_response(206)
        self.send_header("Content-Length", str(len(content[first:stop])))
        self.end_headers()
        self.wfile.write(content[first:stop])


class WebServer(ThreadingHTTPServer):
    """A web server on loopback that can be told to behave badly."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.Lock()
        self.failures = self.under_way = self.most_under_way = 0
        self.delay = 0.0
        self.ignores_ranges = self.refuses_listing = False
        self.forbidden = ""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """A web server of the test's folder."""
    with WebServer(tmp_path) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def to_s3(s3_options: dict[str, Any], request: pytest.FixtureRequest) -> Place:
    def place(folder: Path) -> tuple[str, dict[str, Any]]:
        url = f"s3://data/{abs(hash(request.node.name))}/{folder.name}"
        fsspec.filesystem("s3", **s3_options).put(str(folder), url, recursive=True)
        return url, s3_options

    return place


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """The place that the test's parameter names."""
    kind = request.param.split(",")[0]
    if kind == "s3":
        return request.getfixturevalue("to_s3")  # type: ignore[no-any-return]
    if kind == "memory":

        def to_memory(folder: Path) -> tuple[str, dict[str, Any]]:
            url = f"memory://{abs(hash(request.node.name))}/{folder.name}"
            fsspec.filesystem("memory").put(str(folder), url, recursive=True)
            return url, {}

        return to_memory
    web = request.getfixturevalue("web")
    if kind == "gs":
        options = {"endpoint_url": web.url, "token": "anon"}
        return lambda folder: (f"gs://data/{folder.name}", options)
    return lambda folder: (f"{web.url}/{folder.name}", {})


def sharded(folder: Path) -> Path:
    x = np.random.default_rng(5).standard_normal((ROWS, 3)).astype(np.float32)
    write_dataset(folder / "sharded.zarr", X=x, y=np.arange(ROWS) % 2)
    return folder / "sharded.zarr"


def version_2(folder: Path) -> Path:
    x = np.random.default_rng(6).standard_normal((ROWS, 3)).astype(np.float32)
    y = np.arange(ROWS) % 2
    return foreign(
        folder / "two.zarr",
        2,
        X={"data": x, "chunks": (100, 2)},
        y={"data": y, "chunks": (100,)},
    )


def open_url(placed: tuple[str, dict[str, Any]], **how: Any) -> Dataset:
    return ooc.open(placed[0], storage_options=placed[1], **how)


def refused(url: str, options: dict[str, Any] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        ooc.open(url, storage_options=options)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("make", "place"),
    [
        pytest.param(sharded, "s3", marks=pytest.mark.slow),
        pytest.param(version_2, "s3", marks=pytest.mark.slow),
        *pairs([sharded, version_2], ["memory", "http, the same code path as https", "gs"]),
    ],
    indirect=["place"],
)
def test_the_stream_is_that_of_the_folder(
    tmp_path: Path, place: Place, make: Callable[[Path], Path]
) -> None:
    folder = make(tmp_path)
    local, remote = ooc.open(folder), open_url(place(folder))
    assert remote.arrays == local.arrays
    options = {"batch_size": 64, "memory": "512MiB", "seed": 3}
    batches = zip(ooc.Loader(local, **options), ooc.Loader(remote, **options), strict=True)
    for here, there in batches:
        assert np.array_equal(here.rows, there.rows)
        assert here["X"].tobytes() == there["X"].tobytes()
        assert here["y"].tobytes() == there["y"].tobytes()


@pytest.mark.slow
def test_training_gives_the_same_bits_and_keeps_no_key(tmp_path: Path, to_s3: Place) -> None:
    folder = sharded(tmp_path)
    remote = open_url(to_s3(folder))
    trainer = Trainer(Logistic(), sgd(0.1), 64, memory="512MiB", seed=2)
    here = trainer.fit(ooc.open(folder), epochs=1)
    there = trainer.fit(remote, epochs=1, run_dir=tmp_path / "run")
    assert there.results["parameters_sha256"] == here.results["parameters_sha256"]
    assert SECRET not in repr(remote)
    saved = b"".join(file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file())
    assert remote.path.encode() in saved
    assert SECRET.encode() not in saved


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "key", "cell", "rows"),
    [(sharded, "X/c/1/0", (4, 0), (40, 49)), (version_2, "X/3.1", (3, 1), (300, 399))],
)
def test_a_deleted_object_is_named_filled_or_skipped_as_the_user_says(
    tmp_path: Path,
    to_s3: Place,
    s3_options: dict[str, Any],
    make: Callable[[Path], Path],
    key: str,
    cell: tuple[int, ...],
    rows: tuple[int, int],
) -> None:
    placed = to_s3(make(tmp_path))
    fsspec.filesystem("s3", **s3_options).rm(f"{placed[0]}/{key}")
    dataset = open_url(placed)
    out = np.ones((ROWS, 3), np.float32)
    with pytest.raises(BadChunkError, match="it is not stored; restore it") as caught:
        open_reader(dataset, "X").read_runs([(0, ROWS)], out)
    error = caught.value
    assert (error.cell, error.rows, error.file) == (cell, rows, f"{placed[0]}/{key}")
    open_reader(open_url(placed, missing="fill"), "X").read_runs([(0, ROWS)], out)
    lost = slice(40, 80) if make is sharded else slice(300, 400)
    assert not out[lost, -1].any()
    assert out[: lost.start].all() and out[lost.stop :].all()
    loader = ooc.Loader(dataset, 64, memory="512MiB", on_bad_chunk="skip")
    seen = np.concatenate([batch.rows for batch in loader])
    left = np.delete(np.arange(ROWS), lost)
    assert np.array_equal(np.sort(seen), left)
    assert loader.skipped_rows == ROWS - len(left)
    assert loader.skipped_chunks == (4 if make is sharded else 1)


@pytest.mark.parametrize("place", ["memory"], indirect=True)
@pytest.mark.parametrize("index_location", ["start", "end"])
def test_a_chunk_that_its_shard_lacks_is_not_taken_for_zeros(
    tmp_path: Path, place: Place, index_location: str
) -> None:
    """zarr-python leaves chunks of zeros out of shards."""
    values = np.repeat([1, 0, 1, 1], 10).astype(np.float32)[:, None] * np.ones(4, np.float32)
    codec = zarr.codecs.ShardingCodec(chunk_shape=(10, 2), index_location=index_location)  # type: ignore[arg-type]
    group = zarr.create_group(tmp_path / "a.zarr")
    array = group.create_array(
        "X", shape=(40, 4), chunks=(20, 4), dtype="f4", serializer=codec, compressors=None
    )
    array[...] = values
    placed = place(tmp_path / "a.zarr")
    for span in ((0, 20), (0, 40), (15, 25)):
        bad: list[BadChunkError] = []
        out = np.full((span[1] - span[0], 4), 7, np.float32)
        open_reader(open_url(placed), "X").read_runs([span], out, bad)
        assert [(error.cell, error.rows) for error in bad] == [
            ((1, 0), (10, 19)),
            ((1, 1), (10, 19)),
        ]
    out = np.full((40, 4), 7, np.float32)
    open_reader(open_url(placed, missing="fill"), "X").read_runs([(0, 40)], out)
    assert np.array_equal(out, values)


@pytest.mark.parametrize("place", ["memory"], indirect=True)
def test_only_the_damaged_chunk_of_a_run_is_blamed(tmp_path: Path, place: Place) -> None:
    folder = sharded(tmp_path)
    expected = zarr.open_array(folder / "X", mode="r")[...]
    file = folder / "X" / "c" / "2" / "0"
    content = bytearray(file.read_bytes())
    content[30] ^= 4
    file.write_bytes(content)
    placed = place(folder)
    out, bad = np.zeros((105, 3), np.float32), []
    open_reader(open_url(placed), "X").read_runs([(5, 10), (30, 130)], out, bad)
    assert [(error.cell, error.rows, error.run) for error in bad] == [((8, 0), (80, 89), 1)]
    assert "CRC-32C is" in str(bad[0]) and "\n" not in str(bad[0])
    assert np.array_equal(out[:5], expected[5:10])
    assert np.array_equal(out[5:55], expected[30:80])
    assert np.array_equal(out[65:], expected[90:130])


@pytest.mark.slow
@pytest.mark.parametrize("place", ["http", "gs"], indirect=True)
@pytest.mark.parametrize("make", [sharded, version_2])
def test_what_may_not_be_read_is_no_damage(
    tmp_path: Path, web: WebServer, place: Place, make: Callable[[Path], Path]
) -> None:
    """Nobody knows what is in it: a run ends, also one that leaves out what is damaged."""
    placed = place(make(tmp_path))
    web.forbidden = "X/c/2/0" if make is sharded else "X/2.1"
    dataset = open_url(placed)
    told = rf"array X of .* from .*{web.forbidden}: no permission .* no chunk is to blame"
    with pytest.raises(InputError, match=told) as caught:
        list(ooc.Loader(dataset, 64, memory="512MiB", on_bad_chunk="skip"))
    assert not isinstance(caught.value, BadChunkError)


@pytest.mark.slow
def test_a_reader_travels_to_other_processes(tmp_path: Path, to_s3: Place) -> None:
    folder = sharded(tmp_path)
    reader = open_reader(open_url(to_s3(folder)), "X")
    here, there = np.zeros((2, 30, 3), np.float32)
    reader.read_runs([(5, 35)], here)
    pickle.loads(pickle.dumps(reader)).read_runs([(5, 35)], there)
    assert np.array_equal(here, there)
    assert np.array_equal(here, zarr.open_array(folder / "X", mode="r")[5:35])


@pytest.mark.slow
def test_the_shell_says_how_it_reads_and_takes_keys_from_the_environment(
    tmp_path: Path,
    to_s3: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, options = to_s3(sharded(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
    assert main(["info", url, "--verify", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["rows"], told["bad_chunks"]) == (url, ROWS, [])
    reason = "native, requests: from a server, neighbours together"
    assert told["arrays"]["X"]["read_path"] == reason
    assert main(["info", "s3://data/nothing.zarr"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "s3://data/nothing.zarr holds no Zarr group" in errors


@pytest.mark.slow
def test_what_was_added_since_is_seen(tmp_path: Path, to_s3: Place) -> None:
    folder = version_2(tmp_path)
    placed = to_s3(folder)
    assert set(open_url(placed).arrays) == {"X", "y"}
    file_system = fsspec.filesystem("s3", **placed[1])
    file_system.put(str(folder / "y"), f"{placed[0]}/z", recursive=True)
    assert set(open_url(placed).arrays) == {"X", "y", "z"}


@pytest.mark.slow
def test_no_such_bucket_key_or_group(
    tmp_path: Path, to_s3: Place, s3_options: dict[str, Any]
) -> None:
    url, options = to_s3(sharded(tmp_path))
    for wrong in ("s3://nobody-has-this/a.zarr", "s3://data/nothing.zarr", f"{url}/X"):
        message = refused(wrong, options)
        assert message.startswith(f"{wrong} holds no Zarr group: there is no such bucket or key")
    assert "memory://nothing.zarr holds no Zarr group" in refused("memory://nothing.zarr")


@pytest.mark.slow
def test_no_permission(tmp_path: Path, to_s3: Place) -> None:
    url, options = to_s3(sharded(tmp_path))
    endpoint = {"endpoint_url": options["endpoint_url"]}
    for fewer in (endpoint, {**endpoint, "anon": True}):
        message = refused(url, fewer)
        assert f"no permission to read {url}" in message
        assert "give keys in storage_options" in message


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOC_SERVER_SECONDS", "0.2")
    nobody = f"127.0.0.1:{free_port()}"
    options = {"endpoint_url": f"http://{nobody}", "key": "somebody", "secret": SECRET}
    for url, given in (("s3://data/a.zarr", options), (f"http://{nobody}/a.zarr", None)):
        message = refused(url, given)
        assert f"the server of {url} does not answer" in message
        assert nobody in message


def test_urls_that_cannot_be(tmp_path: Path) -> None:
    assert "unknown scheme 'ftpx'" in refused("ftpx://host/a.zarr")
    for url in ("s3://", "://", f"s3://somebody:{SECRET}@[bucket/a.zarr"):
        assert "is no URL of a Zarr group" in refused(url)
    assert "holds a password" in refused(f"https://somebody:{SECRET}@host/a.zarr")
    assert "has a query" in refused(f"https://host/a.zarr?token={SECRET}")
    assert "are for URLs" in refused(str(tmp_path), {"key": SECRET})
    wrong = refused("s3://data/a.zarr", {"key": "somebody", "secret": SECRET, "no_such_option": 1})
    assert "no_such_option" in wrong


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    message = refused("s3://data/a.zarr")
    assert "pip install 'ooc[remote]'" in message


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_errors_that_pass_are_retried(tmp_path: Path, web: WebServer, scheme: str) -> None:
    """The web server is enough of an S3 server: an object is its path."""
    folder = sharded(tmp_path)
    if scheme == "http":
        dataset = ooc.open(f"{web.url}/{folder.name}")
    else:
        web.refuses_listing = True
        options = {"endpoint_url": web.url, "key": "somebody", "secret": SECRET}
        dataset = open_url((f"s3://{folder.name}", options))
    reader, out = open_reader(dataset, "X"), np.empty((10, 3), np.float32)
    web.failures = 1
    reader.read_runs([(10, 20)], out)
    assert (web.failures, reader.retries) == (0, 1)
    assert np.array_equal(out, zarr.open_array(folder / "X", mode="r")[10:20])


@pytest.mark.slow
def test_an_outage_is_no_bad_chunk_to_be_skipped(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = ooc.open(f"{web.url}/{sharded(tmp_path).name}")
    reader = open_reader(dataset, "X")
    monkeypatch.setenv("OOC_SERVER_SECONDS", "1")
    web.failures = 100
    with pytest.raises(InputError, match=r"503.*; no chunk is to blame") as caught:
        reader.read_runs([(0, 10)], np.empty((10, 3), np.float32), [])
    assert not isinstance(caught.value, BadChunkError)


def test_a_server_that_ignores_ranges_gives_no_wrong_rows(tmp_path: Path, web: WebServer) -> None:
    dataset = ooc.open(f"{web.url}/{sharded(tmp_path).name}")
    web.ignores_ranges = True
    with pytest.raises(InputError, match="does not answer range requests; no chunk is to blame"):
        open_reader(dataset, "X").read_runs([(0, 10)], np.empty((10, 3), np.float32))


def test_a_server_that_lists_nothing_is_asked_by_name(tmp_path: Path, web: WebServer) -> None:
    web.refuses_listing = True
    dataset = ooc.open(f"{web.url}/{version_2(tmp_path).name}")
    assert (set(dataset.arrays), dataset.target) == ({"X", "y"}, "y")


def test_requests_under_way_are_bounded(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.store.remote.MOST_REQUESTS", 3)
    folder = version_2(tmp_path)
    reader = open_reader(ooc.open(f"{web.url}/{folder.name}"), "X")
    web.delay, web.most_under_way = 0.01, 0
    out = np.empty((ROWS, 3), np.float32)
    reader.read_runs([(0, ROWS)], out)
    # An answer that was read may still be under way for its server.
    assert 2 <= web.most_under_way <= 4
    assert np.array_equal(out, zarr.open_array(folder / "X", mode="r")[...])


def test_how_a_remote_array_is_read(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    fsspec.filesystem("memory").put(str(folder), "memory://told/a.zarr", recursive=True)
    told = read_path(ooc.open("memory://told/a.zarr"), "X")
    assert (told.native, told.mode) == (True, "requests")
    with pytest.raises(InputError, match="io is one of"):
        read_path(ooc.open("memory://told/a.zarr"), "X", "fast")


@pytest.mark.slow
def test_objects_that_were_written_again_are_told_by_their_tags(
    to_s3: Place, s3_options: dict[str, Any], tmp_path: Path
) -> None:
    """The same bytes put again have the same ETag: a copy is the same without a word."""
    folder = version_2(tmp_path)
    dataset = open_url(to_s3(folder))
    saved = json.loads(json.dumps(fingerprint(dataset, ["X", "y"])))
    assert saved["files"]["y"]["changes"].startswith("tags ")
    check_same_data("run", saved, fingerprint(open_url(to_s3(folder)), ["X", "y"]))
    server = fsspec.filesystem("s3", **s3_options)
    other = next(each for each in server.find(f"{dataset.path}/X") if each.endswith("/3.0"))
    content = bytearray(server.cat(other))
    content[-1] ^= 1
    server.pipe(other, bytes(content))
    here = fingerprint(open_url((dataset.path, s3_options)), ["X", "y"])
    was, now = dict(saved["files"]["X"]), dict(here["files"]["X"])
    assert was.pop("changes") != now.pop("changes") and was == now
    assert saved["files"]["y"] == here["files"]["y"]
    with pytest.raises(InputError, match="cannot go on with another dataset: sampled_rows"):
        check_same_data("run", saved, here)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["http", "options of the user's", "s3", "gs"])
def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """It takes connections, and never answers: the bound is told, and kept for all options."""
    monkeypatch.setenv("OOC_SERVER_SECONDS", "0.2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keys = {"endpoint_url": server, "key": "somebody", "secret": SECRET}
        url, options = {
            "http": (f"{server}/a.zarr", {}),
            "options of the user's": (f"{server}/a.zarr", {"client_kwargs": {"headers": {}}}),
            "s3": ("s3://data/a.zarr", {**keys, "config_kwargs": {"region_name": "eu-west-1"}}),
            "gs": ("gs://data/a.zarr", {"endpoint_url": server, "token": "anon"}),
        }[kind]
        begun = time.monotonic()
        with pytest.raises(InputError, match=r"answer: too little came in 0\.2 s \(OOC_SERVER_SEC"):
            ooc.open(url, storage_options=options)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan"])
def test_a_bound_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("OOC_SERVER_SECONDS", given)
    with pytest.raises(InputError, match="OOC_SERVER_SECONDS is a positive number"):
        ooc.open("http://127.0.0.1:1/a.zarr")

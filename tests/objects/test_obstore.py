"""Stores of obstore in hand: the same rows, and a server's outage is no fault of a chunk."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from obstore.store import LocalStore, MemoryStore, S3Store
from zarr.storage import ObjectStore

import ooc
from ooc.core.errors import InputError
from ooc.store.chunks import BadChunkError, open_reader
from ooc.store.dataset import Dataset

ROWS = 60
X = np.arange(3 * ROWS, dtype=np.float32).reshape(ROWS, 3) + 1
Y = np.arange(ROWS) % 2
CLOSES = -1


def write(store: Any, **options: Any) -> None:
    """Write features in chunks of 10 rows, and targets."""
    group = zarr.create_group(store)
    group.create_array("X", data=X, chunks=(10, 3), **options)
    group.create_array("y", data=Y, chunks=(20,))


def read(dataset: Dataset, **options: Any) -> dict[str, np.ndarray]:
    loader = ooc.Loader(dataset, 10, memory="512MiB", shuffle="none", **options)
    parts = [batch.arrays for batch in loader]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class Handler(BaseHTTPRequestHandler):
    """Serves a folder's objects; those of chunks as the server says."""

    protocol_version = "HTTP/1.1"
    server: "Server"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        file = self.server.folder / self.path.lstrip("/").partition("?")[0]
        status = 200 if file.is_file() else 404
        if "/X/c/3" in self.path:
            status = self.server.status or status
        if status == CLOSES:
            self.close_connection = True
            return
        body = file.read_bytes() if status == 200 else b"<Error><Code>Sorry</Code></Error>"
        if status == 200 and (
            wanted := re.match(r"bytes=(\d*)-(\d*)", self.headers["Range"] or "")
        ):
            first = int(wanted[1]) if wanted[1] else len(body) - int(wanted[2])
            last = int(wanted[2]) if wanted[1] and wanted[2] else len(body) - 1
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
            body = body[first : last + 1]
        else:
            self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"one"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """A server on loopback, and the status of its answers for one chunk; 0 is none of its own."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.status = folder, 0

    def store(self) -> ObjectStore[S3Store]:
        found = S3Store(
            "data",
            endpoint=f"http://127.0.0.1:{self.server_port}",
            access_key_id="somebody",
            secret_access_key="that-nobody-sees",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        return ObjectStore(found, read_only=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    with Server(tmp_path) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("options", [{}, {"shards": (30, 3)}])
@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_store_of_obstore_is_read(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    store = ObjectStore(MemoryStore() if kind == "memory" else LocalStore(tmp_path))
    write(store, **options)
    dataset = ooc.open(zarr.open_group(store, mode="r"))
    assert dataset.roles == ("X", "y", None)
    found = read(dataset)
    np.testing.assert_array_equal(found["X"], X)
    np.testing.assert_array_equal(found["y"], Y)


@pytest.mark.slow
def test_it_is_shuffled_into_a_folder(tmp_path: Path) -> None:
    store = ObjectStore(MemoryStore())
    write(store)
    dataset = ooc.open(zarr.open_group(store, mode="r"))
    ooc.shuffle.exact(dataset, tmp_path / "shuffled.zarr", memory="512MiB")
    found = zarr.open_group(tmp_path / "shuffled.zarr", mode="r")
    order = np.argsort(found["X"][:, 0])  # type: ignore[index, call-overload]
    np.testing.assert_array_equal(found["X"][:][order], X)  # type: ignore[index]
    np.testing.assert_array_equal(found["y"][:][order], Y)  # type: ignore[index]


def blamed(server: Server, status: int) -> list[BadChunkError]:
    """Read all rows where the server answers so for one chunk; return the chunks to blame."""
    reader = open_reader(ooc.open(zarr.open_group(server.store(), mode="r")), "X")
    server.status, bad = status, list[BadChunkError]()
    out = np.zeros_like(X)
    reader.read_runs([(0, ROWS)], out, bad)
    np.testing.assert_array_equal(out[:30], X[:30])
    np.testing.assert_array_equal(out[40:], X[40:])
    return bad


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, "500 Internal Server Error"), (503, "503"), (429, "429"), (400, "400"),
        (403, r"no permission \("), (401, r"no permission \("), (CLOSES, "HTTP error"),
    ],
)  # fmt: skip
def test_an_outage_is_no_fault_of_a_chunk(server: Server, status: int, said: str) -> None:
    """Rows must not be left out for it."""
    with pytest.raises(InputError, match=rf"X/c/3/0: .*{said}.*no chunk is to blame") as caught:
        blamed(server, status)
    assert "\n" not in str(caught.value) and "Debug" not in str(caught.value)
    assert "that-nobody-sees" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 404, 410, 416])
def test_an_object_that_is_not_there_is_a_bad_chunk(server: Server, status: int) -> None:
    cells = [each.cell for each in blamed(server, status)]
    assert cells == ([] if status == 200 else [(3, 0)])

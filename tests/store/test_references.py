"""References of Kerchunk are read in place, and lead to no file that their writer chose."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import kerchunk.hdf
import numpy as np
import pytest

import ooc
from ooc.core.errors import DataError, InputError
from ooc.store.dataset import Dataset

ROWS = 230
# None is 0, which HDF5 takes for a value that is missing.
X = (np.random.default_rng(0).standard_normal((ROWS, 3)).round(2) + 10).astype(np.float32)
Y = np.arange(1, ROWS + 1)


def read(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return all arrays of a dataset as a loader gives them, in the order of rows."""
    parts = [batch.arrays for batch in ooc.Loader(dataset, 40, memory="512MiB", shuffle="none")]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture
def references(tmp_path: Path) -> Path:
    """References to an HDF5 file, as Kerchunk writes them."""
    folder = tmp_path / "archive"
    folder.mkdir()
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(50, 3), compression="gzip")
        file.create_dataset("y", data=Y, chunks=(50,))
    told = kerchunk.hdf.SingleHdf5ToZarr(str(folder / "a.h5"), inline_threshold=0).translate()
    (folder / "a.json").write_text(json.dumps(told))
    return folder / "a.json"


@pytest.mark.slow
def test_references_of_kerchunk_are_read_in_place(references: Path, tmp_path: Path) -> None:
    found = read(ooc.open(references))
    np.testing.assert_array_equal(found["X"], X)
    np.testing.assert_array_equal(found["y"], Y)
    # And they go on by their path.
    trainer = ooc.Trainer(ooc.models.Linear(), ooc.optim.sgd(0.01), 20, memory="512MiB")
    whole = trainer.fit(ooc.open(references), epochs=1, run_dir=tmp_path / "run")
    again = ooc.resume(tmp_path / "run")
    assert again.results["parameters_sha256"] == whole.results["parameters_sha256"]


def changed(references: Path, url: Any, **more: Any) -> Path:
    """Write references whose chunks are all somewhere else."""
    told = json.loads(references.read_text()) | more
    for key, where in told["refs"].items():
        if isinstance(where, list):
            told["refs"][key] = [url(where[0]) if callable(url) else url, *where[1:]]
    references.with_name("changed.json").write_text(json.dumps(told))
    return references.with_name("changed.json")


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("a.h5", {}),
        ("file://{folder}/a.h5", {}),
        ("{{u}}/a.h5", {"templates": {"u": "{folder}"}}),
        ("{folder}/../archive/a.h5", {}),
    ],
)
def test_files_beside_them_are_named_in_several_ways(
    references: Path, url: str, more: dict[str, Any]
) -> None:
    folder = str(references.parent)
    text = json.dumps(more).replace("{folder}", folder)
    found = read(ooc.open(changed(references, url.replace("{folder}", folder), **json.loads(text))))
    np.testing.assert_array_equal(found["X"], X)


@pytest.fixture
def address(references: Path) -> Iterator[str]:
    """A web server on loopback that serves the folder, and parts of its files."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *given: Any) -> None:
            pass

        def do_GET(self) -> None:
            data = (references.parent / self.path.lstrip("/")).read_bytes()
            first, _, last = self.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")
            part = data[int(first) : int(last) + 1 if last else None]
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.end_headers()
            self.wfile.write(part)

    handler = partial(Handler, directory=str(references.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_they_may_lead_to_a_server(references: Path, address: str) -> None:
    found = read(ooc.open(changed(references, f"{address}/a.h5")))
    np.testing.assert_array_equal(found["X"], X)
    np.testing.assert_array_equal(found["y"], Y)


@pytest.mark.parametrize(
    ("url", "more", "message"),
    [
        ("simplecache::file:///etc/passwd", {}, "scheme is none of s3"),
        ("sftp://host/a.h5", {}, "whose scheme is none of s3, s3a, gs"),
        ("local:///etc/passwd", {}, "outside the folder of the references"),
        ("../a.h5", {}, "outside the folder of the references"),
        ("a.h5", {"gen": [{"key": "X/9.0", "url": "/etc/passwd"}]}, "which is not supported"),
        (3, {}, "neither a zip archive"),
        ("a.h5", {"templates": 3}, "neither a zip archive"),
    ],
)
def test_what_leads_elsewhere_is_refused(
    references: Path, url: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ooc.open(changed(references, url, **more))


@pytest.mark.parametrize(
    ("url", "templates"),
    [("{{u.__class__}}", {"u": "a.h5"}), ("{{ 7 * 7 }}", {}), ("{{u}}", {"u": "{{7 * 7}}"})],
)
def test_templates_are_replaced_and_never_rendered(
    references: Path, url: str, templates: dict[str, str]
) -> None:
    dataset = ooc.open(changed(references, url, templates=templates))
    with pytest.raises(DataError, match=r"\{\{.*\}\}"):
        read(dataset)


def test_a_link_that_leads_out_and_a_pipe_are_not_read(references: Path, tmp_path: Path) -> None:
    shutil.copy(references.parent / "a.h5", tmp_path / "out.h5")
    (references.parent / "link.h5").symlink_to(tmp_path / "out.h5")
    with pytest.raises(InputError, match="outside the folder of the references"):
        ooc.open(changed(references, "link.h5"))
    os.mkfifo(references.parent / "pipe.h5")
    with pytest.raises(DataError, match="is a pipe, a socket or a device, no file"):
        read(ooc.open(changed(references, "pipe.h5")))


@pytest.mark.parametrize("span", [[], [0, 2**31]])
def test_chunks_are_not_larger_than_they_may_be(references: Path, span: list[int]) -> None:
    with (references.parent / "large").open("wb") as file:
        file.truncate(2**31)
    told = json.loads(references.read_text())
    told["refs"]["X/2.0"] = ["large", *span]
    references.write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"chunk 2.0 of array X .*above the .* that it may hold"):
        read(ooc.open(references))


def test_references_name_no_files_elsewhere(references: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(references, elsewhere / "b.json")
    with pytest.raises(InputError, match=r"chunk X/0.0 of .*b.json is in .*, outside the folder"):
        ooc.open(elsewhere / "b.json")


@pytest.mark.parametrize("text", ['{"a": 1}', "{", "[" * 2000 + "{", '{"refs": [1]}', "{" * 99])
def test_files_that_are_no_references(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="zip archive"):
        ooc.open(tmp_path / "a.json")

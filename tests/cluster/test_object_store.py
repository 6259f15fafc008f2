"""Workers read an object store themselves: the moto server on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from attack.servers import s3_server
from dask_processes import dask_processes
from datasets import write_dataset
from shell import refused

from ooc.cli import main

boto3 = pytest.importorskip("boto3")
s3fs = pytest.importorskip("s3fs")

pytestmark = pytest.mark.slow
LINE = "--model logistic --lanes 2 --block-rows 40 --window 20 --batch-size 50 --epochs 2 --json"
KEYS = {
    "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"
}  # fmt: skip


@pytest.fixture
def server(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Return the address of a server that has a store, which is in a.zarr, too."""
    monkeypatch.chdir(tmp_path)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    x = rng.standard_normal((2000, 3)).astype("f4")
    write_dataset(tmp_path / "a.zarr", chunk_rows=40, X=x, y=(x[:, 0] > 0).astype("i8"))
    with s3_server() as port:
        address = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        client = boto3.client("s3", endpoint_url=address)
        client.create_bucket(Bucket="data")
        for path in (tmp_path / "a.zarr").rglob("*"):
            if path.is_file():
                client.upload_file(str(path), "data", str(path.relative_to(tmp_path)))
        yield address


def trained(capsys: pytest.CaptureFixture[str], where: str, *more: str) -> dict:
    status = main(["train", where, *LINE.split(), *more])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return json.loads(printed.out.splitlines()[-1])


def test_workers_read_it_to_the_bits_of_the_folder(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = trained(capsys, "a.zarr", "--run", "here")
    with dask_processes(tmp_path) as cluster:
        served = ("--scheduler", cluster.address)
        there = trained(capsys, "s3://data/a.zarr", "--run", "there", *served)
    assert [here[key] for key in ("parameters_sha256", "loss", "rows")] == [
        there[key] for key in ("parameters_sha256", "loss", "rows")
    ]
    assert there["workers"] == 2


def test_a_worker_that_cannot_see_it_is_named_with_the_path(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two has no server at the address that it is told."""
    environments = [{}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}]
    with dask_processes(tmp_path, environments=environments) as cluster:
        told = refused(
            capsys, "train", "s3://data/a.zarr", *LINE.split(), "--scheduler", cluster.address
        )
    assert "worker tcp://127.0.0.1:" in told
    assert "does not see s3://data/a.zarr as the client does: it cannot be read there" in told


def test_a_worker_that_sees_other_rows_is_named_with_the_path(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with s3_server() as port:
        other = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
        other.create_bucket(Bucket="data")
        write_dataset(
            tmp_path / "b.zarr", chunk_rows=40, X=np.zeros((1900, 3), "f4"), y=np.arange(1900) % 2
        )
        for path in (tmp_path / "b.zarr").rglob("*"):
            if path.is_file():
                name = str(path.relative_to(tmp_path)).replace("b.zarr", "a.zarr")
                other.upload_file(str(path), "data", name)
        environments = [{}, {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}]
        with dask_processes(tmp_path, environments=environments) as cluster:
            served = ("--scheduler", cluster.address)
            told = refused(capsys, "train", "s3://data/a.zarr", *LINE.split(), *served)
    assert "does not see s3://data/a.zarr as the client does" in told

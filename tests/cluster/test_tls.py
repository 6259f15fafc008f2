"""A cluster that speaks TLS alone: real handshakes, with certificates that are made here."""

import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path

import distributed
import numpy as np
import pytest
from certificates import options, write_certificates
from dask_processes import Processes, dask_processes
from datasets import write_dataset
from shell import refused

from ooc.cli import main

pytestmark = pytest.mark.slow
LINE = "train a.zarr --model logistic --lanes 2 --block-rows 40 --window 20 --batch-size 50"
TRAIN = LINE.split()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, list[str]]]:
    """Return a cluster, and the options that name its certificates."""
    folder = tmp_path_factory.mktemp("tls")
    given = options(write_certificates(folder / "certificates"))
    with dask_processes(folder, tls=given) as found:
        yield found, given


@pytest.fixture(autouse=True)
def _rows(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = rng.standard_normal((2000, 3)).astype("f4")
    write_dataset(tmp_path / "a.zarr", chunk_rows=40, X=x, y=(x[:, 0] > 0).astype("i8"))


def test_a_run_over_tls_comes_to_the_same_bits(
    secured: tuple[Processes, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, given = secured
    assert cluster.address.startswith("tls://")
    found = []
    for more in (["--run", "here"], ["--run", "there", "--scheduler", cluster.address, *given]):
        assert main([*TRAIN, "--epochs", "3", "--json", *more]) == 0
        found.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    here, there = found
    assert here["parameters_sha256"] == there["parameters_sha256"]
    assert there["workers"] == 2


def test_an_authority_that_did_not_sign_is_named_in_one_sentence(
    secured: tuple[Processes, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, given = secured
    other = write_certificates(tmp_path / "other")["ca"]
    options = ["--tls-ca-file", str(other), *given[2:]]
    told = refused(capsys, *TRAIN, "--scheduler", cluster.address, *options)
    assert re.search(rf"{cluster.address} .*certificate.*--tls-ca-file", told), told


def test_a_client_that_others_signed_is_told_so(
    secured: tuple[Processes, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, given = secured
    other = options(write_certificates(tmp_path / "other"))
    told = refused(capsys, *TRAIN, "--scheduler", cluster.address, *given[:2], *other[2:])
    assert re.search(rf"{cluster.address} .*certificate.*--tls-cert", told), told


def test_an_address_without_tls_is_refused(
    secured: tuple[Processes, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, given = secured
    plain = cluster.address.replace("tls://", "tcp://")
    told = refused(capsys, *TRAIN, "--scheduler", plain, *given)
    assert "tls://" in told
    gc.disable()  # a client that is left behind may be there for long
    try:
        told = refused(capsys, *TRAIN, "--scheduler", cluster.address)
        with pytest.raises(ValueError, match="No clients found"):
            distributed.Client.current()
    finally:
        gc.enable()
    assert "--tls-ca-file" in told


def test_a_file_that_is_no_certificate_is_named(
    secured: tuple[Processes, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, given = secured
    (tmp_path / "no.pem").write_text("no certificate")
    for at in (1, 3, 5):
        changed = [*given[:at], str(tmp_path / "no.pem"), *given[at + 1 :]]
        told = refused(capsys, *TRAIN, "--scheduler", cluster.address, *changed)
        assert "no.pem" in told or given[at - 1] in told, told

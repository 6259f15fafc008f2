"""The shell's cluster: what is refused before anything is started, and a run from end to end."""

import json
from pathlib import Path

import pytest
from datasets import write_dataset

from ooc.cli import main
from ooc.cluster.connection import Certificates, connected
from ooc.core.errors import InputError


def test_no_cluster_is_no_client() -> None:
    with connected() as client:
        assert client is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scheduler": "tcp://a:1", "local_workers": 2}, "are two clusters; choose one"),
        ({"local_workers": 0}, "at least 1 worker, not 0"),
        ({"scheduler": "nonsense"}, "no scheduler answers at nonsense: missing port number"),
        ({"certificates": Certificates(ca_file="ca.pem")}, "files of TLS are for --scheduler"),
        (
            {"scheduler": "tls://a:1", "certificates": Certificates(cert="c.pem")},
            "TLS needs --tls-ca-file, --tls-cert and --tls-key: no --tls-ca-file",
        ),
        (
            {"scheduler": "tls://a:1", "certificates": Certificates("no.pem", "no.pem", "no.pem")},
            r"--tls-ca-file no\.pem is no file",
        ),
    ],
)
def test_what_names_no_cluster_is_refused(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message), connected(**given):
        pass


@pytest.mark.slow
def test_the_shell_trains_on_workers_that_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rng
) -> None:
    monkeypatch.chdir(tmp_path)
    x = rng.standard_normal((2000, 3)).astype("f4")
    write_dataset(tmp_path / "a.zarr", X=x, y=(x[:, 0] > 0).astype("i8"))
    common = "train a.zarr --model logistic --lanes 2 --block-rows 40 --window 10 --json --run"
    found = []
    for more in ("here", "there --local-cluster 2"):
        assert main(f"{common} {more}".split()) == 0
        found.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    here, there = found
    assert here["parameters_sha256"] == there["parameters_sha256"]
    assert there["workers"] == 2 and there["bytes_per_step"] > 0

"""An output at a URL is refused before any work, but for datasets, which are written there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from labelled import trainer, write_labelled
from shell import refused

import ooc
from ooc.core.errors import InputError
from ooc.report import write_report
from ooc.store.dataset import Dataset

MEMORY = "512MiB"


@pytest.fixture
def labelled(tmp_path: Path) -> Dataset:
    return write_labelled(tmp_path / "labelled.zarr")


URLS = {
    "s3://bucket/x": "s3://bucket/x",
    "s3a://key:secret@bucket/x?token=secret": "s3a://bucket/x",
    "gs://bucket/a/b.zarr": "gs://bucket/a/b.zarr",
    "https://example.org/x": "https://example.org/x",
    "file:///x": "file:///x",
    "memory://x": "memory://x",
    "s3:/bucket/x": "s3://bucket/x",
}
WRITERS = {
    "train": ["train", "nowhere.zarr", "--run", "URL"],
    "sweep": ["sweep", "nowhere.zarr", "--lr", "1", "--run", "URL"],
    "picture": ["shuffle", "nowhere.zarr", "--measure", "--picture", "URL"],
    "report": ["report", "nowhere", "--out", "URL"],
    "bench": ["bench", "nowhere.zarr", "--picture", "URL"],
}


@pytest.mark.slow
@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("command", WRITERS)
def test_an_output_at_a_url_is_refused_before_anything_is_looked_at(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    url: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, *[url if word == "URL" else word for word in WRITERS[command]])
    shown = URLS[url].replace("file:///", "file://")
    assert f"{shown} is a URL" in line and "local path" in line
    assert "secret" not in line and "nowhere" not in line
    assert list(tmp_path.iterdir()) == []


# What cannot be written to, or shows a secret, and what is said of it.
REFUSED = {
    "https://example.org/x": "https://example.org/x is on a web server, which is but read from",
    "http://example.org/x?token=secret": "the URL of http://example.org/x has a query",
    "file:///x/y": "file:///x/y is on this machine; give its local path, /x/y",
    "s3a://key:secret@bucket/x": "the URL of s3a://bucket/x holds a password",
    "s3:///": "s3:/// is no URL of a Zarr group",
}
WRITERS_OF_DATASETS = {
    "make": ["make", "linear", "URL", "--rows", "100"],
    "shuffle": ["shuffle", "nowhere.zarr", "URL"],
    "convert": ["convert", "nowhere.csv", "URL"],
    "predict": ["predict", "nowhere", "nowhere.zarr", "URL"],
}


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("command", WRITERS_OF_DATASETS)
def test_a_dataset_at_such_a_url_is_refused_before_anything_is_looked_at(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    url: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = WRITERS_OF_DATASETS[command]
    line = refused(capsys, *[url if word == "URL" else word for word in words])
    assert REFUSED[url] in line
    assert "secret" not in line and "nowhere" not in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [str, Path])
def test_python_refuses_outputs_and_runs_at_urls(
    labelled: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type,
) -> None:
    trainer().fit(labelled)
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    url = kind("s3://bucket/x")
    calls: list[Callable[[], object]] = [
        lambda: trainer().fit(labelled, run_dir=url),
        lambda: trainer().fit_many(labelled, [ooc.optim.sgd(0.1)], run_dir=url),
        lambda: trainer().resume(labelled, url),
        lambda: ooc.resume(url),
        lambda: ooc.load(url),
        lambda: write_report([tmp_path], url),
        lambda: write_report([url], tmp_path / "page.html"),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"^s3://bucket/x is a URL, and .* local"):
            call()
    assert sorted(tmp_path.iterdir()) == before

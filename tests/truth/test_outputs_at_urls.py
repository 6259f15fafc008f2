"""An output at a URL is refused by every command and function that writes, before any work."""

from collections.abc import Callable
from pathlib import Path

import pytest
from labelled import trainer, write_labelled
from shell import refused

import ooc
from ooc.core.errors import InputError
from ooc.report import write_report
from ooc.shuffle import exact
from ooc.store.dataset import Dataset
from ooc.synthetic import Recipe, make

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
    "make": ["make", "linear", "URL", "--rows", "100"],
    "train": ["train", "nowhere.zarr", "--run", "URL"],
    "sweep": ["sweep", "nowhere.zarr", "--lr", "1", "--run", "URL"],
    "predict": ["predict", "nowhere", "nowhere.zarr", "URL"],
    "shuffle": ["shuffle", "nowhere.zarr", "URL"],
    "convert": ["convert", "nowhere.csv", "URL"],
    "picture": ["shuffle", "nowhere.zarr", "--measure", "--picture", "URL"],
    "report": ["report", "nowhere", "--out", "URL"],
    "bench": ["bench", "nowhere.zarr", "--picture", "URL"],
}


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


@pytest.mark.parametrize("kind", [str, Path])
def test_python_refuses_outputs_and_runs_at_urls(
    labelled: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type,
) -> None:
    run = trainer().fit(labelled)
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    url, fields = kind("s3://bucket/x"), {"X": ("float32", ())}
    calls: list[Callable[[], object]] = [
        lambda: ooc.create(url, fields).__enter__(),
        lambda: make(url, Recipe("linear", 10, 2)),
        lambda: trainer().fit(labelled, run_dir=url),
        lambda: trainer().fit_many(labelled, [ooc.optim.sgd(0.1)], run_dir=url),
        lambda: trainer().resume(labelled, url),
        lambda: ooc.resume(url),
        lambda: ooc.load(url),
        lambda: run.predict_to(labelled, url),
        lambda: exact(labelled, url, "768MiB"),
        lambda: ooc.convert("nowhere.csv", url),
        lambda: write_report([tmp_path], url),
        lambda: write_report([url], tmp_path / "page.html"),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"^s3://bucket/x is a URL, and .* local"):
            call()
    assert sorted(tmp_path.iterdir()) == before

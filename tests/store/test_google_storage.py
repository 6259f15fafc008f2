"""Google's storage, spoken with an emulator of its JSON API, and a proxy before it that fails."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from attack.servers import Proxy, google_server, proxy_before
from conversions import MEMORY, small_shards

import ooc
from ooc.core.errors import InputError
from ooc.store.chunks import open_reader
from ooc.store.file_systems import file_system_class
from ooc.synthetic import Recipe, make

FIELDS = {"X": ("float32", (3,)), "y": ("int64", ())}
# Chunks of 10 rows, shards of 40.
CUT: Any = {"chunk_bytes": 120, "shard_bytes": 480}


class Google(NamedTuple):
    """A bucket: through a proxy as `ooc` sees it, and as gcsfs does."""

    proxy: Proxy
    bucket: Any

    def objects(self, name: str) -> dict[str, bytes]:
        """Return all objects of a store, by key."""
        self.bucket.invalidate_cache()
        found = self.bucket.find(f"data/{name}")
        return {path.removeprefix(f"data/{name}/"): self.bucket.cat_file(path) for path in found}


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    pytest.importorskip("gcp_storage_emulator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("OOC_SERVER_SECONDS", "1")
        patch.setenv("OOC_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        patch.setattr("ooc.store.remote.FIRST_PAUSE", 0.002)
        with google_server("data") as port, proxy_before(port) as proxy:
            # Where gcsfs looks for a server that is not Google's.
            patch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
            yield Google(
                proxy,
                file_system_class("gs")(endpoint_url=f"http://127.0.0.1:{port}", token="anon"),
            )


def files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def write(path: str | Path, count: int = 95) -> None:
    values = np.arange(3.0 * count, dtype=np.float32).reshape(count, 3)
    with ooc.create(path, FIELDS, {"of": "tests"}, **CUT) as writer:
        writer.append({"X": values, "y": np.arange(count)})


def scratch() -> list[str]:
    return sorted(file.name for file in Path(os.environ["OOC_SCRATCH"]).iterdir())


def test_objects_are_the_files_of_a_local_store(google: Google, tmp_path: Path) -> None:
    write(tmp_path / "a.zarr")
    write("gs://data/same.zarr")
    assert google.objects("same.zarr") == files(tmp_path / "a.zarr")
    assert scratch() == []


@pytest.mark.slow
def test_a_large_object_comes_in_pieces(google: Google, rng: np.random.Generator) -> None:
    values = rng.integers(0, 256, (5 * 2**20, 4), np.uint8)
    with ooc.create("gs://data/large.zarr", {"X": ("uint8", (4,))}) as writer:
        writer.append({"X": values})
    found = np.empty_like(values)
    open_reader(ooc.open("gs://data/large.zarr"), "X").read_runs([(0, len(values))], found)
    np.testing.assert_array_equal(found, values)


@pytest.mark.slow
def test_what_is_made_there_trains_shuffles_and_predicts_to_the_same_bits(
    google: Google, tmp_path: Path
) -> None:
    recipe = Recipe("logistic", 500, 4)
    for path in ("gs://data/made.zarr", tmp_path / "made.zarr"):
        make(path, recipe)
    assert google.objects("made.zarr") == files(tmp_path / "made.zarr")
    far, near = ooc.open("gs://data/made.zarr"), ooc.open(tmp_path / "made.zarr")
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), memory=MEMORY)
    run, same = trainer.fit(far, report=False), trainer.fit(near, report=False)
    np.testing.assert_array_equal(run.parameters, same.parameters)
    run.predict_to(far, "gs://data/predicted.zarr", MEMORY, report=False)
    run.predict_to(near, tmp_path / "predicted.zarr", MEMORY, report=False)
    assert google.objects("predicted.zarr") == files(tmp_path / "predicted.zarr")
    ooc.shuffle.exact(far, "gs://data/shuffled.zarr", MEMORY, seed=3)
    ooc.shuffle.exact(near, tmp_path / "shuffled.zarr", MEMORY, seed=3)
    assert google.objects("shuffled.zarr") == files(tmp_path / "shuffled.zarr")
    assert scratch() == []


def test_a_table_is_converted_to_it(
    google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch)
    pd.DataFrame({"a": np.arange(500.0), "y": np.arange(500)}).to_parquet(tmp_path / "a.parquet")
    for destination in (tmp_path / "b.zarr", "gs://data/table.zarr"):
        ooc.convert(tmp_path / "a.parquet", destination, memory=MEMORY, report=False)
    assert google.objects("table.zarr") == files(tmp_path / "b.zarr")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("fault", ["resets", "closes", "500", "503", "429", "half a body"])
def test_what_passes_is_sent_again(google: Google, tmp_path: Path, fault: str) -> None:
    write(tmp_path / "a.zarr")
    name = f"{fault.replace(' ', '-')}.zarr"
    with google.proxy.faulty(fault, "POST", times=2):
        write(f"gs://data/{name}")
    assert google.objects(name) == files(tmp_path / "a.zarr")
    with google.proxy.faulty(fault, "GET .*c/1", times=2):
        found = np.empty(95, np.int64)
        open_reader(ooc.open(f"gs://data/{name}"), "y").read_runs([(0, 95)], found)
    np.testing.assert_array_equal(found, np.arange(95))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "pattern", "said"),
    [
        ("403", "POST", "no permission to write to gs://data/{}"),
        ("503", "POST", "the server of gs://data/{} does not answer: it answers 503"),
        ("silent", "POST", "too little came in 1 s"),
    ],
)
def test_what_does_not_pass_is_told_in_a_sentence_and_leaves_nothing(
    google: Google, fault: str, pattern: str, said: str
) -> None:
    name = f"fails-{fault}.zarr"
    with google.proxy.faulty(fault, pattern), pytest.raises(InputError) as told:
        write(f"gs://data/{name}")
    assert said.format(name) in str(told.value) and "\n" not in str(told.value)
    assert google.objects(name) == {} and scratch() == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gs://data/none.zarr", "gs://data/none.zarr"),
        ("gs://nowhere/none.zarr", "gs://nowhere/none.zarr"),
    ],
)
def test_what_is_not_there_is_told(google: Google, url: str, said: str) -> None:
    with pytest.raises(InputError) as told:
        ooc.open(url)
    assert said in str(told.value) and "\n" not in str(told.value)


def test_what_cannot_be_written_is_refused_before_any_work(google: Google) -> None:
    with pytest.raises(InputError, match="make the bucket nowhere first"):
        write("gs://nowhere/a.zarr")
    write("gs://data/taken.zarr")
    with pytest.raises(InputError, match=r"taken.zarr already exists; choose another path"):
        write("gs://data/taken.zarr")
    assert scratch() == []

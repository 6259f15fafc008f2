"""PyTorch's data loaders get every row once, on any workers, and go on where they were."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset

import ooc
from ooc.core.errors import InputError
from ooc.stream.loader import Loader

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402

from ooc.torch import BatchDataset  # noqa: E402

ROWS, MEMORY = 1003, "4GiB"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Rows in 13 windows, whose first feature is their number."""
    small_windows(monkeypatch, 2 * 2**10)
    x = np.random.default_rng(0).standard_normal((ROWS, 3)).astype(np.float32)
    x[:, 0] = np.arange(ROWS)
    return write_dataset(tmp_path / "a.zarr", 10, X=x, y=np.arange(ROWS, dtype=np.int64) % 2)


def batches_of(dataset: Any, **options: Any) -> BatchDataset:
    return BatchDataset(dataset, 64, memory=MEMORY, **options)


def numbers(batches: Any) -> list[np.ndarray]:
    return [batch["X"][:, 0].numpy().astype(int) for batch in batches]


def test_a_loop_gives_what_a_loader_gives(dataset: Any) -> None:
    ours, theirs = batches_of(dataset), Loader(dataset, 64, memory=MEMORY)
    assert theirs.plan.order.windows > 10
    for _ in range(2):
        for batch, expected in zip(ours, theirs, strict=True):
            assert set(batch) == {"X", "y"}
            for name, values in batch.items():
                np.testing.assert_array_equal(values.numpy(), expected[name])
                assert values.numpy().dtype == expected[name].dtype


def test_tensors_may_be_kept_and_written_to(dataset: Any) -> None:
    kept = []
    for batch in batches_of(dataset):
        kept.append(batch["X"])
        before = batch["X"].clone()
        batch["y"] += 5
        assert torch.equal(batch["X"], before)
    found = np.sort(torch.cat(kept)[:, 0].numpy())
    np.testing.assert_array_equal(found, np.arange(ROWS))


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_every_row_comes_once_whatever_the_workers(dataset: Any, workers: int) -> None:
    loader = DataLoader(batches_of(dataset), batch_size=None, num_workers=workers)
    epochs = [numbers(loader) for _ in range(2)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(ROWS))
        assert sum(len(rows) < 64 for rows in epoch) <= workers
    assert not np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[1]))


def test_a_side_of_a_split_is_all_there(dataset: Any) -> None:
    sides = [np.concatenate(numbers(batches_of(side))) for side in ooc.split(dataset, 0.2)]
    assert [len(side) for side in sides] == [802, 201]
    np.testing.assert_array_equal(np.sort(np.concatenate(sides)), np.arange(ROWS))


@pytest.mark.parametrize("after", [1, 7, 15])
def test_it_goes_on_after_any_batch(dataset: Any, after: int) -> None:
    whole = numbers(batches_of(dataset))
    first = batches_of(dataset)
    rows = iter(first)
    for _ in range(after):
        next(rows)
    saved = first.state_dict()
    other = batches_of(dataset)
    other.load_state_dict(saved)
    rest = numbers(other)
    assert len(rest) == len(whole) - after
    assert all(np.array_equal(a, b) for a, b in zip(rest, whole[after:], strict=True))
    # The next epoch is the one that would have come.
    both = batches_of(dataset)
    numbers(both)
    assert np.array_equal(np.concatenate(numbers(other)), np.concatenate(numbers(both)))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stateful_data_loader_goes_on_in_the_midst_of_an_epoch(
    dataset: Any, workers: int
) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def loader() -> Any:
        return stateful(batches_of(dataset), batch_size=None, num_workers=workers)

    whole = numbers(loader())
    first = loader()
    rows = iter(first)
    for _ in range(5):
        next(rows)
    saved = first.state_dict()
    del rows
    other = loader()
    other.load_state_dict(saved)
    rest = numbers(other)
    assert [each.tolist() for each in rest] == [each.tolist() for each in whole[5:]]


def test_a_position_of_another_stream_is_refused(dataset: Any) -> None:
    saved = batches_of(dataset).state_dict()
    with pytest.raises(InputError, match="another stream: seed was 0, here it is 1"):
        batches_of(dataset, seed=1).load_state_dict(saved)
    with pytest.raises(InputError, match="none of a BatchDataset"):
        batches_of(dataset).load_state_dict({"epoch": 1})
    with pytest.raises(InputError, match=r"budget of 1\.00 MiB"):
        next(iter(BatchDataset(dataset, 64, memory="1MiB")))


def test_it_goes_to_spawned_workers(dataset: Any) -> None:
    assert len(pickle.dumps(batches_of(dataset, arrays=["X"])._dataset)) < 20_000


def test_without_pytorch_a_sentence_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from ooc.core.errors import InputError\n"
        "try:\n    import ooc.torch\nexcept InputError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'ooc[torch]' brings it" in done.stdout, done.stderr

"""PyTorch's data loaders get every row once, on any workers, and go on where they were."""

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import small_windows, write_dataset
from sparse_rows import random_matrix, write_sparse

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


@pytest.mark.parametrize("workers", [1, 2, 3, 30])
def test_workers_share_the_batches_of_one_process(dataset: Any, workers: int) -> None:
    alone = batches_of(dataset)
    loader = DataLoader(batches_of(dataset), batch_size=None, num_workers=workers)
    assert len(loader) == 16
    for _ in range(2):
        batches, expected = numbers(loader), numbers(alone)
        assert len(batches) == 16
        assert sorted(map(tuple, batches)) == sorted(map(tuple, expected))


def test_rows_that_are_left_out_are_nobodys(dataset: Any, tmp_path: Path) -> None:
    shards, rows_each = (1, 5, 20), 40
    for shard in shards:
        (tmp_path / "a.zarr" / "X" / "c" / str(shard) / "0").write_bytes(b"damaged")
    expected = [row for row in range(ROWS) if row // rows_each not in shards]
    for workers in (0, 2):
        batches = batches_of(dataset, on_bad_chunk="skip")
        found = np.concatenate(numbers(DataLoader(batches, batch_size=None, num_workers=workers)))
        assert sorted(found.tolist()) == expected


def test_a_loop_that_was_left_is_followed_by_the_next_epoch(dataset: Any) -> None:
    whole, left = batches_of(dataset), batches_of(dataset)
    numbers(whole)
    next(iter(left))
    for batch, expected in zip(numbers(left), numbers(whole), strict=True):
        np.testing.assert_array_equal(batch, expected)


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


@pytest.mark.parametrize("workers", [0, 2])
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
        BatchDataset(dataset, 64, memory="1MiB")


def test_lightning_trains_and_goes_on_in_the_midst_of_an_epoch(
    dataset: Any, tmp_path: Path
) -> None:
    lightning = pytest.importorskip("lightning")
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    class Module(lightning.LightningModule):
        def __init__(self, fails_at: int | None = None) -> None:
            super().__init__()
            self.linear, self.rows, self.fails_at = torch.nn.Linear(3, 1), [], fails_at

        def training_step(self, batch: Any, number: int) -> Any:
            if self.global_step == self.fails_at:
                raise InterruptedError
            self.rows.append(batch["X"][:, 0].numpy().astype(int).tolist())
            return self.linear(batch["X"] / ROWS).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(module: Any, every: int, checkpoint: Path | None = None) -> list[list[int]]:
        saving = lightning.pytorch.callbacks.ModelCheckpoint(
            tmp_path, filename="{step}", every_n_train_steps=every, save_top_k=-1
        )
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=2,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[saving],
        )
        loader = stateful(batches_of(dataset), batch_size=None)
        trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=False)
        return module.rows

    whole = fit(Module(), 100)
    ours = batches_of(dataset)
    assert whole == [rows.tolist() for _ in range(2) for rows in numbers(ours)]
    with pytest.raises(InterruptedError):
        fit(Module(fails_at=7), 5)
    assert fit(Module(), 100, tmp_path / "step=5.ckpt") == whole[5:]


def test_jax_takes_the_batches_as_they_are(dataset: Any) -> None:
    jax = pytest.importorskip("jax")
    loader, rows = Loader(dataset, 64, arrays=["X"], memory=MEMORY), []
    for batch in loader:
        rows.append(np.asarray(jax.jit(lambda x: x[:, 0] + 1)(batch["X"])))
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(ROWS) + 1)


def test_memory_that_pytorch_holds_counts(tmp_path: Path) -> None:
    ooc.synthetic.make(tmp_path / "a.zarr", ooc.synthetic.Recipe("logistic", rows=400_000))
    code = (
        "import sys, torch, ooc\n"
        "from pathlib import Path\n"
        "from ooc.torch import BatchDataset\n"
        "path, memory = sys.argv[1:]\n"
        "for batch in BatchDataset(ooc.open(path), 256, memory=memory):\n    pass\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(status.split('VmHWM:')[1].split()[0]) // 1024)"
    )

    def loop(memory: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(tmp_path / "a.zarr"), memory]
        return subprocess.run(command, capture_output=True, text=True)

    message = loop("300MiB").stderr
    needed = re.search(r"held \d+ MiB.*raise the memory to (\d+)MiB", message)
    assert needed, message
    done = loop(f"{needed[1]}MiB")
    assert not done.returncode, done.stderr
    assert int(done.stdout) <= int(needed[1])


def test_sparse_rows_are_refused(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.zarr", random_matrix(200, 30))
    with pytest.raises(InputError, match=r"X of .* is sparse, .* loop over ooc\.Loader"):
        BatchDataset(ooc.open(path), 64, memory=MEMORY)


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

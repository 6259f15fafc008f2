"""The parts of the bench, clocks and disks replaced by ones that say what they say."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import InputError
from ooc.measure import roofline
from ooc.measure.roofline import Costs, bench, draw_bars, drop_from_cache
from ooc.store.conventions import Conventions
from ooc.store.dataset import Dataset


@pytest.fixture
def data(tmp_path: Path, rng: np.random.Generator) -> Dataset:
    x = rng.standard_normal((400, 4)).astype(np.float32)
    return write_dataset(tmp_path / "a.zarr", 20, X=x, y=np.arange(400) % 2)


def trainer_of(model: Any = None, **options: Any) -> ooc.Trainer:
    model = model or ooc.models.Logistic(standardise=False)
    options = {"memory": "512MiB", "window": 4, "block_rows": 20, **options}
    return ooc.Trainer(model, ooc.optim.sgd(1e-20), 20, **options)


def clock(*readings: float) -> Callable[[], float]:
    """Return a clock that shows these."""
    left: Iterator[float] = iter(readings)
    return lambda: next(left)


# Of the parts before the first round, and after each: the machine drifts.
DRIFT = [
    Costs(disk=4e-9, read=1e-9, decode=2e-9, gather=3e-9, gradient=4e-9),
    Costs(disk=2e-9, read=3e-9, decode=2e-9, gather=1e-9, gradient=2e-9),
    Costs(disk=9e-9, read=1e-9, decode=4e-9, gather=1e-9, gradient=2e-9),
    Costs(disk=1e-9, read=1e-9, decode=2e-9, gather=5e-9, gradient=4e-9),
]
# Seconds and bytes of each epoch, seconds of the processors, and of waiting.
EPOCHS = [(10.0, 2e9, 12.0, 1.0), (5.0, 2e9, 6.0, 0.5), (8.0, 2e9, 9.0, 0.25)]


def test_of_several_rounds_the_middle_one_is_told(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each beside the mean of what was measured before and after; arithmetic by hand."""
    costs, epochs, done = iter(DRIFT), iter(EPOCHS), list[str]()
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(roofline, "_kernel_costs", lambda *given: done.append("warm"))
    monkeypatch.setattr(roofline, "_costs", lambda *given: [done.append("cost"), next(costs)][1])
    monkeypatch.setattr(roofline, "drop_from_cache", lambda dataset: done.append("drop"))
    busy = [reading for number in range(3) for reading in (100.0, 100.0 + EPOCHS[number][2])]
    monkeypatch.setattr("time.process_time", clock(*busy))

    def fit(trainer: object, dataset: Dataset, report: object) -> Any:
        done.append("fit")
        seconds, size, _, waited = next(epochs)
        results = {"seconds": seconds, "bytes_per_second": size / seconds, "wait_seconds": waited}
        return SimpleNamespace(results=results)

    monkeypatch.setattr(ooc.Trainer, "fit", fit)
    trainer = trainer_of()
    found = bench(data, trainer, 3)
    assert done == ["warm", "cost", *["drop", "fit", "cost"] * 3]
    # Means of neighbours: the disk's 3, 5.5 and 5 ns; two cores' (2 + 2 + 2 + 3) / 2 and so on.
    limits = [1e9 / max(3, 4.5), 1e9 / max(5.5, 4.0), 1e9 / max(5, 5.0)]
    rates = [2e8, 4e8, 2.5e8]
    fractions = [rate / limit for rate, limit in zip(rates, limits, strict=True)]
    assert fractions == pytest.approx([0.9, 2.2, 1.25])
    assert found["bytes_per_second"] == pytest.approx(2.5e8)
    assert found["roofline_bytes_per_second"] == pytest.approx(2e8)
    assert found["fraction_of_roofline"] == pytest.approx(1.25)
    assert found["fraction_spread"] == pytest.approx([0.9, 2.2])
    assert (found["rows"], found["rounds"], found["cores"]) == (400, 3, 2)
    # Of the third round, whose fraction is the middle one.
    assert (found["seconds"], found["wait_seconds"]) == (8.0, 0.25)
    for part, cost in (("disk", 5e-9), ("decode", 3e-9), ("gather", 3e-9), ("gradient", 3e-9)):
        assert found[f"{part}_bytes_per_second"] == pytest.approx(1 / cost)
    assert found["core_seconds"] == pytest.approx(
        {"read": 2.0, "decode": 6.0, "gather": 6.0, "gradient": 6.0, "python": 0.0, "idle": 7.0}
    )
    plan = trainer.loader(data).plan
    assert found["memory_budget_bytes"] == plan.budget
    assert found["memory_projected_bytes"] == plan.projected
    assert found["blocks_per_window"] == plan.order.blocks_per_window
    assert [each["fraction"] for each in found["each_round"]] == pytest.approx(fractions)
    assert [each["bytes"] for each in found["each_round"]] == [2 * 10**9] * 3


class Unnamed:
    """A model without a kernel."""

    name = "unnamed"
    needs_target = True

    def layout(self, row_shape: tuple[int, ...]) -> Any:
        return ooc.models.Layout({"w": row_shape})


def test_what_has_no_limit_is_refused(data: Dataset, tmp_path: Path) -> None:
    whole = SimpleNamespace(plan=None)
    for model, why in (
        (Unnamed(), "unnamed has no compiled kernel"),
        (ooc.models.MLP(), "mlp multiplies matrices by BLAS"),
    ):
        layout = model.layout((4,))
        trainer: Any = SimpleNamespace(
            model=model, loader=lambda dataset: whole, layout=lambda dataset, one=layout: one
        )
        with pytest.raises(InputError) as refused:
            bench(data, trainer)
        assert str(refused.value) == (
            f"bench knows the limit of one core's own kernels, but {why}; choose another --model"
        )
    write_sparse(tmp_path / "s.zarr", random_matrix(50, 8), y=np.arange(50) % 2)
    with pytest.raises(InputError) as refused:
        bench(ooc.open(tmp_path / "s.zarr"), trainer_of())
    assert str(refused.value) == (
        f"bench knows the limit of dense rows, and X of {tmp_path / 's.zarr'} is a sparse matrix; "
        "train it with ooc train, which tells its speed"
    )


def test_every_file_of_a_dataset_is_forgotten(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was written out: what is dirty stays in the cache."""
    said: list[tuple[Any, ...]] = []

    def name(descriptor: int) -> str:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr("os.fdatasync", lambda number: said.append((name(number),)))
    monkeypatch.setattr("os.posix_fadvise", lambda number, *how: said.append((name(number), *how)))
    drop_from_cache(data)
    files = [str(file) for file in Path(data.path).rglob("*") if file.is_file()]
    assert len(files) > 3
    assert sorted(said[0::2]) == sorted((file,) for file in files)
    assert said[1::2] == [(file, 0, 0, os.POSIX_FADV_DONTNEED) for (file,) in said[0::2]]


def test_bars_are_rates_and_shares_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Any] = []
    monkeypatch.setattr(roofline, "save_figure", lambda *given, **more: saved.append(given))
    parts = dict(zip(roofline.PARTS, (1.0, 2.0, 3.0, 4.0, 6.0, 4.0), strict=True))
    keys = ("", "roofline_", "disk_", "decode_", "gather_")
    rates = {f"{key}bytes_per_second": (number + 1) * 1e9 for number, key in enumerate(keys)}
    draw_bars({**rates, "core_seconds": parts}, tmp_path / "a.png")
    ((figure, path),) = saved
    assert path == tmp_path / "a.png"
    above, below = figure.axes
    names = [label.get_text() for label in above.get_yticklabels()]
    widths = [bar.get_width() for bar in above.patches]
    assert dict(zip(names, widths, strict=True)) == {
        "trainer": 1, "roofline": 2, "disk": 3, "decode, one core": 4, "gather, one core": 5,
    }  # fmt: skip
    assert names[-1] == "trainer", "the highest bar"
    told = [container.get_label() for container in below.containers]
    shares = (5, 10, 15, 20, 30, 20)
    pairs = zip(roofline.PARTS, shares, strict=True)
    assert told == [f"{part} {share}%" for part, share in pairs]
    assert [bar.get_width() for bar in below.patches] == pytest.approx(shares)
    assert [bar.get_x() for bar in below.patches] == pytest.approx([0, 5, 15, 30, 50, 80])
    assert below.get_xlim() == (0, 100)
    assert above.get_xlabel() == "decoded GB/s"


class Requested:
    """A reader of requests that are what was asked for; some are not there at once."""

    def __init__(self) -> None:
        self.files = self
        self.all: list[Any] = []
        self.late: list[Any] = []

    def requests(self, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return spans

    def read_all(self, wanted: list[tuple[int, int]]) -> Iterator[tuple[Any, bytes | None]]:
        self.all += wanted
        yield from ((span, b"" if span[0] % 20 else None) for span in wanted)

    def read(self, span: tuple[int, int]) -> None:
        self.late.append(span)


def test_reading_costs_seconds_of_the_disk_and_of_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[Any] = [Requested(), Requested()]
    spans = [(first, first + 10) for first in range(0, 200, 10)]
    monkeypatch.setattr("time.perf_counter", clock(5.0, 13.0))
    monkeypatch.setattr("time.process_time", clock(50.0, 52.0))
    assert roofline._read_costs(readers, spans, 4) == (2.0, 0.5)
    for reader in readers:
        assert sorted(reader.all) == spans
        assert sorted(reader.late) == [span for span in spans if span[0] % 20 == 0]


def test_decoding_costs_seconds_of_one_core(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all chunks of the spans, so often that it takes a while; attributes are decoded, too."""
    reader, conventions = roofline._native(data, "X", "buffered")
    assert conventions is None
    decoded: list[Any] = []
    monkeypatch.setattr(roofline, "decode_chunk", lambda *given: decoded.append(given[1]))
    monkeypatch.setattr(roofline, "loaded_kernel", lambda: None)
    monkeypatch.setattr(roofline, "decode_in_place", lambda *given: decoded.append(given[0]))
    chunks = len(reader.requests([(0, 40)])[0].wanted_for)
    assert chunks == 2
    monkeypatch.setattr("time.perf_counter", clock(1.0, 5.0))
    cost = roofline._decode_cost(reader, None, [(0, 20), (20, 40)], 100)
    assert cost == pytest.approx(4.0 / 128 / (40 * 100))
    assert len(decoded) == 128 * 2
    declared = Conventions(*[np.dtype("f4")] * 3, scale=0.5)
    monkeypatch.setattr("time.perf_counter", clock(1.0, 5.0))
    decoded.clear()
    roofline._decode_cost(reader, declared, [(0, 20), (20, 40)], 100)
    assert decoded.count(declared) == 256 == len(decoded) / 2


def test_where_whole_chunks_are_read_at_once_they_are_decoded_at_once(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _ = roofline._native(data, "X", "buffered")
    assert reader.whole is not None
    calls: list[int] = []
    decode = reader.whole.decode

    def noted(stored: Any, out: np.ndarray) -> int:
        calls.append(len(stored))
        return decode(stored, out)

    monkeypatch.setattr(reader.whole, "decode", noted)
    monkeypatch.setattr(roofline, "decode_chunk", None)
    monkeypatch.setattr("time.perf_counter", clock(1.0, 5.0))
    cost = roofline._decode_cost(reader, None, [(0, 20), (20, 40)], 100)
    assert calls == [1, *[2] * 128]
    assert cost == pytest.approx(4.0 / 128 / (40 * 100))


def test_of_five_steps_the_middle_cost_counts(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, gathered = [5.0, 900.0, 4.0, 3.0, 7.0], [1.0, 2.0, 600.0, 2.0, 0.5]
    readings, now = [], 0.0
    for step, gather in zip(whole, gathered, strict=True):
        readings += [now, now + step, now + step + gather]
        now += 1000.0
    shown = iter(readings)
    monkeypatch.setattr(roofline, "time", SimpleNamespace(perf_counter=lambda: next(shown)))
    trainer = trainer_of()
    found = roofline._kernel_costs(trainer, data)
    plan = trainer.loader(data).plan
    size = plan.order.blocks_per_window * plan.order.block_rows * plan.row_bytes
    assert found == pytest.approx((2.0 / size, 5.0 / size))


def test_costs_are_those_of_the_first_windows_of_both_arrays(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, seen = trainer_of(io="buffered"), dict[str, Any]()
    plan = trainer.loader(data).plan
    monkeypatch.setattr(roofline, "SAMPLE_BYTES", 7 * 20 * plan.row_bytes + 1)
    monkeypatch.setattr(roofline, "drop_from_cache", lambda dataset: seen.update(dropped=dataset))

    def read(readers: list[Any], spans: Any, sampled: int) -> tuple[float, float]:
        assert seen.get("dropped") is data
        seen.update(readers=len(readers), spans=spans, sampled=sampled)
        return 3.0, 4.0

    def decode(reader: Any, conventions: Any, spans: Any, row_bytes: int) -> float:
        assert (spans, row_bytes) == (seen["spans"][:64], plan.row_bytes)
        return 0.25

    monkeypatch.setattr(roofline, "_read_costs", read)
    monkeypatch.setattr(roofline, "_decode_cost", decode)
    for kernel, gradient in (((1.0, 5.0), 4.0), ((1.0, 0.5), 0.005)):
        monkeypatch.setattr(roofline, "_kernel_costs", lambda *given, now=kernel: now)
        assert roofline._costs(data, trainer) == Costs(3.0, 4.0, 0.5, 1.0, gradient)
    rows = sum(stop - start for start, stop in seen["spans"])
    assert (seen["readers"], rows) == (2, 7 * 20)
    assert seen["sampled"] == rows * plan.row_bytes

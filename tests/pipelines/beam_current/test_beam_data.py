"""The generated current: any stretch is a function of seed and time, and is what it says."""

from pathlib import Path

import numpy as np
import pytest

import ooc
from pipelines.beam_current.data import (
    CHANNELS,
    CHUNK,
    RATE,
    Machine,
    draw,
    draw_chunk,
    make,
    noise_of,
)
from pipelines.beam_current.faults import Fault, schedule

MACHINE = Machine(3, 240)


def test_chunks_meet_without_a_step() -> None:
    """From the last time of one to the first of the next is no more than from time to time."""
    steps, ends = [], []
    for chunk in (5, 6, 7):
        here, after = draw_chunk(MACHINE, chunk), draw_chunk(MACHINE, chunk + 1)
        steps.append(np.abs(np.diff(here, axis=0)))
        ends.append(np.abs(after[0] - here[-1]))
    limit = np.concatenate(steps).max(axis=0)
    assert (np.max(ends, axis=0) <= limit).all()
    np.testing.assert_array_equal(draw_chunk(MACHINE, 6), draw_chunk(MACHINE, 6))
    assert not np.array_equal(draw_chunk(MACHINE, 6), draw_chunk(Machine(4, 240), 6))


def test_spectrum_has_the_mains_and_white_noise() -> None:
    values = np.concatenate([draw_chunk(MACHINE, chunk) for chunk in range(10, 14)])[:30_000]
    power = np.abs(np.fft.rfft(values - values.mean(axis=0), axis=0)) ** 2 / len(values)
    frequency = np.fft.rfftfreq(len(values), 1 / RATE)
    for harmonic in (50, 100, 150, 200):
        near = np.abs(frequency - harmonic) < 2
        beside = (np.abs(frequency - harmonic) > 8) & (np.abs(frequency - harmonic) < 20)
        assert (power[near].max(axis=0) > 30 * np.median(power[beside], axis=0)).all()
    white = np.sqrt(power[frequency > 2000].mean(axis=0))
    np.testing.assert_allclose(white / noise_of(MACHINE), 1.04, atol=0.07)


@pytest.mark.slow
def test_currents_are_those_of_the_modes() -> None:
    means = [draw_chunk(MACHINE, chunk).mean() for chunk in range(0, 480, 8)]
    assert 190 < min(means) < 215 and 480 < max(means) < 515


def test_each_fault_is_where_it_says() -> None:
    onset, chunk = 9 * CHUNK + 100, 9
    clean = draw_chunk(MACHINE, chunk)
    for kind, channel, size in (("spike", 3, 8.0), ("drift", 2, 1.0), ("freeze", 4, 0.0)):
        fault = Fault(kind, channel, onset, onset + 3 * CHUNK, size)
        values, kinds = draw(MACHINE, chunk, (fault,))
        others = np.delete(np.arange(CHANNELS), channel)
        np.testing.assert_array_equal(values[:, others], clean[:, others])
        np.testing.assert_array_equal(values[:100], clean[:100])
        assert (kinds[:100] == 0).all() and (kinds[100:] > 0).all()
        beyond = values[100:, channel] - clean[100:, channel]
        if kind == "spike":
            assert abs(beyond[0]) == pytest.approx(8 * noise_of(MACHINE)[3], rel=1e-3)
        if kind == "drift":
            share = (CHUNK - 101) / 36e6 / 100
            assert beyond[-1] == pytest.approx(share * clean[-1, 2], rel=0.2)
        if kind == "freeze":
            later = draw(MACHINE, chunk + 2, (fault,))[0]
            assert (later[:, channel] == clean[100, channel]).all()
    loss = Fault("loss", -1, onset, onset + 80_000, 0.05)
    values, _ = draw(MACHINE, chunk, (loss,))
    np.testing.assert_allclose(values[100] / clean[100], 0.95, rtol=1e-5)


def test_a_hundredth_of_an_archive_is_faulty_and_no_more() -> None:
    times = 3600 * RATE
    faults = schedule(1, 0, times, CHANNELS, RATE, 0.01)
    taken = sum((f.end - f.onset) * (CHANNELS if f.channel < 0 else 1) for f in faults)
    assert 0.5 * 0.01 * CHANNELS * times < taken <= 0.01 * CHANNELS * times
    assert all(0 <= f.onset < f.end <= times for f in faults)
    assert faults == schedule(1, 0, times, CHANNELS, RATE, 0.01)


def test_a_store_is_the_stream(tmp_path: Path) -> None:
    fault = Fault("spike", 1, 5 * CHUNK + 50, 5 * CHUNK + 90, 5.0)
    make(tmp_path / "a.zarr", 3 * CHUNK / RATE, MACHINE, (fault,), begin=4)
    dataset = ooc.open(tmp_path / "a.zarr", target=False)
    (batch,) = ooc.Loader(dataset, 3 * CHUNK, memory="512MiB", shuffle="none")
    wanted = np.concatenate([draw(MACHINE, chunk, (fault,))[0] for chunk in (4, 5, 6)])
    np.testing.assert_array_equal(batch["X"], wanted)

"""Noise in the history: intervals that cover the truth, and the run's own gradients in them."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

import ooc
from ooc.kernels.counters import (
    HALVED,
    NOISE,
    NOISE_SQUARES,
    SIGNAL,
    SIGNAL_NOISE,
    SIGNAL_SQUARES,
    TOTALS,
)
from ooc.models import Linear
from ooc.optim import adam, momentum, sgd
from ooc.training.trainer import Trainer
from ooc.training.watchers.noise_log import noise_entries

BATCH = 16


def totals_of(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Add up what a kernel would, from the mean gradients (steps, P) of both halves."""
    half = BATCH // 2
    signal = (ones * others).sum(axis=1)
    noise = ((ones - others) ** 2).sum(axis=1) / (2 / half)
    totals = np.zeros(TOTALS)
    totals[HALVED] = len(ones)
    totals[[SIGNAL, SIGNAL_SQUARES]] = signal.sum(), (signal**2).sum()
    totals[[NOISE, NOISE_SQUARES]] = noise.sum(), (noise**2).sum()
    totals[SIGNAL_NOISE] = (signal * noise).sum()
    return totals


@pytest.mark.parametrize("length", [1.0, 0.1])
def test_intervals_cover_the_truth(rng: np.random.Generator, length: float) -> None:
    """A strong signal, and one that is lost in the noise of its estimate."""
    deviations = np.array([1.0, 2.0, 0.5])
    gradient = length * np.array([0.6, 0.0, 0.8])
    trace = float((deviations**2).sum())
    scale, heat, trials, inside = trace / length**2, 0.1 * trace / (2 * BATCH * 3), 500, [0, 0]
    for _ in range(trials):
        halves = gradient + deviations * rng.standard_normal((2, 100, 3)) / np.sqrt(BATCH / 2)
        told = noise_entries(np.zeros(TOTALS), totals_of(*halves), BATCH, sgd(0.1).settings(), 0, 3)
        inside[0] += told["temperature_low"] <= heat <= told["temperature_high"]
        low, high = told.get("noise_scale_low", 0.0), told.get("noise_scale_high", np.inf)
        inside[1] += low <= scale <= high
        assert ("noise_scale" in told) == ("noise_scale_high" in told)
    assert min(inside) > 0.91 * trials


def test_only_what_came_since_the_line_before_counts(rng: np.random.Generator) -> None:
    first, second = (totals_of(*rng.standard_normal((2, 50, 3)) + 1.0) for _ in range(2))
    settings = sgd(0.1).settings()
    alone = noise_entries(np.zeros(TOTALS), second, BATCH, settings, 0, 3)
    after = noise_entries(first, first + second, BATCH, settings, 0, 3)
    assert after == pytest.approx(alone, rel=1e-9)
    assert noise_entries(first, first, BATCH, settings, 0, 3) == {}


def test_a_run_s_history_holds_its_own_noise(tmp_path: Path, rng: np.random.Generator) -> None:
    """With a rate so small that nothing moves, S and G are those of the rows at the start."""
    x = rng.standard_normal((4000, 3)).astype(np.float32)
    y = (x @ np.float32([1, 2, 3]) + rng.standard_normal(4000)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=50, X=x, y=y)
    model = Linear(intercept=False, standardise=True)
    rows = -((x - x.mean(axis=0)) / x.std(axis=0)) * y[:, None]
    trace, length = rows.var(axis=0).sum(), (rows.mean(axis=0) ** 2).sum()
    for optimizer, rate in ((sgd(1e-9), 1e-9), (momentum(1e-9), 1e-8), (adam(1e-9), None)):
        run = Trainer(model, optimizer, BATCH, memory="512MiB", log_every=200).fit(dataset, 2)
        lines = [line for line in run.history if line["kind"] == "train"]
        assert len(lines) == 2
        for line in lines:
            assert line["noise_scale_low"] < trace / length < line["noise_scale_high"]
            assert line["noise_scale"] == pytest.approx(trace / length, rel=0.3)
            assert ("temperature" in line) == (rate is not None)
            if rate is not None:
                heat = rate * trace / (2 * BATCH * 3)
                assert line["temperature"] == pytest.approx(heat, rel=0.2)


@pytest.mark.slow
def test_a_stationary_run_has_the_energy_of_its_temperature(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Curvature 1: the iterates of SGD vary by T/(1 - rate/2) = rate s2/(B (2 - rate))."""
    x = np.ones((3000, 1), np.float32)
    y = rng.standard_normal(3000).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=50, X=x, y=y)
    places: list[float] = []
    callbacks = ooc.Callbacks(step_end=lambda now: places.append(float(now.parameters[0])))
    trainer = Trainer(
        Linear(intercept=False),
        sgd(0.2),
        BATCH,
        memory="512MiB",
        sampling="replacement",
        log_every=1000,
    )
    run = trainer.fit(dataset, 30, callbacks=callbacks)
    heat = np.mean([line["temperature"] for line in run.history if line["kind"] == "train"])
    assert np.var(places[200:]) == pytest.approx(heat / (1 - 0.1), rel=0.15)

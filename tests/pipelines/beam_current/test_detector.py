"""The detector: the same alarms however a stream is cut, killed or stored; counted by hand."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

import ooc
from pipelines.beam_current import detect
from pipelines.beam_current.calibration import tail_of
from pipelines.beam_current.data import CHANNELS, CHUNK, Machine, draw
from pipelines.beam_current.detector import Limits, State, first_state, watch
from pipelines.beam_current.events import area, count
from pipelines.beam_current.faults import Fault
from pipelines.beam_current.machine_temperature import Found
from pipelines.beam_current.network import LENGTH, RelativeAutoencoder, make_relative
from pipelines.beam_current.slow import directions
from pipelines.beam_current.trained import Trained, load

MACHINE = Machine(5, 240)
FAULTS = (
    Fault("spike", 3, CHUNK + 2000, CHUNK + 2040, 40.0),
    Fault("freeze", 7, CHUNK + 5000, 2 * CHUNK, 0.0),
    Fault("loss", -1, 2 * CHUNK + 1000, 3 * CHUNK, 0.3),
)
UNITS = [draw(MACHINE, chunk, FAULTS)[0] for chunk in range(4)]


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Return a detector that expects the mean over the monitors, and limits by hand."""
    clean = draw(MACHINE, 0, ())[0]
    gains = clean.mean(axis=0) / clean.mean()
    model = RelativeAutoencoder(
        hidden=(2,), code=1, standardise=False, gains=tuple(gains), spreads=(1.0,) * CHANNELS
    )
    each = np.ones(CHANNELS)
    limits = Limits(
        fast=3 * each,
        slow_level=0 * each,
        slow_precision=np.eye(CHANNELS),
        slow_moves=directions(CHANNELS),
        slow=np.full(2, 0.5),
        flat=0.01 * each,
        common=0.05,
    )
    return Trained(
        model, np.zeros(model.layout((LENGTH, CHANNELS)).size, np.float32), limits, 10_000
    )


def alarms_of(trained: Trained, blocks: list[np.ndarray]) -> list:
    state = first_state(CHANNELS)
    return [a for block in blocks for a in watch(trained.network, trained.limits, state, block)]


def test_faults_raise_alarms_where_they_are(trained: Trained) -> None:
    found = alarms_of(trained, UNITS)
    assert {(a.kind, a.channel) for a in found} >= {("fast", 3), ("flat", 7), ("common", -1)}
    counted = count(found, FAULTS)
    assert counted.false == () and counted.found() == 1.0
    assert counted.delays[0] <= 100


def test_alarms_do_not_depend_on_how_a_stream_is_cut(trained: Trained) -> None:
    whole = alarms_of(trained, UNITS)
    windows = [part for unit in UNITS for part in unit.reshape(-1, LENGTH, CHANNELS)]
    halves = [part for unit in UNITS for part in (unit[: 5 * LENGTH], unit[5 * LENGTH :])]
    for blocks in (windows, halves):
        found = alarms_of(trained, blocks)
        key = [(a.kind, a.channel, a.raised, a.onset) for a in sorted(found, key=str)]
        assert key == [(a.kind, a.channel, a.raised, a.onset) for a in sorted(whole, key=str)]


def test_a_state_survives_as_text(trained: Trained) -> None:
    whole, state = alarms_of(trained, UNITS), first_state(CHANNELS)
    found, sizes = [], []
    for unit in UNITS:
        found += watch(trained.network, trained.limits, state, unit)
        text = json.dumps(state.to_json())
        sizes.append(len(text))
        state = State.from_json(json.loads(text))
    assert found == whole
    assert max(sizes) < 200_000


def test_a_killed_command_goes_on(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.save(tmp_path / "detector")
    again = load(tmp_path / "detector")
    assert again.model == trained.model
    values = np.concatenate(UNITS)
    path = tmp_path / "stream.zarr"
    with ooc.create(path, {"X": ("float32", (CHANNELS,))}) as writer:
        writer.append({"X": values[: 2 * CHUNK + 777]})
    assert detect.main([str(tmp_path / "detector"), str(path)]) == 0
    first = capsys.readouterr().out.splitlines()
    longer = tmp_path / "longer.zarr"
    with ooc.create(longer, {"X": ("float32", (CHANNELS,))}) as writer:
        writer.append({"X": values})
    assert detect.main([str(tmp_path / "detector"), str(longer)]) == 0
    lines = [json.loads(line) for line in first + capsys.readouterr().out.splitlines()]
    wanted = alarms_of(trained, UNITS)
    assert [(a["kind"], a["channel"], a["onset"], a["raised"]) for a in lines] == [
        (a.kind, a.channel, a.onset, a.raised) for a in wanted
    ]


def test_a_stream_is_read_as_it_comes(trained: Trained) -> None:
    values = np.concatenate(UNITS)
    blocks = list(detect.from_stream(io.BytesIO(values.tobytes() + b"123"), CHANNELS, 0))
    np.testing.assert_array_equal(np.concatenate(blocks), values)


def test_bad_streams_are_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "detector"
    assert detect.main([str(folder), "-"]) == 2
    assert "holds no detector; train one" in capsys.readouterr().err
    trained.save(folder)
    values = UNITS[0].copy()
    values[70, 2] = np.nan
    for name, rows in (("nan", values), ("narrow", values[:, :3])):
        with ooc.create(tmp_path / f"{name}.zarr", {"X": ("float32", rows.shape[1:])}) as writer:
            writer.append({"X": rows})
    assert detect.main([str(folder), str(tmp_path / "nan.zarr")]) == 2
    assert "channel 2 reads nan at time 70" in capsys.readouterr().err
    assert detect.main([str(folder), str(tmp_path / "narrow.zarr")]) == 2
    assert "has rows of shape (3,), and the detector" in capsys.readouterr().err
    (folder / "state.json").write_text("{}")
    assert detect.main([str(folder), str(tmp_path / "nan.zarr")]) == 2
    assert "is no state of a detector of 16 channels" in capsys.readouterr().err


def test_readings_are_taken_relative_to_their_mean() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(200, 500, (5, 6)).astype(np.float32)
    gains, spreads = np.array([0.9, 1.0, 1.1]), np.array([0.1, 0.2, 0.3])
    times = rows.reshape(5, 2, 3) / gains
    wanted = (times / times.mean(axis=2, keepdims=True) - 1) / spreads
    make_relative(rows, np.concatenate([gains, spreads]))
    np.testing.assert_allclose(rows, wanted.reshape(5, 6), rtol=1e-4, atol=1e-5)


def test_the_tail_is_that_of_a_normal_variable() -> None:
    """Counts of |N(0, 1)| extrapolate to what SciPy says is exceeded so rarely, or a bit more."""
    from scipy.stats import norm

    from pipelines.beam_current.calibration import BINS, WIDTH

    edges = WIDTH * np.arange(BINS + 1)
    counts = 1e12 * np.diff(2 * norm.cdf(edges) - 1)
    assert 1 <= tail_of(counts, 1e-9) / norm.isf(0.5e-9) < 1.02


def test_the_area_is_that_of_trapezia() -> None:
    assert area([(0.2, 1.0), (0.6, 0.5)]) == pytest.approx(0.2 + 0.4 * 0.75)


def test_nab_counts_windows() -> None:
    """One window found at its begin is nearly perfect; a false alarm far away costs 0.11."""
    nothing = np.zeros(100)
    early = Found([], nothing, nothing, [10], [(10, 20)])
    assert (early.found, early.false) == (1, 0) and early.score == pytest.approx(100)
    worse = Found([], nothing, nothing, [10, 80], [(10, 20)])
    assert worse.false == 1
    assert early.score - worse.score == pytest.approx(100 * 0.11 / 1.98661, rel=1e-2)
    assert Found([], nothing, nothing, [], [(10, 20)]).score == pytest.approx(0)

"""The detector: the same alarms however a stream is cut, killed or stored; counted by hand."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr

import ooc
from ooc.core.errors import InputError
from pipelines.beam_current import detect
from pipelines.beam_current.calibration import calibrate, tail_of
from pipelines.beam_current.data import CHANNELS, CHUNK, Machine, draw
from pipelines.beam_current.detector import step, watch
from pipelines.beam_current.events import Count, area, count
from pipelines.beam_current.faults import Fault
from pipelines.beam_current.long_watch import LongWatch
from pipelines.beam_current.machine_temperature import LEARNED, MEANS, Found, deviations
from pipelines.beam_current.network import LENGTH, RelativeAutoencoder, make_relative
from pipelines.beam_current.slow import directions
from pipelines.beam_current.state import UNIT, Alarm, Limits, State, first_state
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


def test_a_dead_channel_does_not_disturb_the_others(trained: Trained) -> None:
    """Without being filled in, it would move what is expected of all others by a sixteenth."""
    dead = [unit.copy() for unit in UNITS[:1]]
    dead[0][3000:5000, 5] = 0.0
    found = alarms_of(trained, dead)
    assert {alarm.channel for alarm in found if alarm.kind != "common"} == {5}
    assert {"flat"} <= {alarm.kind for alarm in found}
    state, clean = first_state(CHANNELS), first_state(CHANNELS)
    own, usual = (
        step(trained.network, each, block).fast
        for each, block in ((state, dead[0]), (clean, UNITS[0]))
    )
    others = np.delete(np.arange(CHANNELS), 5)
    inside = slice(3000 // LENGTH + 2, 5000 // LENGTH - 2)
    np.testing.assert_allclose(own[inside, others], usual[inside, others], rtol=0.5, atol=0.2)


def test_levels_are_judged_by_the_slow_statistic_alone(trained: Trained) -> None:
    """A stretch in which all channels stand where no training was is as quiet as any."""
    factors = 1 + 0.02 * np.cos(3.0 * np.arange(CHANNELS))
    plain, moved = first_state(CHANNELS), first_state(CHANNELS)
    for unit in (draw(MACHINE, chunk, ())[0] for chunk in range(2)):
        wanted = step(trained.network, plain, unit)
        found = step(trained.network, moved, unit * factors.astype(np.float32))
    np.testing.assert_allclose(found.fast, wanted.fast, rtol=3e-2, atol=5e-3)
    lifted = moved.units[-1] - plain.units[-1]
    np.testing.assert_allclose(lifted, factors / factors.mean() - 1, atol=1e-4)


def test_a_step_is_over_when_two_units_have_ended(trained: Trained) -> None:
    """As a drift ends: neither the level of the unit in which it did nor the next is one more."""
    plain, stepped = first_state(CHANNELS), first_state(CHANNELS)
    for number in range(4):
        unit = draw(MACHINE, number, ())[0]
        moved = unit.copy()
        before = {0: CHUNK, 1: 5 * CHUNK // 8}.get(number, 0)
        moved[:before, 5] *= 1.01
        wanted, found = step(trained.network, plain, unit), step(trained.network, stepped, moved)
    # The first window still holds a mean over the end of the unit before.
    assert np.abs(found.fast - wanted.fast)[1:].max() < 0.2
    assert np.median(found.fast) == pytest.approx(np.median(wanted.fast), rel=1e-2)


def test_when_everything_stands_alarms_say_so(trained: Trained) -> None:
    dead = UNITS[0].copy()
    dead[4000:] = dead[3999]
    found = alarms_of(trained, [dead])
    assert {alarm.channel for alarm in found if alarm.kind == "flat"} == set(range(CHANNELS))


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize("source", ["zarr", "stdin"])
def test_a_killed_process_loses_no_alarm_and_repeats_none(
    trained: Trained, tmp_path: Path, source: str
) -> None:
    """SIGKILL while a stream grows: the file of alarms is that of a process never killed."""
    units = 8
    faults = tuple(
        Fault("spike", i, CHUNK * i + 2000, CHUNK * i + 2040, 40.0) for i in range(units)
    )
    stream = [draw(MACHINE, chunk, faults)[0] for chunk in range(units)]
    trained.save(tmp_path / "detector")
    alarms, state = tmp_path / "alarms.jsonl", tmp_path / "detector" / "state.json"
    grows = zarr.open_group(tmp_path / "grows.zarr", mode="w").create_array(
        "X", shape=(0, CHANNELS), chunks=(CHUNK // 2, CHANNELS), dtype="float32"
    )
    grows.append(stream[0])
    place = "-" if source == "stdin" else str(tmp_path / "grows.zarr")
    command = [sys.executable, "-m", "pipelines.beam_current", "detect"]
    command += [str(tmp_path / "detector"), place, "--alarms", str(alarms), "--follow", "4"]
    root = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": root}

    def begin() -> subprocess.Popen:
        return subprocess.Popen(command, cwd=root, env=environment, stdin=subprocess.PIPE)

    first = begin()
    assert first.stdin is not None
    for unit in stream[: units // 2]:
        if source == "zarr":
            grows.append(unit) if unit is not stream[0] else None
        else:
            first.stdin.write(unit.tobytes())
            first.stdin.flush()
    while len(lines_of(alarms)) < 3 or not state.exists():
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with suppress(BrokenPipeError):
        first.stdin.close()
    seen = json.loads(state.read_text())["time"]
    second = begin()
    for unit in stream[units // 2 :]:
        if source == "zarr":
            grows.append(unit)
    rest = b"" if source == "zarr" else np.concatenate(stream)[seen:].tobytes()
    second.communicate(rest)
    assert second.returncode == 0
    wanted = alarms_of(trained, stream)
    found = [json.loads(line) for line in lines_of(alarms)]
    assert [(a["kind"], a["channel"], a["onset"], a["raised"]) for a in found] == [
        (a.kind, a.channel, a.onset, a.raised) for a in wanted
    ]


def test_a_file_of_alarms_that_was_cut_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.save(tmp_path / "detector")
    with ooc.create(tmp_path / "a.zarr", {"X": ("float32", (CHANNELS,))}) as writer:
        writer.append({"X": np.concatenate(UNITS)})
    alarms = tmp_path / "alarms.jsonl"
    command = [str(tmp_path / "detector"), str(tmp_path / "a.zarr"), "--alarms", str(alarms)]
    assert detect.main(command) == 0
    assert len(lines_of(alarms)) >= 3
    alarms.write_text("")
    assert detect.main(command) == 2
    assert "has 0 bytes, and when the state was kept it had" in capsys.readouterr().err


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
    assert detect.main([str(folder), "-", "--follow", "-1"]) == 2
    assert "--follow is -1; it is a number of seconds, or inf" in capsys.readouterr().err
    assert detect.main([str(folder), "-", "--alarms", str(tmp_path / "no" / "a")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
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


@pytest.mark.slow
def test_a_channel_that_is_dead_in_training_is_refused(trained: Trained) -> None:
    """It would be filled in for ever, and never watched."""
    unit = UNITS[0].copy()
    unit[:, 4] = 300 + 1e-3 * unit[:, 4]
    with pytest.raises(InputError, match="channel 4 hardly moves in the training data"):
        calibrate(partial(step, trained.network), [unit] * 40, 10_000)


def test_the_tail_is_that_of_a_normal_variable() -> None:
    """Counts of |N(0, 1)| extrapolate to what SciPy says is exceeded so rarely, or a bit more."""
    from scipy.stats import norm

    from pipelines.beam_current.calibration import BINS, WIDTH

    edges = WIDTH * np.arange(BINS + 1)
    counts = 1e12 * np.diff(2 * norm.cdf(edges) - 1)
    assert 1 <= tail_of(counts, 1e-9) / norm.isf(0.5e-9) < 1.02


def test_an_end_of_a_drift_is_explained_for_a_while_and_no_spike_within_it() -> None:
    fault = Fault("drift", 3, 1000, 50_000, 1.0)
    at = {"inside": 20_000, "end": 50_100, "late": 50_001 + 2 * UNIT}
    alarms = [Alarm(3, "fast", when - 1, when, 2.0) for when in at.values()]
    found = count(alarms, [fault])
    assert [alarm.raised for alarm in found.false] == [at["inside"], at["late"]]
    assert np.isnan(found.delays[0])


def test_bounds_are_those_of_the_tables() -> None:
    """No event in a time T: 3.00 / T; 59 of 59: 0.95 (Poisson; Clopper and Pearson)."""
    faults = tuple(Fault("drift", 0, n, n + 1, 0.5) for n in range(59))
    found = Count(faults, np.zeros(59), 59, ())
    watched = LongWatch(found, (), 24.0, 100.0)
    assert watched.most_false_a_day == pytest.approx(2.9957, abs=1e-3)
    assert watched.least_recall("drift", 0.2) == (59, 59, pytest.approx(0.9505, abs=1e-3))
    assert watched.least_recall("drift", 0.7)[:2] == (0, 0)


def test_the_area_is_that_of_trapezia() -> None:
    assert area([(0.2, 1.0), (0.6, 0.5)]) == pytest.approx(0.2 + 0.4 * 0.75)


def test_errors_are_judged_by_what_came_before() -> None:
    errors = np.random.default_rng(0).gamma(2.0, size=LEARNED + 40)
    means = [errors[max(0, at + 1 - MEANS) : at + 1].mean() for at in range(len(errors))]
    for at in (LEARNED + 2, LEARNED + 17, LEARNED + 39):
        before = means[LEARNED:at]
        wanted = (means[at] - np.mean(before)) / np.std(before)
        assert deviations(errors)[at] == pytest.approx(wanted, rel=1e-6)
    assert (deviations(errors)[: LEARNED + 2] == 0).all()


def test_nab_counts_windows() -> None:
    """One window found at its begin is nearly perfect; a false alarm far away costs 0.11."""
    nothing = np.zeros(100)
    early = Found([], nothing, nothing, [10], [(10, 20)])
    assert (early.found, early.false) == (1, 0) and early.score == pytest.approx(100)
    worse = Found([], nothing, nothing, [10, 80], [(10, 20)])
    assert worse.false == 1
    assert early.score - worse.score == pytest.approx(100 * 0.11 / 1.98661, rel=1e-2)
    assert Found([], nothing, nothing, [], [(10, 20)]).score == pytest.approx(0)

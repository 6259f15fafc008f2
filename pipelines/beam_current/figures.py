"""Pictures: a stretch with its faults and alarms, recall by size, and one alarm seen closely."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.beam_current.data import CHUNK, RATE, Machine, draw
from pipelines.beam_current.detector import relative_means
from pipelines.beam_current.events import IN_TIME, Count
from pipelines.beam_current.faults import DRIFT_RATES, KINDS, Fault
from pipelines.beam_current.machine_temperature import Found
from pipelines.beam_current.network import LENGTH
from pipelines.beam_current.residuals import Network
from pipelines.beam_current.state import Alarm
from pipelines.common.figures import Picture, new_figure, picture

MARKERS = ("o", "x", "^", "v", "+")  # methods that find the same lie on each other
COLOURS = {"spike": "C0", "drift": "C1", "loss": "C3", "freeze": "C2"}


def draw_stretch(
    machine: Machine, begin: int, chunks: int, faults: Sequence[Fault], alarms: Sequence[Alarm]
) -> Picture:
    """Draw the current over the stretch, and by channel what was at fault and what was raised."""
    step = max(1, chunks // 600)
    places = np.arange(begin, begin + chunks, step)
    current = [draw(machine, int(p), _touching(faults, int(p)))[0].mean() for p in places]
    figure = new_figure(height=6.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    above.plot((places - begin) * CHUNK / RATE, current, lw=0.8, color="0.3")
    above.set_ylabel("mean current (mA)")
    first = begin * CHUNK
    for kind in KINDS:
        own = [fault for fault in faults if fault.kind == kind]
        for fault in own:
            span = ((fault.onset - first) / RATE, (fault.end - first) / RATE)
            if kind == "spike":
                continue
            below.plot(span, (fault.channel, fault.channel), color=COLOURS[kind], lw=5, alpha=0.5,
                       solid_capstyle="butt")  # fmt: skip
        if own and kind != "spike":
            below.plot([], [], color=COLOURS[kind], lw=5, alpha=0.5, label=kind)
    spikes = [fault for fault in faults if fault.kind == "spike"]
    below.plot([(f.onset - first) / RATE for f in spikes], [f.channel for f in spikes], "|",
               color=COLOURS["spike"], ms=9, label="spike")  # fmt: skip
    below.plot([(a.raised - first) / RATE for a in alarms], [a.channel for a in alarms], ".",
               color="k", ms=4, label="alarm")  # fmt: skip
    below.set(xlabel="seconds", ylabel="channel (-1: the beam)")
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return picture(
        figure, "stretch", "The beam's current, true faults (bars, ticks for spikes) and alarms "
        "(dots), by channel.", "Mean current above; below, faults and alarms by channel over time.",
    )  # fmt: skip


def draw_recall(counts: Mapping[str, Count]) -> Picture:
    """Draw the share of spikes and of drifts that were found in time, by their size."""
    figure = new_figure()
    left, right = figure.subplots(1, 2, sharey=True)
    edges = np.arange(3.0, 10.5, 1.0)
    for number, (name, found) in enumerate(counts.items()):
        style: dict[str, Any] = {
            "marker": MARKERS[number % len(MARKERS)],
            "lw": 3.0 if number == 0 else 1.2,
            "ms": 9 if number == 0 else 6,
            "alpha": 0.5 if number == 0 else 1.0,
        }
        limits = np.array([IN_TIME[fault.kind] for fault in found.faults])
        sizes = np.array([fault.size for fault in found.faults])
        kinds = np.array([fault.kind for fault in found.faults])
        is_found = found.delays <= limits
        shares = [is_found[(kinds == "spike") & (sizes >= a) & (sizes < a + 1)] for a in edges[:-1]]
        left.plot(
            edges[:-1] + 0.5, [s.mean() if len(s) else np.nan for s in shares], label=name, **style
        )
        drifts = [is_found[(kinds == "drift") & (sizes == rate)] for rate in DRIFT_RATES]
        right.plot(DRIFT_RATES, [s.mean() if len(s) else np.nan for s in drifts], **style)
    left.axhline(0.99, color="0.7", ls=":", zorder=0)
    right.axhline(0.95, color="0.7", ls=":", zorder=0)
    left.set(xlabel="size of a spike (sigma)", ylabel="found in time", ylim=(-0.03, 1.03))
    right.set(xlabel="drift (percent an hour)", xscale="log", xlim=(0.04, 1.25))
    if not any(fault.kind == "drift" for found in counts.values() for fault in found.faults):
        right.text(0.2, 0.5, "no drift is as long as this stretch", ha="center")
    right.set_xticks(DRIFT_RATES, [f"{rate:g}" for rate in DRIFT_RATES])
    right.minorticks_off()
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return picture(
        figure, "recall", "Spikes found within 10 ms and drifts found within 15 minutes, by size.",
        "Share of spikes and of drifts found in time over their size, one line a method.",
    )  # fmt: skip


def draw_alarm(
    machine: Machine, faults: Sequence[Fault], network: Network, alarm: Alarm
) -> Picture:
    """Draw what the network saw around an alarm, and what it expected.

    Levels of the 0.8 s are not shown to it, and what it was off by all through them is added, as
    the detector does.
    """
    chunk = alarm.onset // CHUNK
    unit = draw(machine, chunk, _touching(faults, chunk))[0]
    middle = int(np.clip(alarm.onset - chunk * CHUNK, 2 * LENGTH, CHUNK - 3 * LENGTH))
    first = (middle // LENGTH - 2) * LENGTH
    seen = unit[first : first + 5 * LENGTH]
    windows = unit.reshape(-1, LENGTH, unit.shape[1])
    levels = (1 + relative_means(windows, network.gains).mean(axis=0)).astype(np.float32)
    expected = (network.expected(windows / levels) * levels).reshape(unit.shape)
    expected += np.median(unit - expected, axis=0)
    expected = expected[first : first + 5 * LENGTH]
    others = (alarm.channel + 1) % seen.shape[1]
    figure = new_figure()
    for axes, channel in zip(figure.subplots(1, 2), (alarm.channel, others), strict=True):
        axes.plot((np.arange(len(seen))) / 10, seen[:, channel], lw=0.8, color="0.5", label="seen")
        axes.plot(np.arange(len(seen)) / 10, expected[:, channel], color="C1", label="expected")
        axes.axvline((alarm.onset - chunk * CHUNK - first) / 10, color="C3", ls=":", label="onset")
        axes.axvline((alarm.raised - chunk * CHUNK - first) / 10, color="k", ls=":", label="alarm")
        axes.set(title=f"channel {channel}", xlabel="ms", ylabel="mA")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return picture(
        figure, "alarm", f"Seen and expected at an alarm of score {alarm.score:.1f}: its channel, "
        "and one without a fault.", "Two panels of readings and what the network expects of them.",
    )  # fmt: skip


def draw_machine(found: Found) -> Picture:
    """Draw the machine's temperature with labelled windows and alarms, and the score below."""
    figure = new_figure(height=5.0)
    above, below = figure.subplots(2, 1, sharex=True)
    times = np.array(found.times)
    above.plot(times, found.values, lw=0.6, color="0.3")
    above.set_ylabel("temperature")
    below.semilogy(times, np.maximum(found.scores, 0.05), lw=0.8)
    below.axhline(1, color="k", lw=0.8)
    below.set_ylabel("score over threshold")
    for axes in (above, below):
        for a, b in found.windows:
            axes.axvspan(times[a], times[min(b, len(times) - 1)], color="C1", alpha=0.25, lw=0)
        for at in found.alarms:
            axes.axvline(times[at], color="C3", lw=0.8)
    return picture(
        figure, "machine-temperature", "A machine's temperature (above) and its score (below); "
        "labelled windows shaded, alarms as lines.", "Temperature and score over three months.",
    )  # fmt: skip


def _touching(faults: Sequence[Fault], chunk: int) -> tuple[Fault, ...]:
    first, last = chunk * CHUNK, (chunk + 1) * CHUNK
    return tuple(fault for fault in faults if fault.onset < last and fault.end > first)

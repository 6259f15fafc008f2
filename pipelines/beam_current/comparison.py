"""Plain methods beside the network on the same stretch: who finds what, how surely and how fast."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ooc.store.dataset import Dataset
from pipelines.beam_current import events, plain
from pipelines.beam_current.calibration import Method, calibrate
from pipelines.beam_current.data import RATE
from pipelines.beam_current.faults import Fault
from pipelines.beam_current.network import RelativeAutoencoder
from pipelines.beam_current.state import QUIET, UNIT, Alarm, Limits
from pipelines.beam_current.watching import FACTORS, Watched, stored_units, watch_all
from pipelines.common.table import Table

NETWORK, FOREST = "autoencoder", "isolation forest"
ALONE = ("EWMA", "CUSUM")  # charts: each channel by itself
FOREST_SHARE = 0.999  # of the windows of a training unit, below its limit


@dataclass
class Forest:
    """An isolation forest that watches: it tells that a window is odd, and no channel."""

    score: Callable[[np.ndarray], np.ndarray]
    limit: float
    alarms: list[Alarm] = field(default_factory=list)
    seconds: float = 0.0
    last: int = -(10**9)

    def watch(self, units: Iterable[np.ndarray], first: int) -> Iterator[np.ndarray]:
        """Judge units that begin at time `first`, and pass them on."""
        for unit in units:
            begun = time.process_time()
            found = self.score(unit)
            self.seconds += time.process_time() - begun
            length = len(unit) // len(found)
            for place in np.flatnonzero(found > self.limit).tolist():
                at = first + (place + 1) * length
                if at - self.last > QUIET["fast"]:
                    score = float(found[place] / self.limit)
                    self.alarms.append(Alarm(-1, "any", at - length, at, score))
                self.last = at
            first += len(unit)
            yield unit


@dataclass(frozen=True)
class Comparison:
    """What all methods made of a stretch, by name.

    Attributes
    ----------
    areas
        Under precision over recall; none of the forest.
    seconds
        Processor time.
    alarms
        Of the network.
    """

    counts: Mapping[str, events.Count]
    areas: Mapping[str, float]
    seconds: Mapping[str, float]
    alarms: Sequence[Alarm]

    def table(self, stretch_seconds: float) -> Table:
        """Return a row a method."""
        rows = []
        for name, found in self.counts.items():
            numbers = (
                found.recall("spike", 6), found.recall("spike"), found.recall("drift", 0.2),
                found.recall("drift"), found.recall("loss"), found.recall("freeze"),
            )  # fmt: skip
            cells = ["" if np.isnan(number) else f"{number:.3f}" for number in numbers]
            area = f"{self.areas[name]:.3f}" if name in self.areas else ""
            speed = f"{stretch_seconds / self.seconds[name]:.0f}"
            rows.append((name, *cells, f"{len(found.false):,}", area, speed))
        head = ("", "spikes >= 6", "spikes", "drifts >= 0.2", "drifts", "losses", "freezes",
                "false alarms", "AUC-PR", "x real time")  # fmt: skip
        return Table(
            "share of faults found in time; all methods on the same windows", head, tuple(rows)
        )

    def verdict(self) -> str:
        """Say in a sentence which plain methods are as good as the network, or better."""
        as_good = [
            name for name, area in self.areas.items()
            if name != NETWORK and area >= self.areas[NETWORK] - 0.005
        ]  # fmt: skip
        if not as_good:
            best = max(self.areas.keys() - {NETWORK}, key=self.areas.__getitem__)
            return (
                f"The best of the plain methods is {best}, with an area under precision over "
                f"recall of {self.areas[best]:.3f}; the network has {self.areas[NETWORK]:.3f}."
            )
        return (
            f"{' and '.join(as_good)} {'is' if len(as_good) == 1 else 'are'} as good here: what "
            "moves this machine's channels together is nearly linear."
        )


def compare(
    network: tuple[Method, Limits],
    model: RelativeAutoencoder,
    code: int,
    training: Dataset,
    units: Iterable[np.ndarray],
    first: int,
    faults: Sequence[Fault],
) -> Comparison:
    """Fit plain methods on training data, and let all watch units that begin at time `first`."""
    some = _sample(training)
    methods = {NETWORK: network}
    for name, method in _plain_methods(model, some, code).items():
        limits = calibrate(method, stored_units(training), RATE, name in ALONE)
        methods[name] = (method, limits)
    score = plain.forest(model, some)
    limit = max(float(np.quantile(score(unit), FOREST_SHARE)) for unit in some)
    forest = Forest(score, limit)
    watched = watch_all(methods, forest.watch(units, first), first)
    counts = {name: events.count(each.alarms[1.0], faults) for name, each in watched.items()}
    counts[FOREST] = events.count(forest.alarms, faults, names_channel=False)
    areas = {name: _area(each, faults) for name, each in watched.items()}
    seconds = {name: sum(each.seconds) for name, each in watched.items()}
    seconds[FOREST] = forest.seconds
    return Comparison(counts, areas, seconds, watched[NETWORK].alarms[1.0])


def _sample(training: Dataset) -> list[np.ndarray]:
    every = max(1, training.rows // UNIT // plain.SAMPLED_UNITS)
    units = enumerate(stored_units(training))
    return [unit.copy() for number, unit in units if number % every == 0]


def _plain_methods(
    model: RelativeAutoencoder, some: Sequence[np.ndarray], code: int
) -> dict[str, Method]:
    """Return PCA, EWMA and CUSUM; the charts' deviations are of some units of the training data."""
    deviations = [unit.std(axis=0) for unit in some[:20]]
    means = np.stack([unit.mean(axis=0) / unit.mean() for unit in some])
    spread = np.maximum((means / np.median(means, axis=0)).std(axis=0), 1e-6)
    return {
        "PCA": plain.pca(model, some, code),
        "EWMA": plain.ewma(model),
        "CUSUM": plain.cusum(model, np.median(deviations, axis=0), spread),
    }


def _area(watched: Watched, faults: Sequence[Fault]) -> float:
    points = [events.count(watched.alarms[factor], faults) for factor in FACTORS]
    return events.area([(one.found(), one.precision()) for one in points])

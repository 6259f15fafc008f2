"""Parts of the generated world as datasets: a row is a headline.

Beside it stand the figures of its country that are published by its month, and as label how many
notches the rating moves within twelve months. Parts are made of whole countries and whole years:
rows of a month share figures and label, so that a random row would be known from its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ooc
from ooc.core.errors import InputError
from ooc.core.progress import Report, silent
from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import Columns, Dataset, Fields, open_or_make, write
from pipelines.sovereign_rating.chain import AHEAD
from pipelines.sovereign_rating.headlines import (
    LENGTH,
    Wording,
    add_evidence,
    draw_headlines,
    make_wording,
)
from pipelines.sovereign_rating.world import (
    FIGURES,
    LAGS,
    SERIES,
    TONES,
    World,
    make_world,
    movements,
    published,
)

LARGEST = 3  # notches: rarer, larger movements count as this one
CLASSES = 2 * LARGEST + 1
FIELDS: Fields = {
    "tokens": ("uint16", (LENGTH,)),
    "X": ("float32", (len(FIGURES),)),
    "y": ("uint8", ()),
}
# Shares of countries that are learned from, and that choose; the others are unseen. Of the years
# the last quarter is later.
LEARNED, CHOOSING, EARLIER = 0.65, 0.15, 0.75


@dataclass(frozen=True)
class Part:
    """Months of countries whose headlines lie in one dataset: the first of each, then the second.

    A block of rows is then of many months. Were those of one month side by side, a window would
    hold few, and know their one label by heart.

    Attributes
    ----------
    countries
        Their numbers in the world.
    begin, end
        Months, the end not among them.
    headlines
        Of each month of a country.
    """

    name: str
    countries: tuple[int, ...]
    begin: int
    end: int
    headlines: int

    @property
    def rows(self) -> int:
        """Headlines in all."""
        return self.cells * self.headlines

    @property
    def cells(self) -> int:
        """Months of countries."""
        return len(self.countries) * (self.end - self.begin)

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the countries and months of rows.

        Examples
        --------
        >>> Part("some", (4, 7), 10, 12, 3).places(np.array([0, 1, 2, 4]))
        (array([4, 4, 7, 4]), array([10, 11, 10, 10]))
        """
        country, month = np.divmod(rows % self.cells, self.end - self.begin)
        return np.array(self.countries)[country], self.begin + month


@dataclass(frozen=True)
class Split:
    """Which months of which countries teach, choose and judge.

    Attributes
    ----------
    learned
        Parts of countries and years to learn from.
    choosing
        Of other countries, in the same years.
    unseen
        Of countries that neither has, in all years.
    later
        Of the learned countries from a year before the later years on: that year's labels lie in
        them, and nothing is learned of it.
    """

    learned: Part
    choosing: Part
    unseen: Part
    later: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them."""
        return self.learned, self.choosing, self.unseen, self.later

    @property
    def first_later(self) -> int:
        """The first month of the later years."""
        return self.later.begin + AHEAD


def make_split(seed: int, countries: int, months: int, rows: int) -> Split:
    """Divide countries at random, and years by time; headlines fill up about so many rows.

    Raises
    ------
    InputError
        If there is less than a headline in a month.
    """
    order = generator(seed, Purpose.SPLIT).permutation(countries).tolist()
    learned, choosing = round(LEARNED * countries), round(CHOOSING * countries)
    first_later = round(EARLIER * months / 12) * 12
    headlines = rows // (countries * months)
    if headlines < 1:
        raise InputError(
            f"{rows:,} headlines are less than one in each of {countries * months:,} months of "
            f"countries; take at least as many rows, or fewer countries or years"
        )
    begin = first_later - AHEAD
    groups = (
        ("learned", order[:learned], 0, begin),
        ("choosing", order[learned : learned + choosing], 0, begin),
        ("unseen", order[learned + choosing :], 0, months),
        ("later", order[:learned], begin, months),
    )
    return Split(*(Part(n, tuple(sorted(who)), a, b, headlines) for n, who, a, b in groups))


@dataclass(frozen=True)
class Generated:
    """A world, its wording, and its parts on disk.

    Attributes
    ----------
    figures
        (countries, months, figures) float32, as published.
    labels
        (countries, months) uint8 classes of movement.
    datasets
        By the name of the part.
    """

    world: World
    wording: Wording
    split: Split
    figures: np.ndarray
    labels: np.ndarray
    datasets: Mapping[str, Dataset]


def generate(folder: Path, seed: int, countries: int, years: int, rows: int) -> Generated:
    """Make the world, and the datasets of its parts where they are not there yet."""
    split = make_split(seed, countries, 12 * years, rows)
    world, wording = make_world(seed, countries, 12 * years), make_wording(seed)
    figures, labels = published(world), classes_of(movements(world))
    datasets = {}
    for part in split.parts:
        path = folder / f"{part.name}-{countries}x{years}-{part.rows}-seed{seed}.zarr"
        expected = {**notes(part, world), "rows": part.rows}

        def make(report: Report, path: Path = path, part: Part = part) -> None:
            write_part(path, part, world, wording, figures, labels, report)

        datasets[part.name] = open_or_make(path, expected, make)
    return Generated(world, wording, split, figures, labels, datasets)


def classes_of(moved: np.ndarray) -> np.ndarray:
    """Return the class of each movement in notches.

    Examples
    --------
    >>> classes_of(np.array([-5, -1, 0, 2]))
    array([0, 2, 3, 5], dtype=uint8)
    """
    found: np.ndarray = (np.clip(moved, -LARGEST, LARGEST) + LARGEST).astype(np.uint8)
    return found


def write_part(
    path: Path,
    part: Part,
    world: World,
    wording: Wording,
    figures: np.ndarray,
    labels: np.ndarray,
    report: Report = silent,
) -> None:
    """Write the headlines of a part chunk by chunk, the same bits on any number of threads."""

    def draw(number: int, first: int, count: int) -> Columns:
        rows = np.arange(first, first + count)
        countries, months = part.places(rows)
        return {
            "tokens": draw_headlines(world, wording, countries, months, rows // part.cells),
            "X": figures[countries, months],
            "y": labels[countries, months],
        }

    write(path, FIELDS, notes(part, world), part.rows, draw, report=report)


def notes(part: Part, world: World) -> dict[str, Any]:
    """Return the attributes of a part: what it is a function of, and every lag."""
    return {
        "seed": world.seed, "countries": list(part.countries), "begin": part.begin,
        "end": part.end, "headlines": part.headlines, "order": "number, country, month",
        "feature_names": list(FIGURES), "months_ahead": AHEAD,
        "months_until_published": dict(zip(SERIES, LAGS, strict=True)),
    }  # fmt: skip


def evidence_of(generated: Generated, memory: str) -> np.ndarray:
    """Return what all headlines say of each month's tone, in one pass over every part.

    Returns
    -------
    numpy.ndarray
        (countries, months, tones) log-likelihood against the neutral tone.
    """
    world = generated.world
    found = np.zeros((world.countries * world.months, len(TONES)))
    for part in generated.split.parts:
        dataset = generated.datasets[part.name]
        size = min(65_536, dataset.rows)
        for batch in ooc.Loader(dataset, size, memory=memory, shuffle="none", arrays=["tokens"]):
            countries, months = part.places(batch.rows)
            places = countries * world.months + months
            add_evidence(batch["tokens"], places, generated.wording.log_ratio, found)
    return found.reshape(world.countries, world.months, len(TONES))

"""What a measured shuffle says: a verdict by levels, and each number in its place."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ooc.shuffle import mixing
from ooc.shuffle.mixing import ColumnMixing, Mixing, draw_mixing
from ooc.stream.block_statistics import Column

LABEL = ColumnMixing(Column("y", 0.5, 1.0, 0.12345, 0.00678, 12.345), 1.23456, 1.04321, 0.01987)
FEATURE = ColumnMixing(Column("X[3]", 0.5, 1.0, 0.5, 0.0, 50.0), None, 1.0, 0.25)
MEASURED = Mixing(
    dataset="a.zarr",
    order="blocks",
    rows=200_000,
    batch_size=100,
    block_rows=1000,
    blocks=1200,
    blocks_per_window=60,
    sampled_blocks=256,
    every_row_once=True,
    pairs=123_456,
    pairs_expected=120_000.4,
    pairs_deviation=1500.2,
    pairs_score=2.345,
    pairs_per_batch=61.728,
    pairs_per_batch_deviation=7.856,
    pairs_full_shuffle=61_728.0,
    columns=(LABEL, FEATURE),
    chi_square=2.3456,
    chi_square_degrees=2,
    chi_square_score=4.56,
    displacement=0.33123,
    neighbour_distance=0.32987,
    epoch_correlation=-0.01234,
    bytes_decoded=3 * 2**20,
    bytes_stored=2**20,
    requests=1234,
    seconds=2.0,
    picture=np.full((4, 4), 12_500),
)
GOOD = "as good as a full shuffle: batch means of y vary 1.04 times as much as in a full shuffle"


def test_people_are_told_each_number_in_its_place() -> None:
    assert MEASURED.tables() == {
        "mixing of a.zarr, batches of 100": {
            "verdict": GOOD,
            "order": "blocks: 1,200 blocks of 1,000 rows, 60 to a window",
            "every row once": "yes",
            "same-block pairs in a batch": "123,456 (120,000 +- 1,500 expected, z = +2.3)",
            "of a full shuffle": "61,728: 2.00 times",
            "pairs in one batch": "61.7 +- 7.9",
            "displacement": "0.3312 of the rows; full shuffle 0.3333",
            "distance of neighbours": "0.3299 of the rows; full shuffle 0.3333",
            "correlation of two epochs": "-0.0123; full shuffle 0",
            "label chi-square of a batch": "2.35; full shuffle 2 (z = +4.6)",
            "decoded in an epoch": "3.00 MiB",
            "read in an epoch": "1.00 MiB in 1,234 requests",
        },
        "variance of batch means (shares from 256 sampled blocks)": {
            "y": "Vb/s2 0.1235 +- 0.0068, h_D 12.3; inflation 1.043 +- 0.020, predicted 1.235",
            "X[3]": "Vb/s2 0.5000, h_D 50.0; inflation 1.000 +- 0.250, predicted none",
        },
    }


def test_what_is_not_known_is_left_out_or_said() -> None:
    unknown: Any = dict.fromkeys(
        ("pairs_expected", "pairs_deviation", "pairs_score", "chi_square", "bytes_stored")
    )
    found = replace(
        MEASURED, **unknown, blocks_per_window=0, every_row_once=False, sampled_blocks=1200
    )
    table, columns = found.tables().items()
    assert table[1]["order"] == "blocks: 1,200 blocks of 1,000 rows"
    assert table[1]["every row once"] == "NO"
    assert table[1]["same-block pairs in a batch"] == "123,456 (no closed form)"
    assert "label chi-square of a batch" not in table[1]
    assert "read in an epoch" not in table[1]
    assert columns[0] == "variance of batch means (shares from all blocks)"


def test_programs_are_told_the_same_without_the_picture() -> None:
    told = MEASURED.to_json()
    assert (told["pairs_excess"], told["verdict"]) == (2.0, GOOD)
    assert "picture" not in told
    assert (told["rows"], told["columns"][0]["column"]["name"]) == (200_000, "y")
    assert told["columns"][1]["observed_error"] == 0.25


def verdict(observed: float, **changes: Any) -> str:
    columns = (FEATURE, replace(LABEL, observed=observed))
    return replace(MEASURED, columns=columns, **changes).verdict


@pytest.mark.parametrize(
    ("most", "level", "next_level"),
    [
        (1.1, "as good as a full shuffle", "well mixed"),
        (1.5, "well mixed", "mixed in part"),
        (4.0, "mixed in part", "badly mixed"),
    ],
)
def test_a_level_ends_where_chance_does(most: float, level: str, next_level: str) -> None:
    """Of 2000 means of a full shuffle the variance is off by 3 times the root of 2 / 2000."""
    chance = 3 * math.sqrt(2 / 2000)
    below, above = verdict(most + chance - 1e-6), verdict(most + chance + 1e-6)
    assert below.startswith(f"{level}: batch means of y vary {most + chance:.3g} times")
    assert above.startswith(f"{next_level}: ")
    few = verdict(most + 3 * math.sqrt(2), rows=50)
    assert few.startswith(f"{level}: ")


def test_the_worst_column_is_that_whose_means_were_the_worst() -> None:
    """Not the one that was predicted to be, or whose blocks differ most."""
    columns = (replace(LABEL, observed=1.2, predicted=9.0), replace(FEATURE, observed=2.5))
    for order in (columns, columns[::-1]):
        told = replace(MEASURED, columns=order).verdict
        assert told.startswith("mixed in part: batch means of X[3] vary 2.5 times")


MORE_WINDOW = "; take a larger --window or more --memory, or `ooc shuffle` the data"
BLOCKS = "; take order blocks, or `ooc shuffle` the data"


@pytest.mark.parametrize(
    ("observed", "changes", "end"),
    [
        (1.3, {}, "full shuffle"),
        (1.3, {"order": "none"}, "full shuffle, and all epochs have the same order"),
        (3.0, {}, MORE_WINDOW),
        (9.0, {"blocks_per_window": 1199}, MORE_WINDOW),
        (9.0, {"blocks_per_window": 1200}, BLOCKS),
        (9.0, {"order": "exact"}, BLOCKS),
        (9.0, {"order": "none"}, f", and all epochs have the same order{BLOCKS}"),
    ],
)
def test_a_verdict_says_what_to_do(observed: float, changes: dict[str, Any], end: str) -> None:
    found = verdict(observed, **changes)
    times = f"batch means of y vary {observed:.3g} times as much as in a full shuffle"
    assert found.partition(times)[2] == end.removeprefix("full shuffle")


def test_a_verdict_without_columns_or_rows() -> None:
    assert replace(MEASURED, columns=()).verdict == (
        "2 times the same-block pairs of a full shuffle"
    )
    assert replace(MEASURED, every_row_once=False).verdict == (
        "no epoch: rows are left out or come twice"
    )
    assert replace(MEASURED, pairs_full_shuffle=0.0).pairs_excess == 1.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "blocks: 60 of 1,200 blocks in a window"),
        ({"order": "none"}, "none: 2 times the same-block pairs"),
        ({"blocks_per_window": 0, "order": "list"}, "list: 2 times the same-block pairs"),
    ],
)
def test_a_picture_shows_a_density_beside_a_full_shuffle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(mixing, "save_figure", lambda *given, **options: drawn.append(given))
    picture = np.arange(16).reshape(4, 4) * 1000
    draw_mixing(replace(MEASURED, picture=picture, **changes), tmp_path / "a.png")
    figure, path = drawn[0]
    assert path == tmp_path / "a.png"
    left, right, bar = figure.axes
    assert [left.get_title(), right.get_title()] == [words, "a full shuffle"]
    assert left.get_ylabel() == "original row, percent of the dataset"
    assert [axis.get_xlabel() for axis in (left, right)] == ["position in the stream, percent"] * 2
    assert bar.get_ylabel() == "rows in a cell, as a multiple of an even spread"
    shown = [axis.get_images()[0] for axis in (left, right)]
    # Up the page goes the row, to the right the place; 7500 rows are a cell's even share.
    np.testing.assert_allclose(shown[0].get_array(), picture.T / 7500)
    assert [image.get_clim() for image in shown] == [(0, 4), (0, 4)]
    assert [image.origin for image in shown] == ["lower", "lower"]


@pytest.mark.parametrize("most", [2**22, 6400])
def test_a_full_shuffle_is_even_but_for_chance(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Of a part it is scaled: counts of a cell vary by the root of their mean, whoever is drawn."""
    monkeypatch.setattr(mixing, "PICTURE_ROWS", most)
    found = mixing._full_shuffle(102_400, 8)
    assert found.sum() == pytest.approx(102_400)
    assert found.mean() == pytest.approx(1600)
    # A row and a column of cells hold 1/8 of the rows each.
    np.testing.assert_allclose(found.sum(axis=0), 12_800, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 12_800, atol=1e-6)
    assert 0.6 * 40 < found.std() < 1.4 * 40

"""A table of one's own: what is read, when an indicator is known, and what is refused."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ooc.core.errors import InputError
from pipelines.sovereign_rating.__main__ import main
from pipelines.sovereign_rating.notches import LETTERS, SCALES
from pipelines.sovereign_rating.own_samples import samples_of, split_of
from pipelines.sovereign_rating.table_file import read_columns, read_table

ROOT = Path(__file__).resolve().parents[3]
TOML = 'country = "who"\ndate = "when"\nrating = "what"\nscale = "sp"\n[lags]\ngrowth = 3\n'
CSV = "who,when,what,growth\nA,2001-01,BB,1.5\nA,2002-01,BB+,\nB,2001-01-31,AAA,-2\n"


def write(folder: Path, table: str = CSV, columns: str = TOML) -> tuple[Path, Path]:
    paths = folder / "table.csv", folder / "columns.toml"
    for path, text in zip(paths, (table, columns), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def test_scales_of_two_agencies_meet() -> None:
    assert len(LETTERS) == 22
    assert (SCALES["sp"]["AAA"], SCALES["moodys"]["Aaa"]) == (21, 21)
    assert (SCALES["sp"]["BBB-"], SCALES["moodys"]["Baa3"]) == (12, 12)
    assert (SCALES["sp"]["CC"], SCALES["moodys"]["Ca"]) == (2, 2)
    assert (SCALES["sp"]["SD"], SCALES["fitch"]["RD"], SCALES["moodys"]["C"]) == (0, 0, 0)


def test_a_table_is_read_by_country_and_month(tmp_path: Path) -> None:
    paths = write(tmp_path)
    table = read_table(paths[0], read_columns(paths[1]))
    assert table.countries == ("A", "B")
    np.testing.assert_array_equal(table.month, [12 * 2001, 12 * 2002, 12 * 2001])
    np.testing.assert_array_equal(table.rating, [10, 11, 21])
    np.testing.assert_array_equal(table.indicators[:, 0], [1.5, np.nan, -2])
    assert table.notches == 22


@pytest.mark.parametrize(
    ("scale", "words", "expected"),
    [
        ('"moodys"', ("Aaa", "Ba1"), [21, 11]),
        ('"numbers"', ("7", "3"), [7, 3]),
        ("{ good = 4, bad = 0 }", ("good", "bad"), [4, 0]),
    ],
)
def test_ratings_are_letters_numbers_or_words_of_ones_own(
    tmp_path: Path, scale: str, words: tuple[str, str], expected: list[int]
) -> None:
    table = CSV.replace("AAA", words[0]).replace("BB+", words[1]).replace("BB", words[1])
    paths = write(tmp_path, table, TOML.replace('"sp"', scale))
    found = read_table(paths[0], read_columns(paths[1]))
    assert sorted(set(found.rating), reverse=True) == expected
    assert found.notches >= expected[0] + 1


def test_an_indicator_counts_from_its_publication(tmp_path: Path) -> None:
    """Of January 2001, published after three months: known from April on, for two years."""
    lines = ["who,when,what,growth"]
    for month in range(60):
        number = "5" if month == 0 else ""
        lines.append(f"A,{2001 + month // 12}-{month % 12 + 1:02d},{LETTERS[month % 3]},{number}")
    paths = write(tmp_path, "\n".join(lines) + "\n")
    samples = samples_of(read_table(paths[0], read_columns(paths[1])))
    known = np.flatnonzero(~np.isnan(samples.figures[:, 0]))
    np.testing.assert_array_equal(known, np.arange(3, 3 + 24 + 1))
    assert len(samples.rating) == 60 - 12
    np.testing.assert_array_equal(samples.later[:5], samples.rating[12:17])
    assert np.isnan(samples.change[:12]).all()
    np.testing.assert_array_equal(samples.change[12:], samples.rating[12:] - samples.rating[:-12])


def many(folder: Path, countries: int = 12, years: int = 16) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    paths = write(folder)
    with paths[0].open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["who", "when", "what", "growth"])
        for country in range(countries):
            place = int(rng.integers(4, 16))
            for month in range(0, 12 * years, 3):
                place = int(np.clip(place + rng.choice([-1, 0, 0, 0, 0, 1]), 0, 20))
                when = f"{1990 + month // 12}-{month % 12 + 1:02d}"
                growth = f"{rng.normal():.2f}" if rng.random() < 0.9 else ""
                writer.writerow([f"C{country}", when, LETTERS[place], growth])
    return paths


@pytest.mark.parametrize("by", ["countries", "years"])
def test_what_judges_is_apart_from_what_teaches(tmp_path: Path, by: str) -> None:
    paths = many(tmp_path)
    samples = samples_of(read_table(paths[0], read_columns(paths[1])))
    groups = split_of(samples, by, 0)
    judged, others = groups["judged"], groups["learned"] | groups["choosing"]
    assert not (judged & others).any()
    if by == "countries":
        assert not set(samples.country[judged]) & set(samples.country[others])
    else:
        assert samples.month[others].max() + 12 < samples.month[judged].min()
        learned, choosing = samples.month[groups["learned"]], samples.month[groups["choosing"]]
        assert learned.max() + 12 < choosing.min()


@pytest.mark.slow
def test_a_table_is_judged_with_the_last_rating_and_without(tmp_path: Path) -> None:
    """In a process of its own, whose memory is held to the budget."""
    paths = many(tmp_path)
    given = ["--csv", str(paths[0]), "--columns", str(paths[1]), "--folder", str(tmp_path / "f")]
    command = [sys.executable, "-m", "pipelines.sovereign_rating", *given]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    for title in ("unseen countries", "later years", "last rating", "Months until publication"):
        assert title in shown
    assert shown.count("with the last rating") == shown.count(", without ") == 6


TABLE_FAULTS = [
    (CSV.replace("BB+", "BX"), "table.csv, line 3, column what: 'BX' is not in the scale"),
    (CSV.replace("1.5", "much"), "line 2, column growth: 'much' is no finite number"),
    (CSV.replace("1.5", "inf"), "line 2, column growth: 'inf' is no finite number"),
    (CSV.replace("2002-01", "1/2002"), "line 3, column when: '1/2002' is no date; write 1998"),
    (CSV.replace("2002-01", "2001-01"), "line 3: A has 2001-01 already in line 2"),
    (CSV.replace("growth\n", "grow\n"), "has 0 columns 'growth', and needs one; its header is"),
    (CSV.replace(",1.5", ""), "line 2 has not as many values as the header's 4 columns"),
    (CSV.replace("A,2001", ",2001", 1), "line 2, column who: no country"),
    (CSV.split("A,")[0], "has a header and no rows"),
    ("", "its header is empty"),
]
COLUMN_FAULTS = [
    (TOML.replace("growth = 3", ""), "has no [lags]; under it write every indicator with the"),
    (TOML.replace("= 3", "= -1"), "growth is published after -1 months; write a whole number"),
    (TOML.replace("= 3", '= "3"'), "growth is published after '3' months"),
    (TOML.replace("growth = 3", "what = 3"), "the column 'what' as an indicator and as something"),
    (TOML.replace('"sp"', '"dagong"'), "has the scale 'dagong'; write one of sp, fitch, moodys"),
    (TOML.replace('"sp"', "{ AAA = -1 }"), "the scale says 'AAA' is -1; notches are whole"),
    (TOML.replace("country", "nation"), "has a key 'nation', which is none of country"),
    (TOML.replace('date = "when"\n', ""), 'names no column for date; write date = "its header"'),
    ("country =", "columns.toml is no TOML"),
]


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [*((table, TOML, text) for table, text in TABLE_FAULTS),
     *((CSV, columns, text) for columns, text in COLUMN_FAULTS)],
)  # fmt: skip
def test_what_cannot_be_used_is_named(
    tmp_path: Path, table: str, columns: str, message: str
) -> None:
    paths = write(tmp_path, table, columns)
    with pytest.raises(InputError) as raised:
        read_table(paths[0], read_columns(paths[1]))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--split", "rows"], "a split by random rows is refused: rows of one country lie months"),
        (["--split", "luck"], "--split luck is none of countries, years"),
        ([], "no row has a rating and, 12 months later"),
        (["--csv", "none.csv"], "none.csv does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, CSV.replace("2002-01", "2003-01"))
    assert main(["--csv", "table.csv", "--columns", "columns.toml", *given]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["columns.toml", "table.csv"]


def test_too_small_a_table_is_refused(tmp_path: Path) -> None:
    paths = many(tmp_path, countries=4)
    samples = samples_of(read_table(paths[0], read_columns(paths[1])))
    with pytest.raises(InputError, match="4 countries are too few to hold some out; 10 are needed"):
        split_of(samples, "countries", 0)
    paths = many(tmp_path, countries=12, years=3)
    samples = samples_of(read_table(paths[0], read_columns(paths[1])))
    with pytest.raises(InputError, match="are learned in a split by years; 30 are needed"):
        split_of(samples, "years", 0)


def test_the_columns_that_the_page_shows_are_read(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    page = (root / "scripts" / "documentation" / "applications.md").read_text(encoding="utf-8")
    shown = page.partition('```text\ncountry = "iso3"')[2].partition("```")[0]
    path = tmp_path / "columns.toml"
    path.write_text('country = "iso3"' + shown, encoding="utf-8")
    found = read_columns(path)
    assert (found.country, found.date, found.rating) == ("iso3", "month", "rating")
    assert found.lags == {"growth": 3, "inflation": 1}

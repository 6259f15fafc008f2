"""Rating scales: letters of the agencies as notches, 0 for default and 21 for the best."""

from collections.abc import Mapping

from pipelines.sovereign_rating.chain import NOTCHES

# From the best to the worst: S&P's and Fitch's letters, and Moody's, which has no D.
LETTERS = (
    *("AAA", "AA+", "AA", "AA-", "A+", "A", "A-", "BBB+", "BBB", "BBB-", "BB+", "BB", "BB-"),
    *("B+", "B", "B-", "CCC+", "CCC", "CCC-", "CC", "C", "D"),
)
MOODYS = (
    *("Aaa", "Aa1", "Aa2", "Aa3", "A1", "A2", "A3", "Baa1", "Baa2", "Baa3", "Ba1", "Ba2", "Ba3"),
    *("B1", "B2", "B3", "Caa1", "Caa2", "Caa3", "Ca"),
)


def _scale(letters: tuple[str, ...], defaults: tuple[str, ...]) -> dict[str, int]:
    places = {each: NOTCHES - 1 - place for place, each in enumerate(letters)}
    return places | dict.fromkeys(defaults, 0)


# By name, what each agency writes.
SCALES: Mapping[str, Mapping[str, int]] = {
    "sp": _scale(LETTERS, ("SD",)),
    "fitch": _scale(LETTERS, ("RD", "DD", "DDD")),
    "moodys": _scale(MOODYS, ("C",)),
}


def letters_of(notches: int) -> list[str]:
    """Return the letters of S&P of notches from 0 on; numbers where they are not as many.

    Examples
    --------
    >>> letters_of(22)[0], letters_of(22)[21], letters_of(2)
    ('D', 'AAA', ['0', '1'])
    """
    return [*LETTERS[::-1]] if notches == NOTCHES else [str(each) for each in range(notches)]

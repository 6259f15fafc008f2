"""Sizes in bytes: read them from text, print them for people."""

import re

from ooc.core.errors import InputError

_MULTIPLES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_DECIMAL = {f"{prefix}B": factor for prefix, factor in _MULTIPLES.items()}
UNITS = {"": 1, **{unit.upper(): size for unit, size in (_DECIMAL | _BINARY).items()}}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_COUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)\s*")


def parse_size(size: str | int) -> int:
    """Read a positive size in bytes: "1GiB" is 2**30, "1GB" is 10**9, an integer is itself.

    Examples
    --------
    >>> parse_size("1GiB"), parse_size("1.5 MB"), parse_size(4096)
    (1073741824, 1500000, 4096)
    """
    total = size if isinstance(size, int) else 0
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if match is None or match[2].upper() not in UNITS:
            raise InputError(f"{size!r} is not a size; write it as 512MiB, 1GiB or 2GB")
        total = int(float(match[1]) * UNITS[match[2].upper()])
    if total <= 0:
        raise InputError(f"a size must be positive, not {size!r}; write it as 512MiB, 1GiB or 2GB")
    return total


def parse_count(count: str | int) -> int:
    """Read a positive count of rows: "20M" is 20 million, "400k" is 400 thousand.

    Examples
    --------
    >>> parse_count("20M"), parse_count("1.5k"), parse_count(7)
    (20000000, 1500, 7)
    """
    match = _COUNT.fullmatch(str(count))
    total = float(match[1]) * _MULTIPLES[match[2]] if match else 0.0
    if total < 1 or total != int(total):
        raise InputError(f"{count!r} is not a positive count; write it as 5000, 400k or 20M")
    return int(total)


def format_size(size: float) -> str:
    """Print bytes for people, in binary units with three digits.

    Examples
    --------
    >>> format_size(2**30), format_size(512 * 1024), format_size(12)
    ('1.00 GiB', '512 KiB', '12 B')
    """
    for unit, factor in reversed(_BINARY.items()):
        if size >= factor:
            scaled = size / factor
            digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
            return f"{scaled:.{digits}f} {unit}"
    return f"{int(size)} B"

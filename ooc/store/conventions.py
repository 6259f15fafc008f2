"""What an array's attributes say of its numbers, by the CF conventions, and how they are decoded.

Types of decoded values are those that xarray gives.
"""

import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ooc.core.errors import InputError

# Elements that are decoded at a time, aside; they stay in a core's cache.
PIECE = 32 * 1024
# What a thread holds of them: the stored numbers, the decoded ones and comparisons.
PIECE_BYTES = 32 * PIECE

# In these units, and since a time, xarray stores a time that is missing as the least int64.
_DURATIONS = (
    "days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds",
)  # fmt: skip
_NOT_A_TIME = int(np.iinfo(np.int64).min)

Number = int | float


@dataclass(frozen=True)
class Conventions:
    """How an array's stored numbers are to be read.

    Attributes
    ----------
    stored, seen, decoded
        The type on disk, the type that its bits are taken for, and the type of decoded values.
    scale, offset
        A decoded value is the stored one times the scale, plus the offset.
    missing
        Stored numbers that stand for no value.
    lowest, highest
        Beyond them a value is missing: stored numbers, or decoded ones where `valid_decoded`.
    units
        What the decoded numbers count; they stay numbers.
    """

    stored: np.dtype
    seen: np.dtype
    decoded: np.dtype
    scale: float | None = None
    offset: float | None = None
    missing: tuple[Number, ...] = ()
    lowest: Number | None = None
    highest: Number | None = None
    valid_decoded: bool = False
    units: str | None = None

    @property
    def scaled(self) -> bool:
        """Whether decoded values are other numbers than the stored ones."""
        return self.scale is not None or self.offset is not None

    @property
    def bounded(self) -> bool:
        """Whether values beyond some number are missing."""
        return self.lowest is not None or self.highest is not None

    @property
    def declares_missing(self) -> bool:
        """Whether some values may be missing."""
        return bool(self.missing) or self.bounded

    @property
    def changes(self) -> bool:
        """Whether decoding changes anything; NaN stands for itself."""
        sentinels = any(not math.isnan(value) for value in self.missing)
        return self.seen != self.stored or self.scaled or sentinels or self.bounded

    def describe(self) -> str:
        """Say it in a line, such as 'int16 times 0.01 plus 273.15, missing -9999, in kelvin'."""
        parts = []
        if self.changes or self.declares_missing:
            seen = "" if self.seen == self.stored else f" taken for {self.seen}"
            factor = "" if self.scale is None else f" times {self.scale:g}"
            offset = "" if self.offset is None else f" plus {self.offset:.12g}"
            parts.append(f"{self.stored}{seen}{factor}{offset}")
        if self.missing:
            parts.append("missing " + " and ".join(f"{value:.12g}" for value in self.missing))
        if self.bounded:
            low = "any" if self.lowest is None else f"{self.lowest:.12g}"
            high = "any" if self.highest is None else f"{self.highest:.12g}"
            kind = "decoded" if self.valid_decoded else "stored"
            parts.append(f"valid {low} to {high} ({kind})")
        if self.units:
            parts.append(f"in {self.units}")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return what is declared, JSON-ready; NaN as a text."""
        told = {
            "stored_dtype": str(self.stored),
            "scale_factor": self.scale,
            "add_offset": self.offset,
            "missing": [value if math.isfinite(value) else str(value) for value in self.missing],
            "valid_min": self.lowest,
            "valid_max": self.highest,
            "unsigned": str(self.seen) if self.seen != self.stored else None,
            "units": self.units,
        }
        return {name: value for name, value in told.items() if value not in (None, [])}


def read_conventions(
    attributes: Mapping[str, Any], dtype: np.dtype, fill_value: Any = None
) -> Conventions | None:
    """Read what an array's attributes declare; None where they declare nothing.

    Parameters
    ----------
    dtype
        The stored type.
    fill_value
        The array's own, where its writer takes it for a `_FillValue`.

    Raises
    ------
    InputError
        If what is declared cannot be honoured: it is named.

    Examples
    --------
    >>> found = read_conventions({"scale_factor": 0.01, "_FillValue": -9}, np.dtype("int16"))
    >>> decode(found, np.array([-9, 250], np.int16)), found.describe()
    (array([nan, 2.5]), 'int16 times 0.01, missing -9')
    """
    seen = _seen(attributes, dtype)
    scale, offset = (_factor(attributes, name) for name in ("scale_factor", "add_offset"))
    if scale == 0:
        raise InputError("scale_factor is 0, which makes all values equal; correct it")
    filled, missing = attributes.get("_FillValue", fill_value), {}
    for name, given in (("_FillValue", filled), ("missing_value", attributes.get("missing_value"))):
        several = given if isinstance(given, list | tuple) else [given]
        for value in several if given is not None else ():
            number = _as_seen(_number(name, value, dtype), dtype, seen)
            if dtype.kind == "f" or not math.isnan(number):
                missing[str(number)] = number  # NaN is equal to itself as a text
    packed = dtype.kind in "iu" and (scale is not None or offset is not None)
    valid = _valid(attributes, dtype, seen, packed)
    units = attributes.get("units")
    units = units if isinstance(units, str) and units.strip() else None
    if seen == np.int64 and units and (units in _DURATIONS or " since " in units):
        missing[str(_NOT_A_TIME)] = _NOT_A_TIME
    found = Conventions(
        dtype, seen, seen, scale, offset, tuple(missing.values()), *valid, units=units
    )
    if dtype.kind == "b" and (found.declares_missing or found.scaled):
        raise InputError(
            "it is boolean, which neither a scale nor a missing value goes with; "
            "remove them, or store it as an integer"
        )
    if found.scaled:
        found = replace(found, decoded=np.dtype(np.float64))
    elif found.declares_missing and seen.kind in "iu":
        small = seen.itemsize <= 2
        found = replace(found, decoded=np.dtype(np.float32 if small else np.float64))
    declares = found.changes or found.declares_missing or found.units is not None
    return found if declares else None


def decode(conventions: Conventions, stored: np.ndarray) -> np.ndarray:
    """Return the values of stored numbers, in new memory: NaN where one is missing."""
    seen = stored.view(conventions.seen)
    absent = np.zeros(seen.shape, bool)
    values = seen.astype(conventions.decoded)
    with np.errstate(over="ignore", invalid="ignore"):
        for value in conventions.missing:
            if _fits(value, conventions.seen):
                absent |= seen == conventions.seen.type(value)
        if conventions.scale is not None:
            values *= conventions.scale
        if conventions.offset is not None:
            values += conventions.offset
    judged = values if conventions.valid_decoded else seen
    if conventions.lowest is not None:
        absent |= judged < conventions.lowest
    if conventions.highest is not None:
        absent |= judged > conventions.highest
    if absent.any():
        values[absent] = np.nan
    return values


def stored_part(conventions: Conventions, out: np.ndarray) -> np.ndarray:
    """Return the end of memory for decoded values, as memory for the stored numbers."""
    raw, size = out.reshape(-1).view(np.uint8), out.size * conventions.stored.itemsize
    return raw[out.nbytes - size :].view(conventions.stored).reshape(out.shape)


def decode_in_place(conventions: Conventions, out: np.ndarray) -> None:
    """Decode the stored numbers at the end of `out` into all of it.

    Decoded values are as wide or wider, so that the front never overtakes what is still to be read.
    """
    stored, values = stored_part(conventions, out).reshape(-1), out.reshape(-1)
    for start in range(0, len(values), PIECE):
        part = stored[start : start + PIECE].copy()
        values[start : start + PIECE] = decode(conventions, part)


def _seen(attributes: Mapping[str, Any], dtype: np.dtype) -> np.dtype:
    """Return the type that an array's bits are taken for."""
    unsigned = attributes.get("_Unsigned")
    if unsigned is None:
        return dtype
    text = str(unsigned).lower()
    if text not in ("true", "false"):
        raise InputError(f"_Unsigned is {unsigned!r}, neither true nor false; correct it")
    if dtype.kind not in "iu":
        raise InputError(f"_Unsigned is {text}, but it holds {dtype}, no integers; remove it")
    return np.dtype(f"{'u' if text == 'true' else 'i'}{dtype.itemsize}")


def _alone(value: Any) -> Any:
    """Return what stands alone in a list."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def _factor(attributes: Mapping[str, Any], name: str) -> float | None:
    value = _alone(attributes.get(name))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name} is {value!r}, not a finite number; correct it")
    return float(value)


def _number(name: str, value: Any, dtype: np.dtype) -> Number:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and dtype.kind == "f":
        named = {"nan": math.nan, "infinity": math.inf, "-infinity": -math.inf}
        if value.lower() in named:
            return named[value.lower()]
        try:
            (number,) = struct.unpack("<d", base64.b64decode(value, validate=True))
        except (ValueError, struct.error):
            raise InputError(f"{name} is {value!r}, not a number; correct it") from None
        return float(number)
    is_number = isinstance(value, int | float) and (dtype.kind == "b" or type(value) is not bool)
    if not is_number:
        raise InputError(f"{name} is {value!r}, not a number of {dtype}; correct it")
    return int(value) if dtype.kind in "iu" and _is_whole(value) else value


def _is_whole(number: Number) -> bool:
    return math.isfinite(number) and number == int(number)


def _as_seen(value: Number, dtype: np.dtype, seen: np.dtype) -> Number:
    """Return a stored number as the type that its bits are taken for."""
    if dtype != seen and isinstance(value, int) and _fits(value, dtype):
        return int(np.array(value, dtype).view(seen))
    return value


def _valid(
    attributes: Mapping[str, Any], dtype: np.dtype, seen: np.dtype, packed: bool
) -> tuple[Number | None, Number | None, bool]:
    """Return the least and the greatest valid number, and whether they are decoded ones."""
    names = ("valid_min", "valid_max")
    span: Any = [attributes.get(name) for name in names]
    if attributes.get("valid_range") is not None:
        span, names = attributes["valid_range"], ("valid_range", "valid_range")
        if not isinstance(span, list | tuple) or len(span) != 2:
            raise InputError(f"valid_range is {span!r}, not two numbers; correct it")
    given = list(map(_alone, span))
    # Numbers with a point, beside integers that are scaled, are meant as decoded.
    valid_decoded = packed and any(isinstance(value, float) for value in given)
    found: list[Number | None] = []
    for name, value in zip(names, given, strict=True):
        if value is None:
            found.append(None)
            continue
        number = _number(name, value, dtype)
        if math.isnan(number):
            raise InputError(f"{name} is {value!r}, not a number; correct it")
        found.append(number if valid_decoded else _as_seen(number, dtype, seen))
    lowest, highest = found
    if lowest is not None and highest is not None and lowest > highest:
        raise InputError(f"its valid numbers are from {lowest} to {highest}: none; correct them")
    return lowest, highest, valid_decoded


def _fits(value: Number, dtype: np.dtype) -> bool:
    if dtype.kind == "f":
        return True
    if dtype.kind == "b" or not _is_whole(value):
        return False
    bounds = np.iinfo(dtype)
    return int(bounds.min) <= value <= int(bounds.max)

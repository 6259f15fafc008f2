"""What attributes declare is told as it is written, and what cannot be honoured is told why."""

import base64
import json
import math
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
import xarray

import ooc.store.conventions as conventions_module
from ooc.core.errors import InputError
from ooc.store.conventions import decode, decode_in_place, read_conventions, stored_part

LEAST = -(2**63)


def encoded(number: float) -> str:
    return base64.b64encode(struct.pack("<d", number)).decode()


# Attributes, stored type, the type as decoded, what is said, and what is told as JSON beside the
# stored type; None where nothing is declared.
DECLARED: list[tuple[dict[str, Any], str, str, str | None, dict[str, Any]]] = [
    ({}, "i2", "i2", None, {}),
    ({"long_name": "a"}, "f4", "f4", None, {}),
    ({"units": "  "}, "f4", "f4", None, {}),
    ({"units": 7}, "f4", "f4", None, {}),
    ({"units": "K"}, "f4", "f4", "in K", {"units": "K"}),
    ({"scale_factor": 0.01}, "i2", "f8", "int16 times 0.01", {"scale_factor": 0.01}),
    ({"scale_factor": [2]}, "f4", "f8", "float32 times 2", {"scale_factor": 2.0}),
    ({"add_offset": 273.15}, "u1", "f8", "uint8 plus 273.15", {"add_offset": 273.15}),
    ({"add_offset": 0}, "i4", "f8", "int32 plus 0", {"add_offset": 0.0}),
    (
        {"scale_factor": 0.5, "add_offset": -3, "_FillValue": -9, "missing_value": -8,
         "units": "m"},
        "i2", "f8", "int16 times 0.5 plus -3, missing -9 and -8, in m",
        {"scale_factor": 0.5, "add_offset": -3.0, "missing": [-9, -8], "units": "m"},
    ),
    ({"_FillValue": -9}, "i1", "f4", "int8, missing -9", {"missing": [-9]}),
    ({"_FillValue": -9}, "i2", "f4", "int16, missing -9", {"missing": [-9]}),
    ({"_FillValue": -9}, "i4", "f8", "int32, missing -9", {"missing": [-9]}),
    ({"_FillValue": -9.0}, "i4", "f8", "int32, missing -9", {"missing": [-9]}),
    ({"_FillValue": 0.5}, "i4", "f8", "int32, missing 0.5", {"missing": [0.5]}),
    ({"_FillValue": -9}, "f4", "f4", "float32, missing -9", {"missing": [-9]}),
    ({"_FillValue": 5, "missing_value": 5}, "i2", "f4", "int16, missing 5", {"missing": [5]}),
    ({"missing_value": [1, 2]}, "i2", "f4", "int16, missing 1 and 2", {"missing": [1, 2]}),
    ({"_FillValue": math.nan}, "f8", "f8", "float64, missing nan", {"missing": ["nan"]}),
    ({"_FillValue": "NaN"}, "f8", "f8", "float64, missing nan", {"missing": ["nan"]}),
    ({"_FillValue": "-Infinity"}, "f4", "f4", "float32, missing -inf", {"missing": ["-inf"]}),
    ({"_FillValue": encoded(-1e30)}, "f8", "f8", "float64, missing -1e+30", {"missing": [-1e30]}),
    ({"_FillValue": math.nan}, "i2", "i2", None, {}),
    ({"valid_min": -5}, "i2", "f4", "int16, valid -5 to any (stored)", {"valid_min": -5}),
    ({"valid_max": 1.5}, "f4", "f4", "float32, valid any to 1.5 (stored)", {"valid_max": 1.5}),
    (
        {"valid_range": [-5, 20], "valid_min": 3}, "i4", "f8", "int32, valid -5 to 20 (stored)",
        {"valid_min": -5, "valid_max": 20},
    ),
    (
        {"valid_range": [0, 9], "scale_factor": 0.1}, "i2", "f8",
        "int16 times 0.1, valid 0 to 9 (stored)",
        {"valid_min": 0, "valid_max": 9, "scale_factor": 0.1},
    ),
    (
        {"valid_range": [0.0, 9], "scale_factor": 0.1}, "i2", "f8",
        "int16 times 0.1, valid 0 to 9 (decoded)",
        {"valid_min": 0, "valid_max": 9, "scale_factor": 0.1},
    ),
    (
        {"valid_max": 9.5, "scale_factor": 0.1}, "f4", "f8",
        "float32 times 0.1, valid any to 9.5 (stored)",
        {"valid_max": 9.5, "scale_factor": 0.1},
    ),
    ({"_Unsigned": "true"}, "i1", "u1", "int8 taken for uint8", {"unsigned": "uint8"}),
    ({"_Unsigned": True}, "i2", "u2", "int16 taken for uint16", {"unsigned": "uint16"}),
    ({"_Unsigned": "False"}, "u2", "i2", "uint16 taken for int16", {"unsigned": "int16"}),
    ({"_Unsigned": "true"}, "u2", "u2", None, {}),
    (
        {"_Unsigned": "true", "_FillValue": -1, "valid_max": -2}, "i1", "f4",
        "int8 taken for uint8, missing 255, valid any to 254 (stored)",
        {"unsigned": "uint8", "missing": [255], "valid_max": 254},
    ),
    ({"units": "days since 2000-01-01"}, "i8", "f8",
     f"int64, missing {LEAST:.12g}, in days since 2000-01-01",
     {"missing": [LEAST], "units": "days since 2000-01-01"}),
    ({"units": "seconds"}, "i8", "f8", f"int64, missing {LEAST:.12g}, in seconds",
     {"missing": [LEAST], "units": "seconds"}),
    ({"units": "seconds"}, "i4", "i4", "in seconds", {"units": "seconds"}),
    ({"units": "metres"}, "i8", "i8", "in metres", {"units": "metres"}),
    ({"units": "true"}, "bool", "bool", "in true", {"units": "true"}),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "stored", "decoded", "said", "told"), DECLARED)
def test_declarations_are_told_as_they_are_written(
    attributes: dict[str, Any], stored: str, decoded: str, said: str | None, told: dict[str, Any]
) -> None:
    found = read_conventions(attributes, np.dtype(stored))
    if said is None:
        assert found is None
        return
    assert found is not None
    assert found.describe() == said
    assert found.decoded == np.dtype(decoded)
    assert found.to_json() == {"stored_dtype": str(np.dtype(stored)), **told}
    json.dumps(found.to_json(), allow_nan=False)
    # NaN stands for itself, and units are no numbers.
    words = {"units", "long_name"}
    nothing = set(attributes) <= words and "missing" not in told
    nan = told.get("missing") == ["nan"]
    assert found.changes == (not nothing and not nan)
    assert found.declares_missing == bool({"missing", "valid_min", "valid_max"} & told.keys())


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"scale_factor": 0}, "i2", "scale_factor is 0, which makes all values equal; correct it"),
    ({"scale_factor": True}, "i2", "scale_factor is True, not a finite number; correct it"),
    ({"scale_factor": "2"}, "i2", "scale_factor is '2', not a finite number; correct it"),
    ({"add_offset": math.inf}, "f4", "add_offset is inf, not a finite number; correct it"),
    ({"add_offset": [1, 2]}, "f4", "add_offset is [1, 2], not a finite number; correct it"),
    ({"_FillValue": "none"}, "f4", "_FillValue is 'none', not a number; correct it"),
    ({"_FillValue": encoded(1.0)[:8]}, "f4", "_FillValue is 'AAAAAAAA', not a number; correct it"),
    ({"missing_value": "x"}, "i2", "missing_value is 'x', not a number of int16; correct it"),
    ({"missing_value": True}, "i2", "missing_value is True, not a number of int16; correct it"),
    ({"_FillValue": {}}, "f8", "_FillValue is {}, not a number of float64; correct it"),
    ({"valid_min": math.nan}, "f4", "valid_min is nan, not a number; correct it"),
    ({"valid_max": "x"}, "i4", "valid_max is 'x', not a number of int32; correct it"),
    ({"valid_range": [1, "x"]}, "i4", "valid_range is 'x', not a number of int32; correct it"),
    ({"valid_range": [1, 2, 3]}, "i4", "valid_range is [1, 2, 3], not two numbers; correct it"),
    ({"valid_range": 5}, "i4", "valid_range is 5, not two numbers; correct it"),
    (
        {"valid_min": 5, "valid_max": 4}, "i4",
        "its valid numbers are from 5 to 4: none; correct them",
    ),
    ({"_Unsigned": 1}, "i1", "_Unsigned is 1, neither true nor false; correct it"),
    (
        {"_Unsigned": "TRUE"}, "f4",
        "_Unsigned is true, but it holds float32, no integers; remove it",
    ),
    *(
        (attributes, "bool",
         "it is boolean, which neither a scale nor a missing value goes with; remove them, or "
         "store it as an integer")
        for attributes in ({"scale_factor": 2}, {"missing_value": 1}, {"valid_max": 0})
    ),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "dtype", "said"), REFUSED)
def test_what_cannot_be_honoured_is_said_in_whole(
    attributes: dict[str, Any], dtype: str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_conventions(attributes, np.dtype(dtype))
    assert str(caught.value) == said


def test_a_range_of_one_number_is_no_mistake() -> None:
    found = read_conventions({"valid_range": [3, 3]}, np.dtype("i2"))
    assert found is not None
    np.testing.assert_array_equal(decode(found, np.array([2, 3, 4], "i2")), [np.nan, 3, np.nan])


NAN = np.nan
# Attributes, stored numbers, and what they mean, by hand.
MEANT: list[tuple[dict[str, Any], str, list[Any], list[Any]]] = [
    ({"_Unsigned": "true", "scale_factor": 2}, "i1", [-1, 1, -128], [510, 2, 256]),
    ({"_Unsigned": "true", "_FillValue": -1}, "i1", [-1, 1, -128], [NAN, 1, 128]),
    ({"_Unsigned": "true", "_FillValue": 255}, "i1", [-1, 1, -128], [NAN, 1, 128]),
    ({"_Unsigned": "false", "_FillValue": 255}, "u1", [255, 254], [NAN, -2]),
    ({"_FillValue": 300}, "i1", [44, 1], [44, 1]),
    ({"_FillValue": 0.5}, "i2", [0, 1], [0, 1]),
    ({"_FillValue": math.inf}, "f4", [math.inf, -math.inf, 1], [NAN, -math.inf, 1]),
    ({"_FillValue": -9, "scale_factor": 0.5, "add_offset": 1}, "i2", [-9, 4], [NAN, 3]),
    # The float32 that is nearest to it is what a writer of float32 stored.
    ({"missing_value": 0.1}, "f4", [0.1, 0.2], [NAN, float(np.float32(0.2))]),
    ({"valid_range": [2, 4], "scale_factor": 10}, "i2", [1, 2, 4, 5], [NAN, 20, 40, NAN]),
    ({"valid_range": [20.0, 40.0], "scale_factor": 10}, "i2", [1, 2, 4, 5], [NAN, 20, 40, NAN]),
    ({"valid_min": 21.0, "add_offset": 20}, "i2", [0, 1, 2], [NAN, 21, 22]),
    ({"valid_max": 21.0, "add_offset": 20}, "i2", [0, 1, 2], [20, 21, NAN]),
    ({"valid_max": 5}, "f4", [4, NAN, 6], [4, NAN, NAN]),
    ({"units": "hours"}, "i8", [LEAST, 5], [NAN, 5]),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "dtype", "stored", "meant"), MEANT)
def test_stored_numbers_mean_what_is_worked_out_by_hand(
    attributes: dict[str, Any], dtype: str, stored: list[Any], meant: list[Any]
) -> None:
    found = read_conventions(attributes, np.dtype(dtype))
    assert found is not None
    values = np.array(stored, dtype)
    kept = values.copy()
    np.testing.assert_array_equal(decode(found, values), meant)
    np.testing.assert_array_equal(values, kept)


@pytest.mark.parametrize("stored", ["i1", "i2", "f4", "f8"])
@pytest.mark.parametrize("size", [1, 10, 11, 35])
def test_numbers_are_decoded_in_the_memory_in_which_they_lie(
    monkeypatch: pytest.MonkeyPatch, stored: str, size: int
) -> None:
    monkeypatch.setattr(conventions_module, "PIECE", 10)
    found = read_conventions({"scale_factor": 0.5, "_FillValue": 7}, np.dtype(stored))
    assert found is not None
    numbers = np.random.default_rng(size).integers(0, 20, (size, 3)).astype(stored)
    out = np.full((size, 3), 99.0)
    part = stored_part(found, out)
    assert part.shape == (size, 3) and part.dtype == numbers.dtype
    part[...] = numbers
    decode_in_place(found, out)
    np.testing.assert_array_equal(out, np.where(numbers == 7, np.nan, 0.5 * numbers))


@pytest.mark.parametrize("stored", ["i2", "f8"])
def test_decoding_takes_aside_no_more_than_is_counted(stored: str) -> None:
    found = read_conventions({"scale_factor": 2, "_FillValue": 7, "valid_min": 1}, np.dtype(stored))
    assert found is not None
    out = np.ones(3 * conventions_module.PIECE)
    tracemalloc.start()
    try:
        decode_in_place(found, out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= conventions_module.PIECE_BYTES


@pytest.mark.parametrize(
    ("unit", "short"),
    [("days", "D"), ("hours", "h"), ("minutes", "m"), ("seconds", "s"), ("milliseconds", "ms"),
     ("microseconds", "us"), ("nanoseconds", "ns")],
)  # fmt: skip
def test_a_duration_of_xarray_may_be_missing_in_any_unit(unit: str, short: Any) -> None:
    values = np.array([3, "NaT"], "m8[D]").astype("m8[ns]")
    variable = xarray.Variable("row", values, encoding={"units": unit, "dtype": "int64"})
    stored = xarray.conventions.encode_cf_variable(variable)
    assert stored.attrs["units"] == unit
    found = read_conventions({"units": unit}, np.dtype("i8"))
    assert found is not None
    per_day = np.timedelta64(1, "D") / np.timedelta64(1, short)
    np.testing.assert_array_equal(decode(found, np.asarray(stored.values)), [3 * per_day, np.nan])


def test_the_fill_value_of_an_array_counts_where_no_attribute_tells_another() -> None:
    one = read_conventions({}, np.dtype("i2"), np.int16(0))
    other = read_conventions({"_FillValue": 3}, np.dtype("i2"), np.int16(0))
    assert one is not None and other is not None
    assert (one.missing, other.missing) == ((0,), (3,))
    assert type(one.missing[0]) is int

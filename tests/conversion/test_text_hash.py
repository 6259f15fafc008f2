"""Texts become numbers by a published hash, whatever they come from; how many differ is told."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow
import pytest
from conversions import MEMORY, content, converted, number, small_shards, source_of, text
from numpy.testing import assert_array_equal

import ooc
from ooc.conversion.arrow_values import ArrowTexts
from ooc.conversion.choice import Choice
from ooc.conversion.layout import lay_out
from ooc.conversion.source import Texts, texts_of
from ooc.conversion.text_hash import (
    bits_of,
    count_of,
    hash_texts,
    join_sketches,
    new_sketch,
    packed_sketch,
    told_of_hash,
    unpacked_sketch,
)
from ooc.core.errors import InputError

# FNV-1a of 64 bits, from its authors' test vectors; splitmix64 is that of Vigna's page.
VECTORS = {
    "": 0xCBF29CE484222325, "a": 0xAF63DC4C8601EC8C, "b": 0xAF63DF4C8601F1A5,
    "foobar": 0x85944171F73967E8,
}  # fmt: skip
WORDS = ["", "a", "Ōsaka", "😀 and more", "a" * 300]


def mixed(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return value ^ (value >> 31)


def expected(texts: Any, bits: int = 53) -> np.ndarray:
    """Hash texts by the letter of the definition, byte by byte; None is -1."""
    found = []
    for each in texts:
        value = 0xCBF29CE484222325
        for byte in (each or "").encode():
            value = (value ^ byte) * 0x100000001B3 % 2**64
        found.append(-1 if each is None else mixed(value) >> (64 - bits))
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [1, 31, 53])
def test_numbers_are_the_published_hash(bits: int) -> None:
    texts = Texts(np.arange(4, dtype=np.int32)[::-1], list(VECTORS))
    numbers = [mixed(value) >> (64 - bits) for value in VECTORS.values()]
    assert hash_texts(texts, bits)[0].tolist() == numbers[::-1]
    assert_array_equal(expected(VECTORS, bits), numbers)


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()])
def test_texts_of_arrow_are_hashed_where_they_are(kind: Any) -> None:
    part = pyarrow.array(["left out", *WORDS, "left out"], kind)[1:-1]
    codes = np.array([4, -1, 0, 1, 2, 3], np.int32)
    found, sketch = hash_texts(Texts(codes, ArrowTexts(part)), 53)
    same, same_sketch = hash_texts(Texts(codes, WORDS), 53)
    assert_array_equal(found, expected([WORDS[4], None, *WORDS[:4]]))
    assert_array_equal(same, found)
    assert_array_equal(sketch, same_sketch)
    assert list(ArrowTexts(part)) == WORDS
    nothing = hash_texts(Texts(np.full(2, -1, np.int32), ArrowTexts(part[:0])), 53)
    assert nothing[0].tolist() == [-1, -1] and not nothing[1].any()


@pytest.mark.parametrize("different", [0, 1, 50, 3000, 40_000])
def test_different_texts_are_counted_within_a_few_percent(different: int) -> None:
    sketches: dict[str, np.ndarray] = {"c": new_sketch()}
    for first in range(0, different, 9000):
        # What comes twice counts once.
        words = [f"user {i}" for i in range(max(0, first - 500), min(first + 9000, different))]
        more = hash_texts(Texts(np.zeros(0, np.int32), words), 53)[1]
        join_sketches(sketches, {"c": unpacked_sketch(packed_sketch(more))})
    assert abs(count_of(sketches["c"]) - different) <= 0.05 * different


def test_bits_are_those_that_a_type_holds_exactly() -> None:
    for name in ("int8", "uint8", "int32", "uint32", "int64", "uint64", "float32", "float64"):
        dtype, bits = np.dtype(name), bits_of(np.dtype(name))
        largest = 2**bits - 1
        assert int(dtype.type(largest)) == int(np.float64(largest)) == largest
        with np.errstate(all="ignore"):
            more = np.array([2**bits, 2**bits + 1], np.float64).astype(dtype).astype(np.float64)
        assert bits == 53 or more.tolist() != [2**bits, 2**bits + 1]


def test_the_odds_of_two_texts_with_one_number_are_told() -> None:
    sketch = hash_texts(Texts(np.zeros(0, np.int32), [f"{i}" for i in range(2000)]), 53)[1]
    count = count_of(sketch)
    odds = f"{math.comb(count, 2) / 2**53:.1g}"
    assert told_of_hash(sketch, np.dtype("int64")) == (
        f"hashed to 53 bits, about {count:,} different texts, of which two share a number with "
        f"odds of {odds}"
    )
    pairs = round(math.comb(count, 2) / 2**15)
    assert told_of_hash(sketch, np.dtype("int16")) == (
        f"hashed to 15 bits, about {count:,} different texts, about {pairs:,} pairs of which share "
        "a number"
    )


def frame(rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    known = {"n": rng.integers(0, 9, rows), "user": [f"ü-{i}" for i in rng.integers(0, 500, rows)]}
    known["page"] = np.where(np.arange(rows) % 50 == 7, None, [f"/{i % 300}" for i in range(rows)])
    return pd.DataFrame({**known, "y": rng.integers(0, 2, rows)})


@pytest.mark.slow
@pytest.mark.parametrize(
    "write", [pd.DataFrame.to_parquet, lambda made, path: made.to_csv(path, index=False)]
)
def test_hashed_columns_are_features_where_they_are_named_and_arrays_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., None]
) -> None:
    monkeypatch.setattr("ooc.conversion.pipeline.MOST_CATEGORIES", 100)
    small_shards(monkeypatch)
    made, source = frame(), tmp_path / ("a.csv" if "lambda" in write.__name__ else "a.parquet")
    write(made, source)
    group, result = converted(source, hash_text=["user", "page"])
    for name in ("user", "page"):
        array = group[name]
        assert_array_equal(array[:], expected(made[name]))
        assert array.attrs["hashed_text"]["bits"] == 53
        assert "hashed to 53 bits" in result["columns"][name]
    assert group["page"].attrs["missing_value"] == -1
    assert result["missing"] == {"page": 12}
    how = {"columns": ["user", "n", "page"], "hash_text": ["user", "page"], "dtype": "int32"}
    source = source.rename(tmp_path / f"b{source.suffix}")
    group, _ = converted(source, **how, missing_values="fill:-2")
    users, pages = expected(made["user"], 31), expected(made["page"], 31)
    assert_array_equal(
        group["X"][:], np.stack([users, made["n"], np.where(pages < 0, -2, pages)], 1)
    )
    assert group["X"].attrs["hashed_text"]["columns"] == ["user", "page"]
    source = source.rename(tmp_path / f"c{source.suffix}")
    group, result = converted(source, **how, missing_values="drop")
    left = made["page"].notna()
    assert_array_equal(group["X"][:, 2], pages[left])
    assert result["rows_dropped"] == 12
    rows = ooc.open(f"{source}.out.zarr", transform="hash:10")
    assert rows.rows == left.sum()


def test_texts_of_arrays_are_hashed(tmp_path: Path) -> None:
    words = np.array(WORDS * 3)
    np.savez(tmp_path / "a.npz", X=np.zeros((15, 2)), word=words)
    group, _ = converted(tmp_path / "a.npz", hash_text=["word"])
    assert_array_equal(group["word"][:], expected(WORDS * 3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["word"] = np.array(WORDS * 3, object)
    group, _ = converted(tmp_path / "a.h5", columns=["word"], hash_text=["word"], dtype="f4")
    assert_array_equal(group["X"][:], expected(WORDS * 3, 24))


def test_what_was_stopped_goes_on_with_its_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch)
    frame(2000).to_parquet(tmp_path / "a.parquet", row_group_size=170)
    how = {"hash_text": ["user", "page"], "memory": MEMORY}
    whole = ooc.convert(tmp_path / "a.parquet", tmp_path / "whole.zarr", report=False, **how)

    def stop(progress: Any) -> None:
        if not progress.text and progress.rows >= 900:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ooc.convert(tmp_path / "a.parquet", tmp_path / "b.zarr", report=stop, **how)
    result = ooc.convert(tmp_path / "a.parquet", tmp_path / "b.zarr", report=False, **how)
    assert result["rows_kept_from_before"] > 0
    assert result["columns"] == whole["columns"]
    assert content(tmp_path / "b.zarr") == content(tmp_path / "whole.zarr")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"hash_text": ["n"]}, "column n of there.x is int64 and no text; leave it out of"),
        ({"hash_text": ["usr"]}, "there.x has no column 'usr'; it has, among others: user"),
        (
            {"hash_text": ["user"], "target": "user"},
            "column user of there.x is the target and cannot be hashed: different texts could",
        ),
        ({"hash_text": ["y"]}, "column y of there.x is the target and cannot be hashed"),
        ({"hash_text": ["user"], "weight": "user"}, "column user of there.x is the weight"),
    ],
)
def test_what_cannot_be_hashed_is_refused(asked: dict[str, Any], said: str) -> None:
    columns = (number("n", "int64"), text("user"), text("y"), text("longer"))
    with pytest.raises(InputError) as caught:
        lay_out(source_of(*columns), Choice(**asked))
    assert str(caught.value).startswith(said)


def test_pieces_give_a_text_the_same_number() -> None:
    first = hash_texts(texts_of(np.array(["u", "v"])), 53)[0]
    second = hash_texts(texts_of(np.array(["v", "w", "u"])), 53)[0]
    assert (first == second[[2, 0]]).all()

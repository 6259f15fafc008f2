"""Which columns of a source become which arrays of the store: pure decisions, before any work."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ooc.conversion.choice import Choice
from ooc.conversion.outputs import Layout, Output, Part
from ooc.conversion.source import CATEGORY, HASH, NUMBER, OTHER, TEXT, TIME, Column, Source
from ooc.conversion.text_hash import hash_notes
from ooc.core.errors import InputError
from ooc.store.roles import FEATURES, TARGET, USUAL_NAMES, WEIGHT

# Of CF: what packed numbers are decoded by, which decoded ones do not keep.
PACKING = (
    "scale_factor", "add_offset", "_FillValue", "missing_value", "valid_min", "valid_max",
    "valid_range", "_Unsigned",
)  # fmt: skip

USUAL = Choice()


def lay_out(source: Source, choice: Choice = USUAL) -> Layout:
    """Decide which columns become which arrays.

    Raises
    ------
    InputError
        If a name is not there, or a column cannot be what it is to be.
    """
    columns, target, weight = choice.columns, choice.target, choice.weight
    known, skipped = dict(source.columns), dict(source.skipped)
    for name in (*choice.without, *(each for each in (target, weight) if each)):
        _check_known(source, name)
    skipped |= dict.fromkeys(choice.without, "left out, as was asked for")
    known |= {name: _hashed(source, name) for name in choice.hash_text}
    left = {name: column for name, column in known.items() if name not in choice.without}
    named: dict[str, str] = {}
    usual = {TARGET: True, WEIGHT: not source.is_table}
    for role, given in ((TARGET, target), (WEIGHT, weight)):
        found = USUAL_NAMES[role] if given is None and usual[role] else given or ""
        if found in left and (given or found not in (columns or ())):
            named[role] = found
            _check_not_hashed(source, role, left[found])
    parts = _features(source, left, set(named.values()), columns)
    rows = _common_rows(source, parts, named, left)
    outputs, used = [], set()
    if parts:
        outputs.append(_features_output(source, parts, choice))
        used |= {part.column.name for part in parts}
    elif choice.dtype is not None:
        raise InputError(
            f"no array of {source.path} is the features, whose dtype is to be {choice.dtype}; name "
            "them with columns= (--columns)"
        )
    for role, name in named.items():
        outputs.append(_alone(left[name], USUAL_NAMES[role], role, source))
        used.add(name)
    for name, column in left.items():
        if name in used:
            continue
        if columns is not None:
            skipped[name] = "not among the columns that were named"
        elif column.rows != rows:
            skipped[name] = f"it has {column.rows} rows, not {rows}"
        else:
            outputs.append(_alone(column, _beside_name(column, outputs, source), "", source))
    if not outputs:
        told = "; ".join(f"{name}: {why}" for name, why in skipped.items()) or "it has no columns"
        raise InputError(f"nothing of {source.path} can be converted: {told}")
    return Layout(tuple(outputs), skipped)


def _check_known(source: Source, name: str) -> None:
    """Refuse a name that is not there; say what is near to it."""
    if name in source.columns:
        return
    if name in source.skipped:
        raise InputError(
            f"{name} of {source.path} cannot be converted: {source.skipped[name]}; leave it out"
        )
    near = difflib.get_close_matches(name, source.columns, 3) or list(source.columns)[:12]
    more = ", ..." if len(near) == 12 else ""
    raise InputError(
        f"{source.path} has no column {name!r}; it has, among others: {', '.join(near)}{more}"
        if len(near) < len(source.columns)
        else f"{source.path} has no column {name!r}; it has: {', '.join(near)}"
    )


def _hashed(source: Source, name: str) -> Column:
    """Return a column of text as one that is to be hashed."""
    _check_known(source, name)
    column = source.columns[name]
    if column.kind != TEXT:
        kind = f"{column.dtype}" if column.kind == NUMBER else f"of the kind {column.kind}"
        raise InputError(
            f"column {name} of {source.path} is {kind} and no text; leave it out of hash_text= "
            "(--hash-text)"
        )
    return replace(column, kind=HASH, dtype=np.dtype(np.int64))


def _check_not_hashed(source: Source, role: str, column: Column) -> None:
    if column.kind == HASH:
        raise InputError(
            f"column {column.name} of {source.path} is the {role} and cannot be hashed: different "
            "texts could become one; leave it out of hash_text= (--hash-text)"
        )


def _features(
    source: Source, left: Mapping[str, Column], taken: set[str], columns: Sequence[str] | None
) -> list[Part]:
    """Return the parts of the features; none where nobody knows which they are."""
    if columns is not None:
        for place, name in enumerate(columns):
            if name in columns[:place]:
                raise InputError(f"columns= (--columns) names {name!r} twice; name it once")
        return [_named_part(source, left, name) for name in columns]
    numbers = {
        name: column for name, column in left.items() if column.kind == NUMBER and name not in taken
    }
    if source.is_table:
        return [Part(column) for column in numbers.values()]
    if (usual := USUAL_NAMES[FEATURES]) in numbers:
        return [Part(numbers[usual])]
    wide = [column for column in numbers.values() if column.shape]
    if len(wide) == 1 or len(numbers) == 1:
        return [Part((wide or list(numbers.values()))[0])]
    return []


def _named_part(source: Source, left: Mapping[str, Column], name: str) -> Part:
    for column in left.values():
        if name not in left and name in column.names:
            # Names of a matrix's columns, such as genes, may be many.
            return Part(column, (list(column.names).index(name),))
    _check_known(source, name)
    column = left.get(name, source.columns[name])
    if column.kind in (TEXT, CATEGORY, OTHER):
        more = "; hash_text= (--hash-text) makes one of it" if column.kind == TEXT else ""
        raise InputError(
            f"column {name} of {source.path} holds text, which is no feature; leave it out of "
            "columns= (--columns), make it the target, or convert without columns=, which keeps "
            f"its categories as codes beside the features{more}"
        )
    return Part(column)


def _common_rows(
    source: Source, parts: Sequence[Part], named: Mapping[str, str], left: Mapping[str, Column]
) -> int | None:
    """Return the rows of the arrays that play a role, or of the largest one; refuse others."""
    roles = [part.column for part in parts] + [left[name] for name in named.values()]
    if not roles:
        sizes = {column.name: (column.rows or 0) * column.row_bytes for column in left.values()}
        largest = max(sizes, key=lambda name: sizes[name], default=None)
        return None if largest is None else left[largest].rows
    first = roles[0]
    for other in roles:
        if other.rows != first.rows:
            raise InputError(
                f"arrays of {source.path} differ along axis 0: {first.name} has {first.rows} "
                f"rows, {other.name} has {other.rows}; name others with columns= and target="
            )
    return first.rows


def _features_output(source: Source, parts: list[Part], choice: Choice) -> Output:
    alone = len(parts) == 1 and parts[0].entries is None and not source.is_table
    column = parts[0].column
    packed = column.conventions is not None
    as_stored = not choice.decodes and choice.dtype is None
    keeps = alone and packed and as_stored and column.kind == NUMBER
    chosen = column.dtype if keeps else np.result_type(*map(_decoded_dtype, parts))
    if chosen.kind == "b":
        chosen = np.dtype(np.uint8)
    if choice.dtype is not None:
        chosen = _dtype_of(choice.dtype)
    if alone:
        kept = dict(column.attributes)
        if not keeps:
            kept = {name: value for name, value in kept.items() if name not in PACKING}
        if column.names:
            kept["feature_names"] = list(column.names)
        name = USUAL_NAMES[FEATURES]
        if column.name != name:
            kept.setdefault("long_name", column.name)
        kept |= hash_notes([column], chosen)
        return Output(name, tuple(parts), FEATURES, chosen, column.shape, False, keeps, kept)
    _check_sparse_alone(source, parts)
    for part in parts:
        if len(part.column.shape) > 1:
            raise InputError(
                f"{part.column.name} of {source.path} has rows of shape {part.column.shape}, which "
                "other columns cannot be put beside; name it alone in columns= (--columns)"
            )
    names = [name for part in parts for name in part.names]
    notes: dict[str, Any] = {"feature_names": names}
    units = {
        part.column.name: part.column.attributes["units"]
        for part in parts
        if "units" in part.column.attributes
    }
    if units:
        notes["feature_units"] = units
    notes |= hash_notes([part.column for part in parts], chosen)
    width = sum(part.width for part in parts)
    return Output("X", tuple(parts), FEATURES, chosen, (width,), True, False, notes)


def _check_sparse_alone(source: Source, parts: Sequence[Part]) -> None:
    """Refuse features of which some are sparse and others are not, or are of two matrices."""
    sparse = next((part.column for part in parts if part.column.is_sparse), None)
    other = next((part.column for part in parts if part.column is not sparse), None)
    whole = next((part for part in parts if part.entries is None), None)
    if sparse is None or (other is None and whole is None):
        return
    beside = f"{other.name} beside it" if other else "single columns of it, named beside it,"
    raise InputError(
        f"{sparse.name} of {source.path} is sparse, and {beside} would need dense rows; name "
        "columns of one sparse matrix alone, or give --dense"
    )


def _decoded_dtype(part: Part) -> np.dtype:
    column = part.column
    if column.kind == TIME:
        return np.dtype(np.float64)
    return column.dtype if column.conventions is None else column.conventions.decoded


def _dtype_of(text: str) -> np.dtype:
    try:
        found = np.dtype(text)
    except TypeError:
        found = np.dtype(object)
    if found.kind not in "iuf":
        raise InputError(
            f"dtype (--dtype) is a type of real numbers such as float32 or uint8, not {text!r}"
        )
    return found


def _alone(column: Column, name: str, role: str, source: Source) -> Output:
    """Return the output of one column as it is."""
    if role == WEIGHT and (column.kind != NUMBER or column.shape):
        raise InputError(
            f"column {column.name} of {source.path} is not one number a row, which a weight is; "
            "name another one, or none with weight=False (--no-weight)"
        )
    if role == TARGET and column.is_sparse:
        raise InputError(
            f"{column.name} of {source.path} is a sparse matrix and no target; name an array, or "
            "none with target=False (--no-target)"
        )
    dtype, notes = column.dtype, dict(column.attributes)
    if column.kind in (TEXT, CATEGORY):
        notes["categories"] = list(column.categories)
    elif column.kind == HASH:
        notes |= hash_notes([column], dtype)
    elif dtype.kind == "b":
        dtype = np.dtype(np.uint8)
    elif column.whole and role == TARGET:
        dtype = np.dtype(np.int64)
    if name != column.name:
        notes.setdefault("long_name", column.name)
    stored = column.conventions is not None
    return Output(name, (Part(column),), role, dtype, column.shape, False, stored, notes)


def _beside_name(column: Column, outputs: Sequence[Output], source: Source) -> str:
    """Return the name of what lies beside; refuse one by which it would be taken for a role."""
    taken = {output.name for output in outputs}
    is_role = column.name in USUAL_NAMES.values() and (source.is_table or column.name in taken)
    if is_role:
        raise InputError(
            f"column {column.name} of {source.path} would be taken for what {column.name} is to a "
            f"dataset; leave it out with without= (--without {column.name}), or rename it"
        )
    # Slashes are groups in a store, which a table's columns know nothing of.
    return column.name.replace("/", "_") if source.is_table else column.name

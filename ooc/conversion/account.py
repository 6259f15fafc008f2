"""What became of each column, for people and for the attributes of the store."""

from typing import Any

from ooc.conversion.notes import Standing
from ooc.conversion.outputs import Layout, Output, fill_text
from ooc.conversion.source import CATEGORY, HASH, NO_CATEGORY, TEXT, TIME
from ooc.conversion.text_hash import told_of_hash
from ooc.store.roles import FEATURES, TARGET
from ooc.stream.missing_values import MissingRule

# Categories that are told by name, and features that are told one by one.
MOST_TOLD = 5


def described(layout: Layout) -> list[Any]:
    """Return what decides on the bits of the store, JSON-ready."""
    return [
        [
            output.name,
            output.role,
            str(output.dtype),
            list(output.shape),
            output.stored,
            output.is_sparse,
            [[part.column.name, part.entries and list(part.entries)] for part in output.parts],
            [column.name for column in output.hashed],
        ]
        for output in layout.outputs
    ]


def final_attributes(output: Output, standing: Standing, rule: MissingRule) -> dict[str, Any]:
    """Return what is known of an array when all rows are written."""
    found: dict[str, Any] = {}
    if output.kind == TEXT:
        found["categories"] = sorted(standing.categories.get(output.column.name, []))
    kept = rule.name == "keep" or not output.role
    lacks = any(standing.missing[part.column.name] for part in output.parts)
    if not (kept and lacks) or output.stored or output.is_sparse:
        return found
    if output.kind in (TEXT, CATEGORY, HASH):
        found["missing_value"] = NO_CATEGORY
    elif output.dtype.kind == "f":
        found["_FillValue"] = fill_text(float("nan"))
    return found


def told_of(layout: Layout, standing: Standing, rule: MissingRule) -> dict[str, str]:
    """Return for each column of the source in words what was made of it."""
    told: dict[str, str] = {}
    for output in layout.outputs:
        entry = 0
        # Columns that are chosen from a sparse matrix are one of the source's, and many.
        for part in output.parts[:1] if output.is_sparse else output.parts:
            column = part.column
            where = _where(output, entry, part.width)
            parts = [where, *_kind(output, standing)]
            if column.kind == HASH:
                parts.append(told_of_hash(standing.sketches.get(column.name), output.dtype))
            if column.was:
                parts.append(f"was {column.was}")
            if count := standing.missing[column.name]:
                parts.append(_missing(output, rule, count))
            before = f"{told[column.name]}; " if column.name in told else ""
            told[column.name] = before + ", ".join(parts)
            entry += part.width
    told |= {name: f"skipped: {why}" for name, why in layout.skipped.items()}
    return told


def _where(output: Output, entry: int, width: int) -> str:
    if output.is_sparse:
        return _where_sparse(output)
    if output.stacked:
        last = f" to {entry + width - 1}" if width > 1 else ""
        return f"{output.name} {output.dtype}, feature {entry}{last}"
    shape = f" {output.shape}" if output.shape else ""
    role = f" ({output.role})" if output.role in (FEATURES, TARGET) else ""
    return f"array {output.name}{role}, {output.dtype}{shape}"


def _where_sparse(output: Output) -> str:
    role = f" ({output.role})" if output.role else ""
    chosen = f" of {output.column.shape[0]:,} columns" if output.stacked else ""
    return f"sparse rows {output.name}{role}, {output.dtype} {output.shape}{chosen}"


def _kind(output: Output, standing: Standing) -> list[str]:
    if output.kind in (TEXT, CATEGORY):
        names = output.attributes.get("categories", [])
        first = ", ".join(names[:MOST_TOLD]) + (", ..." if len(names) > MOST_TOLD else "")
        return [f"codes of {len(names):,} categories: {first}"]
    if output.kind == TIME:
        return [str(output.column.attributes.get("units", "times"))]
    if output.stored and output.column.conventions is not None:
        return [output.column.conventions.describe()]
    return []


def _missing(output: Output, rule: MissingRule, count: int) -> str:
    if not output.role or rule.name == "keep":
        return f"{count:,} without a value, kept as missing"
    if rule.name == "drop":
        return f"{count:,} without a value, left out"
    return f"{count:,} without a value, filled with {rule.number:g}"

"""Results for people, as tables, and for programs, as one JSON object."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ooc.core.sizes import format_size
from ooc.core.terminal import printable

# Of what a measurement found, what is no number: it is left to the JSON, or to tables of its own.
_LISTS = ("confusion_matrix", "per_class", "calibration")
# Classes of a confusion matrix that is drawn; of a larger one, the largest entries are told.
WIDEST_MATRIX, LARGEST_ENTRIES, MOST_CLASSES_TOLD = 6, 5, 20
# What comes together in a table for people; all else comes last.
_METRICS = (
    "loss", "accuracy", "within_one", "within_two", "mean_absolute_notches",
    "quadratic_weighted_kappa", "auc", "auc_error", "calibration_error", "r2",
    "mean_absolute_error", "root_mean_squared_error", "residuals",
)  # fmt: skip
GROUPS = (
    _METRICS,
    (*(f"validation_{name}" for name in _METRICS), "best_step", "stopped_early", "dropped"),
    ("rows", "steps", "epochs", "learning_rate", "skipped_rows", "skipped_chunks"),
    ("seconds", "wait_seconds", "save_seconds", "rows_per_second", "bytes_per_second"),
    ("memory_budget_bytes", "memory_projected_bytes", "memory_peak_bytes"),
    ("window_rows", "block_rows", "blocks_per_window"),
    (
        "lanes", "workers", "local_steps", "synchronisations", "backup_lanes", "dropped_gradients",
        "dropped_rows", "bytes_per_step", "bytes_sent", "bytes_received", "answers_wait_seconds",
        "lanes_moved", "workers_lost",
    ),
)  # fmt: skip
# Residuals that are told: the ends and the middle of nine in ten.
_QUANTILES = ("0.05", "0.5", "0.95")
# When the command at hand was begun.
_begun = time.perf_counter()
# What a command chose by itself. It is told when the work is done: bad input is one line alone.
NOTES: list[str] = []


def start_clock(before: float = 0.0) -> None:
    """Let the total time of a command count from now, and from so many seconds before."""
    global _begun
    _begun = time.perf_counter() - before


def show(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a result: as one line of JSON, or as a table without what is None."""
    if as_json:
        print(json.dumps(result))
    else:
        draw("", [_readable_items(result)])


def show_measured(result: Mapping[str, Any], as_json: bool, matrix_in: str) -> None:
    """Print what a run or a measurement came to, with the total time: its parts in groups.

    Parameters
    ----------
    matrix_in
        Where a confusion matrix is whole that is too large to be drawn.
    """
    result = {**result, "total_seconds": time.perf_counter() - _begun}
    if as_json:
        show(result, True)
        return
    measured = result.get("validation", result)
    rest, flat = _flat(result), list[dict[str, Any]]()
    for keys in GROUPS:
        flat.append({key: rest.pop(key) for key in keys if key in rest})
    draw("", [_readable_items(group) for group in (*flat, rest)])
    if "confusion_matrix" in measured and measured["accuracy"] is not None:
        names = measured.get("class_names", result.get("class_names"))
        _show_matrix(measured["confusion_matrix"], names, matrix_in)
        _show_classes(measured.get("per_class"), names)


def note_skipped(results: Mapping[str, Any]) -> None:
    """Tell what a run left out because it could not be read."""
    if results.get("skipped_chunks"):
        NOTES.append(
            f"ooc: {results['skipped_chunks']:,} times a chunk could not be read, and "
            f"{results['skipped_rows']:,} rows were left out; `ooc info DATA --verify` lists them"
        )


def _readable(key: str, value: Any) -> str:
    if key.endswith("bytes_per_second"):
        return f"{value / 1e9:.3f} GB/s"
    if key.endswith("_bytes"):
        return format_size(value)
    if key == "total_seconds":
        return f"{value:.1f}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with the entries of its parts among its own; without lists."""
    found = dict[str, Any]()
    for key, value in result.items():
        if key == "residuals" and value is not None:
            low, middle, high = (f"{value['quantiles'][share]:.4g}" for share in _QUANTILES)
            found[key] = f"90% from {low} to {high}, median {middle}"
        elif isinstance(value, Mapping) and key not in _LISTS:
            found |= {f"{key}_{name}": each for name, each in _flat(value).items()}
        elif key not in _LISTS:
            found[key] = value
    return found


def _show_matrix(
    matrix: list[list[float]] | None, names: Sequence[Any] | None, matrix_in: str
) -> None:
    """Draw a confusion matrix, or tell what is most often taken for what, and where it is whole."""
    if matrix is None:
        print("no confusion matrix: it is counted for up to 100 classes")
        return
    named = list(map(str, range(len(matrix)) if names is None else names))
    if len(matrix) <= WIDEST_MATRIX:
        lines = {
            f"true {named[label]}": " ".join(f"{count:>10,.6g}" for count in row)
            for label, row in enumerate(matrix)
        }
        table("rows by true and predicted label", lines, as_named=True)
        return
    wrong = [
        (count, label, taken)
        for label, row in enumerate(matrix)
        for taken, count in enumerate(row)
        if label != taken and count > 0
    ]
    largest = sorted(wrong, key=lambda each: (-each[0], *each[1:]))[:LARGEST_ENTRIES]
    lines = {
        f"true {named[label]} taken for {named[taken]}": f"{count:,.6g}"
        for count, label, taken in largest
    }
    size = f"{len(matrix)} x {len(matrix)}"
    table(
        f"largest entries of the {size} confusion matrix; all are in {matrix_in}",
        lines,
        as_named=True,
    )


def _show_classes(
    columns: Mapping[str, Sequence[float | None]] | None, names: Sequence[Any] | None
) -> None:
    """Tell of each class how often it is right where it is predicted, and found where it is so."""
    if columns is None or len(columns["weight"]) > MOST_CLASSES_TOLD:
        return
    named = list(map(str, range(len(columns["weight"])) if names is None else names))
    heads = " ".join(f"{name:>9}" for name in ("precision", "recall", "f1"))
    lines = {"": f"{heads} {'rows':>11}"}
    for name, (*shares, weight) in zip(named, zip(*columns.values(), strict=True), strict=True):
        cells = ("none" if share is None else f"{share:.4f}" for share in shares)
        lines[f"class {name}"] = " ".join(f"{cell:>9}" for cell in cells) + f" {weight:>11,.6g}"
    table("how well each class is found", lines, as_named=True)


def _readable_items(result: Mapping[str, Any]) -> dict[str, str]:
    """Return names and values for people, without what is None."""
    known = {key: value for key, value in result.items() if value is not None}
    return {
        key.removesuffix("_bytes").replace("_", " "): _readable(key, value)
        for key, value in known.items()
    }


def table(title: str, rows: Mapping[str, Any], as_named: bool = False) -> None:
    """Print names and values as a table; names that somebody else gave are kept `as_named`."""
    draw(title, [rows if as_named else {key.replace("_", " "): rows[key] for key in rows}])


def draw(title: str, groups: Sequence[Mapping[str, Any]]) -> None:
    """Print groups of names and values as one table, with a line between groups."""
    from rich.console import Console
    from rich.table import Table

    # Names may hold brackets, which are no markup, and colons, which are no emoji.
    console = Console(markup=False, emoji=False)
    if title:
        console.print(printable(title), highlight=False)
    drawn = Table("", "", show_header=False)
    for column in drawn.columns:
        column.overflow = "fold"
    for rows in groups:
        for name, value in rows.items():
            drawn.add_row(printable(name), "" if value is None else printable(value))
        drawn.add_section()
    console.print(drawn)

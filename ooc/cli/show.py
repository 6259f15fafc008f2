"""Results for people, as tables, and for programs, as one JSON object."""

import json
from collections.abc import Mapping
from typing import Any

from ooc.core.sizes import format_size
from ooc.core.terminal import printable

# What a command chose by itself. It is told when the work is done: bad input is one line alone.
NOTES: list[str] = []


def show(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a result: as one line of JSON, or as a table without what is None."""
    if as_json:
        print(json.dumps(result))
        return
    table("", {key: _readable(key, value) for key, value in result.items() if value is not None})


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
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def table(title: str, rows: Mapping[str, Any], as_named: bool = False) -> None:
    """Print names and values as a table; names that somebody else gave are kept `as_named`."""
    from rich.console import Console
    from rich.table import Table

    # Names may hold brackets, which are no markup, and colons, which are no emoji.
    console = Console(markup=False, emoji=False)
    if title:
        console.print(printable(title), highlight=False)
    drawn = Table(show_header=False)
    for key, value in rows.items():
        name = key if as_named else key.replace("_", " ")
        drawn.add_row(printable(name), "" if value is None else printable(value))
    console.print(drawn)

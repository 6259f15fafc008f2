"""The laws of mini-batch descent, measured with the real loader and the real trainer.

Variance of the gradient against the batch size, what N/B updates buy, sorted rows, stationary
variance and temperature, momentum, reshuffling, learning rate against batch size, and escape from
a well. Each has a closed form, a measured value with its error, and a picture. A table of pass
and fail is printed, and written as JSON and as one HTML page.

    python pipelines/descent_laws.py --html laws.html --json laws.json
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import laws_escape
import laws_rates
import laws_sorted
import laws_stationary
import laws_variance
import laws_wells
import laws_work
from laws_page import page
from laws_result import FULL, QUICK, Chapter, Effort, Measure, format_number

from ooc.core.errors import InputError

FAMILIES: dict[str, Measure] = {
    "variance": laws_variance.measure,
    "work": laws_work.measure,
    "sorted": laws_sorted.measure,
    "stationary": laws_stationary.measure,
    "rates": laws_rates.measure,
    "escape": laws_escape.measure,
    "wells": laws_wells.measure,
}


def measure(names: Sequence[str], effort: Effort) -> tuple[Chapter, ...]:
    """Measure families of laws, on data in a temporary folder."""
    chapters: list[Chapter] = []
    for name in names:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="descent-laws-") as folder:
            found = FAMILIES[name](Path(folder), effort)
        chapters += found
        for chapter in found:
            print(f"\n{chapter.title}")
            print(table(chapter))
        print(f"  {time.perf_counter() - begun:.0f} seconds", flush=True)
    return tuple(chapters)


def table(chapter: Chapter) -> str:
    """Return one line for each law."""
    lines = []
    for law in chapter.laws:
        verdict = "pass" if law.passed else "FAIL"
        numbers = (law.expected, law.measured, law.error)
        expected, measured, error = (format_number(value) for value in numbers)
        lines.append(
            f"  {verdict}  {law.name}\n"
            f"        expected {expected}, measured {measured} +- {error}, tolerance "
            f"{law.tolerance}; {law.closed_form}"
        )
    return "\n".join(lines)


def as_json(chapters: Sequence[Chapter], effort: Effort) -> dict[str, Any]:
    """Return everything but the pictures, JSON-ready."""
    laws = [law for chapter in chapters for law in chapter.laws]
    return {
        "effort": effort.name,
        "tolerances_widened": effort.widen,
        "laws": len(laws),
        "passed": sum(law.passed for law in laws),
        "chapters": [
            {
                "title": chapter.title,
                "laws": [asdict(law) for law in chapter.laws],
                "notes": chapter.notes,
            }
            for chapter in chapters
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; the status is 1 if a law failed, 2 for bad usage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short runs, wider tolerances")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write table and figures")
    parser.add_argument("--only", nargs="+", choices=FAMILIES, help="families of laws to measure")
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    if options.quick:
        print(f"quick run: short, with tolerances {effort.widen:g} times as wide", flush=True)
    try:
        check_folders(options.json, options.html)
        chapters = measure(options.only or list(FAMILIES), effort)
    except InputError as error:
        print(f"descent_laws: {error}", file=sys.stderr)
        return 2
    found = as_json(chapters, effort)
    summary = f"{found['passed']} of {found['laws']} laws passed"
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    if options.html is not None:
        options.html.write_text(page(chapters, effort, f"{summary}."))
    print(f"\n{summary}")
    return 0 if found["passed"] == found["laws"] else 1


def check_folders(*paths: Path | None) -> None:
    """Refuse files in folders that do not exist, before any work.

    Raises
    ------
    InputError
        If one does not.
    """
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path.parent} is no folder to write {path.name} to; make it first")


if __name__ == "__main__":
    sys.exit(main())

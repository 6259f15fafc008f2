"""What a benchmark says on the terminal: its table, and what is wrong with how it was called."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from ooc.core.errors import InputError


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells, the headings first, as a Markdown table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in [rows[0], ["-" * width for width in widths], *rows[1:]]:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(padded)} |")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        """Raise it instead of printing the usage."""
        raise InputError(message)

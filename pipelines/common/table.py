"""Tables of cells side by side, for the terminal and for the page."""

import re
from dataclasses import dataclass

NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?( ?[%x]| [KMG]iB)?( of \S+)?")


@dataclass(frozen=True)
class Table:
    """A title, the names of columns, and rows of as many cells.

    Examples
    --------
    >>> print(Table("scores", ("", "accuracy"), (("ooc", "0.9"), ("peer", "0.87"))))
    scores
            accuracy
      ooc        0.9
      peer      0.87
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def is_number(self, column: int) -> bool:
        """Tell whether all cells of a column are numbers, or empty: they are set to the right."""
        cells = [row[column] for row in self.rows]
        return any(cells) and all(not cell or NUMBER.fullmatch(cell) for cell in cells)

    def __str__(self) -> str:
        columns = range(len(self.head))
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in columns]
        right = [self.is_number(column) for column in columns]
        text = [self.title]
        for line in lines:
            cells = (
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(line, widths, right, strict=True)
            )
            text.append(("  " + "  ".join(cells)).rstrip())
        return "\n".join(text)

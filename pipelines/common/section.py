"""A part of what a pipeline found: it is printed as soon as it is there, and goes on the page."""

import textwrap
from dataclasses import dataclass, field
from typing import Any

from pipelines.common.checks import Check, table_of
from pipelines.common.figures import Picture
from pipelines.common.table import Table

LINE = 100  # characters


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    title, text
        What it is about.
    tables, pictures, checks
        What was measured.
    results
        Numbers for the JSON object, by names that no other section has.
    """

    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    checks: tuple[Check, ...] = ()
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """Its tables, and one of its checks."""
        return (*self.tables, table_of(self.checks)) if self.checks else self.tables

    def __str__(self) -> str:
        lines = [self.title, *([textwrap.fill(self.text, LINE)] if self.text else [])]
        return "\n\n".join(["\n".join(lines), *map(str, self.all_tables)])

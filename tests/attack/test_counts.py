"""The table of what is tried says as many faults as there are."""

import importlib
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FEWEST = 600


def of(module: str, expression: str) -> int:
    tables = vars(importlib.import_module(f"attack.test_{module}"))
    return sum(len(tables[name]) * times for name, times in counted(expression, tables))


def counted(expression: str, tables: dict[str, object]) -> list[tuple[str, int]]:
    """Read "A * B + C": tables, each with the commands that each entry meets."""
    found = []
    for term in expression.split(" + "):
        name, *times = term.split(" * ")
        factor = 1
        for each in times:
            factor *= len(tables[each]) if each in tables else int(each)  # type: ignore[arg-type]
        found.append((name, factor))
    return found


def rows() -> list[tuple[str, int, str, str]]:
    """Return of each row what is tried, how many, and which tables of which test file."""
    text = (Path(__file__).parent / "README.md").read_text()
    pattern = r"^\| ([^|]+) \| ([\d,]+) \| [^|]+ \| `test_(\w+)\.py`: `([^`]+)` \|$"
    found = re.findall(pattern, text, re.MULTILINE)
    return [(kind, int(count.replace(",", "")), *where) for kind, count, *where in found]


def test_the_table_is_of_the_tables() -> None:
    assert rows()
    for kind, count, module, expression in rows():
        assert count == of(module, expression), (kind, of(module, expression))
    assert sum(count for _, count, *_ in rows()) >= FEWEST
    files = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert files == {module for _, _, module, _ in rows()} | {"counts"}


def test_the_total_is_that_of_the_rows() -> None:
    text = (Path(__file__).parent / "README.md").read_text()
    (total,) = re.findall(r"\*\*([\d,]+) faults\*\*", text)
    assert int(total.replace(",", "")) == sum(count for _, count, *_ in rows())

"""A page: one HTML file with tables and pictures inside, and nothing from elsewhere."""

from collections.abc import Sequence
from html import escape

from pipelines.common.checks import Check, format_number
from pipelines.common.figures import Picture
from pipelines.common.section import Section
from pipelines.common.table import Table

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.86rem; width: 100%; margin-bottom: 1rem; }
caption { text-align: left; color: #555; padding: 0.3rem 0; }
th, td { text-align: left; padding: 0.3rem 0.6rem; border-bottom: 1px solid #ddd;
         vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.yes { color: #1a6e2e; font-weight: 600; } .no { color: #b00020; font-weight: 600; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: 0.9rem; }
"""


def page(title: str, text: str, summary: str, sections: Sequence[Section]) -> str:
    """Return the page as HTML; whatever it shows is escaped."""
    body = "\n".join(_section(section) for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p>{escape(text)}</p>
<p>{escape(summary)}</p>
{body}
</body>
</html>
"""


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{escape(section.text)}</p>")
    parts += [_figure(each) for each in section.pictures]
    parts += [_table(each) for each in section.tables]
    if section.checks:
        parts.append(_checks(section.checks))
    return "<section>\n{}\n</section>".format("\n".join(parts))


def _table(table: Table) -> str:
    classes = [' class="number"' * table.is_number(column) for column in range(len(table.head))]
    head = _row("th", [*zip(table.head, classes, strict=True)])
    rows = "\n".join(_row("td", [*zip(row, classes, strict=True)]) for row in table.rows)
    return _scrolled(table.title, head, rows)


def _checks(checks: Sequence[Check]) -> str:
    detailed = any(each.detail for each in checks)
    names = ["check", *["detail"] * detailed, "value", "bound", "met"]
    rows = []
    for each in checks:
        cells = [(each.name, "")]
        if detailed:
            # Lines break at hyphens, but not at minus signs.
            cells.append((each.detail.replace("-", "\N{MINUS SIGN}"), ""))
        cells += [(format_number(each.value), ' class="number"'), (each.bound, ' class="number"')]
        cells.append(("yes", ' class="yes"') if each.met else ("NO", ' class="no"'))
        rows.append(_row("td", cells))
    return _scrolled("checks", _row("th", [(name, "") for name in names]), "\n".join(rows))


def _row(tag: str, cells: Sequence[tuple[str, str]]) -> str:
    inside = "".join(f"<{tag}{attribute}>{escape(text)}</{tag}>" for text, attribute in cells)
    return f"<tr>{inside}</tr>"


def _scrolled(title: str, head: str, rows: str) -> str:
    return (
        f'<div class="scroll"><table><caption>{escape(title)}</caption><thead>{head}</thead>\n'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _figure(each: Picture) -> str:
    return (
        f'<figure><img src="{each.source}" alt="{escape(each.alternative)}">'
        f"<figcaption>{escape(each.caption)}</figcaption></figure>"
    )

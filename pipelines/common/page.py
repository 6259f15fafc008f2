"""The laws' page: one HTML file with its table and pictures inside, and nothing from elsewhere."""

import base64
from collections.abc import Sequence
from html import escape

from laws_result import Chapter, Effort, Law, Picture, format_number

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.86rem; width: 100%; margin-bottom: 1rem; }
th, td { text-align: left; padding: 0.3rem 0.6rem; border-bottom: 1px solid #ddd;
         vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.pass { color: #1a6e2e; font-weight: 600; } .fail { color: #b00020; font-weight: 600; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: 0.9rem; }
"""
HEAD = ("law", "closed form", "expected", "measured", "error", "tolerance", "")


def page(chapters: Sequence[Chapter], effort: Effort, summary: str) -> str:
    """Return the page as HTML; whatever it shows is escaped."""
    body = "\n".join(_chapter(chapter) for chapter in chapters)
    wider = "" if effort.widen == 1 else f" Quick run: tolerances {effort.widen:g} times as wide."
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Laws of descent, measured</title>
<style>{STYLE}</style>
</head>
<body>
<h1>Laws of descent, measured</h1>
<p>Closed forms of mini-batch descent beside what the loader and the trainer did. All noise is that
of sampled rows. Errors are standard errors of the measured value.{escape(wider)}</p>
<p>{escape(summary)}</p>
{body}
</body>
</html>
"""


def _chapter(chapter: Chapter) -> str:
    pictures = "\n".join(_figure(each) for each in chapter.pictures)
    table = _table(chapter.table[0], chapter.table[1:]) if chapter.table else ""
    rows = "\n".join(_law(law) for law in chapter.laws)
    head = "".join(f"<th>{escape(name)}</th>" for name in HEAD)
    return f"""<section>
<h2>{escape(chapter.title)}</h2>
<p>{escape(chapter.text)}</p>
{pictures}
{table}
<div class="scroll"><table><thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody></table></div>
</section>"""


def _law(law: Law) -> str:
    verdict, word = ("pass", "pass") if law.passed else ("fail", "FAIL")
    numbers = (law.expected, law.measured, law.error)
    cells = "".join(f'<td class="number">{format_number(value)}</td>' for value in numbers)
    form = escape(law.closed_form).replace("-", "\N{MINUS SIGN}")  # lines break at hyphens
    return (
        f"<tr><td>{escape(law.name)}</td><td>{form}</td>{cells}"
        f'<td class="number">{escape(law.tolerance)}</td><td class="{verdict}">{word}</td></tr>'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{names}</tr></thead>\n'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _figure(each: Picture) -> str:
    data = base64.b64encode(each.png).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(each.alternative)}">'
        f"<figcaption>{escape(each.caption)}</figcaption></figure>"
    )

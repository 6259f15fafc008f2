"""The page of a report: one HTML file that holds all that it needs, and loads nothing."""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from ooc.report.cells import NOTHING, part
from ooc.report.figures import Figure, named, with_base
from ooc.report.held_out import coefficient_figure, columns_of, matrix_figure
from ooc.report.runs import ReportedRun, grouped
from ooc.report.sections import Section, make_sections
from ooc.report.styles import Style, styles
from ooc.report.tables import definitions, facts, runs_table, tiles

# Names stand in the legend that stays on the screen where there are few runs.
NAMED = 6
# Of a description, enough to see all but what is generated and very long.
SHOWN_CHARACTERS = 8000
# Runs whose classes and coefficients are drawn, the best ones.
IN_DETAIL = 12

# The policy is a second lock: even markup that got through could load or run nothing.
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {scripts}"


def page(runs: Sequence[ReportedRun], library: str) -> tuple[str, int]:
    """Return the page of runs, best first, and how many figures it has.

    All text from data is escaped. The library is the source of plotly.js, which draws them.
    """
    title = escape(f"Report on {len(runs)} runs" if len(runs) > 1 else f"Report on {runs[0].name}")
    here = files("ooc.report")
    drawing = here.joinpath("page.js").read_text()
    drawn = list[Figure]()
    groups = grouped(runs)
    body = [f"<h1>{title}</h1>"]
    if len(groups) > 1:
        links = "".join(map(_link, range(len(groups)), groups))
        body.append(
            "<p>Runs are compared where their data and their loss are the same; "
            f"these are of {len(groups)} kinds.</p><ul>{links}</ul>"
        )
    body += ["<noscript><p>The figures need JavaScript.</p></noscript>"]
    body += [_group(group, number, drawn) for number, group in enumerate(groups)]
    # Nothing in it ends the element early, whatever names hold.
    specs = [{"data": each.data, "layout": with_base(each.layout)} for each in drawn]
    data = json.dumps(specs, allow_nan=False).replace("<", "\\u003c")
    scripts = f'<script type="application/json" id="figures">{data}</script>\n'
    scripts += "".join(f"<script>{source}</script>\n" for source in (library, drawing))
    policy = POLICY.format(scripts=" ".join(map(_hash, (library, drawing))))
    style = here.joinpath("page.css").read_text()
    head = HEAD.format(policy=escape(policy), title=title, style=style)
    return head + "\n".join(body) + f"\n{scripts}</body>\n</html>\n", len(drawn)


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _title(group: Sequence[ReportedRun]) -> str:
    data = PurePath(group[0].data).name or "data that are not known"
    return f"{escape(data)} <small>{escape(group[0].measured)}</small>"


def _link(number: int, group: Sequence[ReportedRun]) -> str:
    runs = f"{len(group)} runs" if len(group) > 1 else escape(group[0].name)
    return f'<li><a href="#group-{number}">{_title(group)}</a>: {runs}</li>'


def _group(group: Sequence[ReportedRun], number: int, drawn: list[Figure]) -> str:
    looks = styles(len(group))
    known = [named(run.name, look) for run, look in zip(group, looks, strict=True)]
    swatches = [_swatch(look, i) for i, look in enumerate(looks, 1)]
    several = len(group) > 1
    parts = [
        f"<h2>{_title(group)}</h2>",
        facts(group),
        _legend(group, swatches) if several else "",
        runs_table(group, swatches) if several else tiles(group[0]),
        _notes(group, swatches),
        *[_section(section, drawn) for section in make_sections(group, known)],
        "<h3>Run by run</h3>" if several else "<h3>The run</h3>",
        *[
            _details(run, swatch, i, several, drawn)
            for i, (run, swatch) in enumerate(zip(group, swatches, strict=True))
        ],
    ]
    return f'<section class="group" id="group-{number}">{"".join(parts)}</section>'


def _swatch(style: Style, number: int) -> str:
    colours = f"background:{style.colour};color:{style.text}"
    return f'<span class="swatch {style.dash}" style="{colours}">{number}</span>'


def _legend(group: Sequence[ReportedRun], swatches: Sequence[str]) -> str:
    chips = []
    for i, (run, swatch) in enumerate(zip(group, swatches, strict=True)):
        name = escape(run.name)
        shown = f"{swatch} {name}" if len(group) <= NAMED else swatch
        chips.append(
            f'<button class="run" data-run="{i}" title="{name}" aria-pressed="false">'
            f"{shown}</button>"
        )
    by = "training" if group[0].history.best_validation is None else "validation"
    hint = f"Best first, by {by} loss. Point at a run to see it alone; a click keeps it so."
    return f'<p>{hint}</p>\n<nav aria-label="Runs">{" ".join(chips)}</nav>\n'


def _notes(group: Sequence[ReportedRun], swatches: Sequence[str]) -> str:
    lines = [
        f"<li>{swatch} {escape(run.name)}: {escape('; '.join(run.notes))}</li>"
        for run, swatch in zip(group, swatches, strict=True)
        if run.notes
    ]
    if not lines:
        return ""
    wide = " open" if len(lines) <= NAMED else ""
    heading = f"Notes on {len(lines)} of {len(group)} runs" if len(group) > 1 else "Notes"
    return f"<details{wide}><summary>{heading}</summary><ul>{''.join(lines)}</ul></details>"


def _section(section: Section, drawn: list[Figure]) -> str:
    note = f"<p>{escape(section.note)}</p>" if section.note else ""
    figures = "\n".join(_figure(figure, drawn) for figure in section.figures)
    return f'<h3>{escape(section.title)}</h3>{note}\n<div class="grid">{figures}</div>'


def _figure(figure: Figure, drawn: list[Figure]) -> str:
    drawn.append(figure)
    height = figure.layout.get("height", 300)
    return (
        f"<figure><figcaption>{escape(figure.title)}</figcaption>"
        f'<div class="plot" role="img" aria-label="{escape(figure.alt)}" '
        f'data-figure="{len(drawn) - 1}" style="height:{height:.0f}px"></div></figure>'
    )


def _details(run: ReportedRun, swatch: str, number: int, several: bool, drawn: list[Figure]) -> str:
    figures = list[Figure | None]()
    if number < IN_DETAIL:
        figures = [matrix_figure(run), coefficient_figure(run)]
    shown = "".join(_figure(figure, drawn) for figure in figures if figure is not None)
    who = f"{swatch} {escape(run.name)}" if several else "All settings and results"
    parts = [
        _classes(run) if number < IN_DETAIL else "",
        f'<div class="grid">{shown}</div>' if shown else "",
    ]
    listed = [
        f"<h4>Settings</h4>{definitions(run.settings)}",
        f"<h4>Results</h4>{definitions(run.results)}",
        _description(run),
    ]
    if not several:
        return "".join(parts) + f"<details><summary>{who}</summary>{''.join(listed)}</details>"
    wide = " open" if number == 0 else ""
    return f"<details{wide}><summary>{who}</summary>{''.join(parts + listed)}</details>"


def _classes(run: ReportedRun) -> str:
    """Return a row for each class: precision, recall, F1 and rows."""
    found, names = part(run.evaluation, "per_class"), ("precision", "recall", "f1", "weight")
    if columns_of(found, "weight") is None:
        return ""
    columns = [found.get(name) for name in names]
    size = len(found["weight"])
    if any(not isinstance(column, list) or len(column) != size for column in columns):
        return ""
    rows = []
    labels = run.class_names(size)
    for label, (*shares, weight) in zip(labels, zip(*columns, strict=True), strict=True):
        cells = "".join(f"<td>{_share(share)}</td>" for share in shares)
        rows.append(f"<tr><td>{escape(label)}</td>{cells}<td>{weight:,.6g}</td></tr>")
    heads = "".join(f"<th>{head}</th>" for head in ("class", "precision", "recall", "F1", "rows"))
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<h4>Classes, on the validation rows</h4><div class="scroll">{table}</div>'


def _share(value: Any) -> str:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.4f}" if real else NOTHING


def _description(run: ReportedRun) -> str:
    keys = ("model", "optimizer", "dataset", "plan", "results", "versions")
    found = {key: part(run.description, key) for key in keys}
    text = json.dumps({key: value for key, value in found.items() if value}, indent=1)
    if len(text) > SHOWN_CHARACTERS:
        text = text[:SHOWN_CHARACTERS] + "\n…"
    return f"<details><summary>run.json</summary><pre>{escape(text)}</pre></details>"

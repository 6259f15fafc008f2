"""The page of a report: one HTML file with its pictures inside, without scripts or links."""

import json
from collections.abc import Sequence
from html import escape

from ooc.report.axes import colours, text_colour
from ooc.report.pictures import Picture
from ooc.report.runs import RESULTS, SETTINGS, ReportedRun, part
from ooc.report.sections import Section

# Names stand in the legend that stays on the screen where there are few runs.
NAMED = 6
# Of a description, enough to see all but what is generated and very long.
SHOWN_CHARACTERS = 8000

# The policy is a second lock: even markup that got through could load or run nothing.
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""
STYLE = """
:root { color-scheme: light; font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff }
body { max-width: 84rem; margin: 0 auto; padding: 0 1rem 3rem }
h1 { font-size: 1.5rem; margin: 1.2rem 0 .2rem }
h2 { font-size: 1.15rem; margin: 2rem 0 .3rem; scroll-margin-top: 3.5rem }
p { margin: .3rem 0; max-width: 60rem; color: #444 }
nav { position: sticky; top: 0; z-index: 1; padding: .4rem 0; background: #fffffff2;
  border-bottom: 1px solid #ddd; display: flex; flex-wrap: wrap; gap: .25rem .6rem }
nav span { white-space: nowrap; max-width: 24rem; overflow: hidden; text-overflow: ellipsis }
.swatch { display: inline-block; min-width: 1.3rem; padding: 0 .25rem; border-radius: .25rem;
  text-align: center; font-size: .8rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; margin: .6rem 0 }
th, td { padding: .25rem .55rem; border-bottom: 1px solid #e4e4e4; text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap }
th { color: #555; font-weight: 600; vertical-align: bottom }
thead th { white-space: normal }
.words { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 6rem }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr));
  gap: 1rem 1.5rem }
figure { margin: .5rem 0; max-width: 48rem }
figcaption { font-weight: 600 }
svg { width: 100%; height: auto; display: block }
details { margin: .3rem 0 } pre { font-size: .8rem; overflow-x: auto; background: #f6f6f6;
  padding: .6rem }
tbody tr:hover, nav span:hover { background: #f2f2f2 }
@media print { nav { position: static } }
"""


def page(runs: Sequence[ReportedRun], sections: Sequence[Section]) -> str:
    """Return the page of runs, best first. All text from data is escaped."""
    title = escape(f"Report on {len(runs)} runs" if len(runs) > 1 else f"Report on {runs[0].name}")
    shades = colours(len(runs))
    swatches = [
        f'<span class="swatch" style="background:{shade};color:{text_colour(shade)}">{i}</span>'
        for i, shade in enumerate(shades, 1)
    ]
    several = len(runs) > 1
    body = [
        f"<h1>{title}</h1>",
        _legend(runs, swatches) + _table(runs, swatches) if several else _one_run(runs[0]),
        _notes(runs, swatches),
        *map(_section, sections),
        _descriptions(runs, swatches),
    ]
    style = STYLE + _highlights(len(runs))
    return HEAD.format(title=title, style=style) + "\n".join(body) + "\n</body>\n</html>\n\n"


def _highlights(runs: int) -> str:
    """Fade all other curves while the pointer is on a run's row or name."""
    rule = 'body:has(.run-{0}:hover) svg [id*="-run-"]:not([id$="-run-{0}"])'
    rules = ",\n".join(map(rule.format, range(runs)))
    return f"{rules} {{ opacity: .07 }}\n" if runs > 1 else ""


def _legend(runs: Sequence[ReportedRun], swatches: Sequence[str]) -> str:
    chips = []
    for i, (run, swatch) in enumerate(zip(runs, swatches, strict=True)):
        name = escape(run.name)
        shown = f"{swatch} {name}" if len(runs) <= NAMED else swatch
        chips.append(f'<span class="run-{i}" title="{name}">{shown}</span>')
    by = "final" if runs[0].history.best_validation is None else "validation"
    hint = f"Best first, by {by} loss; point at a run, here or in the bar, to see its curves alone."
    return f'<p>{hint}</p>\n<nav aria-label="Runs">{" ".join(chips)}</nav>\n'


def _table(runs: Sequence[ReportedRun], swatches: Sequence[str]) -> str:
    """Return a row for each run; settings that all of them share stand above."""
    shared = [name for name in SETTINGS if len({run.cells[name] for run in runs}) == 1]
    names = [name for name in (*SETTINGS, *RESULTS) if name not in shared]
    heads = "".join(f"<th{_class(name)}>{escape(name)}</th>" for name in names)
    rows = []
    for i, run in enumerate(runs):
        cells = "".join(f"<td{_class(name)}>{escape(run.cells[name])}</td>" for name in names)
        who = f'<td class="words" title="{escape(str(run.path))}">{escape(run.name)}</td>'
        rows.append(f'<tr class="run-{i}"><td>{swatches[i]}</td>{who}{cells}</tr>')
    same = ", ".join(f"{name} <b>{escape(runs[0].cells[name])}</b>" for name in shared)
    above = f"<p>The same in all runs: {same}.</p>\n" if shared else ""
    return (
        f'{above}<div class="wide"><table><thead><tr><th></th><th class="words">run</th>{heads}'
        f"</tr></thead>\n<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _class(name: str) -> str:
    return ' class="words"' if name in SETTINGS[:-1] and name != "rate" else ""


def _one_run(run: ReportedRun) -> str:
    rows = [
        f'<tr><th>{escape(name)}</th><td class="words">{escape(cell)}</td></tr>'
        for name, cell in run.cells.items()
    ]
    return f"<p>{escape(str(run.path))}</p>\n<table><tbody>{''.join(rows)}</tbody></table>"


def _notes(runs: Sequence[ReportedRun], swatches: Sequence[str]) -> str:
    lines = [
        f"<li>{swatch} {escape(run.name)}: {escape('; '.join(run.notes))}</li>"
        for run, swatch in zip(runs, swatches, strict=True)
        if run.notes
    ]
    if not lines:
        return ""
    wide = " open" if len(lines) <= NAMED else ""
    heading = f"Notes on {len(lines)} of {len(runs)} runs"
    return f"<details{wide}><summary>{heading}</summary><ul>{''.join(lines)}</ul></details>"


def _section(section: Section) -> str:
    pictures = "\n".join(map(_figure, section.pictures))
    note = f"<p>{escape(section.note)}</p>" if section.note else ""
    head = f"<section><h2>{escape(section.title)}</h2>{note}"
    return f'{head}\n<div class="grid">{pictures}</div></section>'


def _figure(picture: Picture) -> str:
    svg = picture.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(picture.alt)}" ', 1)
    return f"<figure><figcaption>{escape(picture.title)}</figcaption>{svg}</figure>"


def _descriptions(runs: Sequence[ReportedRun], swatches: Sequence[str]) -> str:
    parts = []
    for run, swatch in zip(runs, swatches, strict=True):
        keys = ("model", "optimizer", "dataset", "plan", "results", "versions")
        found = {key: part(run.description, key) for key in keys}
        text = json.dumps({key: value for key, value in found.items() if value}, indent=1)
        if len(text) > SHOWN_CHARACTERS:
            text = text[:SHOWN_CHARACTERS] + "\n…"
        who = f"<summary>{swatch} {escape(run.name)}</summary>"
        parts.append(f"<details>{who}<pre>{escape(text)}</pre></details>")
    return "<section><h2>Descriptions</h2>" + "\n".join(parts) + "</section>"

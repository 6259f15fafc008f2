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
    shades = colours(len(runs))
    title = f"Report on {len(runs)} runs" if len(runs) > 1 else f"Report on {runs[0].name}"
    body = [
        f"<h1>{escape(title)}</h1>",
        _legend(runs, shades),
        _table(runs, shades) if len(runs) > 1 else _column(runs[0]),
        _notes(runs, shades),
        *(_section(section) for section in sections),
        _descriptions(runs, shades),
    ]
    # The policy is a second lock: even markup that got through could load or run nothing.
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}{_highlights(len(runs))}</style>",
    ]
    lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body]
    return "\n".join([*lines, "</body>", "</html>", ""])


def _highlights(runs: int) -> str:
    """Fade all other curves while the pointer is on a run's row or name."""
    if runs == 1:
        return ""
    rules = [
        f'body:has(.run-{i}:hover) svg [id*="-run-"]:not([id$="-run-{i}"])' for i in range(runs)
    ]
    return ",\n".join(rules) + " { opacity: .07 }\n"


def _swatch(i: int, shade: str) -> str:
    return (
        f'<span class="swatch" style="background:{shade};color:{text_colour(shade)}">{i + 1}</span>'
    )


def _legend(runs: Sequence[ReportedRun], shades: Sequence[str]) -> str:
    if len(runs) == 1:
        return f"<p>{escape(str(runs[0].path))}</p>"
    named = len(runs) <= NAMED
    chips = [
        f'<span class="run-{i}" title="{escape(run.name)}">{_swatch(i, shades[i])}'
        f"{' ' + escape(run.name) if named else ''}</span>"
        for i, run in enumerate(runs)
    ]
    order = (
        "Best first, by validation loss"
        if runs[0].history.best_validation is not None
        else "Best first, by final loss"
    )
    hint = f"{order}; point at a run, here or in the bar, to see its curves alone."
    return f'<p>{hint}</p>\n<nav aria-label="Runs">{" ".join(chips)}</nav>'


def _table(runs: Sequence[ReportedRun], shades: Sequence[str]) -> str:
    """Return a row for each run; settings that all of them share stand above."""
    shared = [name for name in SETTINGS if len({run.cells[name] for run in runs}) == 1]
    names = [name for name in (*SETTINGS, *RESULTS) if name not in shared]
    heads = "".join(f"<th{_class(name)}>{escape(name)}</th>" for name in names)
    rows = []
    for i, run in enumerate(runs):
        cells = "".join(f"<td{_class(name)}>{escape(run.cells[name])}</td>" for name in names)
        who = f'<td class="words" title="{escape(str(run.path))}">{escape(run.name)}</td>'
        rows.append(f'<tr class="run-{i}"><td>{_swatch(i, shades[i])}</td>{who}{cells}</tr>')
    same = ", ".join(f"{name} <b>{escape(runs[0].cells[name])}</b>" for name in shared)
    above = f"<p>The same in all runs: {same}.</p>\n" if shared else ""
    return (
        f'{above}<div class="wide"><table><thead><tr><th></th><th class="words">run</th>{heads}'
        f"</tr></thead>\n<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _class(name: str) -> str:
    return ' class="words"' if name in SETTINGS[:-1] and name != "rate" else ""


def _column(run: ReportedRun) -> str:
    rows = [
        f'<tr><th>{escape(name)}</th><td class="words">{escape(run.cells[name])}</td></tr>'
        for name in (*SETTINGS, *RESULTS)
    ]
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _notes(runs: Sequence[ReportedRun], shades: Sequence[str]) -> str:
    lines = []
    for i, run in enumerate(runs):
        if run.notes:
            who = f"{_swatch(i, shades[i])} {escape(run.name)}: "
            lines.append(f"<li>{who}{escape('; '.join(run.notes))}</li>")
    if not lines:
        return ""
    wide = " open" if len(lines) <= NAMED else ""
    heading = f"Notes on {len(lines)} of {len(runs)} runs"
    return f"<details{wide}><summary>{heading}</summary><ul>{''.join(lines)}</ul></details>"


def _section(section: Section) -> str:
    pictures = "\n".join(_figure(picture) for picture in section.pictures)
    note = f"<p>{escape(section.note)}</p>" if section.note else ""
    return (
        f"<section><h2>{escape(section.title)}</h2>{note}\n"
        f'<div class="grid">{pictures}</div></section>'
    )


def _figure(picture: Picture) -> str:
    svg = picture.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(picture.alt)}" ', 1)
    return f"<figure><figcaption>{escape(picture.title)}</figcaption>{svg}</figure>"


def _descriptions(runs: Sequence[ReportedRun], shades: Sequence[str]) -> str:
    parts = []
    for i, run in enumerate(runs):
        keys = ("model", "optimizer", "dataset", "plan", "results", "versions")
        found = {key: part(run.description, key) for key in keys}
        text = json.dumps({key: value for key, value in found.items() if value}, indent=1)
        if len(text) > SHOWN_CHARACTERS:
            text = text[:SHOWN_CHARACTERS] + "\n…"
        who = f"{_swatch(i, shades[i])} {escape(run.name)}"
        parts.append(f"<details><summary>{who}</summary><pre>{escape(text)}</pre></details>")
    return "<section><h2>Descriptions</h2>" + "\n".join(parts) + "</section>"

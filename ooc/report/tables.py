"""The tables of a report, as HTML: what differs between runs first, and what all of them share."""

from collections.abc import Mapping, Sequence
from html import escape

from ooc.report.cells import NOTHING, moment, part
from ooc.report.runs import ReportedRun

# Settings that differ get a column, so many at most; the others are told run by run.
MOST_COLUMNS = 5
# Results with a column, and those of them that a narrow screen has room for, too.
COLUMNS = (
    "validation loss", "accuracy", "AUC", "R2", "training loss", "steps", "training time",
    "rows/s", "peak memory", "waiting",
)  # fmt: skip
ON_NARROW = ("validation loss", "accuracy", "R2")
# What is told at once of a run that is alone.
TILES = (
    "validation loss", "accuracy", "AUC", "R2", "training loss", "rows", "steps", "total time",
    "training time", "rows/s", "peak memory", "waiting",
)  # fmt: skip
# What stands in the heading.
ABOVE = ("data", "machine")
# What settings are where they are not told.
UNSET = {"L2": "0", "L1": "0", "warm-up": "0"}
# A value that is longer takes a line.
LONG = 60


def runs_table(group: Sequence[ReportedRun], swatches: Sequence[str]) -> str:
    """Return a row for each run, best first, and below what all of them share."""
    names = list(dict.fromkeys(name for run in group for name in run.settings))
    values = {
        name: [run.settings.get(name, UNSET.get(name, NOTHING)) for run in group] for name in names
    }
    # Those that all runs have come first; others are of some models alone.
    differing = sorted(
        (name for name in names if len(set(values[name])) > 1),
        key=lambda name: NOTHING in values[name],
    )
    shared = {name: values[name][0] for name in names if name not in (*differing, *ABOVE)}
    told = {name: [run.results[name] for run in group] for name in COLUMNS}
    # How much the budget is, the settings say.
    told["peak memory"] = [value.partition(" of ")[0] for value in told["peak memory"]]
    results = [name for name in COLUMNS if set(told[name]) != {NOTHING}]
    settings = differing[:MOST_COLUMNS]
    columns = [*settings, *results]
    # Names say nothing more than the settings that differ, and a narrow screen has no room.
    name_class = "name more" if settings else "name"
    judged = ON_NARROW + ("training loss",) * (NOTHING in told["validation loss"])
    classes = {name: _class(name in settings, name in (*judged, *settings[:2])) for name in columns}
    heads = "".join(f"<th{classes[name]}>{escape(name)}</th>" for name in columns)
    rows = []
    for i, run in enumerate(group):
        cells = "".join(
            f"<td{classes[name]}>{escape((values | told)[name][i])}</td>" for name in columns
        )
        who = f'<td class="{name_class}" title="{escape(str(run.path))}">{escape(run.name)}</td>'
        rows.append(f'<tr data-run="{i}"><td>{swatches[i]}</td>{who}{cells}</tr>')
    left = differing[MOST_COLUMNS:]
    more = f"<p>Also different, see below: {escape(', '.join(left))}.</p>" if left else ""
    same = f"<h4>The same in all {len(group)} runs</h4>{definitions(shared)}" if shared else ""
    return (
        f'<div class="wide"><table><thead><tr><th></th><th class="{name_class}">run</th>{heads}'
        f"</tr></thead>\n<tbody>{''.join(rows)}</tbody></table></div>{more}{same}"
    )


def _class(is_setting: bool, on_narrow: bool) -> str:
    kinds = ["setting"] * is_setting + ["more"] * (not on_narrow)
    return f' class="{" ".join(kinds)}"' if kinds else ""


def tiles(run: ReportedRun) -> str:
    """Return the results of a run that is alone, and its settings."""
    found = {name: run.results[name] for name in TILES if run.results[name] != NOTHING}
    settings = {name: value for name, value in run.settings.items() if name not in ABOVE}
    return definitions(found, "tiles") + f"<h4>Settings</h4>{definitions(settings)}"


def facts(group: Sequence[ReportedRun]) -> str:
    """Return where the data are, how many rows they have, and when and where they were used."""
    lines = [group[0].data] if group[0].data else []
    known = {
        "{} rows trained on": [run.results["rows"] for run in group],
        "started {}": [_started(group)],
        "total time {}": [run.results["total time"] for run in group],
        "{}": [run.results["machine"] for run in group],
    }
    for words, values in known.items():
        different = [value for value in dict.fromkeys(values) if value != NOTHING]
        if len(different) == 1:
            lines.append(words.format(different[0]))
        elif different and words == "{}":
            lines.append(f"{len(different)} machines, see each run")
    return f"<p>{' · '.join(map(escape, lines))}</p>" if lines else ""


def _started(group: Sequence[ReportedRun]) -> str:
    """Return when the first run and the last one were started."""
    noted = [part(run.description, "results").get("started") for run in group]
    known = sorted(str(value) for value in noted if moment(value) != NOTHING)
    ends = list(dict.fromkeys(moment(value) for value in (*known[:1], *known[-1:])))
    return " to ".join(ends) or NOTHING


def definitions(values: Mapping[str, str], kind: str = "") -> str:
    """Return names and values as a list in columns."""
    entries = (
        f"{'<div class=long>' if len(value) > LONG else '<div>'}"
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in values.items()
        if value != NOTHING
    )
    return f'<dl class="{kind}">{"".join(entries)}</dl>'

"""Settings and results of a run in words, one for each name."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ooc.core.lanes import describe_lanes
from ooc.core.sizes import format_size
from ooc.report.history import History, number
from ooc.stream.options import StreamOptions

NOTHING = "–"  # noqa: RUF001
MOST_SETTINGS = 40

# Results, the most telling first.
RESULTS = (
    "validation loss", "best step", "accuracy", "within one", "mean abs. notches", "kappa", "AUC",
    "calibration error", "R2", "mean abs. error", "training loss", "rows", "steps", "epochs",
    "training time", "total time", "rows/s", "GB/s", "peak memory", "waiting", "lanes", "saves",
    "resumes", "started", "machine", "parameters sha256",
)  # fmt: skip
_MEASURED = {
    "accuracy": ("accuracy", ".2%"),
    "within one": ("within_one", ".2%"),
    "mean abs. notches": ("mean_absolute_notches", ".4f"),
    "kappa": ("quadratic_weighted_kappa", ".4f"),
    "AUC": ("auc", ".4f"),
    "calibration error": ("calibration_error", ".4f"),
    "R2": ("r2", ".4f"),
    "mean abs. error": ("mean_absolute_error", ".5g"),
}
_PENALTIES = {"L2": "l2", "L1": "l1", "clipping": "clip_norm"}
# Settings of the stream that are told where they are not the usual ones.
_STREAM = ("shuffle", "window", "lanes", "sampling", "missing_values", "on_bad_chunk")


def make_settings(history: History, description: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's settings, those first that people change most; what is not set is left out."""
    model, optimizer = part(description, "model"), part(description, "optimizer")
    schedule, trainer = part(optimizer, "schedule"), part(description, "trainer")
    asked = part(trainer, "optimizer")
    # Those of a schedule that nobody gave are the run's length.
    given = part(asked, "schedule").get("constants")
    used = schedule.get("constants") if isinstance(given, list) and any(given) else None
    rate = optimizer.get("rate")
    found = isinstance(rate, float) and "rate" in asked and asked["rate"] is None
    usual = StreamOptions().to_config()
    dataset, held_out = part(description, "dataset"), part(trainer, "validation").get("data")
    settings = {
        "data": dataset.get("path"),
        "model": model.get("name"),
        "optimizer": optimizer.get("name"),
        "learning rate": f"{rate:.4g}, found" if found else rate,
        "schedule": schedule.get("name"),
        "schedule's numbers": used,
        "warm-up": schedule.get("warmup") or None,
        **{name: optimizer.get(key) or None for name, key in _PENALTIES.items()},
        "batch size": _batch_size(history, description),
        "passes": description.get("epochs"),
        **{f"{key}".replace("_", " "): value for key, value in model.items() if key != "name"},
        "optimizer's numbers": optimizer.get("constants") or None,
        "rows held out": f"{held_out:.3g} of all" if isinstance(held_out, float) else held_out,
        "seed": trainer.get("seed"),
        **{
            key.replace("_", " "): trainer.get(key)
            for key in _STREAM
            if key in trainer and trainer[key] != usual[key]
        },
        **{key.replace("_", " "): value for key, value in part(trainer, "synchronisation").items()},
        "target": dataset.get("target"),
        "weight": dataset.get("weight"),
        "memory": description.get("memory"),
    }
    known = {name: text(value) for name, value in settings.items() if value is not None}
    return dict(list(known.items())[:MOST_SETTINGS])


def make_results(history: History, description: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's results, all of `RESULTS`; what is not known is a dash."""
    results = part(description, "results")
    end, measured = history.end, part(results, "validation")
    seconds = end.seconds if end.seconds > 0 else math.nan
    budget = number(results, "memory_budget_bytes", history.memory_budget_bytes)
    peak = number(results, "memory_peak_bytes", history.memory_peak_bytes)
    loss, best = number(results, "loss"), history.best_validation
    if not math.isfinite(loss) and history.last_loss is not None:
        loss = history.last_loss
    saves = history.counts["checkpoint"]
    sha = results.get("parameters_sha256", description.get("parameters_sha256"))
    rows = number(part(description, "plan"), "rows")
    share = shown(peak / budget if budget > 0 else math.nan, ".0%")
    found = {
        "validation loss": shown(best[0], ".5g") if best else NOTHING,
        "best step": f"{best[1]:,.0f}" if best else NOTHING,
        **{name: shown(number(measured, key), form) for name, (key, form) in _MEASURED.items()},
        "training loss": shown(loss, ".5g", "not finite"),
        "rows": shown(rows, ",.0f"),
        "steps": f"{end.step:,.0f}",
        "epochs": shown(number(results, "epochs"), ",.0f"),
        "training time": duration(seconds),
        "total time": duration(number(results, "total_seconds")),
        "rows/s": shown(end.rows / seconds, ",.0f"),
        "GB/s": shown(end.bytes / seconds / 1e9, ".3g"),
        "peak memory": share if share == NOTHING else f"{share} of {format_size(budget)}",
        "waiting": shown(end.wait_seconds / seconds, ".0%"),
        "lanes": describe_lanes(results, seconds) or NOTHING,
        "saves": f"{saves:,} in {history.save_seconds:.2f} s" if saves else "0",
        "resumes": f"{history.counts['resume']:,}",
        "started": moment(results.get("started")),
        "machine": text(description.get("machine")),
        "parameters sha256": str(sha)[:8] if sha else NOTHING,
    }
    return {name: found[name] for name in RESULTS}


def part(description: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object inside a description; an empty one where there is none."""
    found = description.get(key)
    return found if isinstance(found, dict) else {}


def text(value: Any) -> str:
    """Write a setting from a file shortly.

    Examples
    --------
    >>> text(True), text([64, 32]), text(0.1234567)
    ('yes', '64, 32', '0.123457')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(text(item) for item in value[:8]) + (", …" if len(value) > 8 else "")
    words = str(value)
    return words if len(words) <= 80 else words[:38] + "…" + words[-38:]


def shown(value: float, form: str, otherwise: str = NOTHING) -> str:
    """Write a number in a form, or what stands for one that is not finite."""
    return format(value, form) if math.isfinite(value) else otherwise


def duration(seconds: float) -> str:
    """Write a time.

    Examples
    --------
    >>> duration(0.0213), duration(65), duration(7325)
    ('0.021 s', '1 min 5 s', '2 h 2 min')
    """
    if not math.isfinite(seconds) or seconds < 0:
        return NOTHING
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(value: Any) -> str:
    """Write a time from a file, such as 2026-11-28T22:31:05+00:00.

    Examples
    --------
    >>> moment("2026-11-28T22:31:05+00:00")
    '28 Nov 2026 22:31 UTC'
    """
    try:
        return f"{datetime.fromisoformat(value):%d %b %Y %H:%M %Z}".strip()
    except (TypeError, ValueError):
        return NOTHING


def _batch_size(history: History, description: Mapping[str, Any]) -> Any:
    if history.batch_sizes is not None:
        first, last = history.batch_sizes
        return f"{first:,.0f}" if first == last else f"{first:,.0f} to {last:,.0f}"
    return description.get("batch_size", part(description, "plan").get("batch_size"))

"""What a run came to, in figures: classes, calibration, residuals, coefficients, found rates."""

import math
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.report.cells import part
from ooc.report.figures import GREY, Figure, Named, number_free, numbers, short
from ooc.report.history import History
from ooc.report.runs import ReportedRun
from ooc.runs import checkpoint
from ooc.runs.classes import names_in

# Counts are written into the cells of matrices of so many classes.
WRITTEN_CLASSES = 8
# Coefficients that are drawn, the largest first; classes of each; and entries that are looked at.
LARGEST, MOST_OUTPUTS, MOST_COEFFICIENTS = 20, 6, 2**20
OUTPUT_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def range_test_figure(runs: Sequence[Named], histories: Sequence[History]) -> Figure | None:
    """Return the losses after descents at each rate that was tried, and the rate that was taken."""
    data, seen = list[dict[str, Any]](), set[tuple[Any, ...]]()
    for i, (run, history) in enumerate(zip(runs, histories, strict=True)):
        if history.range_test is None:
            continue
        rate, trials = history.range_test
        finite = [(tried, loss) for tried, loss in trials if math.isfinite(loss)]
        # Runs of a sweep share one test.
        if not finite or (key := (rate, *trials)) in seen:
            continue
        seen.add(key)
        x, y = zip(*finite, strict=True)
        shared = {"type": "scatter", "meta": i, "name": run.name}
        line = {"color": run.style.colour, "dash": run.style.dash, "width": 1.7}
        hover = "rate %{x:.3~g}: loss %{y:.5~g}<extra></extra>"
        data.append(
            {
                **shared, "mode": "lines+markers", "x": numbers(x), "y": numbers(y),
                "line": line, "hovertemplate": hover,
            }
        )  # fmt: skip
        at = min(finite, key=lambda pair: abs(math.log(pair[0] / rate)))
        marker = {"size": 13, "symbol": "circle-open", "color": run.style.colour}
        chosen = f"chosen: {rate:.3g}"
        data.append(
            {
                **shared, "mode": "markers+text", "x": numbers([at[0]]), "y": numbers([at[1]]),
                "marker": marker | {"line": {"width": 2.5}}, "hoverinfo": "skip",
                "text": [chosen], "textposition": "top right", "cliponaxis": False,
                "showlegend": False,
            }
        )  # fmt: skip
    if not data:
        return None
    title = "Learning rates that were tried"
    if len(data) > 2:
        data = [{**trace, "mode": trace["mode"].removesuffix("+text")} for trace in data]
    losses = [loss for trace in data for loss in trace["y"] if loss is not None]
    low, high = min(losses), max(losses)
    axis: dict[str, Any] = {"title": {"text": "loss after it"}}
    if low > 0 and high > 8 * low:
        axis |= {"type": "log"}
    layout = {
        "xaxis": {"title": {"text": "learning rate"}, "type": "log", "dtick": 1},
        "yaxis": axis,
        "hovermode": "closest",
        "showlegend": False,
    }
    alt = f"{title}, loss from {low:.4g} to {high:.4g}"
    return Figure(title, alt, data, layout)


def calibration_figure(
    runs: Sequence[Named], evaluations: Sequence[Mapping[str, Any]]
) -> Figure | None:
    """Return how often labels are right beside the probability with which they were predicted."""
    data = list[dict[str, Any]]()
    for i, (run, evaluation) in enumerate(zip(runs, evaluations, strict=True)):
        columns = columns_of(evaluation.get("calibration"), "predicted", "observed", "weight")
        if columns is None:
            continue
        predicted, observed, weight = columns
        sizes = 5 + 9 * np.sqrt(weight / weight.max())
        shares = weight / weight.sum()
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": numbers(predicted),
                "y": numbers(observed), "customdata": numbers(shares), "name": run.name, "meta": i,
                "line": {"color": run.style.colour, "dash": run.style.dash, "width": 1.4},
                "marker": {"size": numbers(sizes, 3), "opacity": 0.75},
                "showlegend": False,
                "hovertemplate": "predicted %{x:.1%}, observed %{y:.1%}<br>"
                f"%{{customdata:.1%}} of the rows<extra>{number_free(run.name)}</extra>",
            }
        )  # fmt: skip
    if not data:
        return None
    diagonal = {
        "type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "layer": "below",
        "line": {"color": GREY, "dash": "dash", "width": 1.2},
    }  # fmt: skip
    share: dict[str, Any] = {"range": [-0.03, 1.03], "tickformat": ".0%"}
    layout = {
        "xaxis": {**share, "title": {"text": "predicted probability"}},
        "yaxis": {**share, "title": {"text": "share that is so"}},
        "shapes": [diagonal],
        "hovermode": "closest",
    }
    title = "Calibration"
    return Figure(title, f"{title}, {len(data)} of {len(runs)} runs, from 0% to 100%", data, layout)


def residual_figure(
    runs: Sequence[Named], evaluations: Sequence[Mapping[str, Any]]
) -> Figure | None:
    """Return histograms of residuals as steps, all as shares of the rows."""
    data, ends = list[dict[str, Any]](), list[float]()
    for i, (run, evaluation) in enumerate(zip(runs, evaluations, strict=True)):
        found = part(evaluation, "residuals")
        columns = columns_of(found, "edges", "weight", uneven=True)
        if columns is None or len(columns[0]) != len(columns[1]) + 1:
            continue
        edges, weight = columns
        ends += [float(edges[0]), float(edges[-1])]
        width = np.diff(edges)
        density = weight / weight.sum() / np.where(width > 0, width, 1.0)
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": run.name, "meta": i,
                "x": numbers([edges[0], *edges]), "y": numbers([0.0, *density, 0.0]),
                "line": {
                    "color": run.style.colour, "dash": run.style.dash, "width": 1.6, "shape": "hv",
                },
                "showlegend": False,
                "hovertemplate": "%{x:.4~g}<extra>" + number_free(run.name) + "</extra>",
                **({"fill": "tozeroy"} if len(runs) == 1 else {}),
            }
        )  # fmt: skip
    if not data:
        return None
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    layout = {
        "xaxis": {"title": {"text": "target minus prediction"}},
        "yaxis": {"title": {"text": "density"}, "rangemode": "tozero", "showticklabels": False},
        "shapes": [{**zero, "line": {"color": GREY, "dash": "dash", "width": 1}}],
        "hovermode": "closest",
    }
    title = "Residuals"
    extremes = f"from {min(ends):.4g} to {max(ends):.4g}"
    return Figure(title, f"{title}, {len(data)} of {len(runs)} runs, {extremes}", data, layout)


def matrix_figure(run: ReportedRun) -> Figure | None:
    """Return a confusion matrix: of each true label, how many were taken for what."""
    try:
        matrix = np.array(run.evaluation.get("confusion_matrix"), np.float64)
    except (TypeError, ValueError):
        return None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        return None
    classes = len(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-300)
    labels = [short(label) for label in run.class_names(classes)]
    if len(set(labels)) < classes:
        labels = [str(label) for label in range(classes)]
    trace: dict[str, Any] = {
        "type": "heatmap", "x": labels, "y": labels, "z": [numbers(row, 4) for row in shares],
        "text": [[f"{count:,.9g}" for count in row] for row in matrix], "zmin": 0, "zmax": 1,
        "colorscale": [[0, "#ffffff"], [0.5, "#7fb2d9"], [1, "#08519c"]], "showscale": False,
        "xgap": 1, "ygap": 1,
        "hovertemplate": "true %{y}, predicted %{x}: %{text} rows, "
        "%{z:.1%} of the true ones<extra></extra>",
    }  # fmt: skip
    if classes <= WRITTEN_CLASSES:
        trace["texttemplate"] = "%{text}"
    axis = {"type": "category", "showgrid": False, "constrain": "domain"}
    many = {"nticks": 20} if classes > WRITTEN_CLASSES else {"dtick": 1}
    layout = {
        "xaxis": {**axis, **many, "title": {"text": "predicted"}},
        "yaxis": {**axis, **many, "title": {"text": "true"}, "autorange": "reversed"},
        "height": min(520, max(240, 130 + 44 * classes)),
        "hovermode": "closest",
    }
    right = np.trace(matrix) / max(matrix.sum(), 1e-300)
    alt = f"Confusion matrix of {classes} classes, {right:.1%} on its diagonal"
    return Figure("Confusion matrix", alt, [trace], layout)


def coefficient_figure(run: ReportedRun) -> Figure | None:
    """Return the largest coefficients of a linear model by the names of features."""
    found = _coefficients(run)
    if found is None:
        return None
    coefficients, names, classes = found
    outputs = len(coefficients)
    called = [f"class {short(name)}" for name in run.class_names(outputs)]
    most = LARGEST if outputs == 1 else LARGEST // 2
    chosen = np.argsort(-np.abs(coefficients).max(axis=0), kind="stable")[:most]
    colours = OUTPUT_COLOURS if outputs > 1 else ("#0072b2",)
    data = [
        {
            "type": "bar", "orientation": "h", "x": numbers(coefficients[k][chosen]),
            "y": [escape(names[j]) for j in chosen],
            "name": called[k] if classes else f"output {k}",
            "marker": {"color": colours[k]}, "showlegend": outputs > 1,
            "hovertemplate": "%{y}: %{x:.5~g}",
        }
        for k in range(outputs)
    ]  # fmt: skip
    layout = {
        "height": 110 + len(chosen) * (16 if outputs == 1 else 6 + 9 * outputs),
        "xaxis": {"title": {"text": "coefficient"}, "zerolinecolor": GREY},
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category", "dtick": 1},
        "hovermode": "closest",
        "bargap": 0.25,
    }
    features = coefficients.shape[1]
    which = f"the {len(chosen)} largest of {features:,}" if features > most else "all"
    title = f"Coefficients, {which}"
    extremes = f"from {coefficients.min():.4g} to {coefficients.max():.4g}"
    return Figure(title, f"{title}, {extremes}", data, layout)


def columns_of(value: Any, *names: str, uneven: bool = False) -> list[np.ndarray] | None:
    """Return lists of numbers of an object from a file; None where they are not what they seem."""
    try:
        columns = [np.array(value[name], np.float64) for name in names]
    except (TypeError, ValueError, LookupError):
        return None
    lengths = {len(column) if column.ndim == 1 else 0 for column in columns}
    sound = all(np.isfinite(column).all() for column in columns)
    if 0 in lengths or not sound or (len(lengths) > 1 and not uneven) or columns[-1].min() < 0:
        return None
    return columns if columns[-1].sum() > 0 else None


def _coefficients(run: ReportedRun) -> tuple[np.ndarray, list[str], int] | None:
    """Return coefficients (K, F) of features as they are, their names, and how many classes."""
    from ooc.export.trained import Trained
    from ooc.models import from_config
    from ooc.models.coefficients import linear_parts

    shape, config = run.description.get("row_shape"), part(run.description, "model")
    is_shape = isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape)
    if not is_shape or math.prod(shape or ()) > MOST_COEFFICIENTS:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):
            model = from_config(config)
            layout = model.layout(tuple(shape or ()))
            if "coefficients" not in layout.shapes or layout.size > MOST_COEFFICIENTS:
                return None
            parameters = checkpoint.load(run.path)[0]["parameters"]
            if parameters.shape != (layout.size,) or not np.isfinite(parameters).all():
                return None
            coefficients, _ = linear_parts(model, layout, parameters)
            names = names_in(run.description, "feature_names")
            trained = Trained(model, layout, parameters, tuple(shape or ()), names)
    except (InputError, TypeError, ValueError, LookupError, AttributeError, OverflowError):
        return None
    if len(coefficients) > MOST_OUTPUTS:
        return None
    return coefficients, trained.features, trained.classes

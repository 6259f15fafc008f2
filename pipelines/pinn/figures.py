"""What was found, where it is wrong, where points are, and how the terms of the loss fell."""

from typing import Any

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.pinn.case import Case, Profile
from pipelines.pinn.points import sum_of_squares
from pipelines.pinn.training import Solution, reference_of

GRID = 121
COLOURS = 10  # of matplotlib, before they begin again


def draw(case: Case, solution: Solution) -> Picture:
    """Draw a solution, its error, the residual, the points, and the terms of the loss."""
    problem, geometry = solution.problem, solution.problem.geometry
    name = (case.shown or tuple(problem.outputs))[0]
    figure = new_figure(15, 8.4)
    axes = figure.subplots(2, 3).reshape(-1)
    is_line = len(geometry.coordinates) == 1
    fields = _on_line(problem, solution, name) if is_line else _on_grid(problem, solution, name)
    for axis, (title, values, is_size) in zip(axes, fields["shown"], strict=False):
        if is_line:
            axis.plot(fields["x"], values, color="tab:blue")
            axis.set_xlabel(geometry.coordinates)
            if is_size:
                axis.set_yscale("log")
        else:
            _field(figure, axis, geometry, values, is_size)
        axis.set_title(title)
    _points(axes[3], solution)
    _history(axes[4], solution)
    free = [*axes[len(fields["shown"]) : 3], axes[5]]
    for axis, profile in zip(free, case.profiles, strict=False):
        _known_profile(axis, solution, profile)
    for axis in free[len(case.profiles) : -1]:
        axis.set_axis_off()
    if len(case.profiles) < len(free):
        _profile(axes[5], problem, solution, name)
    return picture(
        figure,
        problem.name,
        f"{problem.name}: {name}, its error against the reference, the residual, the points of the "
        "last round, and the terms of the loss; dashed, where L-BFGS took over; dotted, where "
        "points were drawn anew.",
        f"Fields of {name} and its error over the geometry, and curves of the loss that fall.",
    )


def _on_line(problem: Any, solution: Solution, name: str) -> dict[str, Any]:
    (low, high), count = problem.geometry.bounds[0], 401
    points = np.linspace(low, high, count)[:, None]
    found = solution(points)[name]
    shown = [(f"{name}", found, False)]
    if problem.reference is not None:
        error = np.abs(found - reference_of(problem, points)[name])
        shown.append((f"error of {name}", np.maximum(error, 1e-16), True))
    size = np.sqrt(sum_of_squares(problem, solution.model, solution.parameters, points))
    shown.append(("residual", np.maximum(size, 1e-16), True))
    return {"x": points[:, 0], "shown": shown}


def _on_grid(problem: Any, solution: Solution, name: str) -> dict[str, Any]:
    axes = [np.linspace(low, high, GRID) for low, high in problem.geometry.bounds]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = problem.geometry.distance(points) <= 0

    def whole(values: np.ndarray) -> np.ndarray:
        field = np.full(len(points), np.nan)
        field[inside] = values
        return field.reshape(GRID, GRID)

    found = solution(points[inside])[name]
    shown = [(name, whole(found), False)]
    if problem.reference is not None:
        error = np.abs(found - reference_of(problem, points[inside])[name])
        shown.append((f"error of {name}", whole(np.maximum(error, 1e-16)), True))
    squares = sum_of_squares(problem, solution.model, solution.parameters, points[inside])
    shown.append(("residual", whole(np.sqrt(squares)), True))
    return {"shown": shown}


def _field(figure: Any, axis: Any, geometry: Any, values: np.ndarray, is_size: bool) -> None:
    """Draw a field over two coordinates; sizes on a logarithmic scale of four decades."""
    options: dict[str, Any] = {"cmap": "magma", "norm": "log"} if is_size else {"cmap": "viridis"}
    extent = [value for pair in geometry.bounds for value in pair]
    if is_size:
        top = float(np.nanmax(values))
        values = np.maximum(values, top * 1e-4)
    image = axis.imshow(values.T, origin="lower", extent=extent, aspect="auto", **options)
    axis.locator_params(axis="x", nbins=5)
    axis.set_xlabel(geometry.coordinates[0])
    axis.set_ylabel(geometry.coordinates[1])
    figure.colorbar(image, ax=axis)


def _points(axis: Any, solution: Solution) -> None:
    places, tags = solution.points.places, solution.points.tags
    is_line = places.shape[1] == 1
    for tag, name in enumerate(solution.problem.tags):
        of = places[tags == tag]
        if is_line:
            span = solution.problem.geometry.bounds[0]
            axis.hist(of[:, 0], bins=60, range=span, label=name, alpha=0.7)
        else:
            axis.plot(of[:, 0], of[:, 1], ".", markersize=2, label=name)
    axis.set_xlabel(solution.problem.geometry.coordinates[0])
    axis.set_ylabel("points" if is_line else solution.problem.geometry.coordinates[1])
    axis.set_title(f"{len(tags):,} points of the last round")
    axis.legend(fontsize=7, markerscale=5, loc="upper right")


def _history(axis: Any, solution: Solution) -> None:
    passes = [line.passes for line in solution.history]
    for number, term in enumerate(solution.model.terms):
        values = [max(line.terms.get(term, np.nan), 1e-20) for line in solution.history]
        style = "-" if number < COLOURS else "--"
        axis.plot(passes, values, style, linewidth=1, label=term)
    axis.set_yscale("log")
    if np.isfinite(solution.switch):
        axis.axvline(solution.switch, color="black", linestyle="--", label="L-BFGS takes over")
    for number, end in enumerate(solution.rounds[:-1]):
        label = "points are drawn anew" if number == 0 else None
        axis.axvline(end, color="grey", linestyle=":", label=label)
    axis.set_xlabel("passes over the points")
    axis.set_title("mean squared residual of each term")
    axis.legend(fontsize=7)


def _known_profile(axis: Any, solution: Solution, profile: Profile) -> None:
    """Draw an output along a line, beside what is known of it."""
    coordinates, points = solution.problem.geometry.coordinates, profile.points
    along = int(np.ptp(points, axis=0).argmax())
    low, high = points[:, along].min(), points[:, along].max()
    line = np.tile(points[0], (401, 1))
    line[:, along] = np.linspace(low, high, 401)
    axis.plot(line[:, along], solution(line)[profile.output], color="tab:red", label="network")
    axis.plot(points[:, along], profile.values, "k.", label=profile.source)
    where = ", ".join(
        f"{name}={points[0, place]:.3g}" for place, name in enumerate(coordinates) if place != along
    )
    axis.set_title(f"{profile.output} along {coordinates[along]}, {where}")
    axis.set_xlabel(coordinates[along])
    axis.legend()


def _profile(axis: Any, problem: Any, solution: Solution, name: str) -> None:
    """Draw the output along the middle of the last coordinate, beside the reference."""
    middle = [0.5 * (low + high) for low, high in problem.geometry.bounds]
    low, high = problem.geometry.bounds[0]
    points = np.tile(middle, (401, 1))
    points[:, 0] = np.linspace(low, high, 401)
    points = points[problem.geometry.distance(points) <= 0]
    axis.plot(points[:, 0], solution(points)[name], color="tab:red", label="network")
    if problem.reference is not None:
        known = reference_of(problem, points)[name]
        axis.plot(points[:, 0], known, color="black", linestyle="--", label="reference")
    where = ", ".join(
        f"{c}={v:.3g}" for c, v in zip(problem.geometry.coordinates[1:], middle[1:], strict=True)
    )
    axis.set_title(f"{name} along {problem.geometry.coordinates[0]}" + f", {where}" * bool(where))
    axis.set_xlabel(problem.geometry.coordinates[0])
    axis.legend()

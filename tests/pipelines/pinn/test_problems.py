"""Problems: references obey their equations, conditions are complete, the whole is learned."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.models.pinn import PINN
from pipelines.pinn.balance import weights
from pipelines.pinn.case import grid
from pipelines.pinn.geometry import box
from pipelines.pinn.points import draw, draw_again, sum_of_squares
from pipelines.pinn.problem import FREE, Problem
from pipelines.pinn.problems import CASES, beams, burgers, cavity, plasma, plate, poisson
from pipelines.pinn.training import Training, solve

OWN = Path(__file__).parents[3] / "pipelines" / "pinn" / "own_problem.py"


def slope(values: np.ndarray, step: float, axis: int) -> np.ndarray:
    """Return central differences of fourth order, without two values at each end."""
    at = [np.take(values, range(k, values.shape[axis] - 4 + k), axis) for k in range(5)]
    return (at[0] - 8 * at[1] + 8 * at[3] - at[4]) / (12 * step)


@pytest.mark.parametrize("case", beams.CASES, ids=lambda case: case.problem.name)
def test_closed_forms_of_beams_obey_their_laws(case) -> None:  # type: ignore[no-untyped-def]
    """Polynomials of fourth order: finite differences of them are exact but for rounding."""
    problem = case.problem
    ((low, high),) = problem.geometry.bounds
    x, step = np.linspace(low, high, 9), (high - low) / 8
    w = np.polynomial.Polynomial.fit(x, problem.reference(x[:, None])["w"], 4)
    for places, laws in (
        (x, problem.inside), *(
            (np.array([end]), laws)
            for end, laws in zip((low, high), problem.boundary.values(), strict=True)
        ),
    ):  # fmt: skip
        for law in laws:
            (name,) = law.__code__.co_varnames[: law.__code__.co_argcount]
            order = len(name.partition("_")[2])
            value = w(places) if order == 0 else w.deriv(order)(places)
            np.testing.assert_allclose(law(value), 0.0, atol=1e-9)
    assert step > 0


def test_the_reference_of_the_ell_obeys_its_equation_and_its_boundary() -> None:
    """By finite differences; on the boundary to a thousandth of its largest value, 0.1494."""
    h = 1e-3
    x, y = np.meshgrid(-0.5 + h * np.arange(5), 0.4 + h * np.arange(5), indexing="ij")
    u = poisson.reference(np.stack([x, y], axis=-1).reshape(-1, 2))["u"].reshape(5, 5)
    laplacian = (u[1, 2] + u[3, 2] + u[2, 1] + u[2, 3] - 4 * u[2, 2]) / h**2
    assert laplacian == pytest.approx(-1.0, abs=1e-5)
    top = poisson.reference(grid(poisson.PROBLEM, 61))["u"].max()
    assert top == pytest.approx(0.1494, abs=1e-4)  # by quadratic finite elements, scikit-fem
    edge = poisson.ell().draw_boundary(50, np.random.default_rng(0))
    for points in edge.values():
        assert np.abs(poisson.reference(points)["u"]).max() < 1e-4


def test_the_reference_of_the_plate_obeys_its_laws() -> None:
    h = 1e-3
    axis = h * np.arange(9)
    x, y = np.meshgrid(1.3 + axis, 0.8 + axis, indexing="ij")
    known = plate.reference(np.stack([x, y], axis=-1).reshape(-1, 2))
    field = {name: values.reshape(9, 9) for name, values in known.items()}
    by = {
        f"{name}_{c}": slope(values, h, a)[(slice(None), slice(2, -2))[:: 1 if a == 0 else -1]]
        for name, values in field.items()
        for a, c in enumerate("xy")
    }
    inner = {name: values[2:-2, 2:-2] for name, values in field.items()}
    for law in plate.PROBLEM.inside:
        names = law.__code__.co_varnames[: law.__code__.co_argcount]
        residual = law(*({**inner, **by}[name] for name in names))
        np.testing.assert_allclose(residual, 0.0, atol=1e-8)
    top = plate.reference(np.array([[0.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(top["p"], [3.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(top["q"], [0.0, -1.0], atol=1e-12)
    for tag, points in plate.PROBLEM.geometry.draw_boundary(40, np.random.default_rng(0)).items():
        found = plate.reference(points)
        normals = plate.PROBLEM.geometry.normals(points)
        given = {**found, "n_x": normals[:, 0], "n_y": normals[:, 1], **dict(zip("xy", points.T))}  # noqa: B905
        for law in plate.PROBLEM.boundary[tag]:
            names = law.__code__.co_varnames[: law.__code__.co_argcount]
            np.testing.assert_allclose(law(*(given[name] for name in names)), 0.0, atol=1e-6)


def test_the_equilibrium_of_the_plasma_obeys_its_equation() -> None:
    h = 1e-2
    R, z = np.meshgrid(1.1 + h * np.arange(9), 0.2 + h * np.arange(9), indexing="ij")  # noqa: N806
    u = plasma.reference(np.stack([R, z], axis=-1).reshape(-1, 2))["u"].reshape(9, 9)
    first, across = slope(u, h, 0), slope(slope(u, h, 0), h, 0)
    up = slope(slope(u, h, 1), h, 1)
    residual = plasma.equilibrium(across[:, 4], first[2:-2, 4], up[4], R[4:-4, 4])
    np.testing.assert_allclose(residual[0], 0.0, atol=1e-7)
    edge = plasma.PROBLEM.geometry.draw_boundary(100, np.random.default_rng(0))["edge"]
    assert np.abs(plasma.reference(edge)["u"]).max() < 1e-12


@pytest.mark.slow
def test_the_spectral_solver_has_converged_and_agrees_with_cole_and_hopf() -> None:
    x, times, values = burgers.spectral()
    _, _, coarse = burgers.spectral(1024, 2000)
    assert np.abs(values[:, ::2] - coarse).max() < 1e-4
    # u = -integral of sin(pi (x - s)) f / integral of f (Basdevant et al. 1986), at t = 0.5.
    nodes, factors = np.polynomial.hermite.hermgauss(200)
    row, viscosity = int(np.argmin(np.abs(times - 0.5))), burgers.VISCOSITY
    for place in (200, 900, 1100, 1500):
        s = x[place] - np.sqrt(4 * viscosity * times[row]) * nodes
        exponent = -np.cos(np.pi * s) / (2 * np.pi * viscosity)
        f = factors * np.exp(exponent - exponent.max())
        assert values[row, place] == pytest.approx(
            -np.sum(np.sin(np.pi * s) * f) / f.sum(), abs=1e-8
        )


def test_the_table_of_the_cavity_is_as_printed() -> None:
    assert (
        len(cavity.GHIA_Y) == len(cavity.GHIA_U) == len(cavity.GHIA_X) == len(cavity.GHIA_V) == 17
    )
    assert min(cavity.GHIA_U) == -0.21090
    assert min(cavity.GHIA_V) == -0.24533
    # The flow through either middle line is none: what goes one way comes back.
    for places, speeds in ((cavity.GHIA_Y, cavity.GHIA_U), (cavity.GHIA_X, cavity.GHIA_V)):
        assert abs(np.trapezoid(speeds, places)) < 0.01


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.problem.name)
def test_nothing_that_training_sees_holds_a_solution(case) -> None:  # type: ignore[no-untyped-def]
    """Rows are places, tags and normals; laws inside take outputs' slopes, and no target."""
    points = draw(case.problem, np.random.default_rng(0))
    assert points.places.shape[1] == len(case.problem.geometry.coordinates)
    assert not case.problem.model().needs_target
    case.problem.geometry.check_inside(points.places)
    assert set(points.tags) == set(range(len(case.problem.tags)))


def test_a_boundary_without_a_condition_is_refused() -> None:
    def heat(u_xx):  # type: ignore[no-untyped-def]
        return u_xx

    def cold(u):  # type: ignore[no-untyped-def]
        return u

    line = box(x=(0, 1))
    with pytest.raises(InputError, match="rod: the boundary x=1 has no condition; give it one, or"):
        Problem("rod", line, ["u"], [heat], {"x=0": [cold]})
    with pytest.raises(InputError, match="a condition for x=2, and the geometry has x=0, x=1"):
        Problem("rod", line, ["u"], [heat], {"x=0": [cold], "x=1": FREE, "x=2": [cold]})
    rod = Problem("rod", line, ["u"], [heat], {"x=0": [cold], "x=1": FREE})
    assert rod.tags == ("inside", "x=0")


@pytest.mark.slow
def test_weights_make_terms_learn_at_one_pace() -> None:
    """Traces by gradients of single residuals, which finite differences give."""
    problem = beams.CASES[0].problem
    points = draw(problem, np.random.default_rng(0))
    model: PINN = problem.model()
    parameters = model.init(model.layout((1,)), np.random.default_rng(1))
    found = weights(model, parameters, points, 0)
    shares = [np.mean(points.tags == tag) for tag in model.term_tags]
    own = np.array(found) * shares
    end = np.array([[0.0]])
    squares = {}
    for law, place in ((beams.held, 1), (beams.level, 2)):
        slopes = []
        for each in range(parameters.size):
            moved = np.zeros(parameters.size)
            moved[each] = 1e-6
            above, below = (
                model.evaluate(law, parameters + sign * moved, end)[0, 0] for sign in (1, -1)
            )
            slopes.append((above - below) / 2e-6)
        squares[place] = float(np.sum(np.square(slopes)))
    assert own[1] / own[2] == pytest.approx(squares[2] / squares[1], rel=1e-5)


@pytest.mark.slow
def test_points_are_drawn_again_where_residuals_are_large() -> None:
    problem = poisson.PROBLEM
    model, rng = problem.model(), np.random.default_rng(0)
    parameters = 2 * model.init(model.layout((2,)), rng)
    before, after = draw(problem, rng), draw_again(problem, model, parameters, rng)
    sizes = [
        np.sqrt(sum_of_squares(problem, model, parameters, each.of(0).places)).mean()
        for each in (before, after)
    ]
    assert sizes[1] > 1.1 * sizes[0]
    assert len(after.tags) == len(before.tags)


@pytest.mark.slow
def test_a_problem_of_ones_own_is_solved_and_fits_forty_lines(tmp_path: Path) -> None:
    assert len(OWN.read_text().splitlines()) <= 40
    readme = (OWN.parent / "README.md").read_text()
    assert OWN.read_text().split('"""', 2)[2].strip() in readme
    problem = runpy.run_path(str(OWN))["PROBLEM"]
    solution = solve(problem, Training(tmp_path, rounds=1, passes=200))
    # Heat flows in: it is warm between the cold places, and nowhere hotter than the source allows.
    warm = solution(np.array([[0.3, 0.5], [1.5, 0.5]]))["u"]
    assert (warm > 0).all()
    terms = solution.history[-1].terms
    assert terms["heat"] < 0.1 * solution.history[0].terms["heat"]
    with pytest.raises(InputError, match="beyond hole"):
        solution(np.array([[0.8, 0.5]]))


@pytest.mark.slow
def test_a_beam_is_solved_from_its_laws(tmp_path: Path) -> None:
    case = beams.CASES[0]
    solution = solve(case.problem, Training(tmp_path, rounds=2, passes=300))
    assert solution.error(grid(case.problem, 201), "w") < 1e-4
    assert 0 < solution.switch < 300

"""Small networks with flux spaces of known shape, and a problem that a model is made for."""

from functools import cache

import numpy as np

from pipelines.metabolic_flux.data import sources_of
from pipelines.metabolic_flux.environment import conditions_of, descriptors
from pipelines.metabolic_flux.frame import frame_of
from pipelines.metabolic_flux.mirror import faces_of
from pipelines.metabolic_flux.model import Problem
from pipelines.metabolic_flux.network import Network, generate_network


def box(sides: tuple[float, ...]) -> Network:
    """Return fluxes of no metabolite but one that is not used: any between 0 and its side."""
    count = len(sides)
    names = tuple(f"v{k}" for k in range(count))
    matrix = np.zeros((1, count))
    return Network("box", ("m",), names, matrix, np.zeros(count), np.array(sides), 0)


def simplex(count: int) -> Network:
    """Return one influx of 1 that is shared by so many outfluxes."""
    matrix = np.ones((1, count + 1))
    matrix[0, 1:] = -1.0
    names = ("in", *(f"out{k}" for k in range(count)))
    lower = np.concatenate([[1.0], np.zeros(count)])
    return Network("simplex", ("m",), names, matrix, lower, np.ones(count + 1), 1)


@cache
def small_problem() -> tuple[Problem, list[np.ndarray]]:
    """Return a problem of two conditions of a generated network, and states of each."""
    network = generate_network(12, 26, 3)
    conditions = conditions_of(network, 2)
    sources = sources_of(network, conditions, 0)
    frame = frame_of(network, [each.space for each in sources])
    states = [each.space.centre + each.starts @ each.space.basis for each in sources]
    scales = np.concatenate(states).std(axis=0)
    scales = np.where(scales > 0, scales, 1.0)
    faces = faces_of(frame, states)
    return Problem(network, frame, descriptors(conditions), scales, faces), states

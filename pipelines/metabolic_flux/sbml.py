"""Networks from SBML files, read by libSBML: any model with flux bounds of the package "fbc"."""

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from pipelines.metabolic_flux.network import LARGEST_FLUX, Network

# Errors that libSBML reports beside a model that can be used are of a lower severity.
_ERROR = 2


def read_sbml(path: Path) -> Network:
    """Read a network of SBML level 3 with flux bounds (Olivier and Bergmann 2015, "fbc").

    Species with a boundary condition are not balanced. Bounds that are infinite become
    `LARGEST_FLUX`.

    Parameters
    ----------
    path
        Of an SBML file, plain or compressed by gzip.

    Raises
    ------
    InputError
        If libSBML is not installed, the file is no SBML, or it lacks bounds or an objective; the
        reaction is named.
    """
    try:
        import libsbml
    except ModuleNotFoundError:
        raise InputError(
            "SBML is read by python-libsbml, which is not installed: pip install '.[sbml]'"
        ) from None
    document = libsbml.readSBMLFromString(_text_of(path))
    if document.getNumErrors(_ERROR) or document.getModel() is None:
        reason = " ".join(document.getErrorLog().getError(0).getShortMessage().split())
        raise InputError(f"{path} is no SBML that can be read: {reason}")
    model = document.getModel()
    fbc = model.getPlugin("fbc")
    if fbc is None or fbc.getActiveObjective() is None:
        raise InputError(
            f"{path} has no flux bounds and objective of the SBML package fbc; convert it to level "
            "3 with fbc version 2, as cobrapy's write_sbml_model does"
        )
    balanced = [s.getId() for s in model.getListOfSpecies() if not s.getBoundaryCondition()]
    rows = {name: row for row, name in enumerate(balanced)}
    reactions = list(model.getListOfReactions())
    matrix = np.zeros((len(rows), len(reactions)))
    bounds = np.zeros((2, len(reactions)))
    for column, reaction in enumerate(reactions):
        for sign, sides in ((-1, reaction.getListOfReactants()), (1, reaction.getListOfProducts())):
            for side in sides:
                if side.getSpecies() in rows:
                    matrix[rows[side.getSpecies()], column] += sign * side.getStoichiometry()
        bounds[:, column] = _bounds_of(model, reaction, path)
    names = tuple(reaction.getId() for reaction in reactions)
    growth = _objective_of(fbc, names, path)
    name = model.getId() or path.name
    return Network(name, tuple(balanced), names, matrix, bounds[0], bounds[1], growth)


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; name an SBML file") from None
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is no SBML file, plain or of gzip: {error}") from None


def _bounds_of(model: Any, reaction: Any, path: Path) -> tuple[float, float]:
    plugin, found = reaction.getPlugin("fbc"), []
    for side, name in (
        ("lower", plugin.getLowerFluxBound()), ("upper", plugin.getUpperFluxBound())
    ):  # fmt: skip
        parameter = model.getParameter(name) if name else None
        value = math.nan if parameter is None else parameter.getValue()
        if math.isnan(value):
            raise InputError(f"{path}: reaction {reaction.getId()} has no {side} flux bound")
        found.append(min(max(value, -LARGEST_FLUX), LARGEST_FLUX))
    return found[0], found[1]


def _objective_of(fbc: Any, names: tuple[str, ...], path: Path) -> int:
    objective = fbc.getActiveObjective()
    parts = [
        (each.getReaction(), each.getCoefficient())
        for each in objective.getListOfFluxObjectives()
        if each.getCoefficient() != 0
    ]
    if objective.getType() != "maximize" or len(parts) != 1 or parts[0][1] < 0:
        raise InputError(
            f"{path} has objective {objective.getType()} {parts}; one reaction that is maximised, "
            "such as growth, is needed"
        )
    return names.index(parts[0][0])

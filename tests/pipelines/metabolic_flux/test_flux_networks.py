"""Networks are read and generated whole; programs over them agree with what is known."""

import os
from pathlib import Path

import numpy as np
import pytest
from flux_states import box

from ooc.core.errors import InputError
from pipelines.metabolic_flux.environment import applied, conditions_of, descriptors
from pipelines.metabolic_flux.network import Network, generate_network
from pipelines.metabolic_flux.programs import loop_reactions, maximise, ranges, without_loops
from pipelines.metabolic_flux.sbml import read_sbml

FOLDER = os.environ.get("OOC_REAL_DATA")
CORE = pytest.mark.skipif(not FOLDER, reason="OOC_REAL_DATA is not set; it names the core model")


def core() -> Network:
    return read_sbml(Path(str(FOLDER)) / "e_coli_core-textbook.xml.gz")


@CORE
def test_the_core_model_has_its_published_shape_and_optimum() -> None:
    network = core()
    assert network.stoichiometry.shape == (72, 95)
    assert np.count_nonzero(network.stoichiometry) == 360
    assert np.linalg.matrix_rank(network.stoichiometry) == 67
    # Orth, Fleming and Palsson 2010.
    assert maximise(network, network.growth).value == pytest.approx(0.8739, abs=5e-5)


@pytest.mark.slow
@CORE
def test_the_loop_of_the_core_model_is_bounded_and_growth_is_not() -> None:
    network = core()
    loops = loop_reactions(network)
    assert {network.reactions[place] for place in loops} == {"R_FRD7", "R_SUCDi"}
    assert ranges(network, loops).max() == pytest.approx(1000)
    bounded = without_loops(network)
    assert bounded.upper[loops].max() <= 20 + 1e-6
    assert maximise(bounded, network.growth).value == pytest.approx(0.8739, abs=5e-5)


def test_a_loop_of_three_reactions_is_bounded_by_what_is_fed() -> None:
    # in -> a; a -> b -> c -> a turns for ever, a -> out.
    matrix = np.array([
        [1.0, -1, 0, 1, -1],
        [0.0, 1, -1, 0, 0],
        [0.0, 0, 1, -1, 0],
    ])  # fmt: skip
    network = Network(
        "ring", ("a", "b", "c"), ("in", "ab", "bc", "ca", "out"), matrix, np.zeros(5),
        np.array([5.0, 1000, 1000, 1000, 1000]), 4,
    )  # fmt: skip
    assert loop_reactions(network).tolist() == [1, 2, 3]
    assert without_loops(network).upper[1:4].max() < 1e-6


def test_a_generated_network_has_no_loop_and_grows() -> None:
    network = generate_network(30, 60, 0)
    assert len(loop_reactions(network)) == 0
    assert 0 < maximise(network, network.growth).value < 1000


def test_conditions_differ_and_grow() -> None:
    network = generate_network(30, 60, 0)
    found = conditions_of(network, 4)
    assert len({each.name for each in found}) == 4
    assert len(np.unique(descriptors(found), axis=0)) == 4
    for each in found:
        least = applied(network, each).lower[network.growth]
        assert least == pytest.approx(0.1 * each.optimum)


def test_more_conditions_than_there_are_are_refused() -> None:
    with pytest.raises(InputError, match=r"has \d+ conditions in which it grows, not 5000"):
        conditions_of(generate_network(30, 60, 0), 5000)


def test_crossed_bounds_are_told_by_reaction() -> None:
    network = box((1.0, 2.0))
    with pytest.raises(InputError, match=r"v1 has lower bound 3\.0 above its upper bound 2\.0"):
        network.bounded(np.array([0.0, 3.0]), network.upper)


def test_an_unknown_reaction_is_told_with_similar_ones() -> None:
    network = generate_network(12, 30, 0)
    with pytest.raises(InputError, match=r"no reaction 'leave'; did you mean leave0, leave1"):
        network.place("leave")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; name an SBML file"),
        (b"not SBML", "is no SBML that can be read"),
        (b"\x1f\x8bbroken", "is no SBML file, plain or of gzip"),
        (
            b'<?xml version="1.0" encoding="UTF-8"?>'
            b'<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" '
            b'version="1"><model id="m"/></sbml>',
            "has no flux bounds and objective",
        ),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    pytest.importorskip("libsbml")
    path = tmp_path / "model.xml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_sbml(path)

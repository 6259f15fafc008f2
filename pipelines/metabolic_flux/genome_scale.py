"""A network of genome scale in one process of its own: drawn from, learned, and its peak of memory.

``python -m pipelines.metabolic_flux.genome_scale --memory 2GiB`` generates one of 1,800 metabolites
and 2,600 reactions, or reads ``--sbml FILE``; the last line is one JSON object.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

import ooc
from ooc.core.errors import InputError
from ooc.core.process import peak_bytes
from ooc.core.random_keys import Purpose
from ooc.stream.plan import budget_of
from pipelines.metabolic_flux.convergence import effective_size, split_psrf
from pipelines.metabolic_flux.data import Source, open_states
from pipelines.metabolic_flux.environment import Condition
from pipelines.metabolic_flux.frame import frame_of
from pipelines.metabolic_flux.generate import from_network
from pipelines.metabolic_flux.model import FluxAutoencoder, Problem
from pipelines.metabolic_flux.network import Network, generate_network
from pipelines.metabolic_flux.programs import maximise, without_loops
from pipelines.metabolic_flux.sbml import read_sbml
from pipelines.metabolic_flux.space import space_of, walk_from

# Chains, of which a quarter is left out, and sweeps between their kept states.
CHAINS, SWEEPS, BATCH = 4, 16, 128
_PIECE = 200  # fluxes whose convergence is measured at once


def measure(network: Network, rows: int, draws: int, memory: str, folder: Path) -> dict[str, float]:
    """Draw states of a network in its own medium, learn them in its null space; return numbers."""
    begun = perf_counter()
    optimum = maximise(network, network.growth).value
    condition = Condition("fed", int(network.exchanges[0]), 1.0, None, optimum)
    bounded = network.bounded(network.lower.copy(), network.upper.copy())
    bounded.lower[network.growth] = 0.1 * optimum
    space = space_of(without_loops(bounded), 0)
    rounded = perf_counter()
    kept = np.stack(
        [walk_from(space, 100 + chain, draws, SWEEPS)[0][draws // 4 :] for chain in range(CHAINS)]
    )
    walked = perf_counter()
    reached, effective = _convergence(kept, space.basis[:, np.abs(space.basis).max(axis=0) > 0])
    print(f"chains walked for {walked - rounded:.0f} s", file=sys.stderr)
    source = Source(space, kept.reshape(-1, space.dimensions), 0.0, 0.0, 0.0)
    frame = frame_of(network, [space])
    states = space.centre + source.starts @ space.basis
    scales = states.std(axis=0)
    problem = Problem(network, frame, np.zeros((1, 1)), np.where(scales > 0, scales, 1.0), None)
    dataset = open_states(
        folder / "states.zarr", network, (condition,), [source], rows, 0, Purpose.DATA
    )
    model = FluxAutoencoder(problem, form="null space", codes=32, hidden=(64,), bounds=0.1)
    trainer = ooc.Trainer(model, ooc.optim.adam(1e-3), BATCH, memory=memory, seed=0)
    run = trainer.fit(dataset, 2)
    made = from_network(model, run.parameters)(np.zeros(100, np.int64), 0)
    missed = np.abs(made @ network.stoichiometry.T).max(axis=1) / np.abs(made).max(axis=1)
    return {
        "metabolites": len(network.metabolites), "reactions": len(network.reactions),
        "dimensions": space.dimensions, "roundness": space.roundness,
        "psrf_largest": float(reached.max()), "psrf_99_percent": float(np.quantile(reached, 0.99)),
        "effective_least": float(effective.min()), "effective_median": float(np.median(effective)),
        "rounding_seconds": rounded - begun, "walk_seconds": walked - rounded, "rows": rows,
        "loss": run.results["loss"],
        "unbalanced": float(np.median(missed)), "peak_bytes": peak_bytes(),
        "budget_bytes": budget_of(memory), "seconds": perf_counter() - begun,
    }  # fmt: skip


def _convergence(kept: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return split PSRF and effective sample size of the fluxes of chains."""
    reached, effective = [], []
    for first in range(0, basis.shape[1], _PIECE):
        fluxes = kept @ basis[:, first : first + _PIECE]
        reached.append(split_psrf(fluxes))
        effective.append(effective_size(fluxes))
    return np.concatenate(reached), np.concatenate(effective)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one JSON object; return 0 if memory was kept, 1 if not, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.metabolic_flux.genome_scale")
    parser.add_argument("--metabolites", type=int, default=1800, help="of a generated network")
    parser.add_argument("--reactions", type=int, default=2600, help="of a generated network")
    parser.add_argument("--sbml", type=Path, help="a model of one's own instead")
    parser.add_argument("--rows", type=int, default=2000, help="states to learn from")
    parser.add_argument("--draws", type=int, default=1600, help="of each of four chains")
    parser.add_argument("--memory", default="2GiB", help="bytes that the process may use")
    options = parser.parse_args(arguments)
    try:
        network = (
            generate_network(options.metabolites, options.reactions, 0)
            if options.sbml is None
            else read_sbml(options.sbml)
        )
        with tempfile.TemporaryDirectory() as name:
            found = measure(network, options.rows, options.draws, options.memory, Path(name))
    except InputError as error:
        print(f"genome_scale: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found))
    return 0 if found["peak_bytes"] <= found["budget_bytes"] else 1


if __name__ == "__main__":
    sys.exit(main())

"""States of all conditions as a dataset, drawn chunk by chunk in bounded memory.

A row is a state: its fluxes, and the number of its condition beside them. Rows of a chunk take
conditions by turns, so that a window holds all of them. A chunk's chains begin at states that
converged chains drew, and are a function of the chunk's number: the same bits on any number of
threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from ooc.core.progress import Report, silent
from ooc.core.random_keys import Purpose, key
from pipelines.common.dataset import Columns, Dataset, Fields, open_or_make, write
from pipelines.metabolic_flux.convergence import effective_size, split_psrf
from pipelines.metabolic_flux.environment import Condition, applied
from pipelines.metabolic_flux.network import Network
from pipelines.metabolic_flux.programs import without_loops
from pipelines.metabolic_flux.space import Chain, Space, space_of, walk_from

CHAINS, DRAWS = 4, 2000  # of each condition, whose convergence is measured
KEPT = 4  # every fourth of them begins chunks, and tells moments
SWEEPS = 8  # over all coordinates, between kept states
FIRST_SWEEPS = 4  # of them, before a chunk's first state
CHUNK_ROWS = 1400


@dataclass(frozen=True)
class Source:
    """What states of a condition are drawn from.

    Attributes
    ----------
    space
        Rounded.
    starts
        (CHAINS * DRAWS / KEPT, D) coordinates that converged chains drew.
    psrf, effective
        Largest split potential scale reduction factor of its coordinates and its fluxes, and the
        least effective sample size, of all chains together.
    seconds
        That the chains took.
    """

    space: Space
    starts: np.ndarray
    psrf: float
    effective: float
    seconds: float


def source_of(network: Network, condition: Condition, seed: int, number: int) -> Source:
    """Bound loops, round the space of a condition, and run chains until they are seen to agree.

    Chains begin at the centre; a tenth of each is left out.
    """
    space = space_of(without_loops(applied(network, condition)), key(seed, Purpose.TRUTH, number))
    begun, chains, dropped = perf_counter(), [], DRAWS // 10
    for chain in range(CHAINS):
        own = key(seed, Purpose.DRAWS, epoch=number, index=1000 + chain)
        chains.append(walk_from(space, own, DRAWS + dropped, SWEEPS)[0][dropped:])
    seconds = perf_counter() - begun
    kept = np.stack(chains)
    moving = np.ptp(space.basis, axis=0) > 0
    both = np.concatenate([kept, kept @ space.basis[:, moving]], axis=2)
    return Source(
        space, kept[:, ::KEPT].reshape(-1, space.dimensions), float(split_psrf(both).max()),
        float(effective_size(both).min()), seconds,
    )  # fmt: skip


def sources_of(
    network: Network, conditions: Sequence[Condition], seed: int, report: Report = silent
) -> list[Source]:
    """Return the sources of all conditions."""
    return [source_of(network, each, seed, number) for number, each in enumerate(conditions)]


def fields_of(network: Network) -> Fields:
    """Return the arrays of a dataset: fluxes, and the number of the condition."""
    return {"X": ("float32", (len(network.reactions),)), "condition": ("uint16", (1,))}


def states_of(
    sources: Sequence[Source], seed: int, purpose: Purpose, number: int, first: int, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return states of the rows from `first` on, and their conditions, which take turns.

    Returns
    -------
    fluxes, condition
        (rows, R) float64 and (rows,) int64.
    """
    condition = np.arange(first, first + rows) % len(sources)
    fluxes = np.empty((rows, len(sources[0].space.centre)))
    for each, source in enumerate(sources):
        places = np.flatnonzero(condition == each)
        if len(places) == 0:
            continue
        own = key(seed, purpose, epoch=each, index=number)
        begin = source.starts[own % len(source.starts)]
        space = source.space
        chain = Chain(begin, space.centre + begin @ space.basis, own)
        _, chain = walk_from(space, own, 1, SWEEPS * FIRST_SWEEPS, chain)
        kept, _ = walk_from(space, own, len(places), SWEEPS, chain, keep_fluxes=True)
        fluxes[places] = kept
    return fluxes, condition


def open_states(
    path: Path,
    network: Network,
    conditions: Sequence[Condition],
    sources: Sequence[Source],
    rows: int,
    seed: int,
    purpose: Purpose = Purpose.DATA,
) -> Dataset:
    """Open the dataset of so many states, drawn first where it is not there yet."""
    notes = {
        "network": network.name, "seed": seed, "reactions": list(network.reactions),
        "conditions": [each.name for each in conditions], "unit": "mmol/gDW/h",
        "sweeps_between_states": SWEEPS,
    }  # fmt: skip
    chunk_bytes = CHUNK_ROWS * 4 * len(network.reactions)

    def draw(number: int, first: int, count: int) -> Columns:
        fluxes, condition = states_of(sources, seed, purpose, number, first, count)
        return {"X": fluxes.astype(np.float32), "condition": condition[:, None].astype(np.uint16)}

    def make(report: Report) -> None:
        write(path, fields_of(network), notes, rows, draw, report=report, chunk_bytes=chunk_bytes)

    return open_or_make(path, {**notes, "rows": rows}, make)

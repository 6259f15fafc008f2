"""Effective samples a second of cobrapy's OptGP sampler (Megchelenbrink and others 2014).

It runs in an interpreter that has cobra, and on this machine: ``--cobra PYTHON`` names it.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ooc.core.errors import InputError
from pipelines.metabolic_flux.convergence import effective_size

DRAWS, THINNING, CHAINS = 1000, 100, 4
_SCRIPT = """
import sys, time, numpy as np, cobra
from cobra.sampling import OptGPSampler
model = cobra.io.read_sbml_model(sys.argv[1])
lower, upper = np.load(sys.argv[2])
for reaction, low, high in zip(model.reactions, lower, upper):
    reaction.bounds = float(low), float(high)
sampler = OptGPSampler(model, thinning=int(sys.argv[5]), processes=1, seed=1)
begun = time.perf_counter()
chains = [sampler.sample(int(sys.argv[4]), fluxes=True).to_numpy() for _ in range(int(sys.argv[6]))]
np.savez(sys.argv[3], chains=np.stack(chains), seconds=time.perf_counter() - begun)
"""


def optgp_rate(
    python: Path, sbml: Path, lower: np.ndarray, upper: np.ndarray, moving: np.ndarray
) -> float:
    """Return the least effective samples a second over the fluxes that move.

    Parameters
    ----------
    lower, upper
        (R,) bounds of the condition, in the order of the file's reactions.

    Raises
    ------
    InputError
        If the interpreter fails; with its last line.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "bounds.npy", np.stack([lower, upper]))
        command = [
            str(python), "-c", _SCRIPT, str(sbml), str(folder / "bounds.npy"),
            str(folder / "chains.npz"), str(DRAWS), str(THINNING), str(CHAINS),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"{python} cannot run OptGP: {last}; name a Python that has cobra")
        found = np.load(folder / "chains.npz")
        return float(effective_size(found["chains"][:, :, moving]).min() / found["seconds"])

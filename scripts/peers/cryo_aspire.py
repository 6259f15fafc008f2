"""ASPIRE's MeanEstimator on particles in known poses.

Called as ``python -m peers.cryo_aspire BATCH PARTICLES.star ENVELOPES.npy FOLDER``, with the images
in an MRC stack beside the STAR file. But for the batch its defaults hold: a circulant
preconditioner, conjugate gradients to 1e-5 or 50 steps. Noise is coloured, so that images are
whitened by what its AnisotropicNoiseEstimator finds, as its pipelines do. Seconds begin with the
opened source: noise, both passes over images, and the conjugate gradients.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def opened(star: Path, envelopes: np.ndarray) -> Any:
    """Return ASPIRE's source of the particles, with envelopes of B A^2 each, (rows,).

    Of a STAR file it takes one envelope for all. Its ``exp(-B s^2)`` is that of RELION with B / 4,
    and as its s is in 1/nm, its B is in nm^2.
    """
    from aspire.source import RelionSource

    source = RelionSource(str(star), dtype=np.float32)
    for index, envelope in zip(source.filter_indices, envelopes, strict=True):
        source.unique_filters[index].B = float(envelope) / 400
    return source


def estimated(source: Any, batch: int) -> tuple[np.ndarray, dict[str, float]]:
    """Return the density (box,)*3 float32, z first, and the seconds that each part took.

    ASPIRE's transfer function is the negative of RELION's, and so is its density.
    """
    from aspire.noise import AnisotropicNoiseEstimator
    from aspire.reconstruction import MeanEstimator

    times = [time.perf_counter()]
    whitened = source.whiten(AnisotropicNoiseEstimator(source))
    estimator = MeanEstimator(whitened, batch_size=batch, checkpoint_iterations=None)
    times.append(time.perf_counter())
    right = estimator.src_backward()
    times.append(time.perf_counter())
    estimator.kernel  # noqa: B018  computed when it is asked for first
    times.append(time.perf_counter())
    volume = estimator.estimate(b_coef=right).asnumpy()[0]
    times.append(time.perf_counter())
    parts = ("noise", "images", "kernel", "conjugate gradients")
    seconds = dict(zip(parts, np.diff(times).tolist(), strict=True))
    return -volume, {**seconds, "steps": float(estimator.i)}


def peak_bytes() -> int:
    """Return the largest memory of this process so far."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024


def main(arguments: list[str]) -> None:
    """Reconstruct, and write density.npy and result.json."""
    batch = int(arguments[0])
    star, envelopes, folder = (Path(each).resolve() for each in arguments[1:])
    os.chdir(folder)  # ASPIRE makes a folder of logs where it is started
    source = opened(star, np.load(envelopes))
    begun, worked = time.perf_counter(), time.process_time()
    density, parts = estimated(source, batch)
    seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    np.save(folder / "density.npy", density)
    result = {
        "version": f"ASPIRE {version('aspire')}, batches of {batch}",
        "seconds": seconds, "parts": parts, "core_seconds": worked, "peak_bytes": peak_bytes(),
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])

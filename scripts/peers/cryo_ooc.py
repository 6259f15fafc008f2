"""Descent on particles in known poses, and direct Fourier inversion, as pipelines.cryo_em has them.

Called as ``python -m peers.cryo_ooc WAY STORE.zarr SMALL.zarr FOLDER EPOCHS MEMORY``. What there is
to compile is compiled, or read, with the small store first. Seconds begin with the opened store:
noise, curvature, all passes over images.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

import ooc
from ooc.core.process import peak_bytes
from ooc.store.dataset import Dataset
from pipelines.cryo_em.inversion import invert
from pipelines.cryo_em.model import Density
from pipelines.cryo_em.resolution import soft_sphere
from pipelines.cryo_em.training import Training, curvature_of, noise_of, train

DESCENT, PLAIN, DIRECT = WAYS = ("descent", "descent-plain", "direct-inversion")
BATCH, RATE, MASK = 256, 0.2, 0.45  # the pipeline's own; the mask's radius in boxes


def density_of(way: str, dataset: Dataset, epochs: int, memory: str, folder: Path) -> np.ndarray:
    """Return the density (box,)*3 float32, z first, of all images.

    Direct inversion takes its Wiener weights from halves, whose mean it is.
    """
    box, pixel = dataset.arrays["X"].shape[1], float(str(dataset.attributes["pixel"]))
    model = Density(box, pixel).with_noise(noise_of(dataset))
    if way == DIRECT:
        first, second = ooc.split(dataset, 0.5, seed=0)
        halves = invert((first, second), model, soft_sphere(box, MASK * box), memory).halves
        return (halves[0] + halves[1]) / 2
    curvature = curvature_of(dataset, model)
    scaled = model.preconditioned if way == DESCENT else model.evenly_scaled
    training = Training(epochs, BATCH, RATE, memory, 0)
    return train(dataset, scaled(curvature), training, folder, way).volume


def main(arguments: list[str]) -> None:
    """Reconstruct, and write density.npy and result.json."""
    way, store, small, folder = arguments[0], *map(Path, arguments[1:4])
    epochs, memory = int(arguments[4]), arguments[5]
    density_of(way, ooc.open(small), 1, memory, folder)
    dataset = ooc.open(store)
    begun, worked = time.perf_counter(), time.process_time()
    density = density_of(way, dataset, epochs, memory, folder)
    seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    np.save(folder / "density.npy", density)
    result = {
        "version": f"ooc, {way.replace('-', ' ')}", "seconds": seconds, "parts": {},
        "core_seconds": worked, "peak_bytes": peak_bytes(),
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])

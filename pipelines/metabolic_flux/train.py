"""Training of one autoencoder, and what is asked of it afterwards."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ooc
from ooc.runs.run import Run
from pipelines.common.dataset import Dataset, progress
from pipelines.metabolic_flux.model import ACTIVE, FluxAutoencoder, Problem

# Weights of the penalties, per (mmol/gDW/h)^2.
BALANCE, BOUNDS = 1000.0, 10.0
# Name of each model in tables, its form, and whether it has penalties.
VARIANTS = {
    "no penalty": ("fluxes", 0.0, 0.0),
    "soft penalty": ("fluxes", BALANCE, BOUNDS),
    "null space": ("null space", 0.0, BOUNDS),
    "null space, mirror": ("mirror", 0.0, 0.0),
}
WARM_UP = 0.2  # of all steps
CLIP = 20.0  # largest norm of a gradient


@dataclass(frozen=True)
class Training:
    """How networks are trained, and how large they are."""

    epochs: int
    batch_size: int
    lr: float
    memory: str
    seed: int
    hidden: tuple[int, ...]


@dataclass(frozen=True)
class Trained:
    """A model with what training left.

    Attributes
    ----------
    active
        Codes whose mean varies with the state.
    divergence
        Mean of the KL divergence of the code from its prior, in nats.
    terms
        Mean terms of the loss in the last stretch of the record, by name.
    """

    model: FluxAutoencoder
    run: Run
    active: int
    divergence: float
    terms: dict[str, float]


def model_of(problem: Problem, variant: str, training: Training, steps: int) -> FluxAutoencoder:
    """Return an untrained model; it has as many codes as states have coordinates."""
    form, balance, bounds = VARIANTS[variant]
    return FluxAutoencoder(
        problem, form=form, codes=problem.frame.dimensions, hidden=training.hidden,
        balance=balance, bounds=bounds, warm_up=int(WARM_UP * steps),
    )  # fmt: skip


def train(
    problem: Problem,
    dataset: Dataset,
    variant: str,
    training: Training,
    folder: Path,
    states: np.ndarray,
    condition: np.ndarray,
) -> Trained:
    """Train a model out of core, and measure its codes on states that it has not seen."""
    steps = training.epochs * -(-dataset.rows // training.batch_size)
    model = model_of(problem, variant, training, steps)
    optimizer = ooc.optim.adam(training.lr, schedule=ooc.optim.schedules.cosine(), clip_norm=CLIP)
    trainer = ooc.Trainer(
        model, optimizer, training.batch_size, memory=training.memory, seed=training.seed
    )
    run_folder = folder / f"{variant.replace(', ', '-').replace(' ', '-')}-run"
    shutil.rmtree(run_folder, ignore_errors=True)
    with progress(f"train {variant}") as report:
        run = trainer.fit(dataset, training.epochs, run_folder, report)
    posterior = model.encode(run.parameters, states, condition).astype(np.float64)
    means, logs = np.split(posterior, 2, axis=1)
    divergence = 0.5 * (means**2 + np.exp(logs) - 1 - logs).sum(axis=1).mean()
    active = int((means.var(axis=0) > ACTIVE).sum())
    terms = dict(run.results.get("terms", {}))
    return Trained(model, run, active, float(divergence), terms)

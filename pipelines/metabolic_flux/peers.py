"""The same autoencoder in PyTorch, on the same batches."""

import itertools
import sys
import time
from typing import Any

import numpy as np

import ooc
from pipelines.common.dataset import Dataset
from pipelines.metabolic_flux.inputs import fill_inputs
from pipelines.metabolic_flux.model import FIRST_DEVIATION, FluxAutoencoder
from pipelines.metabolic_flux.train import CLIP, Training

# Of each code, over which the bound is averaged: a single one leaves about 0.1 nats to chance.
DRAWS = 32


def train_with_torch(
    model: FluxAutoencoder,
    dataset: Dataset,
    training: Training,
    states: np.ndarray,
    condition: np.ndarray,
) -> tuple[float, float] | None:
    """Return the evidence lower bound on states, in nats, and seconds of training.

    Batches come from `ooc.Loader`, in the order of the trainer's, and inputs from the model's own
    kernel; first parameters are PyTorch's draws from the same distributions. None, and a line on
    standard error, where PyTorch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install '.[torch]'", file=sys.stderr)
        return None
    torch.manual_seed(training.seed)
    numbers, width = model.numbers(), model.inputs + model.problem.descriptors.shape[1]
    used = torch.from_numpy(model.problem.frame.is_used.astype(np.float32))

    def inputs(fluxes: np.ndarray, numbers_of: np.ndarray) -> Any:
        found = np.empty((len(fluxes), width), np.float32)
        fill_inputs(numbers, np.ascontiguousarray(fluxes, np.float32), numbers_of, found)
        return torch.from_numpy(found)

    network = _network(torch, model)
    optimizer = torch.optim.Adam(network.parameters(), training.lr)
    steps = training.epochs * -(-dataset.rows // training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loader = ooc.Loader(
        dataset, training.batch_size, memory=training.memory, seed=training.seed,
        arrays=["X", "condition"],
    )  # fmt: skip
    print("PyTorch learns from the same batches", file=sys.stderr)
    begun, step = time.perf_counter(), 0
    for _ in range(training.epochs):
        for batch in loader:
            chosen = batch["condition"].astype(np.int64)
            warm = min(1.0, (step + 1) / model.warm_up) if model.warm_up else 1.0
            reconstruction, divergence = network(
                inputs(batch["X"], chosen), used[torch.from_numpy(chosen[:, 0])]
            )
            optimizer.zero_grad()
            (reconstruction + warm * divergence).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            step += 1
    seconds = time.perf_counter() - begun
    with torch.no_grad():
        chosen = condition.reshape(-1, 1).astype(np.int64)
        given, known = inputs(states, chosen), used[torch.from_numpy(condition)]
        loss = sum(float(sum(network(given, known))) for _ in range(DRAWS)) / DRAWS
    return -loss, seconds


def _network(torch: Any, model: FluxAutoencoder) -> Any:
    nn, codes, count = torch.nn, model.codes, model.inputs
    past, both = model.past, min(codes, count)
    assert model.activation == "tanh", "what is written here"

    def layers(widths: tuple[int, ...]) -> Any:
        found = []
        for fan, units in itertools.pairwise(widths):
            layer = nn.Linear(fan, units)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
            found += [layer, nn.Tanh()]
        with torch.no_grad():
            found[-2].weight *= 0.01
        return nn.Sequential(*found[:-1])

    class Autoencoder(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = (layers(widths) for widths in model.widths)
            with torch.no_grad():
                self.encoder[-1].bias[codes:] = 2 * np.log(FIRST_DEVIATION)
            self.deviations = nn.Parameter(torch.full((count,), float(np.log(FIRST_DEVIATION))))

        def forward(self, given: Any, used: Any) -> Any:
            mean, log = self.encoder(given).split(codes, dim=1)
            mean = mean + past * nn.functional.pad(given[:, :both], (0, codes - both))
            code = mean + torch.exp(0.5 * log) * torch.randn_like(mean)
            outputs = self.decoder(torch.cat([code, given[:, count:]], dim=1))
            outputs = outputs + past * nn.functional.pad(code[:, :both], (0, count - both))
            away = (outputs - given[:, :count]) * torch.exp(-self.deviations)
            each = 0.5 * away**2 + self.deviations + 0.5 * np.log(2 * np.pi)
            divergence = 0.5 * (mean**2 + torch.exp(log) - 1 - log).sum(dim=1)
            return (used * each).sum(dim=1).mean(), divergence.mean()

    return Autoencoder()

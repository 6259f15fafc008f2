"""The same network in PyTorch, on the same batches, for comparison."""

import time
from typing import Any

import numpy as np

import ooc
from ooc.core.random_keys import Purpose, generator
from ooc.models import MLP
from ooc.store.dataset import Dataset
from ooc.training.trainer import Trainer


def train_and_score(
    trainer: Trainer, training: Dataset, epochs: int, images: np.ndarray, labels: np.ndarray
) -> tuple[float, float, float]:
    """Train the network of `trainer` with PyTorch; return seconds, log loss and accuracy.

    First parameters, batches and Adam are those of `trainer`; dropout draws masks of its own.
    Batches come from `ooc.Loader`, within the same memory, because a loader of PyTorch's own
    would take most of the time.

    Parameters
    ----------
    images, labels
        What to score: (rows, ...) as stored, and (rows,).

    Raises
    ------
    ModuleNotFoundError
        If PyTorch is not installed.
    """
    import torch

    model = trainer.model
    assert isinstance(model, MLP)
    network = _same_network(torch, model, trainer.layout(training), trainer.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=trainer.optimizer.rate)
    scale = float(model.scale)
    names = [training.features, str(training.target)]
    rows = int(trainer.batch_size)
    loader = ooc.Loader(training, rows, trainer.memory, trainer.seed, arrays=names)
    begun = time.perf_counter()
    for _ in range(epochs):
        for batch in loader:
            x = torch.from_numpy(batch.features.reshape(len(batch.rows), -1)).float() * scale
            y = torch.from_numpy(batch.arrays[str(training.target)].astype(np.int64))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
    seconds = time.perf_counter() - begun
    network.eval()
    with torch.no_grad():
        x = torch.from_numpy(images.reshape(len(images), -1)).float() * scale
        y = torch.from_numpy(labels.astype(np.int64))
        scores = network(x)
        loss = float(torch.nn.functional.cross_entropy(scores, y))
        accuracy = float((scores.argmax(dim=1) == y).float().mean())
    return seconds, loss, accuracy


def _same_network(torch: Any, model: MLP, layout: ooc.models.Layout, seed: int) -> Any:
    """Return ReLU layers, dropout between them, with the model's first parameters."""
    parameters = model.init(layout, generator(seed, Purpose.PARAMETERS))
    parts = list(layout.views(parameters).values())
    modules = []
    for weights, biases in zip(parts[::2], parts[1::2], strict=True):
        linear = torch.nn.Linear(*weights.shape[::-1])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights))
            linear.bias.copy_(torch.from_numpy(biases))
        modules += [linear, torch.nn.ReLU(), torch.nn.Dropout(model.dropout)]
    return torch.nn.Sequential(*modules[:-2])

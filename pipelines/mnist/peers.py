"""What the models are compared with: scikit-learn in memory, and the same network in PyTorch."""

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import ooc
from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import Dataset
from pipelines.mnist.data import SCALE, Digits
from pipelines.mnist.model import Score


def learn_in_memory(training: Digits, held_out: Digits, choices: Sequence[float]) -> Score:
    """Score scikit-learn's LogisticRegression, its C chosen on a fifth of the training digits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    def fitted(digits: Digits, c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=1000).fit(_flat(digits), digits.labels)

    begun = time.perf_counter()
    best = choices[0]
    if len(choices) > 1:
        fifth = len(training.labels) // 5
        validation, rest = training.take(slice(fifth)), training.take(slice(fifth, None))
        x, y = _flat(validation), validation.labels
        best = max(choices, key=lambda c: fitted(rest, c).score(x, y))
    model = fitted(training, best)
    seconds = time.perf_counter() - begun
    x, y = _flat(held_out), held_out.labels
    loss = log_loss(y, model.predict_proba(x), labels=model.classes_)
    learned_from = f"{len(training.labels):,} digits in memory"
    return Score(f"scikit-learn, C={best:g}", learned_from, seconds, loss, model.score(x, y))


def learn_with_torch(
    trainer: ooc.Trainer, expanded: Dataset, epochs: int, held_out: Digits
) -> list[Score]:
    """Score the same network in PyTorch; nothing where it is not installed."""
    print("PyTorch learns from the same batches", file=sys.stderr)
    try:
        scores = train_and_score(trainer, expanded, epochs, held_out.images, held_out.labels)
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install '.[torch]'", file=sys.stderr)
        return []
    return [Score("PyTorch mlp", "the same batches", *scores)]


def train_and_score(
    trainer: ooc.Trainer, training: Dataset, epochs: int, images: np.ndarray, labels: np.ndarray
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
    assert isinstance(model, ooc.models.MLP)
    network = _same_network(torch, model, trainer.layout(training), trainer.stream.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=trainer.optimizer.rate)
    scale = float(model.scale)
    names = [training.features, str(training.target)]
    rows = int(trainer.batch_size)
    loader = ooc.Loader(
        training, rows, memory=trainer.stream.memory, seed=trainer.stream.seed, arrays=names
    )
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


def _same_network(torch: Any, model: ooc.models.MLP, layout: ooc.models.Layout, seed: int) -> Any:
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


def _flat(digits: Digits) -> np.ndarray:
    return digits.images.reshape(len(digits.images), -1) * np.float32(SCALE)

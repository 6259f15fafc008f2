"""The same network in PyTorch, on the same batches."""

import itertools
import sys
import time
from typing import Any

import numpy as np

import ooc
from pipelines.common.dataset import progress
from pipelines.sovereign_rating.data import CLASSES, Generated
from pipelines.sovereign_rating.headlines import PADDING
from pipelines.sovereign_rating.network import (
    PIECE_ROWS,
    Training,
    columns_of,
    fit_blend,
    months_of,
)


def read_with_torch(generated: Generated, training: Training) -> tuple[np.ndarray, float] | None:
    """Return how likely each movement is, (countries, months, classes), and seconds of training.

    Batches come from `ooc.Loader`, in the order of the trainer's; first parameters are PyTorch's
    own. None, and a line on standard error, where PyTorch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install '.[torch]'", file=sys.stderr)
        return None
    torch.manual_seed(training.seed)
    learned = generated.figures[months_of(generated.split.learned, generated)]
    mean, spread = np.nanmean(learned, axis=0), np.nanstd(learned, axis=0)

    def inputs(figures: np.ndarray) -> Any:
        missing = np.isnan(figures)
        filled = np.where(missing, 0, (figures - mean) / spread)
        return torch.from_numpy(np.concatenate([filled, missing], axis=1, dtype=np.float32))

    network = _network(torch, generated, training)
    print("PyTorch learns from the same batches", file=sys.stderr)
    seconds = _train(torch, network, generated, training, inputs)
    network.eval()
    shape = generated.labels.shape
    with torch.no_grad(), progress("read headlines with PyTorch"):
        flat = generated.figures.reshape(-1, generated.figures.shape[-1])
        nothing = torch.full((len(flat), 1), PADDING, dtype=torch.int32)
        quiet = network(nothing, inputs(flat)).numpy().reshape(shape).astype(np.float64)
        news = np.zeros(shape)
        for part in generated.split.parts:
            loader = ooc.Loader(
                generated.datasets[part.name], min(PIECE_ROWS, part.rows),
                memory=training.memory, shuffle="none", arrays=["X", "tokens"],
            )  # fmt: skip
            for batch in loader:
                months = part.places(batch.rows)
                tokens = torch.from_numpy(batch["tokens"].astype(np.int32))
                scores = network(tokens, inputs(batch["X"])).numpy()
                np.add.at(news, months, (scores - quiet[months]) / part.headlines)
    blend = fit_blend(generated, quiet, news)
    columns = columns_of(quiet, news).reshape(-1, len(blend.weights))
    return blend.likely(columns).reshape(*shape, CLASSES), seconds


def _network(torch: Any, generated: Generated, training: Training) -> Any:
    """Return an embedding bag beside layers over figures, joined to one score."""
    nn = torch.nn

    def layers(units: tuple[int, ...]) -> list[Any]:
        pairs = itertools.pairwise(units)
        return [layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())]

    class Joined(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.bag = nn.EmbeddingBag(
                generated.wording.vocabulary, training.width, mode="mean", padding_idx=PADDING,
                sparse=True,
            )  # fmt: skip
            nn.init.normal_(self.bag.weight, 0, 0.05)
            units = (2 * generated.figures.shape[-1], *training.figure_hidden)
            self.figures = nn.Sequential(*layers(units))
            joined = (training.width + units[-1], *training.hidden)
            self.head = nn.Sequential(*layers(joined), nn.Linear(joined[-1], 1))
            self.thresholds = nn.Parameter(torch.linspace(-5, 5, CLASSES - 1))

        def forward(self, tokens: Any, figures: Any) -> Any:
            both = torch.cat([self.bag(tokens), self.figures(figures)], dim=1)
            return self.head(both)[:, 0]

    return Joined()


def _train(
    torch: Any, network: Any, generated: Generated, training: Training, inputs: Any
) -> float:
    """Train by Adam at the same rates; of the bag, rows that a batch touches are stepped alone."""
    dataset = generated.datasets["learned"]
    loader = ooc.Loader(
        dataset, training.batch_size, memory=training.memory, seed=training.seed,
        arrays=["X", "tokens", "y"],
    )  # fmt: skip
    others = [each for name, each in network.named_parameters() if not name.startswith("bag")]
    optimizers = [
        torch.optim.SparseAdam([network.bag.weight], training.lr),
        torch.optim.Adam(others, training.lr),
    ]
    steps = training.epochs * -(-dataset.rows // training.batch_size)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(each, steps) for each in optimizers]
    begun = time.perf_counter()
    for _ in range(training.epochs):
        for batch in loader:
            tokens = torch.from_numpy(batch["tokens"].astype(np.int32))
            labels = torch.from_numpy(batch["y"].astype(np.int64))
            scores = network(tokens, inputs(batch["X"]))
            above = torch.sigmoid(scores[:, None] - network.thresholds)
            ends = torch.ones(len(above), 1), torch.zeros(len(above), 1)
            whole = torch.cat([ends[0], above, ends[1]], dim=1)
            likely = (whole[:, :-1] - whole[:, 1:]).gather(1, labels[:, None]).clamp_min(1e-9)
            for each in optimizers:
                each.zero_grad()
            (-torch.log(likely).mean()).backward()
            for each in (*optimizers, *schedules):
                each.step()
    return time.perf_counter() - begun

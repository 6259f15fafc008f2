"""Steps of a dense network with PyTorch, over batches of rows that are in memory already.

Reads a NumPy file with rows and first parameters, takes the steps once to warm up and once to be
timed, from the same start, and writes seconds and losses. Nothing but the steps is timed.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np
import torch


def network(widths: list[int], parameters: np.ndarray) -> torch.nn.Sequential:
    """Return ReLU layers with the parameters of the flat vector."""
    modules: list[torch.nn.Module] = []
    start = 0
    for inputs, units in itertools.pairwise(widths):
        linear = torch.nn.Linear(inputs, units)
        end = start + inputs * units
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(parameters[start:end].reshape(units, inputs)))
            linear.bias.copy_(torch.from_numpy(parameters[end : end + units]))
        start = end + units
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def main() -> None:
    """Run one job: ``input.npz batch_size rate adam output.json``."""
    parser = argparse.ArgumentParser(description="Train a network on rows in memory and time it.")
    parser.add_argument("input", type=Path)
    parser.add_argument("batch_size", type=int)
    parser.add_argument("rate", type=float)
    parser.add_argument("adam", choices=["default", "fused"])
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    with np.load(given.input) as arrays:
        x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"]).float()[:, None]
        widths, parameters = arrays["widths"].tolist(), arrays["parameters"]
    loss_of = torch.nn.BCEWithLogitsLoss()

    def run(rows: int) -> tuple[float, list[float]]:
        model = network(widths, parameters)
        fused = {"fused": True} if given.adam == "fused" else {}
        optimizer = torch.optim.Adam(model.parameters(), lr=given.rate, **fused)
        losses = []
        begun = time.perf_counter()
        for first in range(0, rows, given.batch_size):
            batch = slice(first, first + given.batch_size)
            optimizer.zero_grad()
            loss = loss_of(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        seconds = time.perf_counter() - begun
        return seconds, [float(loss) for loss in losses]

    run(min(len(x), 50 * given.batch_size))
    seconds, losses = run(len(x))
    versions = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    given.output.write_text(json.dumps({"seconds": seconds, "losses": losses, **versions}))


if __name__ == "__main__":
    main()

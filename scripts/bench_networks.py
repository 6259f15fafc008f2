"""Times steps of dense networks with ooc and with PyTorch: the same rows, start and Adam.

Rows are in memory, in one order, for both: what is compared is the step. ooc runs them as one
window in one compiled call, as it does in training; PyTorch in the usual loop, with its default
Adam, and once more with its fused one. Both take turns in every round, and a target is met when
the median over rounds of the ratio to the default is. Losses of both are compared step by step. In
the same rounds the matrix products of a step are timed alone, by the BLAS that ooc's kernels call
and by NumPy's.
"""

import argparse
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np
from in_memory import Steps
from peers.environments import Environment, UnavailableError, run_checked
from products import seconds_of_products

import ooc
from ooc.core.machine import machine
from ooc.core.random_keys import Purpose, generator

TORCH = Environment("torch-network", ("torch==2.13.0", "numpy>=2.0"))
RATE = 1e-3


@dataclass(frozen=True)
class Case:
    """One network and batch size, with the ratio of steps per second that is asked for."""

    widths: tuple[int, ...]
    batch_size: int
    target: float

    @property
    def name(self) -> str:
        """The widths, as they are usually written."""
        return "-".join(map(str, self.widths))


CASES = (
    Case((128, 256, 256, 1), 256, 1.5),
    Case((64, 64, 64, 1), 64, 5.0),
    Case((256, 512, 512, 1), 1024, 1.1),
)


@dataclass
class Measured:
    """Seconds a step in every round, and the losses of the last one."""

    ooc: list[float] = field(default_factory=list)
    default: list[float] = field(default_factory=list)
    fused: list[float] = field(default_factory=list)
    products: list[float] = field(default_factory=list)
    other_products: list[float] = field(default_factory=list)
    ooc_losses: np.ndarray = field(default_factory=lambda: np.empty(0))
    torch_losses: np.ndarray = field(default_factory=lambda: np.empty(0))
    torch: str = ""

    def ratios(self, kind: str) -> list[float]:
        """PyTorch's seconds over ooc's, round by round."""
        return [a / b for a, b in zip(getattr(self, kind), self.ooc, strict=True)]


def make_rows(case: Case, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows whose label is the sign of a random network, hard for a linear model."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((steps * case.batch_size, case.widths[0]), dtype=np.float32)
    hidden = np.tanh(x[:, :16] @ rng.standard_normal((16, 8), dtype=np.float32))
    return x, (hidden @ rng.standard_normal(8, dtype=np.float32) > 0).astype(np.float32)


class Descent:
    """Descends over rows in memory, from one start, as often as asked for."""

    def __init__(
        self, case: Case, x: np.ndarray, y: np.ndarray, start: np.ndarray, folder: Path
    ) -> None:
        model = ooc.models.MLP(hidden=case.widths[1:-1])
        self._trainer = ooc.Trainer(model, ooc.optim.adam(RATE), case.batch_size, memory="2GiB")
        store = folder / "like.zarr"
        with ooc.create(store, {"X": ("float32", x.shape[1:]), "y": ("float32", ())}) as writer:
            writer.append({"X": x[: case.batch_size], "y": y[: case.batch_size]})
        self._dataset, self._start, self._x, self._y = ooc.open(store), start, x, y

    def run(self, rows: int, window: int | None = None) -> tuple[float, np.ndarray]:
        """Return the seconds of steps over the first rows, and losses of windows of them."""
        steps, window, sums = (
            Steps(self._trainer, self._dataset, self._start),
            window or rows,
            [0.0],
        )
        begun = time.perf_counter()
        for first in range(0, rows, window):
            part = slice(first, first + window)
            steps.take(self._x[part], self._y[part], last=first + window >= rows)
            sums.append(steps.loss_sum)
        seconds = time.perf_counter() - begun
        return seconds, np.diff(sums) / window


def measure(case: Case, rounds: int, seconds: float, python: Path) -> Measured:
    """Time both in turn; each run lasts about `seconds` with PyTorch."""
    flops = (
        6.0
        * case.batch_size
        * sum(a * b for a, b in zip(case.widths, case.widths[1:], strict=False))
    )
    steps = max(100, min(10_000, int(seconds / (4e-4 + flops / 1e11))))
    x, y = make_rows(case, steps)
    model = ooc.models.MLP(hidden=case.widths[1:-1])
    start = model.init(model.layout((case.widths[0],)), generator(0, Purpose.PARAMETERS))
    found = Measured()
    with tempfile.TemporaryDirectory() as folder:
        own = Descent(case, x, y, start, Path(folder))
        own.run(50 * case.batch_size)
        job, output = Path(folder, "job.npz"), Path(folder, "result.json")
        np.savez(job, x=x, y=y, widths=np.array(case.widths), parameters=start)
        for number in range(rounds):
            found.ooc.append(own.run(len(x))[0] / steps)
            alone = seconds_of_products(case.widths, case.batch_size, steps)
            found.products.append(alone["compiled"])
            found.other_products.append(alone["NumPy's"])
            for kind in ("default", "fused"):
                command = [str(python), "-m", "peers.torch_network", str(job)]
                run_checked([*command, str(case.batch_size), str(RATE), kind, str(output)])
                result: dict[str, Any] = json.loads(output.read_text())
                getattr(found, kind).append(result["seconds"] / steps)
                if kind == "default":
                    found.torch_losses = np.array(result["losses"])
                    found.torch = f"{result['torch']}, {result['threads']} threads"
            print(
                f"{case.name}, round {number + 1}: ooc {1e3 * found.ooc[-1]:.3f} ms a step, "
                f"products alone {1e3 * found.products[-1]:.3f} (NumPy's BLAS "
                f"{1e3 * found.other_products[-1]:.3f}), PyTorch {1e3 * found.default[-1]:.3f}, "
                f"fused {1e3 * found.fused[-1]:.3f}",
                file=sys.stderr,
            )
        found.ooc_losses = own.run(len(x), case.batch_size)[1]
    return found


def to_json(case: Case, found: Measured) -> dict[str, Any]:
    """Return one case's numbers, JSON-ready."""
    ratios = found.ratios("default")
    difference = np.abs(found.ooc_losses - found.torch_losses)
    return {
        "network": case.name,
        "batch_size": case.batch_size,
        "steps": len(difference),
        "ooc_seconds": found.ooc,
        "torch_seconds": found.default,
        "torch_fused_seconds": found.fused,
        "torch": found.torch,
        "products_seconds": found.products,
        "numpy_products_seconds": found.other_products,
        "step_over_products": statistics.median(
            step / alone for step, alone in zip(found.ooc, found.products, strict=True)
        ),
        "ratio": statistics.median(ratios),
        "ratio_spread": [min(ratios), max(ratios)],
        "ratio_to_fused": statistics.median(found.ratios("fused")),
        "target": case.target,
        "met": statistics.median(ratios) >= case.target,
        "loss_difference_first_100": float(difference[:100].max()),
        "loss_difference": float(difference.max()),
        "loss_first": float(found.ooc_losses[0]),
        "loss_last": [float(each[-20:].mean()) for each in (found.ooc_losses, found.torch_losses)],
    }


def print_table(lines: Sequence[dict[str, Any]]) -> None:
    """Print the cases as a Markdown table."""
    print(
        "| network | batch | ooc, ms | its products alone | step over them | by NumPy's BLAS | "
        "PyTorch, ms | fused, ms | ooc is | spread | target | met |"
    )
    print(f"|{' --- |' * 12}")
    for line in lines:
        own, alone, other, default, fused = (
            f"{1e3 * statistics.median(line[f'{key}_seconds']):.3f}"
            for key in ("ooc", "products", "numpy_products", "torch", "torch_fused")
        )
        low, high = line["ratio_spread"]
        print(
            f"| {line['network']} | {line['batch_size']} | {own} | {alone} | "
            f"{line['step_over_products']:.2f} | {other} | {default} | {fused} | "
            f"{line['ratio']:.2f}x ({line['ratio_to_fused']:.2f}x) | {low:.2f}..{high:.2f} | "
            f"{line['target']:g}x | {'yes' if line['met'] else 'no'} |"
        )
    print("\nIn brackets: against the fused Adam. Losses, step by step, from the same start:")
    for line in lines:
        own, theirs = line["loss_last"]
        print(
            f"{line['network']}: {line['loss_first']:.4f} at first; mean of the last 20 of "
            f"{line['steps']} steps {own:.5f}, PyTorch {theirs:.5f}; largest difference "
            f"{line['loss_difference_first_100']:.1e} in 100 steps, "
            f"{line['loss_difference']:.1e} in all"
        )


def draw(path: Path, measured: Sequence[tuple[Case, Measured]]) -> None:
    """Draw both loss curves of every case, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (case, found) in zip(figure.subplots(1, len(measured)), measured, strict=True):
        width = max(1, len(found.ooc_losses) // 100)
        kept = len(found.ooc_losses) // width * width
        for losses, name, style in (
            (found.torch_losses, "PyTorch", {"color": "tab:orange", "linewidth": 4, "alpha": 0.6}),
            (found.ooc_losses, "ooc", {"color": "black", "linewidth": 1}),
        ):
            axes.plot(
                width * (np.arange(kept // width) + 0.5),
                losses[:kept].reshape(-1, width).mean(axis=1),
                label=name,
                **style,
            )
        axes.set_title(f"{case.name}, batch {case.batch_size}")
        axes.set_xlabel("step")
        axes.set_ylabel(f"loss, mean of {width} steps" if width > 1 else "loss")
        axes.legend()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is timed")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run of PyTorch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all numbers")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="PNG of the loss curves")
    given = parser.parse_args(arguments)
    try:
        if given.rounds < 1 or given.seconds <= 0:
            raise UnavailableError("--rounds and --seconds must be positive")
        python = TORCH.install()
        run = functools.partial(measure, rounds=given.rounds, seconds=given.seconds, python=python)
        measured = [(case, run(case)) for case in CASES]
    except UnavailableError as error:
        print(f"scripts/bench_networks: {error}", file=sys.stderr)
        return 2
    lines = [to_json(case, found) for case, found in measured]
    print(f"{machine()}; Numba {numba.__version__}, PyTorch {lines[0]['torch']}\n")
    print_table(lines)
    if given.json:
        given.json.write_text(json.dumps(lines, indent=1) + "\n")
    if given.picture:
        draw(given.picture, measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The same two networks in PyTorch, from the same first parameters, on the same batches."""

import sys
from typing import Any

import numpy as np

import ooc
from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import Dataset
from pipelines.protein_interfaces import kernels
from pipelines.protein_interfaces.columns import CLASSES, is_stable
from pipelines.protein_interfaces.model import BETAS, InterfacePair
from pipelines.protein_interfaces.row_kernels import CONDITIONS
from pipelines.protein_interfaces.training import Eye, Looks, Training, Watch


def train_with_torch(
    dataset: Dataset, model: InterfacePair, training: Training, eye: Eye
) -> tuple[np.ndarray, Looks] | None:
    """Return the parameters that a run keeps, in the model's layout, and what was made on the way.

    Batches come from `ooc.Loader`, in the order of the trainer's, and their coordinates from the
    model's kernel. None, and a line on standard error, where PyTorch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install '.[torch]'", file=sys.stderr)
        return None
    torch.manual_seed(training.seed)
    layout = model.layout((64,))
    start = model.init(layout, generator(training.seed, Purpose.PARAMETERS))
    part = {
        name: torch.nn.Parameter(torch.from_numpy(view.copy()))
        for name, view in layout.views(start).items()
    }
    groups = [[part[n] for n in part if n.startswith(of)] for of in ("critic", "generator")]
    average = [each.detach().clone() for each in groups[1]]
    optimizers = [torch.optim.Adam(each, training.rate, betas=BETAS) for each in groups]
    schedules = [
        torch.optim.lr_scheduler.CosineAnnealingLR(each, steps)
        for each, steps in zip(optimizers, training.own_steps(dataset.rows), strict=True)
    ]
    rng = torch.Generator().manual_seed(training.seed)

    def kept() -> np.ndarray:
        found = {name: each.detach().numpy() for name, each in part.items()}
        names = [name for name in part if name.startswith("generator")]
        found |= {name: each.numpy() for name, each in zip(names, average, strict=True)}
        return np.concatenate([found[name].reshape(-1) for name in layout.shapes])

    loader = ooc.Loader(
        dataset, training.batch_size, memory=training.memory, seed=training.seed
    )  # fmt: skip
    step, own = 0, 0
    every = training.every(dataset.rows)
    print("PyTorch learns from the same batches", file=sys.stderr)
    watch = Watch(lambda parameters: eye.look(model, parameters))
    for _ in range(training.epochs):
        for batch in loader:
            conditions = torch.from_numpy(conditions_of(batch["X"], batch["y"]))
            noise = torch.randn(len(conditions), model.latent, generator=rng)
            codes = torch.cat([noise, conditions], dim=1)
            is_critic = step % (training.critic_steps + 1) < training.critic_steps
            turn = 0 if is_critic else 1
            optimizers[turn].zero_grad()
            if is_critic:
                points = model.coordinates.of_rows(batch["X"], training.seed, step << 20)
                real = torch.from_numpy(points.astype(np.float32))
                share = torch.rand(len(real), 1, generator=rng)
                loss = critic_loss(torch, part, real, codes, conditions, model.penalty, share)
            else:
                loss = -criticise(torch, part, generate(torch, part, codes), conditions).mean()
            # Of the other network's parameters no gradient is asked for.
            for parameter, slope in zip(
                groups[turn], torch.autograd.grad(loss, groups[turn]), strict=True
            ):
                parameter.grad = slope
            optimizers[turn].step()
            schedules[turn].step()
            if not is_critic:
                keeps = min(training.average, (1 + own) / (10 + own))
                torch._foreach_lerp_(average, [each.detach() for each in groups[1]], 1 - keeps)
                own += 1
            step += 1
            if step % every == 0:
                watch.note(step, kept())
    return kept(), watch.looks()


def critic_loss(
    torch: Any, part: Any, real: Any, codes: Any, conditions: Any, penalty: float, share: Any
) -> Any:
    """Return the critic's loss, with the penalty by PyTorch's own second derivative.

    `share`, (rows, 1), says where between real and made points the penalty is taken.
    """
    with torch.no_grad():
        made = generate(torch, part, codes)
    mixed = (share * real + (1 - share) * made).requires_grad_()
    told = criticise(torch, part, torch.cat([made, real]), torch.cat([conditions, conditions]))
    slopes = torch.autograd.grad(
        criticise(torch, part, mixed, conditions).sum(), mixed, create_graph=True
    )[0]
    excess = slopes.norm(dim=1) - 1
    count = len(real)
    return told[:count].mean() - told[count:].mean() + penalty * (excess**2).mean()


def generate(torch: Any, part: Any, codes: Any) -> Any:
    """Return made points (rows, 59)."""
    linear, leaky = torch.nn.functional.linear, torch.nn.functional.leaky_relu
    layer = codes
    for number in ("1", "2"):
        weights, biases = part[f"generator.weights{number}"], part[f"generator.biases{number}"]
        layer = leaky(linear(layer, weights, biases), kernels.LEAK)
    made = linear(layer, part["generator.weights3"], part["generator.biases3"])
    return made + linear(codes, part["generator.direct"])


def criticise(torch: Any, part: Any, points: Any, conditions: Any) -> Any:
    """Return the critic's numbers, (rows,)."""
    layer = torch.cat([points, conditions], dim=1)
    for number in ("1", "2"):
        weights, biases = part[f"critic.weights{number}"], part[f"critic.biases{number}"]
        layer = torch.nn.functional.leaky_relu(
            torch.nn.functional.linear(layer, weights, biases), kernels.LEAK
        )
    return layer @ part["critic.weights3"]


def conditions_of(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return what both networks are told, (rows, 10) float32."""
    found = np.zeros((len(rows), CONDITIONS), np.float32)
    found[np.arange(len(rows)), labels.astype(np.int64)] = 1
    found[:, len(CLASSES)] = is_stable(rows)
    return found

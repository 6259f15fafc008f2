"""An epoch with PyTorch's `DistributedDataParallel` over gloo: two processes of one thread each.

Each process reads its share of the blocks, as in `torch_dataloader`, and takes half of a batch;
gradients are averaged in every step. The first process is the one that is timed.
"""

import os
import socket
import subprocess
import sys

import torch
from peers import harness
from peers.torch_dataloader import Blocks
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

PROCESSES = 2


def prepare(job: harness.Job) -> harness.Train:
    """Start the other process, meet it, and take one step so that nothing is loaded late."""
    rank = int(os.environ.get("RANK", "0"))
    if rank == 0:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        store, batch_size, _, *settings = sys.argv[1:]
        command = [sys.executable, "-m", "peers.torch_distributed", store, batch_size, os.devnull]
        subprocess.Popen([*command, *settings], env={**os.environ, "RANK": "1"})
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    linear = torch.nn.Linear(job.features, 1)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    model, loss = DistributedDataParallel(linear), torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=job.learning_rate)

    def step(features: torch.Tensor, targets: torch.Tensor) -> int:
        optimizer.zero_grad()
        loss(model(features)[:, 0], targets).backward()
        optimizer.step()
        return len(targets)

    share = job.batch_size // PROCESSES
    # It moves nothing but the intercept, which goes back.
    step(torch.zeros(share, job.features), torch.zeros(share))
    torch.nn.init.zeros_(linear.bias)
    blocks = Blocks(job, whole_batches=True)

    def solution() -> list[float]:
        return torch.cat([each.detach().ravel() for each in linear.parameters()]).tolist()

    def train() -> harness.Trained:
        distributed.barrier()
        rows = 0
        with model.join():  # one of them may have a batch more
            for features, targets in blocks.batches(rank, PROCESSES, share):
                rows += step(features, targets)
                if rank == 0 and job.snapshots.is_due(PROCESSES * rows):
                    job.snapshots.note(PROCESSES * rows, solution())
        used = torch.tensor(rows)
        distributed.all_reduce(used)
        *coefficients, intercept = solution()
        return harness.Trained(coefficients, intercept, int(used))

    return train


if __name__ == "__main__":
    harness.main(prepare, ["torch", "zarr", "numpy"])

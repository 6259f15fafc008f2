"""Who is compared with ooc: each peer's module, and the environment that it runs in."""

from dataclasses import dataclass

from peers.environments import ROOT, Environment

ZARR = "zarr==3.1.6"


@dataclass(frozen=True)
class Peer:
    """Something to be timed.

    Attributes
    ----------
    name
        What the table calls it.
    module
        Its file beside this one.
    environment
        Where it runs, or None for the project's own.
    target
        How many times as fast ooc has to be; None for ooc itself.
    variants
        Settings of its ways to be run; the fastest way counts.
    cached
        Whether it reads a cache of its own that has to be built from the store.
    """

    name: str
    module: str
    environment: Environment | None
    target: float | None
    variants: tuple[tuple[str, ...], ...] = ((),)
    cached: bool = False


ANNBATCH = Environment(
    "annbatch",
    (
        "annbatch[zarrs]==0.3.1",
        "zarrs==0.2.3",
        "anndata==0.13.4",
        "zarr==3.4.2",
        "numpy==2.5.5",
        "--editable",
        str(ROOT),
    ),
    oldest=(3, 12),
)
SCIKIT_LEARN = Environment("scikit-learn", ("scikit-learn==1.9.1", ZARR, "numpy==2.4.6"))
VOWPAL_WABBIT = Environment(
    "vowpal-wabbit", ("vowpalwabbit==9.11.9", ZARR, "numba==0.68.1", "numpy==2.4.6")
)
TORCH = Environment("torch", ("torch==2.13.0", ZARR, "numpy==2.4.6"))
TORCH_AND_OOC = Environment("torch-and-ooc", ("torch==2.13.0", "--editable", str(ROOT)))
DASK_ML = Environment(
    "dask-ml",
    (
        "dask-ml==2025.1.0",
        "dask==2026.8.0",
        "distributed==2026.8.0",
        "scikit-learn==1.9.1",
        ZARR,
        "numpy==2.4.6",
    ),
)

OOC = Peer("ooc", "ooc_trainer", None, None)
ALL_PEERS = {
    "annbatch": Peer("annbatch, direct I/O", "annbatch_loader", ANNBATCH, 2.0),
    "scikit-learn": Peer("scikit-learn partial_fit", "sklearn_partial_fit", SCIKIT_LEARN, 8.0),
    "vowpal-wabbit": Peer("Vowpal Wabbit, cache", "vowpal_wabbit", VOWPAL_WABBIT, 8.0, cached=True),
    "torch": Peer(
        "PyTorch DataLoader, rows",
        "torch_dataloader",
        TORCH,
        15.0,
        (("batches=row", "workers=0"), ("batches=row", "workers=2")),
    ),
    "torch-batches": Peer(
        "PyTorch DataLoader, whole batches",
        "torch_dataloader",
        TORCH,
        15.0,
        (("batches=whole", "workers=0"), ("batches=whole", "workers=2")),
    ),
    "dask-ml": Peer(
        "dask-ml Incremental, stored chunks",
        "dask_ml_incremental",
        DASK_ML,
        15.0,
        (("blocks=stored",),),
    ),
    "dask-ml-large": Peer(
        "dask-ml Incremental, 64 chunks a block",
        "dask_ml_incremental",
        DASK_ML,
        15.0,
        (("blocks=large",),),
    ),
}
# Those that a run on a cluster is compared with.
CLUSTER_PEERS = {
    "torch-ddp": Peer("PyTorch DDP, 2 processes", "torch_distributed", TORCH, 2.0),
    "dask-ml": Peer(
        "dask-ml Incremental", "dask_ml_incremental", DASK_ML, 3.0, (("blocks=large",),)
    ),
}

"""PyTorch's door: batches of a dataset larger than memory for its data loaders."""

from ooc.core.errors import InputError

try:
    import torch  # noqa: F401
except ImportError:
    raise InputError(
        "ooc.torch needs PyTorch, which is not installed; pip install 'ooc[torch]' brings it"
    ) from None

from ooc.torch.batch_dataset import BatchDataset

__all__ = ["BatchDataset"]

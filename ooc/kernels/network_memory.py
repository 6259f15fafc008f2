"""What a dense network computes, as its kernels want it, and the memory that they need for it."""

from typing import NamedTuple

import numpy as np

# Fewer rows than this, or fewer multiplications than SHARE_WORK, make a share that two threads are
# no faster with than one. More shares than this, and adding up their gradients takes long.
SHARE_ROWS = 128
SHARE_WORK = 4_000_000
MOST_SHARES = 4
# Parameters that are updated as one piece: with their moments they stay in a core's cache.
PIECE = 4096


class Network(NamedTuple):
    """What a network computes, as the kernels want it.

    Attributes
    ----------
    widths
        (layers + 1,) int64: inputs, units of each layer.
    activations
        (layers,) int64 codes of `ooc.kernels.activations`.
    dropout
        (layers,) float64, the share of each layer's outputs that is dropped in training.
    loss_code
        Of `ooc.kernels.losses`, or `SOFTMAX`.
    reconstructs
        Whether the inputs are the targets.
    weight_decay
        Half of it times the sum of squared weights is added to the loss.
    scale
        Factor for every feature.
    least_share, most_shares
        Rows of a share at least, and shares of a batch at most. They are data, so that kernels
        and scratch never disagree about them.
    """

    widths: np.ndarray
    activations: np.ndarray
    dropout: np.ndarray
    loss_code: int
    reconstructs: bool
    weight_decay: float
    scale: float
    least_share: int
    most_shares: int


class Scratch(NamedTuple):
    """Memory that lives as long as a run; `make_scratch` makes it.

    Attributes
    ----------
    inputs, targets, weights, ids
        The batch: (B, F), (B, T), (B,) or (0,) float32, and (B,) int64 places in the window.
    outputs, slopes
        Of all layers one after the other, each (B, units), flat float32.
    gradients
        (shares, parameters) float32.
    losses, failures
        (shares,) float64, and (shares, 2) int64: a status and its row in the batch.
    pieces
        (pieces, 3) int64: start and stop of parameters, and whether they decay.
    penalties
        (pieces,) float64: what each piece adds to the loss; NaN if its gradient is not finite.
    halves
        (pieces, 3) float64: what each piece adds to the product of the gradients of the batch's
        halves, and to the square of each, where it has several shares.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    ids: np.ndarray
    outputs: np.ndarray
    slopes: np.ndarray
    gradients: np.ndarray
    losses: np.ndarray
    failures: np.ndarray
    pieces: np.ndarray
    penalties: np.ndarray
    halves: np.ndarray


def parameter_count(widths: np.ndarray) -> int:
    """Return the weights and biases of all layers."""
    return int(((widths[:-1] + 1) * widths[1:]).sum())


def least_share(widths: np.ndarray) -> int:
    """Return the rows that a share has at least: more in a small network."""
    return max(SHARE_ROWS, SHARE_WORK // parameter_count(widths))


def scratch_bytes(network: Network, batch_size: int, targets: int) -> int:
    """Return the bytes of `make_scratch`."""
    widths, parameters = network.widths, parameter_count(network.widths)
    row = 4 * (int(widths[0]) + targets + 1 + 2 * int(widths[1:].sum())) + 8
    pieces = len(_pieces(widths))
    return batch_size * row + 4 * shares_of(network, batch_size) * parameters + 56 * pieces


def make_scratch(network: Network, batch_size: int, targets: int, weighted: bool) -> Scratch:
    """Allocate all that steps of up to `batch_size` rows need."""
    widths, parameters = network.widths, parameter_count(network.widths)
    shares, units = shares_of(network, batch_size), int(widths[1:].sum())
    pieces = _pieces(widths)
    return Scratch(
        inputs=np.empty((batch_size, int(widths[0])), np.float32),
        targets=np.empty((batch_size, targets), np.float32),
        weights=np.empty(batch_size if weighted else 0, np.float32),
        ids=np.empty(batch_size, np.int64),
        outputs=np.empty(batch_size * units, np.float32),
        slopes=np.empty(batch_size * units, np.float32),
        gradients=np.empty((shares, parameters), np.float32),
        losses=np.empty(shares),
        failures=np.empty((shares, 2), np.int64),
        pieces=pieces,
        penalties=np.empty(len(pieces)),
        halves=np.zeros((len(pieces), 3)),
    )


def _pieces(widths: np.ndarray) -> np.ndarray:
    """Cut the parameters into pieces that are updated on their own: start, stop, decays."""
    pieces, start = [], 0
    for inputs, units in zip(widths[:-1].tolist(), widths[1:].tolist(), strict=True):
        for size, decays in ((inputs * units, 1), (units, 0)):
            stop = start + size
            pieces += [[a, min(a + PIECE, stop), decays] for a in range(start, stop, PIECE)]
            start = stop
    return np.array(pieces, np.int64)


def shares_of(network: Network, batch_size: int) -> int:
    """Return the most shares of batches up to this size."""
    return min(network.most_shares, -(-batch_size // network.least_share))

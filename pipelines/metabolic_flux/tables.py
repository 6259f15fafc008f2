"""Where the numbers of the autoencoder lie: what its kernel reads, and its model writes."""

import numpy as np

from ooc.core.compiler import lean_kernel
from ooc.kernels.network import COUNT, LAYERS
from ooc.kernels.share import Numbers

# Quantiles of each coordinate that are knots of its normal scores, a piecewise linear function.
KNOTS = 25
# What inputs and outputs are, see `pipelines.metabolic_flux.kernel`.
FLUXES, NULL_SPACE, MIRROR = range(3)
# Entries of the model's integers: the form; C conditions, R reactions, K inputs, L codes, E
# descriptors, F faces of a condition at most, M metabolites, and non-zeros of S; how many integers
# are the encoder's; then, from TABLES on, the encoder's and the decoder's as
# `ooc.kernels.network` has them, the row pointers (M + 1) and columns of S, and the reactions of
# faces (C, F).
FORM, CONDITIONS, REACTIONS, INPUTS, CODES, DESCRIPTORS, FACES, METABOLITES, NONZEROS = range(9)
OWN_INTEGERS, TABLES = 9, 10
# Entries of its reals: weights of balance and bounds, steps of warm-up, and the weight of what goes
# past the layers: inputs to the code's means, codes to outputs. Then descriptors (C, E), used
# outputs (C, K), means m or h (C, R or K), lower and upper (C, R), scales s (C, R), and the form's
# own: inverses (C, R, K) and bases (C, K, R), or ends and slopes of slacks (C, F) each, g (C, F, K)
# and knots (C, K, KNOTS) of normal scores; values of S; and zeros, as layers without dropout read.
BALANCE, BOUNDS, WARM_UP, PAST, ARRAYS = range(5)


@lean_kernel
def table(numbers: Numbers, which: int) -> tuple[int, int]:
    """Return where a table of the reals begins, and the numbers of a condition in it."""
    n = numbers.integers
    count, reactions, inputs, faces = n[CONDITIONS], n[REACTIONS], n[INPUTS], n[FACES]
    form = n[FORM]
    means = inputs if form == MIRROR else reactions
    own = (reactions * inputs, inputs * reactions, 0, 0)
    if form == FLUXES:
        own = (0, 0, 0, 0)
    elif form == MIRROR:
        own = (faces, faces, faces * inputs, inputs * KNOTS)
    sizes = (
        n[DESCRIPTORS], inputs, means, reactions, reactions, reactions, own[0], own[1], own[2],
        own[3],
    )  # fmt: skip
    start = ARRAYS
    for k in range(which):
        start += count * sizes[k]
    return start, sizes[which]


# The tables of `table`, in their order; values of S come behind them.
OF_CONDITION, USED, MEANS, LOWER, UPPER, SCALES, FIRST, SECOND, THIRD, LAST = range(10)


@lean_kernel
def encoder_of(numbers: Numbers) -> Numbers:
    """Return the numbers of the encoder."""
    stop = TABLES + numbers.integers[OWN_INTEGERS]
    layers = numbers.integers[TABLES + COUNT]
    return Numbers(numbers.reals[numbers.reals.size - layers - 1 :], numbers.integers[TABLES:stop])


@lean_kernel
def decoder_of(numbers: Numbers) -> Numbers:
    """Return the numbers of the decoder, which has as many layers."""
    first = TABLES + numbers.integers[OWN_INTEGERS]
    layers = numbers.integers[first + COUNT]
    stop = first + LAYERS + 2 * layers + 1
    return Numbers(numbers.reals[numbers.reals.size - layers - 1 :], numbers.integers[first:stop])


@lean_kernel
def size_of(layers: Numbers) -> tuple[np.int64, np.int64]:
    """Return how many parameters a network has, and units in all."""
    parameters, units = np.int64(0), np.int64(0)
    for k in range(layers.integers[COUNT]):
        fan, own = layers.integers[LAYERS + k], layers.integers[LAYERS + 1 + k]
        parameters += (fan + 1) * own
        units += own
    return parameters, units

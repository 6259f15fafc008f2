"""The conditional variational autoencoder of fluxes, compiled: loss and gradient of a share.

A row comes to the network as inputs t of its condition, goes through the encoder to means and
log-variances of a code, of which one is sampled, and through the decoder back to outputs o. What
inputs are, and what fluxes outputs stand for, is the form's:

- `FLUXES`: t = (v - m) / s, and v^ = m + s o where a flux is not fixed: nothing keeps S v^ = 0.
- `NULL_SPACE`: t are coordinates of a null space of S, and v^ = m + o B: S v^ = 0 always.
- `MIRROR`: t are normal scores of -sum_i log(slack_i) g_i - h, the gradient of a barrier of the
  bounds: every o stands for a state inside all bounds with S v^ = 0, which
  `pipelines.metabolic_flux.mirror` finds.

Where inputs have deviations of 1, they also go past the layers: to the code's means and from the
code to outputs, with a weight. With layers that answer 0 the model is then a Gaussian, and learns
how the states differ from one.

The loss of a row has four terms: reconstruction, the negative logarithm of a normal density with
deviations that are learned; divergence of the code from a standard normal one, times a warm-up;
half a weight times |S v^|^2; and half a weight times the squares by which v^ is outside of bounds,
both in physical units.
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel, view_at
from ooc.kernels import dense, network
from ooc.kernels.counters import BAD_INTEGER, NOT_FINITE, OK
from ooc.kernels.network import COUNT, LAYERS
from ooc.kernels.random_numbers import fill_normal
from ooc.kernels.share import BAD, Numbers, Output, Share
from pipelines.metabolic_flux.inputs import fill_inputs
from pipelines.metabolic_flux.tables import (
    BALANCE,
    BOUNDS,
    CODES,
    CONDITIONS,
    DESCRIPTORS,
    FLUXES,
    FORM,
    INPUTS,
    LAST,
    LOWER,
    MEANS,
    METABOLITES,
    MIRROR,
    OF_CONDITION,
    OWN_INTEGERS,
    PAST,
    REACTIONS,
    SCALES,
    SECOND,
    TABLES,
    UPPER,
    USED,
    WARM_UP,
    decoder_of,
    encoder_of,
    size_of,
    table,
)

# Terms of the loss.
RECONSTRUCTION, DIVERGENCE, UNBALANCED, OUTSIDE = range(4)
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@lean_kernel
def penalise(
    numbers: Numbers,
    condition: int,
    outputs: np.ndarray,
    fluxes: np.ndarray,
    slopes: np.ndarray,
    residual: np.ndarray,
    derivatives: np.ndarray,
) -> tuple[float, float]:
    """Add the slopes of both penalties by a row's outputs, (K,), to its derivatives.

    `fluxes`, `slopes`, (R,), and `residual`, (M,), are scratch. Returns both penalties.
    """
    n, reals = numbers.integers, numbers.reals
    reactions, count = n[REACTIONS], n[INPUTS]
    mean = table(numbers, MEANS)[0] + condition * reactions
    scale = table(numbers, SCALES)[0] + condition * reactions
    lower = table(numbers, LOWER)[0] + condition * reactions
    upper = table(numbers, UPPER)[0] + condition * reactions
    basis = table(numbers, SECOND)[0] + condition * count * reactions
    for j in range(reactions):
        fluxes[j] = reals[mean + j]
        slopes[j] = 0.0
    if n[FORM] == FLUXES:
        for j in range(reactions):
            fluxes[j] += reals[scale + j] * outputs[j]
    else:
        for k in range(count):
            for j in range(reactions):
                fluxes[j] += outputs[k] * reals[basis + k * reactions + j]
    unbalanced, outside = 0.0, 0.0
    if n[FORM] == FLUXES and reals[BALANCE] > 0:
        last, size = table(numbers, LAST)
        values = last + n[CONDITIONS] * size
        first = TABLES + n[OWN_INTEGERS]
        pointer = first + LAYERS + 2 * n[first + COUNT] + 1
        column = pointer + n[METABOLITES] + 1
        for m in range(n[METABOLITES]):
            total = 0.0
            for e in range(n[pointer + m], n[pointer + m + 1]):
                total += reals[values + e] * fluxes[n[column + e]]
            residual[m] = total
            unbalanced += 0.5 * reals[BALANCE] * total * total
        for m in range(n[METABOLITES]):
            for e in range(n[pointer + m], n[pointer + m + 1]):
                slopes[n[column + e]] += reals[BALANCE] * residual[m] * reals[values + e]
    for j in range(reactions):
        beyond = max(fluxes[j] - reals[upper + j], 0.0) - max(reals[lower + j] - fluxes[j], 0.0)
        outside += 0.5 * reals[BOUNDS] * beyond * beyond
        slopes[j] += reals[BOUNDS] * beyond
    if n[FORM] == FLUXES:
        for j in range(reactions):
            derivatives[j] += slopes[j] * reals[scale + j]
    else:
        for k in range(count):
            total = 0.0
            for j in range(reactions):
                total += slopes[j] * reals[basis + k * reactions + j]
            derivatives[k] += total
    return unbalanced, outside


@lean_kernel
def reconstruct(
    numbers: Numbers,
    conditions: np.ndarray,
    inputs: np.ndarray,
    deviations: np.ndarray,
    outputs: np.ndarray,
    gradient: np.ndarray,
    scratch: np.ndarray,
    output: Output,
) -> int:
    """Replace outputs (rows, K) by the loss's derivatives by them, and set its terms.

    Parameters
    ----------
    deviations, gradient
        (K,) logarithms of the deviations, and what is filled for them.
    scratch
        2 R + M + K values.

    Returns the first row with a value that is not finite, or -1.
    """
    n, reals = numbers.integers, numbers.reals
    rows, count = outputs.shape
    used = table(numbers, USED)[0]
    penalised = n[FORM] != MIRROR and reals[BALANCE] + reals[BOUNDS] > 0
    reactions = n[REACTIONS]
    fluxes, slopes = view_at(scratch, 0, (reactions,)), view_at(scratch, reactions, (reactions,))
    residual = view_at(scratch, 2 * reactions, (n[METABOLITES],))
    derivatives = view_at(scratch, 2 * reactions + n[METABOLITES], (count,))
    for k in range(count):
        gradient[k] = 0.0
    total, unbalanced, outside = 0.0, 0.0, 0.0
    for r in range(rows):
        c, before = conditions[r, 0], total + unbalanced + outside
        for k in range(count):
            derivatives[k] = 0.0
            if reals[used + c * count + k] == 0.0:
                continue
            log = np.float64(deviations[k])
            precision = math.exp(-2 * log)
            away = np.float64(outputs[r, k]) - np.float64(inputs[r, k])
            square = away * away * precision
            total += 0.5 * square + log + _HALF_LOG_TWO_PI
            derivatives[k] = away * precision
            gradient[k] += 1.0 - square
        if penalised:
            both = penalise(
                numbers, c, view_at(outputs, r * count, (count,)), fluxes, slopes, residual,
                derivatives,
            )  # fmt: skip
            unbalanced += both[0]
            outside += both[1]
        for k in range(count):
            outputs[r, k] = derivatives[k] if reals[used + c * count + k] != 0.0 else 0.0
        after = total + unbalanced + outside
        if not math.isfinite(after - before):
            return r
    output.terms[RECONSTRUCTION] = total
    output.terms[UNBALANCED] = unbalanced
    output.terms[OUTSIDE] = outside
    return -1


@lean_kernel
def add_past(weight: float, columns: int, source: np.ndarray, target: np.ndarray) -> None:
    """Add the first columns of one matrix, times a weight, to those of another."""
    for r in range(source.shape[0]):
        for k in range(columns):
            target[r, k] += weight * source[r, k]


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share; see `ooc.kernels.share.accumulate_of`.

    Parameters are the encoder's, the decoder's, and K logarithms of deviations. `own` holds, for
    all rows and one after the other: inputs (K + E), outputs and slopes of the encoder, noise (L),
    the decoder's inputs (L + E), its outputs and slopes, and scratch of `reconstruct`.
    """
    n, rows = numbers.integers, share.features.shape[0]
    count, codes, described = n[INPUTS], n[CODES], n[DESCRIPTORS]
    encoder, decoder = encoder_of(numbers), decoder_of(numbers)
    (size, units), (behind, others) = size_of(encoder), size_of(decoder)
    inputs = view_at(own, 0, (rows, count + described))
    bad = fill_inputs(numbers, share.features, share.integers, inputs)
    if bad >= 0:
        output.report[BAD] = bad
        c = share.integers[bad, 0]
        return NOT_FINITE if 0 <= c < n[CONDITIONS] else BAD_INTEGER
    place = rows * (count + described)
    outputs, slopes = view_at(own, place, (rows * units,)), view_at(own, place + rows * units,
                                                                   (rows * units,))  # fmt: skip
    place += 2 * rows * units
    network.forward(encoder, parameters, inputs, outputs, slopes, 0, 0, False)
    posterior = view_at(outputs, rows * (units - 2 * codes), (rows, 2 * codes))
    noise = view_at(own, place, (rows, codes))
    place += rows * codes
    joined = view_at(own, place, (rows, codes + described))
    place += rows * (codes + described)
    fill_normal(share.seed, share.first, noise)
    divergence, past, both = 0.0, numbers.reals[PAST], min(codes, count)
    if past > 0:
        add_past(past, both, inputs, posterior)
    for r in range(rows):
        for k in range(codes):
            mean, log = np.float64(posterior[r, k]), np.float64(posterior[r, codes + k])
            divergence += 0.5 * (mean * mean + math.exp(log) - 1.0 - log)
            joined[r, k] = mean + math.exp(0.5 * log) * noise[r, k]
        for k in range(described):
            joined[r, codes + k] = inputs[r, count + k]
    decoded = view_at(own, place, (rows * others,))
    kept = view_at(own, place + rows * others, (rows * others,))
    place += 2 * rows * others
    network.forward(decoder, parameters[size:], joined, decoded, kept, 0, 0, False)
    answers = view_at(decoded, rows * (others - count), (rows, count))
    if past > 0:
        add_past(past, both, joined, answers)
    end = size + behind
    bad = reconstruct(
        numbers, share.integers, inputs, parameters[end:], answers, output.gradient[end:],
        own[place:], output,
    )  # fmt: skip
    warm = 1.0
    if numbers.reals[WARM_UP] > 0:
        warm = min(1.0, (share.step + 1) / numbers.reals[WARM_UP])
    output.terms[DIVERGENCE] = warm * divergence
    if bad >= 0 or not math.isfinite(divergence):
        output.report[BAD] = max(bad, 0)
        return NOT_FINITE
    network.backward(decoder, parameters[size:], joined, decoded, kept, output.gradient[size:])
    lowest = decoder.integers[LAYERS + 1]
    dense.backward_inputs(
        view_at(decoded, 0, (rows, lowest)),
        view_at(parameters, size, (lowest, codes + described)), joined,
    )  # fmt: skip
    if past > 0:
        add_past(past, both, answers, joined)
    for r in range(rows):
        for k in range(codes):
            by_code, log = np.float64(joined[r, k]), np.float64(posterior[r, codes + k])
            mean = np.float64(posterior[r, k])
            half = 0.5 * math.exp(0.5 * log) * noise[r, k]
            posterior[r, k] = by_code + warm * mean
            posterior[r, codes + k] = by_code * half + warm * 0.5 * (math.exp(log) - 1.0)
    network.backward(encoder, parameters, inputs, outputs, slopes, output.gradient)
    return OK


@lean_kernel
def encode(
    numbers: Numbers,
    parameters: np.ndarray,
    fluxes: np.ndarray,
    conditions: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    slopes: np.ndarray,
) -> int:
    """Fill inputs (rows, K + E) and the encoder's outputs, flat, of all layers, for states.

    Returns the first row that cannot be used, or -1.
    """
    bad = fill_inputs(numbers, fluxes, conditions, inputs)
    if bad < 0:
        network.forward(encoder_of(numbers), parameters, inputs, outputs, slopes, 0, 0, False)
        codes, rows = 2 * numbers.integers[CODES], inputs.shape[0]
        posterior = view_at(outputs, outputs.size - rows * codes, (rows, codes))
        both = min(numbers.integers[CODES], numbers.integers[INPUTS])
        if numbers.reals[PAST] > 0:
            add_past(numbers.reals[PAST], both, inputs, posterior)
    return bad


@lean_kernel
def decode(
    numbers: Numbers,
    parameters: np.ndarray,
    conditions: np.ndarray,
    joined: np.ndarray,
    outputs: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Fill the outputs of all layers, flat; `joined`, (rows, L + E), begins with codes."""
    size, _ = size_of(encoder_of(numbers))
    described = numbers.integers[DESCRIPTORS]
    codes = joined.shape[1] - described
    first, _ = table(numbers, OF_CONDITION)
    for r in range(joined.shape[0]):
        for k in range(described):
            joined[r, codes + k] = numbers.reals[first + conditions[r, 0] * described + k]
    network.forward(decoder_of(numbers), parameters[size:], joined, outputs, slopes, 0, 0, False)
    count, rows = numbers.integers[INPUTS], joined.shape[0]
    answers = view_at(outputs, outputs.size - rows * count, (rows, count))
    if numbers.reals[PAST] > 0:
        add_past(numbers.reals[PAST], min(codes, count), joined, answers)

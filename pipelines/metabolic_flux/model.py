"""A conditional variational autoencoder of flux states, trained as any compiled model of ooc.

(Kingma and Welling 2014; Sohn, Lee and Yan 2015; a warm-up of the divergence as by Sonderby and
others 2016.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ooc.core.blas import one_thread
from ooc.core.errors import InputError
from ooc.kernels.activations import ACTIVATIONS, IDENTITY
from ooc.kernels.share import Numbers
from ooc.metrics.measured import Measured, measured
from ooc.models.compiled import CompiledModel, batch_gradient
from ooc.models.contract import BatchLike, Layout
from ooc.models.declarations import Kernel, Needs, kernel_of
from pipelines.metabolic_flux import kernel as kernels
from pipelines.metabolic_flux.frame import Frame
from pipelines.metabolic_flux.mirror import Faces
from pipelines.metabolic_flux.network import Network
from pipelines.metabolic_flux.tables import FLUXES, MIRROR, NULL_SPACE

FORMS = {"fluxes": FLUXES, "null space": NULL_SPACE, "mirror": MIRROR}
PIECE_ROWS = 2048
FIRST_DEVIATION = 0.5
# Codes whose posterior mean varies by more than this are active (Burda and others 2016).
ACTIVE = 0.01


@dataclass(frozen=True)
class _Rows:
    """States as a batch, see `ooc.models.contract.BatchLike`."""

    features: np.ndarray
    arrays: Mapping[str, np.ndarray]
    rows: np.ndarray
    seed: int
    step: int = 0
    target: None = None
    weight: None = None
    roles: tuple[str, None, None] = ("X", None, None)


@dataclass(frozen=True)
class FluxAutoencoder(CompiledModel):
    """Encoder, sampled code and decoder of fluxes in a condition.

    The features of a row are its fluxes (R,), its condition travels as an integer. What the network
    sees and answers is the form's, see `pipelines.metabolic_flux.kernel`.

    Attributes
    ----------
    form
        "fluxes", "null space" or "mirror".
    codes
        L, of the sampled code.
    hidden
        Units of the hidden layers of the encoder; the decoder has them in reverse.
    balance, bounds
        Weights of the penalties on S v and on bounds, in physical units; 0 leaves one out.
    warm_up
        Steps after which the divergence counts in full.
    dtype
        Of the parameters: "float32", or "float64".
    problem
        The tables of conditions.
    """

    problem: "Problem" = field(repr=False, compare=False)
    form: str = "mirror"
    codes: int = 24
    hidden: tuple[int, ...] = (128, 128)
    activation: str = "tanh"
    balance: float = 0.0
    bounds: float = 0.0
    warm_up: int = 0
    dtype: str = "float32"

    name: ClassVar[str] = "flux_autoencoder"
    needs_target = False
    terms: ClassVar[tuple[str, ...]] = ("reconstruction", "divergence", "balance", "bounds")

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise InputError(f"a form is one of {', '.join(FORMS)}, not {self.form!r}")
        if self.codes < 1 or not self.hidden or min(self.hidden) < 1:
            raise InputError(
                f"codes and hidden units are at least 1, not {self.codes} and {self.hidden}"
            )
        if not all(0 <= each < math.inf for each in (self.balance, self.bounds, self.warm_up)):
            raise InputError(
                f"weights and warm-up are finite numbers of at least 0, not {self.balance}, "
                f"{self.bounds} and {self.warm_up}"
            )

    @property
    def needs(self) -> Needs:
        """The number of the condition, beside fluxes."""
        return Needs(integers=("condition",), shapes={"condition": (1,)})

    @property
    def integer_bounds(self) -> tuple[int, int]:
        """The least and the largest condition."""
        return 0, self.problem.frame.conditions - 1

    @property
    def past(self) -> float:
        """Weight of what goes past the layers; 0 where inputs have no deviations of 1."""
        return 0.0 if self.form == "fluxes" else math.sqrt(1 - FIRST_DEVIATION**2)

    @property
    def inputs(self) -> int:
        """K, numbers that the network sees and answers."""
        frame = self.problem.frame
        return frame.centres.shape[1] if self.form == "fluxes" else frame.dimensions

    @property
    def widths(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Inputs and units of the layers of the encoder, and of the decoder."""
        described = self.problem.descriptors.shape[1]
        encoder = (self.inputs + described, *self.hidden, 2 * self.codes)
        return encoder, (self.codes + described, *reversed(self.hidden), self.inputs)

    def layout(self, row_shape: tuple[int, ...]) -> Layout:
        """Return the layers of both networks, and logarithms of K deviations."""
        reactions = self.problem.frame.centres.shape[1]
        if row_shape != (reactions,):
            raise InputError(
                f"rows have shape {row_shape}, but the network has {reactions} reactions"
            )
        shapes: dict[str, tuple[int, ...]] = {}
        for name, widths in zip(("encoder", "decoder"), self.widths, strict=True):
            for number in range(1, len(widths)):
                shapes[f"{name}{number}.weights"] = (widths[number], widths[number - 1])
                shapes[f"{name}{number}.biases"] = (widths[number],)
        shapes["deviations"] = (self.inputs,)
        return Layout(shapes, frozenset(n for n, shape in shapes.items() if len(shape) == 1))

    def init(self, layout: Layout, generator: np.random.Generator) -> np.ndarray:
        """Return Glorot's uniform weights (2010), zero biases, and deviations of one half.

        With a penalty on S v the last layer's weights are at first what is left of them in the
        null space of S; nothing but the penalty keeps them there. Where inputs go past the layers,
        these answer 0 at first, but for the logarithm of the
        code's variance: that of a Gaussian's posterior.
        """
        parameters = np.zeros(layout.size, self.dtype)
        for name, view in layout.views(parameters).items():
            if view.ndim == 2:
                bound = math.sqrt(6 / sum(view.shape))
                view[...] = generator.uniform(-bound, bound, view.shape)
            elif name == "deviations":
                view[:] = math.log(FIRST_DEVIATION)
        if self.form == "fluxes" and self.balance > 0:
            scaled = self.problem.network.stoichiometry * self.problem.scales
            view = layout.views(parameters)[f"decoder{len(self.hidden) + 1}.weights"]
            view -= np.linalg.pinv(scaled) @ (scaled @ view)
        if self.past > 0:
            last, views = len(self.hidden) + 1, layout.views(parameters)
            for name in ("encoder", "decoder"):
                views[f"{name}{last}.weights"][:] *= 0.01
            views[f"encoder{last}.biases"][self.codes :] = 2 * math.log(FIRST_DEVIATION)
        return parameters

    def check_target(self, shape: tuple[int, ...]) -> None:
        """Take any targets: they are not used."""

    def kernel(self, layout: Layout, parameters: np.ndarray) -> Kernel:
        """Return the model's part of the window loop."""
        numbers, (encoder, decoder) = self.numbers(parameters.dtype), self.widths
        described, count = self.problem.descriptors.shape[1], self.inputs
        units = 2 * (sum(encoder[1:]) + sum(decoder[1:]))
        rows = count + described + units + 2 * self.codes + described
        reactions, metabolites = reversed(self.problem.network.stoichiometry.shape)
        return Kernel(
            kernels.accumulate, numbers.reals, numbers.integers, shares=4, least_rows=64,
            most_rows=256, own_values=rows + -(-(2 * reactions + metabolites + count) // 4),
            uses_blas=True, eager=True,
        )  # fmt: skip

    def numbers(self, dtype: Any = np.float32) -> Numbers:
        """Return reals and integers as `pipelines.metabolic_flux.tables` has them."""
        problem, code = self.problem, ACTIVATIONS[self.activation].code(np.dtype(dtype))
        networks = []
        for widths in self.widths:
            layers = len(widths) - 1
            codes = [code] * (layers - 1) + [IDENTITY]
            networks.append([0, 0, 0, 0, 0, 0, layers, *widths, *codes])
        rows, columns = np.nonzero(problem.network.stoichiometry)
        metabolites, reactions = problem.network.stoichiometry.shape
        pointers = np.searchsorted(rows, np.arange(metabolites + 1))
        tables, faces = problem.tables(self.form)
        frame = problem.frame
        own = [
            FORMS[self.form], frame.conditions, reactions, self.inputs, self.codes,
            problem.descriptors.shape[1], faces.shape[1], metabolites, len(rows), len(networks[0]),
        ]  # fmt: skip
        integers = [*own, *networks[0], *networks[1], *pointers, *columns, *faces.ravel()]
        values = problem.network.stoichiometry[rows, columns]
        no_dropout = np.zeros(len(self.widths[0]))
        reals = [
            np.array([self.balance, self.bounds, self.warm_up, self.past]),
            problem.descriptors, *tables, values, no_dropout,
        ]  # fmt: skip
        return Numbers(
            np.concatenate([np.asarray(each, np.float64).ravel() for each in reals]),
            np.array(integers, np.int64),
        )

    def measure(self, parameters: np.ndarray, batch: BatchLike) -> Measured:
        """Return the summed loss of a batch without warm-up: the negative ELBO and penalties."""
        steady = replace(self, warm_up=0)
        layout = self.layout(batch.features.shape[1:])
        kernel, gradient = kernel_of(steady, layout, parameters), np.empty(layout.size)
        assert kernel is not None, "the model has one"
        status, row, loss = batch_gradient(steady, kernel, parameters, batch, gradient)
        if status:
            raise self.explain(status, row, batch)
        return measured(loss, len(batch.rows), np.empty(0, np.float32), None)

    def loss_on(
        self,
        parameters: np.ndarray,
        fluxes: np.ndarray,
        condition: np.ndarray,
        seed: int = 0,
        draws: int = 1,
    ) -> float:
        """Return the mean loss of states, without warm-up, over so many draws of each code.

        Without penalties it is the negative evidence lower bound, in nats.
        """
        states, given = fluxes.astype(np.float32), condition.reshape(-1, 1).astype(np.int64)
        losses = []
        for number in range(draws):
            arrays: dict[str, np.ndarray] = {"X": states, "condition": given}
            batch = _Rows(states, arrays, np.arange(len(states)), seed + number)
            found = self.measure(parameters, batch)
            losses.append(float(found.loss / found.weight))
        return float(np.mean(losses))

    def predict(self, parameters: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Refuse: a state is of a condition, see `predict_batch`."""
        raise InputError("states are predicted in their condition; give a dataset with conditions")

    def predict_batch(self, parameters: np.ndarray, batch: BatchLike) -> dict[str, np.ndarray]:
        """Return "prediction", the mean code of each state, (rows, L)."""
        found = self.encode(parameters, batch.features, batch.arrays["condition"])
        return {"prediction": found[:, : self.codes]}

    def encode(
        self, parameters: np.ndarray, fluxes: np.ndarray, condition: np.ndarray
    ) -> np.ndarray:
        """Return means and log-variances of the codes of states, (rows, 2 L).

        Raises
        ------
        InputError
            If a flux is not finite, or a condition is none; the row is named.
        """
        return self.encode_with_inputs(parameters, fluxes, condition)[0]

    def encode_with_inputs(
        self, parameters: np.ndarray, fluxes: np.ndarray, condition: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what `encode` does, and what the network sees of states, (rows, K).

        Raises
        ------
        InputError
            If a flux is not finite, or a condition is none; the row is named.
        """
        numbers, count = self.numbers(), self.inputs + self.problem.descriptors.shape[1]
        parameters = np.ascontiguousarray(parameters, np.float32)
        given = np.ascontiguousarray(condition, np.int64).reshape(-1, 1)
        found = np.empty((len(fluxes), 2 * self.codes), np.float32)
        seen = np.empty((len(fluxes), self.inputs), np.float32)
        units = sum(self.widths[0][1:])
        with one_thread():
            for first in range(0, len(fluxes), PIECE_ROWS):
                states = np.ascontiguousarray(fluxes[first : first + PIECE_ROWS], np.float32)
                own, rows = given[first : first + PIECE_ROWS], len(states)
                inputs = np.empty((rows, count), np.float32)
                outputs, slopes = (np.empty(rows * units, np.float32) for _ in range(2))
                bad = kernels.encode(numbers, parameters, states, own, inputs, outputs, slopes)
                if bad >= 0:
                    raise InputError(
                        f"state {first + bad} has condition {own[bad, 0]} of "
                        f"{self.problem.frame.conditions}, or a flux that is not finite"
                    )
                found[first : first + rows] = outputs[-rows * 2 * self.codes :].reshape(rows, -1)
                seen[first : first + rows] = inputs[:, : self.inputs]
        return found, seen

    def decode(
        self, parameters: np.ndarray, codes: np.ndarray, condition: np.ndarray
    ) -> np.ndarray:
        """Return the decoder's outputs for codes (rows, L), (rows, K) float32."""
        numbers, parameters = self.numbers(), np.ascontiguousarray(parameters, np.float32)
        given = np.ascontiguousarray(condition, np.int64).reshape(-1, 1)
        found = np.empty((len(codes), self.inputs), np.float32)
        units = sum(self.widths[1][1:])
        with one_thread():
            for first in range(0, len(codes), PIECE_ROWS):
                own = given[first : first + PIECE_ROWS]
                joined = np.zeros((len(own), self.widths[1][0]), np.float32)
                joined[:, : self.codes] = codes[first : first + PIECE_ROWS]
                outputs, slopes = (np.empty(len(own) * units, np.float32) for _ in range(2))
                kernels.decode(numbers, parameters, own, joined, outputs, slopes)
                last = outputs[-len(own) * self.inputs :].reshape(len(own), -1)
                found[first : first + PIECE_ROWS] = last
        return found

    def deviations(self, parameters: np.ndarray) -> np.ndarray:
        """Return the deviations (K,) of what is reconstructed."""
        layout = self.layout((self.problem.frame.centres.shape[1],))
        found: np.ndarray = np.exp(layout.views(parameters)["deviations"].astype(np.float64))
        return found

    def to_config(self) -> dict[str, Any]:
        """Return name and settings; tables are of the conditions, and given again."""
        return {
            "name": self.name, "form": self.form, "codes": self.codes,
            "hidden": list(self.hidden), "activation": self.activation, "balance": self.balance,
            "bounds": self.bounds, "warm_up": self.warm_up,
        }  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What a model knows before it learns: network, flux spaces and descriptors of conditions.

    Attributes
    ----------
    network
        Its stoichiometry is that of all conditions.
    descriptors
        (C, E) float64.
    scales
        (R,) float64, deviation of each flux over all conditions.
    faces
        None where no form needs them.
    """

    network: Network
    frame: Frame
    descriptors: np.ndarray
    scales: np.ndarray
    faces: Faces | None

    def tables(self, form: str) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the tables of the reals, see `pipelines.metabolic_flux.tables`, and faces (C, F).

        Raises
        ------
        InputError
            If mirror coordinates are asked for where no faces were found.
        """
        frame, none = self.frame, np.zeros((self.frame.conditions, 0), np.int64)
        scales = np.where(frame.is_moving, self.scales, 0.0)
        common = [frame.lower, frame.upper, scales]
        if form == "fluxes":
            return [frame.is_moving, frame.centres, *common], none
        if form == "null space":
            return [frame.is_used, frame.centres, *common, frame.inverses, frame.bases], none
        if self.faces is None:
            raise InputError("mirror coordinates need the faces of all conditions")
        faces = self.faces
        # t = factor^-1 (eta - shift), of which the network sees all that a condition has.
        inverses = np.stack([np.linalg.pinv(each) for each in faces.factors])
        mixed = np.einsum("cfd,ckd->cfk", faces.normals, inverses)
        shifts = np.einsum("cd,ckd->ck", faces.shifts, inverses)
        own = [faces.ends, faces.slopes, mixed, faces.knots]
        return [frame.is_used, shifts, *common, *own], faces.reactions

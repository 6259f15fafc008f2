"""From the options about a model to the model: which options it has, and what is left out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ooc.core.errors import InputError

if TYPE_CHECKING:
    from ooc.store.dataset import Dataset

ModelName = Annotated[str, typer.Option(help="linear, logistic, softmax, svm, mlp or autoencoder.")]


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and what it is like."""

    model: ModelName = "logistic"
    feature_scale: Annotated[
        str, typer.Option(help="Factor for every feature, such as 1/255 for bytes.")
    ] = "1"
    standardise: Annotated[
        str | None,
        typer.Option(
            help="yes, no, or auto: whether features of a linear model get mean 0 and deviation 1.",
            show_default="auto",
        ),
    ] = None
    intercept: Annotated[bool, typer.Option(help="Give scores of a linear model an intercept.")] = (
        True
    )
    loss: Annotated[
        str | None,
        typer.Option(
            help="Of linear: squared, huber, quantile, epsilon_insensitive or poisson; of svm: "
            "hinge or squared_hinge.",
            show_default="the first",
        ),
    ] = None
    loss_constant: Annotated[
        float | None, typer.Option(help="Huber's delta, the quantile, or epsilon.")
    ] = None
    class_weights: Annotated[
        str | None,
        typer.Option(help="balanced, or one number for each class: 1,5.", show_default="ones"),
    ] = None
    classes: Annotated[
        int | None,
        typer.Option(
            help="Classes of softmax and the multiclass head; known for data that ooc made."
        ),
    ] = None
    hidden: Annotated[
        str | None,
        typer.Option(help="Units of the hidden layers of a network.", show_default="64,64"),
    ] = None
    activation: Annotated[
        str | None,
        typer.Option(
            help="relu, leaky_relu, tanh, sigmoid, gelu, softplus or identity.",
            show_default="relu",
        ),
    ] = None
    initialisation: Annotated[
        str | None,
        typer.Option(help="he, glorot, or auto: by the activation.", show_default="auto"),
    ] = None
    dropout: Annotated[
        float | None, typer.Option(help="Share of hidden outputs to drop.", show_default="0")
    ] = None
    weight_decay: Annotated[
        float | None, typer.Option(help="Half of it times |weights|^2 is added.", show_default="0")
    ] = None
    head: Annotated[
        str | None,
        typer.Option(
            help="regression, binary or multiclass, for mlp.",
            show_default="by the target's type",
        ),
    ] = None
    code: Annotated[
        int | None, typer.Option(help="Units of an autoencoder's code.", show_default="16")
    ] = None

    def config(self, dataset: "Dataset") -> Mapping[str, Any]:
        """Return what `ooc.models.from_config` makes the model from."""
        given = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("model", "feature_scale")
        }
        return model_config(self.model, dataset, self.feature_scale, **given)


# The options that each model has, besides --feature-scale.
_LINEAR = ("intercept", "standardise")
_NETWORK = ("hidden", "activation", "initialisation", "dropout", "weight_decay")
_SETTINGS: dict[str, tuple[str, ...]] = {
    "linear": (*_LINEAR, "loss", "loss_constant"),
    "logistic": (*_LINEAR, "class_weights"),
    "softmax": (*_LINEAR, "class_weights", "classes"),
    "svm": (*_LINEAR, "class_weights", "loss"),
    "mlp": (*_NETWORK, "head", "classes"),
    "autoencoder": (*_NETWORK, "code"),
}


def model_config(
    name: str, dataset: "Dataset", scale: str = "1", **given: object
) -> Mapping[str, Any]:
    """Return what `ooc.models.from_config` makes the model from.

    Parameters
    ----------
    name
        An entry of `ooc.models.MODELS`.
    dataset
        Tells classes and head where they are not given.
    scale
        Factor for every feature.
    given
        Options by name; None where the user gave none. ``intercept`` is for linear models alone.

    Raises
    ------
    InputError
        If an option was given that the model does not have.
    """
    config: dict[str, Any] = {"name": name, "scale": factor(scale)}
    known = _SETTINGS.get(name, ())
    for option, value in given.items():
        if option in known and value is not None:
            config[option] = value
        elif value is not None and name in _SETTINGS and option not in ("intercept", "classes"):
            raise InputError(
                f"{name} has no --{option.replace('_', '-')}; leave it out, or choose --model "
                f"{' or '.join(model for model, names in _SETTINGS.items() if option in names)}"
            )
    if isinstance(config.get("hidden"), str):
        config["hidden"] = widths(config["hidden"])
    if "standardise" in known:
        config["standardise"] = standardise_named(config.get("standardise", "auto"))
    if "class_weights" in config:
        config["class_weights"] = class_weights_named(config["class_weights"])
    classes = config.pop("classes", None)
    if name == "softmax":
        config["classes"] = classes or _noted_classes(dataset)
    if name == "mlp":
        head = config.setdefault("head", _fitting_head(dataset, classes))
        if head == "multiclass":
            config["outputs"] = classes or _noted_classes(dataset)
        elif head == "regression" and dataset.target is not None:
            shape = dataset.arrays[dataset.target].shape[1:]
            config["outputs"] = math.prod(shape)
    return config


def _fitting_head(dataset: "Dataset", classes: int | None) -> str:
    """Choose a head: fractions are for regression, whole numbers are labels."""
    if classes or isinstance(dataset.attributes.get("classes"), int):
        return "multiclass"
    if dataset.target is None:
        return "binary"
    whole = dataset.arrays[dataset.target].dtype.kind in "iub"
    return "binary" if whole else "regression"


def _noted_classes(dataset: "Dataset") -> int:
    noted = dataset.attributes.get("classes")
    if not isinstance(noted, int):
        raise InputError(
            f"{dataset.path} does not note how many classes it has; give them with --classes"
        )
    return noted


def factor(text: str) -> float:
    """Read a factor such as 0.5 or 1/255."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{text!r} is not a factor; write it as 0.5 or 1/255") from None


def standardise_named(text: str) -> bool | str:
    """Read whether to standardise: yes, no, or "auto"."""
    choices: dict[str, bool | str] = {"yes": True, "no": False, "auto": "auto"}
    if text not in choices:
        raise InputError(f"--standardise is one of {', '.join(choices)}, not {text!r}")
    return choices[text]


def class_weights_named(text: str) -> str | list[float]:
    """Read the weights of classes: "balanced", or numbers such as 1,5."""
    if text == "balanced":
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--class-weights are balanced or numbers as in 1,5, not {text!r}"
        ) from None


def widths(text: str) -> tuple[int, ...]:
    """Read the units of layers, such as 256,256; an empty text is no layers."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise InputError(f"{text!r} are no widths; write them as 256,256") from None

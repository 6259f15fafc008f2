"""From what a user calls a model to the model for these labels, or these numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from ooc.core.errors import InputError
from ooc.core.numbers import entry_of
from ooc.models import MODELS, Model
from ooc.models.scored import EXPONENTIAL, IDENTITY, LOGISTIC, MARGIN, ORDINAL, SOFTMAX

OF_LABELS, OF_NUMBERS = (LOGISTIC, SOFTMAX, ORDINAL, MARGIN), (IDENTITY, EXPONENTIAL)
WITH_PROBABILITIES = (LOGISTIC, SOFTMAX, ORDINAL)


def settings_of(model: Any) -> set[str]:
    """Return the names of a model's settings."""
    return {field.name for field in fields(model)} if is_dataclass(model) else set()


def template_of(model: str | Model, in_memory: Mapping[str, Any]) -> Any:
    """Return the model of a name, or the one that was given.

    `in_memory` holds settings that a named one gets, as far as it has them.

    Raises
    ------
    InputError
        If there is none of this name, or what was given is no model.
    """
    if not isinstance(model, str):
        if not isinstance(model, Model):
            raise InputError(
                f"a model is a name such as logistic, or one of ooc.models, not {model!r}"
            )
        return model
    kind = entry_of("model", MODELS, model)
    return kind(**{name: value for name, value in in_memory.items() if name in settings_of(kind)})


def link_of(model: Any) -> str | None:
    """Return what makes answers of its scores; None of a model of the user's own."""
    found: str | None = getattr(model, "link", None)
    return found


def is_smooth(model: Any) -> bool:
    """Tell whether a full gradient says how to go on; of a loss that is not known, it does."""
    return bool(getattr(getattr(model, "chosen_loss", None), "smooth", True))


def classifier_of(
    model: Any, classes: int, class_weights: str | Sequence[float] | None = None
) -> Model:
    """Return a model as it is for so many classes: its head and its outputs are settled.

    An ordinal head stays one.

    A model for two that says what it is called for more, as logistic regression does, becomes that.

    Raises
    ------
    InputError
        If it predicts no labels, or not of so many classes.

    Examples
    --------
    >>> from ooc.models import MLP, Logistic
    >>> classifier_of(Logistic(intercept=False), 3).to_config()["name"]
    'softmax'
    >>> classifier_of(MLP(hidden=(8,)), 3).outputs
    3
    """
    changes: dict[str, Any] = {}
    settings = settings_of(model)
    if "head" in settings and model.head == "ordinal":
        changes["outputs"] = classes
    elif "head" in settings:
        is_binary = classes == 2
        changes["head"] = "binary" if is_binary else "multiclass"
        changes["outputs"] = 1 if is_binary else classes
    elif "classes" in settings:
        changes["classes"] = classes
    elif classes > 2 and hasattr(model, "of_more_classes"):
        model = template_of(
            model.of_more_classes, {name: getattr(model, name) for name in settings}
        )
        changes["classes"] = classes
    elif classes > 2 and link_of(model) is not None:
        raise InputError(
            f"Only binary classification is supported. {model.name} takes 2 classes, but there are "
            f"{classes}: choose logistic, softmax or mlp, or wrap it in "
            "sklearn.multiclass.OneVsRestClassifier"
        )
    if class_weights is not None:
        if "class_weights" not in settings:
            raise InputError(f"{model.name} has no class weights; leave class_weight out")
        changes["class_weights"] = class_weights
    made: Model = replace(model, **changes) if changes else model
    _check_link(made, OF_LABELS, "labels", "logistic, softmax, svm, mlp")
    return made


def regressor_of(model: Any, outputs: int) -> Model:
    """Return a model as it is for so many numbers a row.

    Raises
    ------
    InputError
        If it predicts no numbers.
    """
    has_head = "head" in settings_of(model)
    made: Model = replace(model, head="regression", outputs=outputs) if has_head else model
    _check_link(made, OF_NUMBERS, "numbers", "linear, mlp")
    return made


def _check_link(model: Any, fitting: Sequence[str], what: str, names: str) -> None:
    if link_of(model) not in (None, *fitting):
        raise InputError(
            f"{model.name} does not predict {what}; choose one that does: {names}, or train it "
            "with ooc.Trainer"
        )

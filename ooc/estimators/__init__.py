"""scikit-learn's door: a classifier and a regressor around the trainer. No logic of their own."""

from ooc.core.errors import InputError

try:
    import sklearn  # noqa: F401
except ImportError:
    raise InputError(
        "estimators need scikit-learn, which is not installed; pip install 'ooc[sklearn]' brings it"
    ) from None

from ooc.estimators.classifier import OOCClassifier
from ooc.estimators.regressor import OOCRegressor

__all__ = ["OOCClassifier", "OOCRegressor"]

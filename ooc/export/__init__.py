"""Trained models as files that other programs read."""

from ooc.export.formats import FORMATS, export_model
from ooc.export.trained import Trained

__all__ = ["FORMATS", "Trained", "export_model"]

"""Which rows a run was trained on, and which it held out: evaluation says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ooc.core.errors import InputError
from ooc.store.dataset import Dataset
from ooc.store.selection import STORES, Selection
from ooc.store.several import open as open_dataset
from ooc.store.transforms import transformed
from ooc.stream.splits import part_of

_ROLES = ("features", "target", "weight")


@dataclass(frozen=True)
class TrainedOn:
    """The rows of a run.

    Attributes
    ----------
    dataset
        Path, names of roles, and what missing chunks mean, as `ooc.open` takes them.
    rows
        How many were trained on.
    selection, held_out
        Which of the store they are, and which were kept apart; None for all, and for none.
    """

    dataset: Mapping[str, Any]
    rows: int
    selection: Selection | None = None
    held_out: Selection | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> "TrainedOn | None":
        """Return what a run notes of its dataset; None where that is in memory alone."""
        if dataset.held:
            return None
        named = {name: getattr(dataset, name) for name in (*_ROLES, "missing")}
        place = {**named, "path": dataset.saved_path}
        return cls(place, dataset.rows, dataset.selection, dataset.held_out)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "TrainedOn":
        """Return what was saved; a TypeError, ValueError or LookupError if it is not that."""
        sides = [
            None if saved.get(name) is None else Selection.from_json(saved[name])
            for name in ("selection", "held_out")
        ]
        return cls(named_in(saved["dataset"]), int(saved["rows"]), *sides)

    def to_json(self) -> dict[str, Any]:
        """Return what is saved with a run, JSON-ready."""
        sides = {"selection": self.selection, "held_out": self.held_out}
        told = {name: side and side.to_json() for name, side in sides.items()}
        return {"dataset": dict(self.dataset), "rows": self.rows, **told}

    def rows_in(self, dataset: Dataset) -> int | None:
        """Return how many rows of a dataset were trained on; None where that is not known."""
        here, there = (_listed(path) for path in (dataset.saved_path, self.dataset["path"]))
        if dataset.held or not set(here) & set(there):
            return 0
        if here != there:
            # Some stores are of both; which of their rows is known where all were trained on.
            whole = self.selection is None or self.selection.by == STORES
            is_whole = dataset.selection is None or dataset.selection.by == STORES
            counts = zip(here, dataset.store_rows, strict=True)
            shared = sum(rows for path, rows in counts if path in there)
            return shared if whole and is_whole else None
        ours, theirs = self.selection, dataset.selection
        above = ours
        while above is not None and above != theirs:
            above = above.within
        if theirs is None or above is not None:
            return self.rows
        if ours is None:
            return theirs.rows
        return 0 if ours.is_apart_from(theirs) else None

    def held_out_of(self, dataset: Dataset | None = None, transform: str = "") -> Dataset:
        """Return the rows that were held out, of the dataset of the run unless another is given.

        `transform` is that of the run, which may say what its rows are.

        Raises
        ------
        InputError
            If none were.
        """
        if self.held_out is None:
            where = ", ".join(_listed(self.dataset["path"]))
            raise InputError(
                f"the run on {where} held no rows out; train with validation rows, or name other "
                "data"
            )
        if dataset is None:
            # A role that was not there is not to be guessed now.
            roles = {name: self.dataset[name] or False for name in ("target", "weight")}
            dataset = open_dataset(**{**self.dataset, **roles})
        return part_of(transformed(dataset, transform), self.held_out)


def named_in(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a saved run's dataset is opened: its path or paths, and names; a TypeError if not.

    Examples
    --------
    >>> named_in({"path": "a", "features": "X", "target": "y", "weight": None, "missing": "raise"})
    {'path': 'a', 'features': 'X', 'target': 'y', 'weight': None, 'missing': 'raise'}
    """
    named = {name: saved[name] for name in ("path", *_ROLES, "missing")}
    texts = [*_listed(named["path"]), *(named[name] for name in (*_ROLES, "missing"))]
    if not texts[0] or not all(isinstance(text, str | None) for text in texts):
        raise TypeError(f"dataset {named}")
    return named


def _listed(path: str | list[str]) -> list[str]:
    return list(path) if isinstance(path, list) else [path]

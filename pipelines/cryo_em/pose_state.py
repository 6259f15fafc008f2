"""What is known of each image's pose, row by row, saved whole with the density it belongs to.

A save is one checkpoint of ooc: written aside, synced and renamed, with a hash of each array. A
process that is killed at any moment goes on from the last one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.runs import checkpoint
from ooc.store.dataset import Dataset
from ooc.store.fingerprint import differences, fingerprint
from ooc.version import VERSION
from pipelines.cryo_em.poses import from_quaternions, to_quaternions

# Columns of a row: a quaternion, w first, all 0 as long as no pose is known; the shift in pixels,
# x first; by how much the log-likelihood is above that of an image without a particle.
QUATERNION, SHIFT, GAIN = slice(0, 4), slice(4, 6), 6
COLUMNS = 7
KEPT = 2  # checkpoints


@dataclass
class PoseState:
    """Where a reconstruction stands: enough to go on from, to the same bits.

    Attributes
    ----------
    poses
        (rows, 7) float32, by row number; see `QUATERNION`, `SHIFT` and `GAIN`.
    stage, step
        Stages that are over, and mini-batches taken in all.
    arrays
        Densities and sums of the stage at hand, by name.
    position
        Of the stage's stream of mini-batches; None before its first one.
    history
        What each stage that is over came to.
    seconds
        Spent so far; the only entry that is no function of data and settings.
    """

    poses: np.ndarray
    stage: int = 0
    step: int = 0
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    position: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def rotations(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return the rotations of rows whose poses are known, (rows, 3, 3) float64."""
        return from_quaternions(self.poses[rows, QUATERNION].astype(np.float64))

    def known(self, rows: np.ndarray | slice) -> np.ndarray:
        """Tell of rows whether their poses are known, (rows,) bool."""
        return np.asarray(self.poses[rows, QUATERNION].any(axis=1))

    def put(
        self, rows: np.ndarray, rotations: np.ndarray, shifts: np.ndarray, gains: np.ndarray
    ) -> None:
        """Note the poses of rows: (rows, 3, 3), (rows, 2), (rows,)."""
        self.poses[rows, QUATERNION] = to_quaternions(rotations)
        self.poses[rows, SHIFT] = shifts
        self.poses[rows, GAIN] = gains


def new_state(rows: int) -> PoseState:
    """Return the state in which nothing is known."""
    return PoseState(np.zeros((rows, COLUMNS), np.float32))


def identity_of(dataset: Dataset, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a state belongs to, JSON-ready: the images, and all that its bits depend on."""
    found = fingerprint(dataset, [dataset.features, "optics"])
    kept = ("rows", "selection", "attributes", "sampled_rows_sha256")
    return {"data": {name: found[name] for name in kept}, "settings": dict(settings)}


def save(folder: Path, state: PoseState, identity: Mapping[str, Any]) -> None:
    """Save a state, whole or not at all; the one before it is kept as well."""
    description = {
        "identity": identity, "versions": {"ooc": VERSION}, "stage": state.stage,
        "position": state.position, "history": state.history, "seconds": state.seconds,
    }  # fmt: skip
    arrays = {"poses": state.poses, **state.arrays}
    checkpoint.save(folder, state.step, arrays, description, KEPT)


def load(folder: Path, identity: Mapping[str, Any]) -> PoseState | None:
    """Return the newest state that is whole, or None if there is none yet.

    Raises
    ------
    InputError
        If it belongs to other images or settings; what differs is named.
    """
    checkpoint.remove_partial(folder)
    if not checkpoint.steps(folder):
        return None
    arrays, description = checkpoint.load(folder)
    with checkpoint.understood(folder):
        others = differences(description["identity"], identity)
        if others:
            raise InputError(
                f"{folder} holds poses of other images or settings: {'; '.join(others)}; remove "
                "it, or choose another folder with --folder"
            )
        poses = arrays.pop("poses")
        if poses.shape != (identity["data"]["rows"], COLUMNS):
            raise InputError(
                f"{folder} holds poses of shape {poses.shape}, and the images need "
                f"{(identity['data']['rows'], COLUMNS)}; remove it"
            )
        return PoseState(
            poses, description["stage"], description["step"], arrays, description["position"],
            description["history"], description["seconds"],
        )  # fmt: skip

"""What trackers ask of TensorBoard and MLflow, told by stand-ins of both that note each call."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import ooc
from ooc.core.errors import InputError
from ooc.training.watchers.trackers import scalars_of, tracker_named

LINES: list[dict[str, Any]] = [
    {"kind": "settings", "run": "", "step": 0, "seed": 3, "model": {"name": "linear", "l": [1]}},
    {"kind": "range_test", "run": "", "step": 0, "rate": 0.5},
    {"kind": "train", "run": "", "step": 10, "loss": 0.5, "terms": {"kl": 0.25}},
    {"kind": "validation", "run": "", "step": 10, "loss": 0.75, "best": True, "auc": None},
    {"kind": "checkpoint", "run": "", "step": 10, "save_seconds": 0.125},
    {"kind": "results", "run": "", "step": 20, "rows": 200, "class_names": ["a"]},
]
SCALARS = [
    ("train/loss", 0.5, 10),
    ("train/terms/kl", 0.25, 10),
    ("validation/loss", 0.75, 10),
    ("results/rows", 200.0, 20),
]
Calls = list[tuple[Any, ...]]


def of_run(name: str) -> list[dict[str, Any]]:
    return [{**line, "run": name} for line in LINES]


def test_scalars_are_the_finite_numbers_of_lines_that_are_plotted() -> None:
    line = {
        "kind": "train", "run": "a", "step": 4, "best": 1, "confusion_matrix": 2, "loss": 1,
        "high": math.inf, "none": math.nan, "is_late": True, "text": "x", "terms": {"kl": {"a": 2}},
    }  # fmt: skip
    assert scalars_of(line) == {"train/loss": 1.0, "train/terms/kl/a": 2.0}
    for kind in ("settings", "range_test", "checkpoint", "resume"):
        assert scalars_of({**line, "kind": kind}) == {}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Stand for tensorboard.summary: each call with its writer's folder."""
    calls: Calls = []

    class Writer:
        def __init__(self, folder: str) -> None:
            self.folder = folder
            calls.append(("open", folder))

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            calls.append((self.folder, tag, value, step))

        def flush(self) -> None:
            calls.append(("flush", self.folder))

        def close(self) -> None:
            calls.append(("close", self.folder))

    summary: Any = ModuleType("tensorboard.summary")
    summary.Writer = Writer
    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "tensorboard.summary", summary)
    return calls


def test_tensorboard_gets_each_scalar_at_its_step_in_the_run_s_own_folder(
    written: Calls, tmp_path: Path
) -> None:
    """Two runs turn by turn; what was evaluated or saved is flushed, and the end closes."""
    track = tracker_named(f"tensorboard:{tmp_path}/logs")
    for one, other in zip(of_run("a"), of_run(""), strict=True):
        track(one)
        track(other)
    for folder in (f"{tmp_path}/logs/a", f"{tmp_path}/logs"):
        own = [call for call in written if folder in call]
        opened, *rest, closed = own
        assert (opened, closed) == (("open", folder), ("close", folder))
        assert [call[1:] for call in rest if call[0] == folder] == SCALARS
        assert [call[0] for call in rest].count("flush") == 2
        assert [call[0] for call in rest][3:5] == ["flush", "flush"]
    assert len(written) == 2 * (2 + len(SCALARS) + 2)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Stand for mlflow; experiments are known by "7 of clicks" and "0"."""
    calls: Calls = []

    class MlflowException(Exception):  # noqa: N818  MLflow's own name
        pass

    class Client:
        def get_experiment(self, number: str) -> None:
            if package.fails:
                raise MlflowException("no\nserver " + "x" * 400)

        def create_run(self, number: str, run_name: str | None) -> Any:
            calls.append(("create", number, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id=f"new-{run_name}"))

        def log_param(self, run: str, key: str, value: Any) -> None:
            calls.append((run, key, value))

        def log_metric(self, run: str, key: str, value: float, step: int) -> None:
            if package.is_full:
                raise MlflowException("disk is full")
            calls.append((run, key, value, step))

        def set_terminated(self, run: str) -> None:
            calls.append(("end", run))

    package: Any = ModuleType("mlflow")
    package.fails = package.is_full = False
    package.active = None
    package.MlflowClient = Client
    package.exceptions = SimpleNamespace(MlflowException=MlflowException)
    package.active_run = lambda: package.active
    package.set_experiment = lambda name: SimpleNamespace(experiment_id=f"7 of {name}")
    monkeypatch.setitem(sys.modules, "mlflow", package)
    return calls


PARAMS = [("seed", 3), ("model/name", "linear"), ("model/l", [1])]


@pytest.mark.parametrize(("where", "number"), [("clicks", "7 of clicks"), ("", "0")])
def test_mlflow_gets_settings_and_metrics_in_a_new_run_that_it_ends(
    logged: Calls, where: str, number: str
) -> None:
    for name in ("lr=1", ""):
        logged.clear()
        track = tracker_named(f"mlflow:{where}")
        for line in of_run(name):
            track(line)
        run = f"new-{name or None}"
        assert logged == [
            ("create", number, name or None),
            *((run, *each) for each in PARAMS),
            *((run, *each) for each in SCALARS),
            ("end", run),
        ]


def test_mlflow_s_active_run_is_used_for_a_run_alone_and_is_not_ended(logged: Calls) -> None:
    sys.modules["mlflow"].active = SimpleNamespace(  # type: ignore[attr-defined]
        info=SimpleNamespace(run_id="mine")
    )
    track = ooc.trackers.mlflow()
    for line in (*of_run(""), *of_run("lr=1")):
        track(line)
    assert [call for call in logged if "mine" in call] == [
        *(("mine", *each) for each in PARAMS),
        *(("mine", *each) for each in SCALARS),
    ]
    assert logged[-1] == ("end", "new-lr=1")


def test_an_mlflow_that_cannot_be_reached_is_refused_in_a_line(logged: Calls) -> None:
    sys.modules["mlflow"].fails = True  # type: ignore[attr-defined]
    with pytest.raises(InputError) as told:
        ooc.trackers.mlflow("clicks")
    said = str(told.value)
    assert said.startswith("mlflow cannot be written to: no server xxx")
    assert said.endswith("; see where MLFLOW_TRACKING_URI points")
    assert len(said) < 400 and "\n" not in said


def test_a_tracker_that_failed_is_told_once_and_asked_no_more(
    logged: Calls, recwarn: pytest.WarningsRecorder
) -> None:
    track: Callable[[dict[str, Any]], object] = ooc.trackers.mlflow()
    sys.modules["mlflow"].is_full = True  # type: ignore[attr-defined]
    for line in LINES[2:4]:
        track(line)
    sys.modules["mlflow"].is_full = False  # type: ignore[attr-defined]
    for line in LINES[3:]:
        track(line)
    assert logged == [("create", "0", None)]
    (warned,) = recwarn.list
    assert str(warned.message) == "the run goes on without its tracker mlflow: disk is full"


def test_a_tracker_s_folder_is_named_where_it_cannot_be(written: Calls, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    wholes = {
        "tensorboard:": "tensorboard needs a folder, as in tensorboard:logs/a",
        f"tensorboard:{file}": f"tensorboard cannot write to {file}: it is a file; choose a folder",
        "wandb:a": "no tracker is called 'wandb'; choose one of: tensorboard, mlflow",
    }
    for text, told in wholes.items():
        with pytest.raises(InputError) as error:
            tracker_named(text)
        assert str(error.value) == told

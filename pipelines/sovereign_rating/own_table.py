"""A table of one's own: how well the next year's rating is foretold, with the last one and without.

With the last rating, what is learned is the movement from it; without, the rating itself. The
network's dense branch and ordinal head are those of the generated world; it has no text to read.
"""

import argparse
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

import ooc
from ooc.core.errors import InputError
from ooc.runs.run import Run
from pipelines.common.arguments import check_memory
from pipelines.common.checks import inside_budget
from pipelines.common.dataset import Dataset, progress
from pipelines.common.section import Section
from pipelines.sovereign_rating import plain
from pipelines.sovereign_rating.chain import AHEAD
from pipelines.sovereign_rating.data import CLASSES, classes_of
from pipelines.sovereign_rating.own_samples import (
    Samples,
    check_split,
    samples_of,
    split_of,
)
from pipelines.sovereign_rating.scores import (
    Forecast,
    persistence,
    ratings_from_movements,
    score,
    table_of,
    to_json,
)
from pipelines.sovereign_rating.table_file import (
    SPLITS,
    Columns,
    Observations,
    read_columns,
    read_table,
)

EPOCHS, PATIENCE, BATCH_SIZE, LR = 60, 8, 64, 3e-3
NETWORK = "network, figures alone"


def judge_table(options: argparse.Namespace) -> Iterator[Section]:
    """Yield how well ratings of a table are foretold, for each way of holding rows out.

    Raises
    ------
    InputError
        If the files cannot be used, or rows are to be held out at random.
    """
    chosen = (options.split,) if options.split else SPLITS
    check_split(*chosen)
    if options.csv is None or options.columns is None:
        raise InputError(
            "--csv FILE and --columns FILE.toml go together, and --split is for them; without all "
            "three a world is generated"
        )
    columns = read_columns(options.columns)
    table = read_table(options.csv, columns)
    samples = samples_of(table)
    splits = {by: split_of(samples, by, options.seed) for by in chosen}
    for groups in splits.values():
        _check_values(samples, groups["learned"], table)
    for by, groups in splits.items():
        yield _judge(table, columns, samples, by, groups, options)


def _judge(
    table: Observations,
    columns: Columns,
    samples: Samples,
    by: str,
    groups: Mapping[str, np.ndarray],
    options: argparse.Namespace,
) -> Section:
    judged = groups["judged"]
    ratings, true = samples.rating[judged], samples.later[judged]
    forecasts, peaks = [persistence(ratings, table.notches)], []
    for has_last in (True, False):
        found, peak = _forecasts(samples, groups, has_last, table.notches, options)
        forecasts += found
        peaks.append(peak)
    scores = [score(each.likely, ratings, true) for each in forecasts]
    lags = ", ".join(f"{name} {lag}" for name, lag in columns.lags.items())
    counts = ", ".join(f"{which.sum():,} {name}" for name, which in groups.items())
    what = "unseen countries" if by == "countries" else "later years"
    return Section(
        f"{options.csv.name}: {what}",
        f"{AHEAD} months ahead, {counts}; the rating is another one in "
        f"{np.mean(ratings != true):.0%} of the rows that judge. Months until publication: {lags}.",
        (table_of(what, forecasts, scores),),
        checks=(inside_budget(max(peaks), check_memory(options.memory)),),
        results={what.replace(" ", "_"): to_json(forecasts, scores)},
    )


def _forecasts(
    samples: Samples,
    groups: Mapping[str, np.ndarray],
    has_last: bool,
    notches: int,
    options: argparse.Namespace,
) -> tuple[list[Forecast], int]:
    """Return the forecasts of all methods, and the peak of memory in bytes."""
    figures, labels, classes = samples.figures, samples.later, notches
    if has_last:
        last = np.stack([samples.rating.astype(np.float32), samples.change], axis=1)
        figures = np.concatenate([figures, last], axis=1)
        labels, classes = classes_of(samples.later - samples.rating).astype(np.int64), CLASSES
    learned, judged = groups["learned"], groups["judged"]
    suffix = "with the last rating" if has_last else "without"

    def forecast(name: str, likely: np.ndarray, seconds: float) -> Forecast:
        if has_last:
            likely = ratings_from_movements(likely, samples.rating[judged], notches)
        return Forecast(f"{name}, {suffix}", likely, seconds)

    found = []
    with progress("learn by plain methods"):
        for name, method in plain.METHODS.items():
            answers, seconds = plain.timed(
                method, figures[learned], labels[learned], classes, [figures[judged]]
            )
            found.append(forecast(name, answers[0], seconds))
    parts = {
        name: _store(options.folder / f"own-{name}.zarr", figures[which], labels[which])
        for name, which in groups.items()
    }
    run = _train(parts, classes, options)
    likely = run.predict(parts["judged"], "probability", options.memory, report=False)
    found.append(forecast(NETWORK, likely.astype(np.float64), run.results["seconds"]))
    return found, run.results["memory_peak_bytes"]


def _train(parts: Mapping[str, Dataset], classes: int, options: argparse.Namespace) -> Run:
    """Train the dense branch; the rows that choose say when to stop, and which was the best."""
    model = ooc.models.EmbeddingMLP(
        vocabulary=1, length=1, width=1, branches="figures", figure_hidden=(32,), hidden=(16,),
        head="ordinal", outputs=classes,
    )  # fmt: skip
    trainer = ooc.Trainer(
        model, ooc.optim.adam(LR), min(BATCH_SIZE, parts["learned"].rows), memory=options.memory,
        seed=options.seed, validation=ooc.Validation(parts["choosing"], patience=PATIENCE),
    )  # fmt: skip
    run_folder = options.folder / "own-run"
    shutil.rmtree(run_folder, ignore_errors=True)
    with progress("train") as report:
        return trainer.fit(parts["learned"], EPOCHS, run_folder, report)


def _store(path: Path, figures: np.ndarray, labels: np.ndarray) -> Dataset:
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {"X": ("float32", figures.shape[1:]), "y": ("int64", ())}
    with ooc.create(path, fields, {}) as writer:
        writer.append({"X": figures, "y": labels})
    return ooc.open(path)


def _check_values(samples: Samples, learned: np.ndarray, table: Observations) -> None:
    for name, values in zip(table.names, samples.figures[learned].T, strict=True):
        if np.isnan(values).all():
            raise InputError(
                f"the indicator {name} has no value in any row that is learned from; take it out "
                "of [lags]"
            )

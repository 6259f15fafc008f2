"""Protein interfaces: rows that look real, made by two networks against each other.

Rows of nine functional classes are generated out of core, from parameters that are fitted to 81
measured complexes: over-dispersed contacts, surface compositions that sum to 100, buried area, and
dG by PRODIGY's published predictor with its error. A Wasserstein critic and a generator learn from
them, told the class and whether the interface is stable. What the generator makes is judged on
held-out rows beside Gaussian mixtures, a Gaussian copula and the same networks in PyTorch. These
are statistics of interfaces: no protein is designed, and nothing is said of any.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.sizes import format_size, parse_count
from pipelines.common.arguments import (
    Parser,
    add_data_options,
    add_training_options,
    check_memory,
    check_training,
)
from pipelines.common.checks import (
    Check,
    above,
    at_least,
    at_most,
    equal,
    inside_budget,
    near,
)
from pipelines.common.command import carry_out
from pipelines.common.dataset import decoded_bytes, progress
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.protein_interfaces import complexes, coordinates, figures
from pipelines.protein_interfaces.calibration import calibrate
from pipelines.protein_interfaces.columns import CLASSES, NAMES, faults
from pipelines.protein_interfaces.data import (
    HELD_OUT,
    SAMPLE,
    conditions_of,
    open_rows,
    sample_of,
)
from pipelines.protein_interfaces.model import optimizer
from pipelines.protein_interfaces.peers import train_with_torch
from pipelines.protein_interfaces.quality import (
    Judge,
    Quality,
    Rows,
    discrepancy,
    judge_of,
    measure,
)
from pipelines.protein_interfaces.rivals import METHODS, make_all
from pipelines.protein_interfaces.sampling import ask, make_rows
from pipelines.protein_interfaces.training import (
    LOOK_ROWS,
    Eye,
    Looks,
    Training,
    eye_of,
    model_of,
    train,
)

QUICK = {
    "rows": "200k", "held_out": "6k", "epochs": 4, "hidden": 64, "lr": 2e-3, "no_torch": True,
}  # fmt: skip
QUICK_SAMPLE = 6000
LOOKS, QUICK_LOOKS = 24, 8
REAL, PAIR = "held-out rows", "generator"
PLAIN_PAIR, TORCH = "generator, not calibrated", "generator, not calibrated, PyTorch"
# What is asked for: points of shares, the classifier's accuracy, discrepancy beside that of two
# real samples, stable ones of those asked for, PyTorch's seconds beside the trainer's.
SHARES, ACCURACY, DISCREPANCY, STABLE, FASTER = 2.0, 0.55, 2.0, 0.95, 2.0
# Of precision and recall, what two real samples have of each other; and how far from a half the
# share of made rows may be whose neighbour is a training row.
MANIFOLD, NEARER = 0.9, 0.03
QUICK_ACCURACY, QUICK_DISCREPANCY, QUICK_MANIFOLD, QUICK_STABLE = 0.8, 3.0, 0.7, 0.85
QUICK_SHARES = 3.0


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Fit, generate, train, make, judge, draw."""
    budget = check_memory(options.memory)
    rows, held_out = parse_count(options.rows), parse_count(options.held_out)
    check(options, rows, held_out)
    training = Training(
        options.epochs, options.batch_size, options.lr, options.memory, options.seed,
        options.hidden, coordinates.SIZE + 5, options.penalty, options.critic_steps,
        options.average, QUICK_LOOKS if options.quick else LOOKS,
    )  # fmt: skip
    measured = complexes.measured()
    given = complexes.FITTED if measured is None else complexes.fit(measured)
    dataset = open_rows(options.folder, "rows", rows, options.seed, given)
    unseen = open_rows(options.folder, HELD_OUT, held_out, options.seed, given)
    known = Rows(*sample_of(dataset, QUICK_SAMPLE if options.quick else SAMPLE, options.seed))
    conditions = conditions_of(known.values, known.labels)
    if measured is not None:
        yield _measured(measured, known.values)

    shares = np.array(given.shares) / np.sum(given.shares)
    found = coordinates.fit(known.values, options.seed)
    judge = judge_of(found, known, Rows(*sample_of(unseen, held_out, options.seed)), shares)
    model = model_of(found, training, rows)
    eye = eye_of(found, known, conditions, judge.recogniser, options.seed)
    done, looks = train(dataset, model, training, eye, options.folder)
    labels, stable = ask(conditions, len(judge.real), options.seed)
    wanted = (labels, stable, options.seed)
    moved = calibrate(model, done.parameters, known, found, options.seed + 1)
    made = {
        PAIR: make_rows(model, done.parameters, *wanted, moved),
        PLAIN_PAIR: make_rows(model, done.parameters, *wanted),
    }
    seen = {"ooc": looks}
    torch = None if options.no_torch else train_with_torch(dataset, model, training, eye)
    if torch is not None:
        made[TORCH] = make_rows(model, torch[0], *wanted)
        seen["PyTorch"] = torch[1]
    with progress("make rows by plain methods"):
        plain = ("Gaussian copula",) if options.quick else tuple(METHODS)
        made |= make_all(known, found, labels, options.seed, plain)
    with progress("judge"):
        judged = {REAL: measure(judge, judge.others)}
        judged |= {
            name: measure(judge, Rows(values, labels), None if name in METHODS else stable)
            for name, values in made.items()
        }
    yield Section(
        f"{len(labels):,} made rows beside {len(judge.real):,} held out",
        "Classes are recognised by a linear discriminant, and rows told apart by boosted trees, "
        "both taught elsewhere; distances are between standardised coordinates. The first line is "
        "of other held-out rows: nothing can be expected to be nearer.",
        (_table(judged, shares),),
        checks=_checks(judge, judged, made[PAIR], options.quick),
        results={"quality": {name: _numbers(each, shares) for name, each in judged.items()}},
    )
    yield _training(options, done.results, dataset_bytes=decoded_bytes(dataset), seen=seen,
                    eye=eye, known=known, budget=budget, judge=judge,
                    made=Rows(made[PAIR], labels))  # fmt: skip


def check(options: argparse.Namespace, rows: int, held_out: int) -> None:
    """Refuse what cannot be learned from or judged by, before any work."""
    least = QUICK_SAMPLE if options.quick else SAMPLE // 4
    if rows < least or held_out < 2000:
        raise InputError(
            f"{rows:,} rows and {held_out:,} held out are too few to learn from and judge by; take "
            f"at least {least:,} and 2,000"
        )
    check_training(options, rows)
    optimizer(options.lr, 1, options.average)  # refuses what it cannot take
    for name in ("hidden", "critic_steps"):
        if getattr(options, name) < 1:
            raise InputError(
                f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}"
            )
    if not options.penalty > 0:
        raise InputError(f"--penalty must be positive, not {options.penalty}")


def _measured(measured: complexes.Complexes, rows: np.ndarray) -> Section:
    correlation, error = complexes.agreement(measured)
    real = measured.table()
    cells = [
        (
            NAMES[column],
            *(f"{each[:, column].mean():.2f}" for each in (real, rows)),
            *(f"{each[:, column].std():.2f}" for each in (real, rows)),
        )
        for column in range(real.shape[1])
    ]
    return Section(
        f"{len(measured.names)} measured complexes",
        "The published predictor of dG on them, and what generated rows, whose parameters are "
        "fitted to them, have in common with them: 11 columns of 64.",
        (Table(
            "columns of both",
            ("", "mean, measured", "generated", "deviation, measured", "generated"),
            tuple(cells),
        ),),
        checks=(
            near("correlation of the published predictor with dG", correlation,
                 complexes.CORRELATION, 0.01),
            near("its root mean square error, kcal/mol", error, complexes.ERROR, 0.02),
        ),
        results={"predictor": {"correlation": correlation, "error": error}},
    )  # fmt: skip


def _table(judged: Mapping[str, Quality], shares: np.ndarray) -> Table:
    rows = [
        (
            name, f"{each.modes(shares)} of {len(CLASSES)}", f"{each.worst_share(shares):.2f}",
            f"{each.agreement:.3f}", f"{each.accuracy:.3f}", f"{each.mmd:.4f}",
            f"{each.precision:.3f}", f"{each.recall:.3f}", f"{each.nearer:.3f}", str(each.copies),
            "" if np.isnan(each.stable) else f"{each.stable:.3f}",
        )
        for name, each in judged.items()
    ]  # fmt: skip
    head = (
        "", "modes", "worst share, points", "class as asked", "told apart", "MMD", "precision",
        "recall", "nearer to training", "copies", "stable",
    )  # fmt: skip
    return Table("quality", head, tuple(rows))


def _checks(
    judge: Judge, judged: Mapping[str, Quality], made: np.ndarray, quick: bool
) -> tuple[Check, ...]:
    real, pair = judged[REAL], judged[PAIR]
    bounds = (ACCURACY, DISCREPANCY, MANIFOLD, STABLE, SHARES)
    if quick:
        bounds = (QUICK_ACCURACY, QUICK_DISCREPANCY, QUICK_MANIFOLD, QUICK_STABLE, QUICK_SHARES)
    found = [
        equal("classes that are made", pair.modes(judge.shares), len(CLASSES)),
        at_most("worst share of a class, points off", pair.worst_share(judge.shares), bounds[4]),
        at_most("accuracy of a classifier of made and held-out rows", pair.accuracy, bounds[0]),
        at_most("MMD, of that between two real samples", pair.mmd / real.mmd, bounds[1]),
        at_least("precision, of that of real rows", pair.precision / real.precision, bounds[2]),
        at_least("recall, of that of real rows", pair.recall / real.recall, bounds[2]),
        at_least("stable rows of those asked for", pair.stable, bounds[3]),
        near("made rows nearer to training than to held-out rows", pair.nearer, 0.5,
             NEARER * (2 if quick else 1)),
        equal("made rows that are training rows", pair.copies, 0),
        *(equal(f"made rows with {name}", count, 0) for name, count in faults(made).items()),
    ]  # fmt: skip
    if not quick:
        found += [
            above(f"accuracy on rows of the {name}, less that on the generator's",
                  each.accuracy - pair.accuracy, 0.0)
            for name, each in judged.items()
            if name in METHODS
        ]  # fmt: skip
    return tuple(found)


def _numbers(each: Quality, shares: np.ndarray) -> dict[str, object]:
    found = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(each).items()
    }
    return {**found, "worst_share_points": each.worst_share(shares), "modes": each.modes(shares)}


def _training(
    options: argparse.Namespace,
    results: Mapping[str, Any],
    dataset_bytes: int,
    seen: Mapping[str, Looks],
    eye: Eye,
    known: Rows,
    budget: int,
    judge: Judge,
    made: Rows,
) -> Section:
    others = judge.of(known.values[-LOOK_ROWS:], 1)
    floor = discrepancy(eye.points, others)
    pictures = (
        figures.draw_marginals(judge.real.values, made.values),
        figures.draw_pairs(judge.real.values, made.values),
        figures.draw_compositions(judge.real, made),
        figures.draw_training(dict(seen), judge.shares, floor),
    )
    figures.save(pictures, options.folder)
    checks = [inside_budget(results["memory_peak_bytes"], budget)]
    numbers: dict[str, Any] = {name: {"seconds": each.seconds.tolist(), "mmds": each.mmds.tolist()}
               for name, each in seen.items()}  # fmt: skip
    text = ""
    if len(seen) > 1:
        # What both come to in the end, with some room for the noise of a look.
        common = 1.1 * max(each.mmds[-3:].max() for each in seen.values())
        times = {name: each.seconds_to(common) for name, each in seen.items()}
        ratio = times["PyTorch"] / times["ooc"]
        checks.append(
            at_least("PyTorch's seconds to an equal MMD, of the trainer's", ratio, FASTER)
        )
        told = ", ".join(f"{name} after {value:.1f} s" for name, value in times.items())
        text = f" An MMD of {common:.3f} from training rows is reached by {told}."
        numbers["seconds_to_equal_mmd"] = times
    return Section(
        f"{results['rows']:,} rows learned from, {format_size(dataset_bytes)} decoded",
        f"{results['steps']:,} steps of both networks, {results['rows_per_second']:,.0f} rows/s, "
        f"memory peak {format_size(int(results['memory_peak_bytes']))}.{text}",
        pictures=pictures,
        checks=tuple(checks),
        results={"training": dict(results), "looks": numbers},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("protein_interfaces", str(__doc__), QUICK)
    parser.add_argument("--rows", default="4M", help="rows to train on, of 257 bytes each")
    parser.add_argument("--held-out", default="20k", help="rows to judge by; half judge the rest")
    add_data_options(parser, "interface-data", "1GiB")
    add_training_options(parser, 256)
    parser.add_argument("--hidden", type=int, default=128, help="units of each of four layers")
    parser.add_argument("--critic-steps", type=int, default=5, help="for each of the generator")
    parser.add_argument("--penalty", type=float, default=1.0, help="of the critic's slope")
    parser.add_argument("--average", type=float, default=0.999, help="of the generator, it keeps")
    parser.set_defaults(epochs=4)
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())

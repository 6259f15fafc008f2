"""Metabolic states that conserve mass: a sampler, and a network that learns to draw as it does.

Steady states of a metabolic network, S v = 0 within bounds, are drawn uniformly by rounded
hit-and-run in many conditions: carbon sources, levels of oxygen, reactions knocked out. A
conditional variational autoencoder learns them out of core, with nothing that keeps mass, with
penalties, with a decoder in the null space of S, and with one in mirror coordinates, which keeps
all bounds, too. Generated states are judged by mass, bounds, marginals and a classifier, beside
Gaussians in the null space, and ranked for a product against flux balance analysis. Without
``--sbml`` it is the E. coli core model in the folder OOC_REAL_DATA, or a generated network.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose
from ooc.core.sizes import format_size, parse_count
from pipelines.common.arguments import (
    Parser,
    add_data_options,
    add_training_options,
    check_memory,
    check_training,
    widths,
)
from pipelines.common.checks import Check, at_least, at_most, inside_budget, near
from pipelines.common.command import carry_out
from pipelines.common.dataset import Dataset, decoded_bytes, progress
from pipelines.common.section import Section
from pipelines.common.table import Table
from pipelines.metabolic_flux import design as designs
from pipelines.metabolic_flux.data import Source, open_states, sources_of, states_of
from pipelines.metabolic_flux.environment import Condition, conditions_of, descriptors
from pipelines.metabolic_flux.figures import draw_codes, draw_fluxes, draw_violations
from pipelines.metabolic_flux.frame import frame_of
from pipelines.metabolic_flux.generate import from_mixture, from_network, gaussian
from pipelines.metabolic_flux.mirror import faces_of
from pipelines.metabolic_flux.model import Problem
from pipelines.metabolic_flux.network import Network, generate_network
from pipelines.metabolic_flux.optgp import optgp_rate
from pipelines.metabolic_flux.peers import DRAWS, train_with_torch
from pipelines.metabolic_flux.programs import loop_reactions, maximise
from pipelines.metabolic_flux.reweigh import effective_share, reweighted
from pipelines.metabolic_flux.sbml import read_sbml
from pipelines.metabolic_flux.scores import Score, score, table_of
from pipelines.metabolic_flux.train import VARIANTS, Trained, Training, train

QUICK = {"rows": "40k", "conditions": 3, "judged": 800, "hidden": "48,48", "lr": 3e-3, "epochs": 3}
CORE = "e_coli_core-textbook.xml.gz"
CORE_NAME, CORE_GROWTH = "e_coli_core", 0.8739
BEST, SOFT, NULL = "null space, mirror", "soft penalty", "null space"
AGAIN = "null space, mirror, drawn again by weight"
REAL, GAUSSIAN = "real states, drawn again", "Gaussian in the null space"
MIXED = "null space, mirror, mixture of codes"
MIRRORED = "Gaussian copula, mirror"
# What generated states are held to; a quick run learns from few states, for seconds.
PSRF, SOFT_BALANCE, NULL_BALANCE, OUTSIDE, TIMES = 1.05, 1e-3, 1e-10, 0.01, 100.0
AUC, ALONE, NEAR = 0.60, 0.70, 0.9
QUICK_AUC, QUICK_AGAIN, QUICK_NEAR, QUICK_BALANCE = 0.75, 0.65, 0.75, 0.01


@dataclass(frozen=True)
class Drawn:
    """All that is known before anything is learned.

    Attributes
    ----------
    real, again
        (rows, R) states of `condition`, (rows,), drawn apart from those that are learned from.
    samples
        Of each condition, states of its converged chains.
    """

    network: Network
    conditions: tuple[Condition, ...]
    sources: list[Source]
    problem: Problem
    dataset: Dataset
    samples: list[np.ndarray]
    real: np.ndarray
    again: np.ndarray
    condition: np.ndarray


def run(options: argparse.Namespace) -> Iterator[Section]:
    """Draw, learn, generate, judge, design, draw."""
    budget, rows = check_memory(options.memory), parse_count(options.rows)
    training = Training(
        options.epochs, options.batch_size, options.lr, options.memory, options.seed,
        widths(options.hidden),
    )  # fmt: skip
    check(options, rows)
    network, path = network_of(options)
    if options.cobra is not None and path is None:
        raise InputError("OptGP reads an SBML file: give one with --sbml")
    product = product_of(network, options.product)
    drawn = draw(network, options, rows)
    yield _sampler(drawn, options, path)
    trained = {
        name: train(drawn.problem, drawn.dataset, name, training, options.folder, drawn.real,
                    drawn.condition)
        for name in VARIANTS
    }  # fmt: skip
    yield _training(drawn, training, trained, budget)
    states = _generated(drawn, trained, options.seed)
    with progress("judge generated states"):
        scores = {
            name: score(network, drawn.problem.frame, drawn.real, each, drawn.condition)
            for name, each in states.items()
        }
    yield Section(
        f"{len(drawn.real):,} generated states in {len(drawn.conditions)} conditions",
        "Shares of fluxes and of states outside of bounds; AUC of boosted trees that tell them "
        "from real ones; share of reactions within a Kolmogorov-Smirnov distance of 0.05, over all "
        "conditions and within each; mean distance of growth within conditions.",
        (table_of(list(scores), list(scores.values())),),
        checks=_score_checks(scores, options.quick),
        results={"scores": {name: each.to_json() for name, each in scores.items()}},
    )
    best = trained[BEST]
    make = from_network(best.model, best.run.parameters)
    found = designs.design(
        network, drawn.problem.frame, drawn.conditions, make, product, options.floor,
        options.judged, options.seed,
    )  # fmt: skip
    yield _designs(network, product, found, options.floor)
    yield _pictures(drawn, best, states, options.folder)


def check(options: argparse.Namespace, rows: int) -> None:
    """Refuse what cannot be, before any work."""
    check_training(options, rows)
    if options.conditions < 1 or options.judged < 200:
        raise InputError(
            f"{options.conditions} conditions with {options.judged} states to judge by are not "
            "possible: at least 1, and 200"
        )
    if not 0 <= options.floor < 1:
        raise InputError(f"the growth floor is a share from 0 to below 1, not {options.floor}")


def network_of(options: argparse.Namespace) -> tuple[Network, Path | None]:
    """Return the network, and the SBML file that it is from, if it is."""
    if options.sbml is not None:
        return read_sbml(options.sbml), options.sbml
    folder = os.environ.get("OOC_REAL_DATA")
    if folder and (Path(folder) / CORE).exists():
        return read_sbml(Path(folder) / CORE), Path(folder) / CORE
    return generate_network(40, 64, options.seed), None


def product_of(network: Network, name: str | None) -> int:
    """Return the place of the exchange that secretes the product.

    By default succinate, where there is such an exchange; else the last one that only secretes.
    """
    if name is not None:
        return network.place(name)
    if "R_EX_succ_e" in network.reactions:
        return network.place("R_EX_succ_e")
    return int(network.exchanges[network.lower[network.exchanges] >= 0][-1])


def draw(network: Network, options: argparse.Namespace, rows: int) -> Drawn:
    """Find conditions, round their spaces, and write states."""
    with progress("find conditions and round their spaces"):
        conditions = tuple(conditions_of(network, options.conditions))
        sources = sources_of(network, conditions, options.seed)
    frame = frame_of(network, [each.space for each in sources])
    samples = [each.space.centre + each.starts @ each.space.basis for each in sources]
    scales = np.concatenate(samples).std(axis=0)
    problem = Problem(
        network, frame, descriptors(conditions), np.where(scales > 0, scales, 1.0),
        faces_of(frame, samples),
    )  # fmt: skip
    path = options.folder / f"{network.name}-{len(conditions)}x{rows}-seed{options.seed}.zarr"
    dataset = open_states(path, network, conditions, sources, rows, options.seed)
    judged = options.judged * len(conditions)
    with progress("draw states to judge by"):
        real, condition = states_of(sources, options.seed, Purpose.HELD_OUT_DATA, 0, 0, judged)
        again, _ = states_of(sources, options.seed, Purpose.HELD_OUT_DATA, 1, 0, judged)
    return Drawn(network, conditions, sources, problem, dataset, samples, real, again, condition)


def _sampler(drawn: Drawn, options: argparse.Namespace, path: Path | None) -> Section:
    network, sources = drawn.network, drawn.sources
    growth = maximise(network, network.growth).value
    loops = [network.reactions[place].removeprefix("R_") for place in loop_reactions(network)]
    psrf = max(each.psrf for each in sources)
    rates = [each.effective / each.seconds for each in sources]
    checks = [at_most("largest split PSRF of all conditions", psrf, PSRF)]
    if network.name == CORE_NAME:
        checks.append(near("growth by flux balance analysis, 1/h", growth, CORE_GROWTH, 1e-4))
    rows = [("hit-and-run, rounded", f"{rates[0]:,.0f}")]
    results = {"psrf": psrf, "growth": growth, "effective_per_second": rates}
    if options.cobra is not None:
        assert path is not None, "it was checked"
        space = sources[0].space
        with progress("draw with OptGP"):
            other = optgp_rate(
                options.cobra, path, space.network.lower, space.network.upper,
                drawn.problem.frame.is_moving[0],
            )  # fmt: skip
        rows.append(("cobrapy's OptGP", f"{other:,.1f}"))
        checks.append(
            at_least("effective samples a second, times OptGP's", rates[0] / other, TIMES)
        )
        results["optgp_effective_per_second"] = other
    dimensions = [each.space.dimensions for each in sources]
    table = Table(
        "least effective samples a second, first condition", ("", "samples/s"), tuple(rows)
    )
    told = (
        f"In closed loops could turn: {', '.join(loops)}; their fluxes are bounded by what they "
        "reach where none does." if loops else "No reactions can turn in a closed loop."
    )  # fmt: skip
    lines = tuple(
        (
            each.name, f"{each.optimum:.3f}", str(source.space.dimensions), f"{source.psrf:.3f}",
            f"{source.effective:,.0f}",
        )
        for each, source in zip(drawn.conditions, sources, strict=True)
    )  # fmt: skip
    head = ("condition", "optimum", "dimensions", "PSRF", "effective")
    return Section(
        f"{network.name}: {len(network.metabolites)} metabolites, {len(network.reactions)} "
        f"reactions, {drawn.dataset.rows:,} states",
        f"Growth is {growth:.4f}/h at most. {told} Spaces have {min(dimensions)} to "
        f"{max(dimensions)} dimensions; {format_size(decoded_bytes(drawn.dataset))} of states.",
        (table, Table("conditions", head, lines)),
        checks=tuple(checks),
        results=results,
    )


def _training(
    drawn: Drawn, training: Training, trained: dict[str, Trained], budget: int
) -> Section:
    best = trained[BEST]
    rows = [
        (
            name, f"{each.run.results['seconds']:.1f}",
            f"{each.run.results['rows_per_second']:,.0f}",
            f"{each.active} of {each.model.codes}", f"{each.divergence:.1f}",
            *(f"{each.terms.get(term, 0):.3g}" for term in each.model.terms),
        )
        for name, each in trained.items()
    ]  # fmt: skip
    elbo = -best.model.loss_on(best.run.parameters, drawn.real, drawn.condition, draws=DRAWS)
    results = {
        "training": {name: dict(each.run.results) for name, each in trained.items()},
        "active": {name: each.active for name, each in trained.items()},
        "elbo": elbo,
    }
    text = f"Evidence lower bound of {BEST} on unseen states: {elbo:.2f} nats."
    share = effective_share(best.model, best.run.parameters, 1000, training.seed)
    results["effective_share"] = share
    text += (
        f" By its density {share:.0%} of the states that it generates are worth as much as uniform "
        "ones."
    )
    torch = train_with_torch(best.model, drawn.dataset, training, drawn.real, drawn.condition)
    if torch is not None:
        text += f" PyTorch: {torch[0]:.2f} nats after {torch[1]:.1f} s."
        results["torch"] = {"elbo": torch[0], "seconds": torch[1]}
    peak = max(each.run.results["memory_peak_bytes"] for each in trained.values())
    head = ("model", "s", "rows/s", "active codes", "KL, nats", *best.model.terms)
    return Section(
        f"{best.run.results['rows']:,} states learned from, by {len(trained)} models",
        text,
        (Table("models, and terms of their loss in the last epoch", head, tuple(rows)),),
        checks=(
            at_least(f"active codes of {BEST}", best.active, 2),
            inside_budget(peak, budget),
        ),
        results=results,
    )


def _generated(drawn: Drawn, trained: dict[str, Trained], seed: int) -> dict[str, np.ndarray]:
    """Return states by what made them, all of the conditions of the real ones."""
    makers = {
        GAUSSIAN: gaussian(drawn.problem, drawn.samples),
        MIRRORED: gaussian(drawn.problem, drawn.samples, mirrored=True),
        **{name: from_network(each.model, each.run.parameters) for name, each in trained.items()},
    }
    best = trained[BEST]
    makers[MIXED] = from_mixture(best.model, best.run.parameters, drawn.samples, seed)
    makers[AGAIN] = reweighted(best.model, best.run.parameters)
    with progress("generate states"):
        made = {name: make(drawn.condition, seed) for name, make in makers.items()}
    return {REAL: drawn.again, **made}


def _score_checks(scores: dict[str, Score], quick: bool) -> tuple[Check, ...]:
    best, soft, plain = scores[BEST], scores[SOFT], scores[GAUSSIAN]
    balance = QUICK_BALANCE if quick else SOFT_BALANCE
    return (
        at_most(f"{SOFT}: median |Sv|/|v|", soft.unbalanced, balance),
        at_most(f"{NULL}: median |Sv|/|v|", scores[NULL].unbalanced, NULL_BALANCE),
        at_most(f"{BEST}: median |Sv|/|v|", best.unbalanced, NULL_BALANCE),
        at_most(f"{BEST}: share of states outside of bounds", best.states_outside, OUTSIDE),
        at_most(f"{BEST}: AUC against real states", best.auc, QUICK_AUC if quick else ALONE),
        at_most(f"{MIXED}: AUC against real states", scores[MIXED].auc,
                QUICK_AUC if quick else ALONE),
        at_least(f"{MIXED}: share of reactions with a near distribution",
                 scores[MIXED].reactions_near, QUICK_NEAR if quick else NEAR),
        at_most(f"{MIXED}: share of states outside of bounds", scores[MIXED].states_outside,
                OUTSIDE),
        at_most(f"{AGAIN}: median |Sv|/|v|", scores[AGAIN].unbalanced, NULL_BALANCE),
        at_most(f"{AGAIN}: share of states outside of bounds", scores[AGAIN].states_outside,
                OUTSIDE),
        at_most(f"{AGAIN}: AUC against real states", scores[AGAIN].auc,
                QUICK_AGAIN if quick else AUC),
        at_least(f"{AGAIN}: share of reactions with a near distribution",
                 scores[AGAIN].reactions_near, QUICK_NEAR if quick else NEAR),
        at_least(f"{BEST}: share of reactions with a near distribution", best.reactions_near,
                 QUICK_NEAR if quick else NEAR),
        at_least(f"{BEST}: less AUC than the Gaussian", plain.auc - best.auc, 0.0),
        at_least(f"{BEST}: more near reactions than the Gaussian",
                 best.reactions_near - plain.reactions_near, 0.0),
        at_least(f"{BEST}: nearer growth than the Gaussian",
                 plain.growth_mean - best.growth_mean, 0.0),
    )  # fmt: skip


def _designs(network: Network, product: int, found: list[designs.Design], floor: float) -> Section:
    name, best = network.reactions[product], found[0]
    feasible = float(np.mean([each.feasible for each in found]))
    below = max(each.product / each.bound for each in found if each.growing > 0 and each.bound > 0)
    return Section(
        f"Designs for {name} at {floor:.0%} of each optimum of growth",
        f"The best of feasible generated states has yield {best.yield_:.2f} in {best.condition}; "
        "flux balance analysis tells the most that any state there could make.",
        (designs.table_of(found[:10], name),),
        checks=(
            at_least("share of generated states that are feasible", feasible, 0.99),
            at_most("largest product of a design, of the optimum", below, 1.0 + 1e-6),
        ),
        results={"best_yield": best.yield_, "best_of_optimum": below},
    )


def _pictures(drawn: Drawn, best: Trained, states: dict[str, np.ndarray], folder: Path) -> Section:
    frame, condition = drawn.problem.frame, drawn.condition
    codes = best.model.encode(best.run.parameters, drawn.real, condition)[:, : best.model.codes]
    shown = {name: states[name] for name in (GAUSSIAN, SOFT, BEST)}
    bounds = frame.lower[condition], frame.upper[condition]
    judged = {name: each for name, each in states.items() if name not in (REAL, MIRRORED)}
    pictures = (
        draw_fluxes(drawn.network, drawn.real, shown),
        draw_codes(
            codes, condition, drawn.real[:, drawn.network.growth],
            [each.name for each in drawn.conditions],
        ),
        draw_violations(drawn.network, dict.fromkeys(judged, bounds), judged),
    )  # fmt: skip
    for each in pictures:
        each.save(folder)
    return Section("Pictures", "", pictures=pictures)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; return its exit status."""
    parser = Parser("metabolic_flux", str(__doc__), QUICK)
    parser.add_argument("--rows", default="1M", help="states to learn from, of all conditions")
    parser.add_argument("--conditions", type=int, default=50, help="in which cells grow")
    parser.add_argument("--judged", type=int, default=500, help="states of each to judge by")
    parser.add_argument("--hidden", default="128,128", help="units of the encoder's layers")
    parser.add_argument("--floor", type=float, default=0.3, help="of growth, for designs")
    for name, kind, metavar, text in (
        ("--sbml", Path, "FILE", "a model of one's own, with flux bounds (fbc)"),
        ("--product", str, "REACTION", "exchange that a design makes most of"),
        ("--cobra", Path, "PYTHON", "an interpreter with cobra, to compare samplers with"),
    ):
        parser.add_argument(name, type=kind, metavar=metavar, default=argparse.SUPPRESS, help=text)
    parser.set_defaults(sbml=None, product=None, cobra=None)
    add_data_options(parser, "flux-data", "2GiB")
    add_training_options(parser, 256)
    parser.set_defaults(lr=2e-3, epochs=4)
    return carry_out(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())

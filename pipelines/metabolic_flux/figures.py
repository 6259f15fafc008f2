"""What was generated: fluxes beside real ones, the latent map, and how far balances are missed."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.common.figures import Picture, new_figure, picture
from pipelines.metabolic_flux.network import Network

SHOWN = 12  # reactions
LEAST = 1e-17  # a violation that is drawn at the edge
BARS = 40


def draw_fluxes(network: Network, real: np.ndarray, generated: Mapping[str, np.ndarray]) -> Picture:
    """Draw the distributions of growth and of the fluxes that vary most, all conditions together.

    Parameters
    ----------
    real
        (rows, R).
    generated
        States by what made them, each (rows, R).
    """
    spread = real.std(axis=0)
    order = [place for place in np.argsort(-spread) if place != network.growth]
    # Reactions of a chain have one flux: each is shown once.
    shown, seen = [network.growth], list[np.ndarray]()
    for place in order:
        column = (real[:, place] - real[:, place].mean()) / max(spread[place], 1e-12)
        if all(abs(float(np.mean(column * other))) < 0.98 for other in seen):
            shown.append(int(place))
            seen.append(column)
        if len(shown) == SHOWN:
            break
    figure = new_figure(13, 8)
    panels = figure.subplots(3, 4)
    for axes, place in zip(panels.flat, shown, strict=False):
        low, high = np.quantile(real[:, place], [0.001, 0.999])
        edges = np.linspace(low, max(high, low + 1e-6), BARS)
        heights, _ = np.histogram(real[:, place], edges, density=True)
        axes.stairs(heights, edges, fill=True, color="0.8", label="real")
        for (name, states), color in zip(
            generated.items(), ("tab:red", "tab:blue", "tab:green"), strict=False
        ):
            heights, _ = np.histogram(states[:, place], edges, density=True)
            axes.stairs(heights, edges, color=color, label=name, linewidth=1.3)
        axes.set_title(network.reactions[place].removeprefix("R_"), fontsize=9)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
    for axes in panels[-1]:
        axes.set_xlabel("flux, mmol/gDW/h", fontsize=8)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    return picture(
        figure, "fluxes", "Distributions of growth (1/h) and fluxes, all conditions together.",
        "Generated states follow the real distributions of fluxes.",
    )  # fmt: skip


def draw_codes(
    codes: np.ndarray, condition: np.ndarray, growth: np.ndarray, names: Sequence[str]
) -> Picture:
    """Draw mean codes (rows, L): where growth is told best, against their widest other direction.

    Left by condition, right by growth as a share of the largest of the condition's states.
    """
    centred, share = codes - codes.mean(axis=0), growth.copy()
    for number in np.unique(condition):
        of_it = condition == number
        share[of_it] /= growth[of_it].max()
    first = np.linalg.lstsq(centred, share - share.mean(), rcond=None)[0]
    first /= max(float(np.linalg.norm(first)), 1e-12)
    rest = centred - np.outer(centred @ first, first)
    places = np.column_stack([centred @ first, rest @ np.linalg.svd(rest, False)[2][0]])
    told = np.corrcoef(places[:, 0], share)[0, 1]
    figure = new_figure(12.5, 5.4)
    left, right = figure.subplots(1, 2)
    for color, number in enumerate(np.unique(condition)[:8]):
        of_it = condition == number
        left.scatter(
            *places[of_it].T, s=6, alpha=0.5, color=f"C{color}", linewidths=0, label=names[number]
        )
    left.legend(fontsize=7, markerscale=3, loc="upper right")
    left.set_title("by condition, at most eight")
    image = right.scatter(*places.T, s=6, c=share, cmap="viridis", linewidths=0)
    figure.colorbar(image, ax=right, label="growth, of the condition's largest")
    right.set_title(f"by growth, correlation {told:.2f} with the first direction")
    for axes in (left, right):
        axes.set_xlabel("direction of codes that tells growth best")
        axes.set_ylabel("widest direction beside it")
    return picture(
        figure, "codes", "Mean codes of real states: one cloud for all conditions, by growth.",
        "Codes of all conditions lie in one cloud, in which growth rises along a direction.",
    )  # fmt: skip


def draw_violations(
    network: Network,
    bounds: Mapping[str, tuple[np.ndarray, np.ndarray]],
    generated: Mapping[str, np.ndarray],
) -> Picture:
    """Draw how far states miss balance, and how far they leave their bounds.

    Parameters
    ----------
    bounds
        Lower and upper bounds (rows, R) of each set of states.
    """
    figure = new_figure(12.5, 4.8)
    left, right = figure.subplots(1, 2)
    edges = np.linspace(-17, 1, 73)
    for number, (name, states) in enumerate(generated.items()):
        size = np.abs(states).max(axis=1)
        missed = np.abs(states @ network.stoichiometry.T).max(axis=1) / size
        lower, upper = bounds[name]
        outside = np.maximum(lower - states, states - upper).max(axis=1) / size
        for axes, values in ((left, missed), (right, np.maximum(outside, 0))):
            logs = np.log10(np.maximum(values, LEAST))
            heights, _ = np.histogram(np.clip(logs, -17, 1), edges)
            axes.stairs(heights / len(states), edges, color=f"C{number}", label=name, linewidth=1.4)
    left.axvline(-3, color="black", linewidth=1, linestyle="--", label="1e-3")
    left.set_xlabel("log10 of |S v| / |v|, largest entries")
    left.set_title("balance")
    right.set_xlabel("log10 of the largest distance outside of a bound, of |v|; left edge: none")
    right.set_title("bounds")
    left.set_ylabel("share of states")
    left.legend(fontsize=8)
    return picture(
        figure, "violations", "How far generated states miss balance and leave bounds.",
        "With a decoder in the null space, balance holds to rounding; mirror coordinates keep all "
        "bounds, too.",
    )  # fmt: skip

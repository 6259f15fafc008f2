"""The simulator against a queue of events, and the closed forms against independent ones."""

import heapq
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from pipelines.stragglers import delays
from pipelines.stragglers.closed_forms import SLOW
from pipelines.stragglers.scale import spare_of
from pipelines.stragglers.simulate import Costs, simulate
from pipelines.stragglers.steps_to_loss import Descent, Descents

MEANS = st.floats(0.01, 2.0)
DISTRIBUTIONS = {
    "exponential": stats.expon(),
    "lognormal": stats.lognorm(delays.SIGMA, scale=np.exp(-(delays.SIGMA**2) / 2)),
    "Pareto": stats.pareto(delays.SHAPE, scale=(delays.SHAPE - 1) / delays.SHAPE),
}


def event_by_event(work: np.ndarray, needed: int, costs: Costs) -> tuple[list[float], list[int]]:
    """Follow questions and answers in a queue of events, one at a time; late machines finish."""
    steps, machines = work.shape
    events: list[tuple[float, int, int]] = []  # (when, machine, step) of answers
    busy: dict[int, float] = {}  # until when
    inbox: dict[int, tuple[float, int]] = {}  # the newest question, and when it came
    starts, dropped, now = [0.0], [0] * machines, 0.0
    for step in range(steps):
        for machine in range(machines):
            now += costs.ask
            inbox[machine] = (now, step)
        used = 0
        while used < needed:
            for machine in sorted(inbox, key=lambda each: max(inbox[each][0], busy.get(each, 0))):
                came, asked = inbox[machine]
                begins = max(came, busy.get(machine, 0.0))
                # It is begun when nothing that happens before could take it back.
                if not events or begins <= events[0][0] or begins <= now:
                    del inbox[machine]
                    busy[machine] = begins + costs.work + work[asked, machine]
                    heapq.heappush(events, (busy[machine], machine, asked))
            when, machine, asked = heapq.heappop(events)
            now = max(now, when) + costs.take
            if asked == step:
                used += 1
            else:
                dropped[machine] += 1
        # Those that would have begun before the client had enough have begun.
        for machine, (came, asked) in list(inbox.items()):
            begins = max(came, busy.get(machine, 0.0))
            if begins < now:
                busy[machine] = begins + costs.work + work[asked, machine]
                heapq.heappush(events, (busy[machine], machine, asked))
            else:
                dropped[machine] += 1
        inbox.clear()
        now += costs.step
        starts.append(now)
    for _, machine, _ in events:
        dropped[machine] += 1
    return [after - before for before, after in pairwise(starts)], dropped


@given(
    st.integers(1, 6), st.integers(1, 12), st.integers(0, 5), st.integers(0, 2**20),
    st.sampled_from([Costs(), Costs(0.1, 0.2, 0.3, 0.05), Costs(ask=0.02, take=0.01)]),
)  # fmt: skip
def test_steps_are_those_of_a_queue_of_events(
    machines: int, steps: int, spare: int, seed: int, costs: Costs
) -> None:
    work = np.random.default_rng(seed).exponential(1, (steps, machines))
    needed = max(1, machines - spare)
    seconds, dropped = event_by_event(work, needed, costs)
    found = simulate(work, needed, costs)
    np.testing.assert_allclose(found.seconds, seconds, rtol=1e-9)
    assert found.dropped.tolist() == dropped


def test_without_costs_a_step_ends_with_the_answer_that_is_enough() -> None:
    work = np.random.default_rng(0).exponential(1, (50, 7))
    found = simulate(work, 5, leaves=True)
    np.testing.assert_allclose(found.seconds, np.sort(work, axis=1)[:, 4])
    assert found.dropped.sum() == 50 * 2


def test_a_machine_that_is_late_with_a_step_keeps_nobody_waiting_in_the_next_one() -> None:
    found = simulate(np.array([[9.0, 1, 1], [9.0, 1, 1], [9.0, 1, 1]]), 2)
    assert found.seconds.tolist() == [1, 1, 1]
    assert found.dropped.tolist() == [3, 0, 0]


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_delays_are_drawn_from_their_distribution_with_mean_1(kind: str) -> None:
    drawn = delays.draw_slowness(kind, 3, 4000, 5, slow=10)
    drawn[:, 0] /= 10
    assert stats.kstest(drawn.ravel(), DISTRIBUTIONS[kind].cdf).pvalue > 1e-3
    assert DISTRIBUTIONS[kind].mean() == pytest.approx(1)


def test_draws_are_a_function_of_the_seed() -> None:
    first, again, other = (delays.draw_slowness("Pareto", seed, 3, 4) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("kind", DISTRIBUTIONS)
@pytest.mark.parametrize(("machines", "needed"), [(5, 5), (20, 18)])
def test_expected_order_statistics_are_those_of_the_density(
    kind: str, machines: int, needed: int
) -> None:
    """By the probability that fewer than `needed` are done."""
    law = DISTRIBUTIONS[kind]

    def waiting(time: float) -> float:
        return float(stats.binom.cdf(needed - 1, machines, law.cdf(time)))

    edges = [0, *np.geomspace(0.1, 1e6, 40)]
    expected = sum(integrate.quad(waiting, *edge)[0] for edge in pairwise(edges))
    found = delays.expected_order_statistic(kind, machines, needed)
    assert found == pytest.approx(expected, rel=1e-4)


def test_spare_machines_of_the_design() -> None:
    for machines, spare, expected in ((100, 4, 3.104), (100, 0, 5.187)):
        found = delays.harmonic_difference(machines, spare)
        assert round(found, 3) == expected
        quadrature = delays.expected_order_statistic("exponential", machines, machines - spare)
        assert found == pytest.approx(quadrature, rel=1e-9)


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_the_maximum_with_one_slow_machine_is_that_of_the_product_of_distributions(
    kind: str,
) -> None:
    law = DISTRIBUTIONS[kind]

    def unfinished(time: float) -> float:
        return 1 - float(law.cdf(time) ** 9 * law.cdf(time / SLOW))

    edges = [0, *np.geomspace(0.1, 1e7, 60)]
    expected = sum(integrate.quad(unfinished, *edge)[0] for edge in pairwise(edges))
    assert delays.expected_maximum(kind, 10, SLOW) == pytest.approx(expected, rel=1e-4)


def test_dropped_rows_cost_steps_on_the_line_through_whole_and_half_batches() -> None:
    full, mini, half = Descent(64, 9, 10), Descent(8, 2, 50), Descent(4, 1, 80)
    found = Descents(64, full, mini, half)
    assert found.steps_without(0) == 50
    assert found.steps_without(0.5) == pytest.approx(80)
    assert 50 < found.steps_without(0.04) < 52


def test_there_is_a_spare_lane_wherever_there_are_some() -> None:
    assert [spare_of(workers) for workers in (4, 16, 256, 1024)] == [1, 1, 10, 41]

"""The generated world: its chain, its headlines, and the exact filter."""

import numpy as np
import pytest

from pipelines.sovereign_rating import best, chain, headlines, world
from pipelines.sovereign_rating.data import Part, make_split

COUNTRIES, MONTHS = 40, 240


@pytest.fixture(scope="module")
def made() -> world.World:
    return world.make_world(5, COUNTRIES, MONTHS)


@pytest.fixture(scope="module")
def evidence(made: world.World) -> np.ndarray:
    """Two headlines a month."""
    wording = headlines.make_wording(5)
    found = np.zeros((COUNTRIES * MONTHS, len(world.TONES)))
    rows = np.arange(2 * COUNTRIES * MONTHS)
    country, month = np.divmod(rows // 2, MONTHS)
    tokens = headlines.draw_headlines(made, wording, country, month, rows % 2)
    headlines.add_evidence(tokens, rows // 2, wording.log_ratio, found)
    return found.reshape(COUNTRIES, MONTHS, -1)


def test_what_may_happen_within_a_month_adds_up_to_one() -> None:
    links = chain.links()
    rating = np.repeat(np.arange(chain.NOTCHES), np.diff(links.first))
    sums = np.zeros((chain.NOTCHES, chain.STATES))
    np.add.at(sums, (rating, links.source), links.chance)
    np.testing.assert_allclose(sums, 1)
    np.testing.assert_allclose(best.outlook().sum(axis=2), 1)


def test_headlines_lead_changes_by_three_to_six_months(made: world.World) -> None:
    """A turn that is decided is in the tone at once, and in the rating three to six months on."""
    _, steps = chain.parts_of(made.states)
    begun = (steps[:, 1:] >= 0) & (steps[:, :-1] < 0)
    country, month = np.nonzero(begun[:, : MONTHS - 8])
    month = month + 1
    inside = (made.ratings[country, month] > 3) & (made.ratings[country, month] < 18)
    country, month = country[inside], month[inside]
    ahead = made.ratings[country[:, None], month[:, None] + np.arange(7)]
    lead = (ahead != ahead[:, :1]).argmax(axis=1)
    assert set(np.unique(lead)) == {3, 4, 5, 6}
    assert np.mean(made.tones[country, month] == steps[country, month] + 1) > 0.75


def test_a_figure_is_not_known_before_it_is_published(made: world.World) -> None:
    """Changing what happens in a month changes nothing that is published before its lag."""
    at = 100
    series = made.series.copy()
    series[:, at] += 1000.0
    changed = world.World(made.states, made.ratings, series, made.tones, made.seed)
    before, after = world.published(made), world.published(changed)
    for place, lag in enumerate(world.LAGS):
        columns = slice(3 * place, 3 * place + 3)
        same = (before == after) | (np.isnan(before) & np.isnan(after))
        moved = ~same[:, :, columns].all(axis=(0, 2))
        assert np.flatnonzero(moved)[0] == at + lag


def test_means_are_those_of_what_is_there() -> None:
    known = np.array([[1.0, np.nan, 3.0, np.nan, np.nan]])
    found = world._trailing_mean(known, 2)
    np.testing.assert_array_equal(found, [[1.0, 1.0, 3.0, 3.0, np.nan]])


def test_the_evidence_of_a_headline_is_calibrated(made: world.World) -> None:
    """Of headlines that are of a tone with a chance of p, against neutral ones, a share of p is."""
    wording = headlines.make_wording(5)
    rows = np.arange(COUNTRIES * MONTHS)
    country, month = np.divmod(rows, MONTHS)
    tokens = headlines.draw_headlines(made, wording, country, month, rows)
    found = np.zeros((len(rows), len(world.TONES)))
    headlines.add_evidence(tokens, rows, wording.log_ratio, found)
    tones = made.tones.reshape(-1)
    for tone in (1, 2, 3):
        both = (tones == 0) | (tones == tone)
        share = np.mean(tones[both] == tone)
        odds = np.exp(found[both, tone]) * share / (1 - share)
        chance, came = odds / (1 + odds), tones[both] == tone
        for low, high in ((0, 0.5), (0.5, 0.95), (0.95, 1.01)):
            which = (chance >= low) & (chance < high)
            error = 4 * np.sqrt((chance[which] * (1 - chance[which])).sum())
            assert abs(came[which].sum() - chance[which].sum()) < max(error, 3)


def test_headlines_are_a_function_of_country_month_and_number(made: world.World) -> None:
    wording = headlines.make_wording(5)
    country, month, number = np.array([3, 3, 9]), np.array([7, 8, 7]), np.array([0, 0, 4])
    whole = headlines.draw_headlines(made, wording, country, month, number)
    alone = headlines.draw_headlines(made, wording, country[2:], month[2:], number[2:])
    np.testing.assert_array_equal(whole[2:], alone)
    lengths = (whole != headlines.PADDING).sum(axis=1)
    assert ((lengths >= headlines.SHORTEST) & (lengths <= headlines.LENGTH)).all()


@pytest.mark.slow
def test_the_best_forecast_is_calibrated(made: world.World, evidence: np.ndarray) -> None:
    """Of forecasts with a chance of p that the rating stays, a share of p stays."""
    likely = best.best_forecast(made, evidence)
    np.testing.assert_allclose(likely.sum(axis=2), 1)
    now = made.ratings[:, :MONTHS]
    stays = np.take_along_axis(likely, now[..., None], 2)[..., 0].ravel()
    came = (made.ratings[:, chain.AHEAD :] == now).ravel()
    for low, high in ((0, 0.4), (0.4, 0.7), (0.7, 1.01)):
        which = (stays >= low) & (stays < high)
        # Months of a country share their future: the error is that of far fewer.
        error = 4 * np.sqrt(0.25 / (which.sum() / chain.AHEAD))
        assert abs(came[which].mean() - stays[which].mean()) < error


@pytest.mark.slow
def test_more_knowledge_makes_a_better_forecast(made: world.World, evidence: np.ndarray) -> None:
    true = made.ratings[:, chain.AHEAD :][..., None]
    losses = [
        -np.log(np.take_along_axis(best.best_forecast(made, given), true, 2)).mean()
        for given in (None, evidence)
    ]
    assert losses[1] < losses[0] - 0.03


@pytest.mark.slow
def test_the_filter_is_bayes_rule_over_all_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same by dense matrices, month for month, with figures that are published at once."""
    monkeypatch.setattr(best, "LAGS", (0, 0, 0, 0))
    small = world.make_world(2, 2, 9)
    links, start = chain.links(), chain.first_states()
    regimes, _ = chain.parts_of(np.arange(chain.STATES))
    likely = best.best_forecast(small, None)
    for country in range(2):
        ratings, state = small.ratings[country], start
        figures = best._log_figures(small.series[country], ratings[:9], regimes)
        for month in range(9):
            if month:
                dense = np.zeros((chain.STATES, chain.STATES))
                some = slice(*links.first[ratings[month - 1] : ratings[month - 1] + 2])
                same = links.rating[some] == ratings[month]
                np.add.at(
                    dense, (links.source[some][same], links.target[some][same]),
                    links.chance[some][same],
                )  # fmt: skip
                state = state @ dense
            state = state * np.exp(figures[month].sum(axis=0))
            state = state / state.sum()
            expected = state @ best.outlook()[ratings[month]]
            np.testing.assert_allclose(likely[country, month], expected, atol=1e-12)


def test_a_split_shares_no_country_and_no_label_of_the_later_years() -> None:
    split = make_split(0, 50, 240, 50 * 240 * 3)
    countries = [set(part.countries) for part in (split.learned, split.choosing, split.unseen)]
    assert sum(map(len, countries)) == len(set.union(*countries)) == 50
    for part in (split.learned, split.choosing):
        assert part.end - 1 + chain.AHEAD < split.first_later
    assert split.later.countries == split.learned.countries
    assert {part.headlines for part in split.parts} == {3}


def test_rows_of_a_part_are_by_number_country_and_month() -> None:
    part = Part("some", (2, 9), 5, 8, 4)
    country, month = part.places(np.arange(part.rows))
    assert part.rows == 24
    np.testing.assert_array_equal(country, np.tile([2, 2, 2, 9, 9, 9], 4))
    np.testing.assert_array_equal(month, np.tile([5, 6, 7], 8))

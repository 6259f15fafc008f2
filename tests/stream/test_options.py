"""The stream's options: written once, checked once, the same at every door."""

from dataclasses import fields

import numpy as np
import pytest

import ooc
from ooc.cli.help import with_names
from ooc.core.errors import InputError
from ooc.measure.gradient_noise import gradient_variance
from ooc.store.dataset import Dataset
from ooc.stream.options import StreamOptions, make_stream
from ooc.stream.sampling import SAMPLINGS


def test_every_option_says_what_it_is_for() -> None:
    for each in fields(StreamOptions):
        assert each.metadata["help"].endswith("."), each.name
        if each.default is None:
            assert each.metadata["unset"], each.name


def test_the_help_names_every_sampling() -> None:
    told = next(each for each in fields(StreamOptions) if each.name == "sampling").metadata["help"]
    assert all(name in with_names(told) for name in SAMPLINGS)


@pytest.mark.parametrize(("given", "means"), [(None, "fit"), ("8", 8), (8, 8), ("auto", "auto")])
def test_a_window_in_every_manner(given: object, means: object) -> None:
    assert StreamOptions(window=given).window == means  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "large"}, 'a number of blocks, "auto" or "fit", not \'large\''),
        ({"on_bad_chunk": "fill"}, "one of raise, skip, not 'fill'"),
        ({"block_rows": 0}, "block_rows must be a whole number of at least 1, not 0"),
        ({"readers": 0}, "readers must be a whole number of at least 1, not 0"),
        ({"sampling": "twice"}, "choose one of: once, replacement, weight, balanced"),
        ({"sampling": "weight", "shuffle": "none"}, 'needs shuffle="blocks"'),
        ({"sampling": "weight", "lanes": 2}, "one lane, not with 2"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_stream(None, options)


def test_an_unknown_option_names_the_known_ones_at_every_door(dataset: Dataset) -> None:
    model, optimizer = ooc.models.Logistic(), ooc.optim.sgd(0.1)
    doors = (
        lambda: ooc.Loader(dataset, 10, sead=3),
        lambda: ooc.Trainer(model, optimizer, sead=3),
        lambda: gradient_variance(model, np.zeros(4), dataset, [10], sead=3),
    )
    for door in doors:
        with pytest.raises(InputError, match=r"no option 'sead' here; .*: memory, seed, shuffle"):
            door()


def test_options_by_name_replace_those_of_an_object(dataset: Dataset) -> None:
    stream = StreamOptions(memory="512MiB", seed=5)
    loader = ooc.Loader(dataset, 10, stream=stream, seed=6)
    assert (loader.stream.memory, loader.plan.order.seed) == ("512MiB", 6)
    trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.sgd(0.1), 10, stream=stream)
    assert trainer.loader(dataset).stream == stream

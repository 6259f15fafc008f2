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


def test_what_nobody_chose_is_what_the_documentation_says() -> None:
    """Everything but memory, readers and how files are read decides on a run's bits."""
    decides = {
        "seed": 0,
        "shuffle": "blocks",
        "window": "auto",
        "lanes": 1,
        "sampling": "once",
        "on_bad_chunk": "raise",
        "missing_values": "raise",
        "block_rows": None,
    }
    beside = {"memory": "1GiB", "readers": None, "io": "auto"}
    options = StreamOptions()
    assert {each.name: getattr(options, each.name) for each in fields(options)} == decides | beside
    assert options.to_config() == decides
    chosen = StreamOptions("2GiB", 7, "none", "12", 1, "once", 3, "direct", "skip", "fill:2", 40)
    assert chosen.to_config() == {
        **decides,
        "seed": 7,
        "shuffle": "none",
        "window": 12,
        "on_bad_chunk": "skip",
        "missing_values": "fill:2",
        "block_rows": 40,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "large"}, 'window is a number of blocks, "auto" or "fit", not \'large\''),
        ({"on_bad_chunk": "fill"}, "on_bad_chunk is one of raise, skip, not 'fill'"),
        ({"block_rows": 0}, "block_rows must be a whole number of at least 1, not 0"),
        ({"readers": 0}, "readers must be a whole number of at least 1, not 0"),
        ({"readers": 1.5}, "readers must be a whole number of at least 1, not 1.5"),
        (
            {"missing_values": "fill:many"},
            "missing_values is one of raise, drop, fill (with 0), fill:NUMBER, keep, not "
            "'fill:many'",
        ),
        (
            {"sampling": "twice"},
            "no sampling is called 'twice'; choose one of: once, replacement, weight, balanced",
        ),
        (
            {"sampling": "weight", "shuffle": "none"},
            "sampling='weight' draws at random; it needs shuffle=\"blocks\"",
        ),
        (
            {"sampling": "weight", "lanes": 3},
            "sampling='weight' goes with one lane, not with 3",
        ),
        (
            {"sampling": "balanced", "on_bad_chunk": "skip"},
            "sampling='balanced' needs every chunk; use on_bad_chunk=\"raise\", or repair the data",
        ),
        (
            {"sampling": "replacement", "missing_values": "drop"},
            "sampling='replacement' needs every row; use missing_values=\"fill\", or remove rows "
            "that lack a value",
        ),
        (
            {"sead": 3},
            "there is no option 'sead' here; those of the stream are: memory, seed, shuffle, "
            "window, lanes, sampling, readers, io, on_bad_chunk, missing_values, block_rows",
        ),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        make_stream(None, options)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "weight", "missing_values": "fill:1"},
        {"sampling": "once", "missing_values": "drop", "on_bad_chunk": "skip"},
        {"shuffle": "none", "missing_values": "keep"},
        {"readers": 1, "block_rows": 1},
    ],
)
def test_options_that_go_together_are_kept(options: dict[str, object]) -> None:
    made = make_stream(StreamOptions(seed=3), options)
    assert {name: getattr(made, name) for name in options} == options
    assert made.seed == 3


@pytest.mark.parametrize(
    ("window", "blocks"), [("auto", None), (None, None), ("fit", None), (9, 9)]
)
def test_a_window_has_blocks_where_they_are_a_number(window: object, blocks: int | None) -> None:
    assert StreamOptions(window=window).blocks == blocks  # type: ignore[arg-type]


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

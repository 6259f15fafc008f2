"""Tokens and figures: gradients by a twin, what is missing or left out, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import foreign, small_windows

import ooc
from ooc.core.errors import DataError, InputError
from ooc.core.random_keys import Purpose, generator
from ooc.models import EmbeddingMLP, from_config
from ooc.models.declarations import arrays_of
from ooc.models.ordinal import probabilities, threshold_values
from ooc.runs import checkpoint
from ooc.store.dataset import Dataset
from ooc.stream.batch import Batch
from ooc.training.session import first_parameters

VOCABULARY, LENGTH, FIGURES, MEMORY = 13, 6, 3, "512MiB"
SMALL: dict[str, Any] = {"vocabulary": VOCABULARY, "length": LENGTH, "width": 4}
HEADS = {"regression": 1, "binary": 1, "multiclass": 3, "ordinal": 4}


def rows_of(rows: int, rng: np.random.Generator, head: str = "ordinal") -> dict[str, np.ndarray]:
    """Return tokens of which many are 0, figures of which some are missing, and targets."""
    figures = rng.standard_normal((rows, FIGURES)).astype(np.float32)
    figures[rng.random(figures.shape) < 0.3] = np.nan
    tokens = rng.integers(0, VOCABULARY, (rows, LENGTH)).astype(np.int32)
    tokens[rng.random(tokens.shape) < 0.4] = 0
    tokens[0], figures[1] = 0, np.nan
    y = rng.standard_normal(rows)
    if head != "regression":
        y = rng.integers(0, max(2, HEADS[head]), rows).astype(float)
    return {"figures": figures, "tokens": tokens, "y": y}


def batch_of(arrays: dict[str, np.ndarray], seed: int = 0) -> Batch:
    rows = np.arange(len(arrays["y"]))
    return Batch(arrays, rows, 0, seed, ("figures", "y", None))


def start(model: EmbeddingMLP, seed: int = 0) -> np.ndarray:
    """Return first parameters, with something added to all that is trained."""
    layout = model.layout((FIGURES,))
    parameters = model.init(layout, generator(seed, Purpose.PARAMETERS))
    parameters += 0.2 * np.random.default_rng(seed).standard_normal(parameters.size)
    for name in layout.fixed:
        layout.views(parameters)[name][:] = 0
    return parameters


def twin(model: EmbeddingMLP, parameters: np.ndarray, arrays: dict[str, np.ndarray]) -> float:
    """Return the mean loss of tanh layers, row by row, as a textbook has it."""
    part = model.layout((FIGURES,)).views(parameters.astype(np.float64))
    losses = []
    for tokens, figures, y in zip(*(arrays[n] for n in ("tokens", "figures", "y")), strict=True):
        branches = []
        if model.branches != "figures":
            there = [part["embeddings"][token] for token in tokens if token != model.padding]
            branches.append(np.mean(there, axis=0) if there else np.zeros(model.width))
        if model.branches != "tokens":
            is_missing = np.isnan(figures)
            values = np.concatenate([np.where(is_missing, 0, figures), is_missing])
            for number in range(1, len(model.figure_hidden) + 1):
                weights, biases = part[f"figures{number}.weights"], part[f"figures{number}.biases"]
                values = np.tanh(weights @ values + biases)
            branches.append(values)
        values = np.concatenate(branches)
        for number in range(1, len(model.hidden) + 2):
            values = part[f"layer{number}.weights"] @ values + part[f"layer{number}.biases"]
            values = np.tanh(values) if number <= len(model.hidden) else values
        if model.head == "regression":
            losses.append(0.5 * (values[0] - y) ** 2)
        elif model.head == "binary":
            losses.append(np.logaddexp(0, values[0]) - y * values[0])
        elif model.head == "multiclass":
            losses.append(np.log(np.exp(values).sum()) - values[int(y)])
        else:
            shares = probabilities((threshold_values(part["thresholds"]) - values)[None])[0]
            losses.append(-np.log(shares[int(y)]))
    return float(np.mean(losses))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [((4, 3), (5,)), ((), ()), ((3,), ())], ids=str)
@pytest.mark.parametrize("branches", ["both", "tokens", "figures"])
@pytest.mark.parametrize("head", HEADS)
def test_loss_and_gradient_are_those_of_the_twin(
    head: str, branches: str, layers: Any, rng: np.random.Generator
) -> None:
    """By central differences in float64: of each part by itself, and of all of them at once."""
    figure_hidden, hidden = layers
    model = EmbeddingMLP(
        **SMALL, figure_hidden=figure_hidden, hidden=hidden, activation="tanh", head=head,
        outputs=HEADS[head], branches=branches, dtype="float64",
    )  # fmt: skip
    arrays = rows_of(50, rng, head)
    layout, parameters = model.layout((FIGURES,)), start(model)
    gradient = np.empty(layout.size)
    loss = model.loss_and_grad(parameters, batch_of(arrays), gradient)
    assert loss == pytest.approx(twin(model, parameters, arrays), rel=1e-12)
    assert model.measure(parameters, batch_of(arrays)).loss / 50 == pytest.approx(loss, rel=1e-12)
    directions = rng.standard_normal((2, layout.size))
    for name, (first, stop) in layout.spans().items():
        if name in layout.fixed:
            directions[:, first:stop] = 0
        alone = np.zeros(layout.size)
        alone[first:stop] = directions[0, first:stop]
        directions = np.concatenate([directions, alone[None]])
    for direction in directions:
        up, down = (twin(model, parameters + s * 1e-5 * direction, arrays) for s in (1, -1))
        assert gradient @ direction == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-8)


@pytest.mark.slow
def test_dropout_and_many_shares_keep_the_slope(rng: np.random.Generator) -> None:
    model = EmbeddingMLP(
        **SMALL, figure_hidden=(6,), hidden=(7,), activation="gelu", dropout=0.3, head="ordinal",
        outputs=4, weight_decay=0.1, dtype="float64", class_weights=(1, 2, 0.5, 1),
    )  # fmt: skip
    arrays, parameters = rows_of(700, rng), start(model)
    gradient, other = np.empty((2, parameters.size))
    batch = batch_of(arrays, seed=5)
    model.loss_and_grad(parameters, batch, gradient)
    spans = model.layout((FIGURES,)).spans()
    for _ in range(6):
        direction = rng.standard_normal(parameters.size)
        direction[slice(*spans["layer2.biases"])] = 0
        up, down = (
            model.loss_and_grad(parameters + s * 1e-5 * direction, batch, other) for s in (1, -1)
        )
        assert gradient @ direction == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-8)


def dataset_of(path: Path, rows: int = 2000, seed: int = 0, **changes: np.ndarray) -> Dataset:
    """Write rows whose label follows from both branches, and open them."""
    arrays = rows_of(rows, np.random.default_rng(seed))
    is_there = arrays["tokens"] != 0
    effects = np.linspace(-2, 2, VOCABULARY)[arrays["tokens"]] * is_there
    signal = 2 * effects.sum(axis=1) / np.maximum(1, is_there.sum(axis=1))
    arrays["y"] = np.digitize(signal + np.nan_to_num(arrays["figures"][:, 0]), [-1.5, 0, 1.5])
    arrays["figures"] = arrays["figures"] * 100 + 5000
    columns = {name: {"data": values, "chunks": (100, *values.shape[1:])}
               for name, values in {**arrays, **changes}.items()}  # fmt: skip
    return ooc.open(foreign(path, 3, **columns), features="figures")


def fit(model: EmbeddingMLP, data: Dataset, epochs: int = 1, rate: float = 0.02) -> Any:
    return ooc.Trainer(model, ooc.optim.adam(rate), 50, memory=MEMORY).fit(data, epochs)


@pytest.mark.slow
def test_both_branches_are_worth_more_than_either(tmp_path: Path) -> None:
    """One setting leaves a branch out; and text alone needs no figures."""
    data, found = dataset_of(tmp_path / "a.zarr"), {}
    for branches in ("both", "tokens", "figures"):
        model = EmbeddingMLP(**SMALL, branches=branches, head="ordinal", outputs=4)
        run = fit(model, data, 6)
        found[branches] = run.evaluate(data)
        assert run.predict(data, output="probability").shape == (2000, 4)
        above = run.predict(data, output="scores") < 0
        assert above.sum(axis=1).tolist() == run.predict(data, output="median").tolist()
    assert found["both"]["loss"] < 0.8 * min(found[each]["loss"] for each in ("tokens", "figures"))
    assert found["both"]["within_one"] > 0.97
    text = ooc.open(tmp_path / "a.zarr", features="tokens")
    run = fit(EmbeddingMLP(**SMALL, branches="tokens", head="ordinal", outputs=4), text, 6)
    assert run.evaluate(text)["loss"] < 1.2 * found["tokens"]["loss"]


@pytest.mark.slow
def test_moments_are_those_of_what_is_there(tmp_path: Path) -> None:
    """Of a column that nobody has there is nothing but its indicator."""
    figures = 300 + rows_of(2000, np.random.default_rng(3))["figures"]
    figures[:, 1] = np.nan
    data = dataset_of(tmp_path / "a.zarr", figures=figures)
    run = fit(EmbeddingMLP(**SMALL, head="ordinal", outputs=4), data)
    assert run.model.standardise is True, "as the rows ask for"
    part, there = run.layout.views(run.parameters), figures[:, [0, 2]].astype(np.float64)
    mean = part["feature_mean"].astype(np.float64) + part["feature_mean_rest"]
    np.testing.assert_allclose(mean[[0, 2]], np.nanmean(there, axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        part["feature_deviation"][[0, 2]], np.nanstd(there, axis=0), rtol=1e-6
    )
    assert (mean[1], part["feature_deviation"][1]) == (0, 0)
    assert np.isfinite(run.parameters).all()


@pytest.mark.slow
def test_embeddings_that_no_batch_touched_keep_bits_and_state(tmp_path: Path) -> None:
    """Padding touches none."""
    tokens = np.random.default_rng(1).integers(0, 7, (2000, LENGTH)).astype(np.uint16)
    data = dataset_of(tmp_path / "a.zarr", tokens=tokens)
    model = EmbeddingMLP(**SMALL, head="ordinal", outputs=4, standardise=False)
    trainer = ooc.Trainer(model, ooc.optim.adam(1e-6), 50, memory=MEMORY)
    trainer.fit(data, 1, tmp_path / "run")
    arrays, _ = checkpoint.load(tmp_path / "run")
    layout = model.layout((FIGURES,))
    first, stop = layout.spans()["embeddings"]
    before = first_parameters(model, layout, 0, {})[first:stop].reshape(VOCABULARY, -1)
    after = arrays["parameters"][first:stop].reshape(VOCABULARY, -1)
    assert np.flatnonzero((after != before).any(axis=1)).tolist() == [1, 2, 3, 4, 5, 6]
    state = arrays["optimizer_state"][:, first:stop].reshape(-1, VOCABULARY, model.width)
    assert not state[:, [0, *range(7, VOCABULARY)]].any()


@pytest.mark.slow
@pytest.mark.parametrize(("row", "bad"), [(777, VOCABULARY), (1999, -1), (0, 2**30)])
def test_a_token_that_is_none_is_named_with_its_row(
    tmp_path: Path, row: int, bad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where batches cross windows."""
    small_windows(monkeypatch, 8 * 2**10)
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, (2000, LENGTH)).astype(np.int32)
    tokens[row, 4] = bad
    data = dataset_of(tmp_path / "a.zarr", tokens=tokens)
    model = EmbeddingMLP(**SMALL, head="ordinal", outputs=4)
    told = f"row {row} of tokens has {bad} at place 4, but embedding_mlp takes integers from 0 to"
    with pytest.raises(DataError, match=told):
        ooc.Trainer(model, ooc.optim.adam(0.02), 64, memory=MEMORY).fit(data, 1)
    names, parameters = ("figures", "tokens", "y"), start(model)
    batch = next(iter(ooc.Loader(data, 2000, memory=MEMORY, shuffle="none", arrays=names)))
    for use in (
        lambda: model.measure(parameters, batch),
        lambda: model.predict_batch(parameters, batch),
        lambda: model.loss_and_grad(parameters, batch, np.empty(parameters.size)),
    ):
        with pytest.raises(DataError, match=told):
            use()


@pytest.mark.slow
def test_minus_one_may_be_the_padding(rng: np.random.Generator) -> None:
    """Then 0 is a token as others are."""
    arrays = rows_of(40, rng)
    shifted = {**arrays, "tokens": np.where(arrays["tokens"] == 0, -1, arrays["tokens"])}
    settings = {**SMALL, "head": "ordinal", "outputs": 4}
    one, other = EmbeddingMLP(**settings), EmbeddingMLP(**settings, padding=-1)
    parameters = start(one)
    gradients = np.empty((3, parameters.size))
    losses = [
        model.loss_and_grad(parameters, batch_of(each), gradient)
        for model, each, gradient in zip(
            (one, other, other), (arrays, shifted, arrays), gradients, strict=True
        )
    ]
    assert losses[0] == losses[1] != losses[2]
    assert np.array_equal(gradients[0], gradients[1])


@pytest.mark.slow
def test_infinite_figures_are_named_and_missing_ones_are_not_blamed(tmp_path: Path) -> None:
    figures = np.random.default_rng(0).standard_normal((2000, FIGURES)).astype(np.float32)
    figures[900] = [np.nan, -np.inf, 1]
    data = dataset_of(tmp_path / "a.zarr", figures=figures)
    for standardise in (True, False):
        model = EmbeddingMLP(**SMALL, head="ordinal", outputs=4, standardise=standardise)
        with pytest.raises(DataError, match="row 900 of figures has -inf in feature 1"):
            fit(model, data)


def test_rows_of_another_length_are_refused_before_any_work(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    data = dataset_of(tmp_path / "a.zarr", 200)
    model = EmbeddingMLP(vocabulary=VOCABULARY, length=5, head="ordinal", outputs=4)
    with pytest.raises(InputError, match=r"tokens of .* has rows of shape \(6,\), but .* \(5,\)"):
        arrays_of(model, data)
    with pytest.raises(InputError, match=r"tokens of shape \(6,\).* made for \(5,\)"):
        model.loss_and_grad(start(model), batch_of(rows_of(9, rng)), np.empty(9))
    with pytest.raises(InputError, match="has no array 'words', which embedding_mlp needs"):
        arrays_of(EmbeddingMLP(**SMALL, tokens="words"), data)


@pytest.mark.slow
def test_figures_alone_are_taken_from_arrays_in_memory(rng: np.random.Generator) -> None:
    model = EmbeddingMLP(**SMALL, branches="figures")
    x = rng.standard_normal((300, FIGURES)).astype(np.float32)
    found = model.predict(start(model), x)
    assert found["probability"].shape == (300,)
    with pytest.raises(InputError, match="takes tokens beside its features; give it a dataset"):
        EmbeddingMLP(**SMALL).predict(start(EmbeddingMLP(**SMALL)), x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"branches": "text"}, "'text'; choose one of: both, tokens, figures"),
        ({"vocabulary": 0}, "vocabulary must be a whole number of at least 1, not 0"),
        ({"width": 2.5}, "width must be a whole number of at least 1, not 2.5"),
        ({"figure_hidden": (0,)}, "layer over figures must be a whole number of at least 1"),
        ({"padding": 13}, "a token of the vocabulary, 0 to 12, not 13"),
        ({"padding": -2}, "the padding is -1 or a token of the vocabulary"),
        ({"length": 2**20}, "at most 131,072 tokens, not 1,048,576"),
        ({"head": "ordinal"}, "the ordinal head needs at least 2 classes"),
    ],
)
def test_a_model_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_config({"name": "embedding_mlp", **SMALL, **settings})

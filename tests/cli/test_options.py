"""Every option comes to what it is for: each command calls what Python calls, with these."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_dataset
from shell import Seen, make_small, refused

import ooc
from ooc.cli import main
from ooc.cli.options import DescentOptions, SavingOptions, local_output, names_of, numbers, role_of
from ooc.core.errors import InputError
from ooc.models import Logistic, Softmax
from ooc.store.dataset import Dataset

STREAM = """
    --memory 512MiB --seed 9 --window 4 --lanes 2 --readers 3 --io buffered --on-bad-chunk skip
    --missing-values fill:2 --block-rows 20 --shuffle none
"""
OF_STREAM: dict[str, Any] = {
    "memory": "512MiB", "seed": 9, "window": 4, "lanes": 2, "readers": 3, "io": "buffered",
    "on_bad_chunk": "skip", "missing_values": "fill:2", "block_rows": 20, "shuffle": "none",
}  # fmt: skip
DATA = "--features Z --target y --no-weight --missing fill"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    ones = np.ones((500, 2), "f4")
    write_dataset(tmp_path / "a.zarr", X=ones, Z=ones, y=np.arange(500) % 2)
    return "a.zarr"


def arguments_of(
    monkeypatch: pytest.MonkeyPatch, name: str, command: str, *, method: bool = False
) -> list[Any]:
    """Return what a command called by its name was given, but for what takes its progress."""
    seen = Seen()
    with monkeypatch.context() as patch:
        patch.setattr(name, (lambda *given: seen(*given)) if method else seen)
        assert main(command.split()) == 2
    given, options = seen.given
    options.pop("report", None)
    known = [each for each in given if not hasattr(each, "set") and not callable(each)]
    return [*known, options] if options else known


def check_data(dataset: Any, missing: str = "fill") -> None:
    assert isinstance(dataset, Dataset)
    assert (dataset.missing, dataset.roles) == (missing, ("Z", "y", None))


def test_of_sweep(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (
        f"sweep {small} {DATA} {STREAM} --lr 0.5,2 --l2 0,0.25 --l1 0.125 --batch-size 64 "
        "--optimizer sgd,adam:0.8,0.9 --schedule step:10,0.5 --halving --epochs 3 --run there "
        "--validation 0.25 --validation-by row --evaluate-every 7 --patience 2 --save-seconds 5 "
        "--save-steps 11 --keep 2 --log-every 6 --standardise no"
    )
    seen = Seen()
    monkeypatch.setattr(ooc.Trainer, "fit_many", lambda *given: seen(*given))
    assert main(command.split()) == 2
    trainer, dataset, optimizers, epochs, run_dir, _, _, halving, trackers = seen.given[0]
    check_data(dataset)
    schedule = ooc.schedules.staircase(10, 0.5)
    wanted = [
        make(rate, *numbers, l2=l2, l1=0.125, schedule=schedule)
        for make, numbers in ((ooc.optim.sgd, ()), (ooc.optim.adam, (0.8, 0.9)))
        for rate in (0.5, 2.0)
        for l2 in (0.0, 0.25)
    ]
    assert list(optimizers.values()) == wanted  # type: ignore[attr-defined]
    assert trainer == ooc.Trainer(
        Logistic(standardise=False), wanted[0], 64,
        validation=ooc.Validation(0.25, every=7, patience=2, by="row"),
        saving=ooc.Saving(5.0, every_steps=11, keep=2), log_every=6, **OF_STREAM,
    )  # fmt: skip
    assert (epochs, run_dir, trackers) == (3, Path("there"), [])
    assert halving == ooc.Halving()


def test_of_plan(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    how = "--model softmax --classes 3 --optimizer adam:0.8,0.9 --lr 0.5 --l2 0.25 --batch-size 64"
    name = "ooc.training.trainer.Trainer.loader"
    command = f"plan {small} {DATA} {STREAM} {how}"
    trainer, dataset = arguments_of(monkeypatch, name, command, method=True)
    check_data(dataset)
    optimizer = ooc.optim.adam(0.5, 0.8, 0.9, l2=0.25)
    assert trainer == ooc.Trainer(Softmax(classes=3), optimizer, 64, **OF_STREAM)


def test_of_bench(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    how = "--model softmax --classes 3 --batch-size 64 --rounds 2"
    name = "ooc.measure.roofline.bench"
    dataset, trainer, rounds = arguments_of(
        monkeypatch, name, f"bench {small} {DATA} {STREAM} {how}"
    )
    check_data(dataset)
    model = Softmax(classes=3, standardise=False)
    assert trainer == ooc.Trainer(model, ooc.optim.sgd(1e-20), 64, **OF_STREAM)
    assert rounds == 2


def test_of_shuffle(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    how = "--memory 300MiB --seed 7 --threads 3 --compression fast-read"
    dataset, *given = arguments_of(
        monkeypatch, "ooc.shuffle.external_sort.exact", f"shuffle {small} out.zarr {DATA} {how}"
    )
    check_data(dataset)
    assert given == ["out.zarr", "300MiB", 7, 3, {"compression": "fast-read"}]
    np.save("rows.npy", np.arange(500)[::-1])
    how = "--memory 300MiB --seed 7 --batch-size 64 --window 5"
    for order, sample in (("none", "17"), ("rows.npy", "all")):
        dataset, rows, *given = arguments_of(
            monkeypatch,
            "ooc.shuffle.measurement.measure",
            f"shuffle {small} --measure {DATA} {how} --order {order} --sample {sample}",
        )
        check_data(dataset)
        np.testing.assert_array_equal(rows, "none" if order == "none" else np.arange(500)[::-1])
        numbers = {"window": 5, "sample_blocks": None if sample == "all" else 17}
        assert given == [64, "300MiB", 7, numbers]


def test_of_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = "--rows 3k --features 5 --classes 4 --order sorted --seed 8 --held-out --threads 2"
    options += " --compression fast-read"
    given = arguments_of(monkeypatch, "ooc.synthetic.make", f"make softmax a.zarr {options}")
    recipe = ooc.synthetic.Recipe("softmax", 3000, 5, 4, "sorted", 8, held_out=True)
    assert given == ["a.zarr", recipe, 2, {"compression": "fast-read"}]


def test_of_report_and_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [Path("one"), Path("two")]
    given = arguments_of(monkeypatch, "ooc.report.write_report", "report one two --out a.html")
    assert given == [runs, Path("a.html")]
    seen = Seen()
    loaded = list[Path]()
    run = type("Run", (), {"export": staticmethod(seen)})
    monkeypatch.setattr("ooc.runs.loading.load", lambda run_dir: [loaded.append(run_dir), run][1])
    Path("names.txt").write_text("age\nmass, kg\n")
    named = "--feature-names names.txt --class-names no,yes --input-dtype uint8"
    assert main(["export", "one", "a.onnx", *named.split()]) == 2
    names = {"feature_names": ["age", "mass, kg"], "class_names": ["no", "yes"]}
    assert seen.given == ((Path("a.onnx"),), {**names, "input_dtype": "uint8"})
    assert loaded == runs[:1]


def test_of_info(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"info {small} {DATA} --io buffered"
    dataset, name, io = arguments_of(monkeypatch, "ooc.store.chunks.read_path", command)
    check_data(dataset)
    assert (name, io) == ("X", "buffered")
    dataset, io = arguments_of(monkeypatch, "ooc.store.verify.verify", f"{command} --verify")
    check_data(dataset)
    assert io == "buffered"


def test_what_was_left_out_is_told_by_all_that_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that goes on tells of all its chunks, too."""
    monkeypatch.chdir(tmp_path)
    make_small(tmp_path)
    file = next(each for each in Path("small.zarr/X/c").rglob("0") if each.is_file())
    file.write_bytes(b"")
    how = ["--on-bad-chunk", "skip", "--epochs", "1", "--run", "run"]
    for command in (
        ["train", "small.zarr", "--lr", "0.1", *how],
        ["resume", "run"],
        ["sweep", "small.zarr", "--lr", "0.1,0.2", *how[:-1], "sweep"],
    ):
        assert main([*command, "--json"]) == 0
        told = capsys.readouterr().err
        assert "times a chunk could not be read" in told, command
        assert "`ooc info DATA --verify` lists them" in told


def test_names_are_in_a_text_or_one_a_line_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("age\nbody mass, kg\n\n")
    assert names_of(None) is None
    assert names_of("age,mass, kg") == ["age", "mass", " kg"]
    assert names_of(str(file)) == ["age", "body mass, kg", ""]
    assert names_of(str(tmp_path)) == [str(tmp_path)]
    assert numbers("1, 2.5,-3e-1") == [1.0, 2.5, -0.3]


def test_a_role_is_a_name_the_usual_one_or_none() -> None:
    assert role_of("target", "label", False) == "label"
    assert role_of("target", None, False) is None
    assert role_of("weight", None, True) is False


def test_outputs_are_local() -> None:
    assert local_output(None) is None
    assert local_output(Path("a", "b")) == Path("a", "b")
    with pytest.raises(InputError, match="is a URL"):
        local_output(Path("s3://bucket/run"))


@pytest.mark.parametrize("size", ["many", "1.5", "Full", ""])
def test_a_batch_is_a_number_of_rows_or_full(
    small: str, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    found = refused(capsys, "train", small, "--batch-size", size)
    assert found == f"ooc: --batch-size is a number of rows, or full, not {size!r}"


def test_what_is_saved_and_how_a_gradient_is_used_by_default() -> None:
    assert SavingOptions().settings() == {"saving": ooc.Saving(60.0, None, 3), "log_every": None}
    assert ooc.Saving() == ooc.Saving(60.0, None, 3)
    assert DescentOptions().make() == ooc.optim.sgd()
    made = DescentOptions("adam:0.8", 0.5, 0.25, 0.125, 2.0, "cosine:7", 3).make()
    schedule = ooc.schedules.cosine(7, warmup=3)
    assert made == ooc.optim.adam(0.5, 0.8, l2=0.25, l1=0.125, clip_norm=2.0, schedule=schedule)
    late = DescentOptions(schedule="constant").make()
    assert late == ooc.optim.sgd(schedule=ooc.schedules.constant())

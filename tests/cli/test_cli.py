"""The shell's door: its JSON, its statuses, its one-line refusals."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from datasets import foreign, write_dataset
from shell import called, make_small, refused

import ooc
from ooc.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "kind",
    ["logistic", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("linear", "softmax"))],
)
def test_make_train_evaluate_predict(
    here: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    size = ["--features", "16", *(["--classes", "4"] if kind == "softmax" else [])]
    made = called(capsys, "make", kind, "big.zarr", "--rows", "40k", *size)
    assert made["rows"] == 40_000
    called(capsys, "make", kind, "held.zarr", "--rows", "5k", "--held-out", *size)
    info = called(capsys, "info", "big.zarr")
    assert info["roles"] == {"features": "X", "target": "y", "weight": None}
    options = ["--model", kind, "--memory", "512MiB", "--batch-size", "100", "--standardise", "no"]
    plan = called(capsys, "plan", "big.zarr", *options)
    trained = called(capsys, "train", "big.zarr", *options, "--lr", "0.05", "--run", "runs/a")
    assert trained["run"] == "runs/a"
    for key in ("window_rows", "block_rows", "blocks_per_window", "memory_projected_bytes"):
        assert plan[key] == trained[key]
    assert trained["steps"] == plan["steps"] == 400
    assert trained["seconds_to_first_batch"] > 0
    evaluated = called(capsys, "evaluate", "runs/a", "held.zarr", "--memory", "512MiB")
    best = ooc.open("held.zarr").attributes["generator"]["best"]
    assert best["loss"] * 0.98 < evaluated["loss"] < best["loss"] * 1.1
    if kind != "linear":
        assert evaluated["accuracy"] > best["accuracy"] - 0.02
    called(capsys, "predict", "runs/a", "held.zarr", "out.zarr", "--memory", "512MiB")
    assert zarr.open_group("out.zarr", mode="r")["prediction"].shape == (5000,)


@pytest.mark.slow
def test_networks_from_the_shell(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The head follows from the targets: labels, classes that the data note, or fractions."""
    memory = ["--memory", "768MiB"]
    for kind, head, outputs in (
        ("logistic", "binary", 1),
        ("softmax", "multiclass", 4),
        ("linear", "regression", 1),
    ):
        data = f"{kind}.zarr"
        classes = ["--classes", "4"] if kind == "softmax" else []
        called(capsys, "make", kind, data, "--rows", "20k", "--features", "6", *classes)
        options = ["--model", "mlp", "--hidden", "24,12", *memory, "--batch-size", "100"]
        called(capsys, "plan", data, *options)
        more = ["--activation", "tanh", "--dropout", "0.05", "--weight-decay", "1e-5"]
        more += ["--optimizer", "adam", "--lr", "0.01", "--epochs", "2", "--run", f"runs/{kind}"]
        called(capsys, "train", data, *options, *more)
        saved = json.loads(Path("runs", kind, "run.json").read_text())["model"]
        assert (saved["head"], saved["outputs"], saved["hidden"]) == (head, outputs, [24, 12])
        assert (saved["activation"], saved["dropout"]) == ("tanh", 0.05)
        found = called(capsys, "evaluate", f"runs/{kind}", data, *memory)
        best = ooc.open(data).attributes["generator"]["best"]
        assert found["loss"] < 1.15 * best["loss"]
    called(
        capsys, "train", "linear.zarr", "--model", "autoencoder", "--hidden", "", "--code", "6",
        *memory, "--optimizer", "adam", "--lr", "0.01", "--run", "runs/a",
    )  # fmt: skip
    called(capsys, "predict", "runs/a", "linear.zarr", "out.zarr", *memory)
    assert zarr.open_group("out.zarr", mode="r")["prediction"].shape == (20_000, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hidden", "8,0"], "hidden width must be a whole number of at least 1, not 0"),
        (["--hidden", "8;8"], "'8;8' are no widths; write them as 256,256"),
        (["--activation", "swish"], "no activation is called 'swish'; choose one of: relu"),
        (["--head", "multiclass", "--classes", "1"], "at least 2 classes, not 1"),
        (["--code", "3"], "mlp has no --code; leave it out, or choose --model autoencoder"),
        (["--model", "logistic", "--hidden", "8"], "logistic has no --hidden; leave it out"),
        (["--no-intercept"], "mlp has no --no-intercept; leave it out, or choose --model linear"),
        (["--intercept"], "mlp has no --intercept; leave it out, or choose --model linear"),
        (["--model", "logistic", "--classes", "2"], "logistic has no --classes; leave it out"),
        (["--head", "binary", "--classes", "2"], "the binary head has no --classes"),
        (["--dropout", "1.5"], "dropout must be at least 0 and below 1, not 1.5"),
        pytest.param(
            ["--feature-scale", "1e30", "--standardise", "no"],
            "standardise the features",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    called(capsys, "make", "logistic", "a.zarr", "--rows", "2k", "--features", "4")
    found = refused(
        capsys, "train", "a.zarr", "--model", "mlp", "--memory", "768MiB", *options, "--run", "r"
    )
    assert message in found
    assert not Path("r").exists()


def test_without_json_people_get_tables(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make", "logistic", "a.zarr", "--rows", "2k", "--features", "4"]) == 0
    assert main(["info", "a.zarr"]) == 0
    assert main(["plan", "a.zarr"]) == 0
    assert main(["train", "a.zarr", "--lr", "0.1", "--epochs", "1"]) == 0
    assert main(["evaluate", "runs/a", "a.zarr"]) == 0
    out = capsys.readouterr().out
    for word in ("2,000 rows", "float32 (2000, 4)", "projected", "parameters sha256", "accuracy"):
        assert word in out


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("command", ["make", "info", "plan", "train", "evaluate", "predict"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Example: ooc {command}" in capsys.readouterr().out


def test_bad_usage(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such command" in refused(capsys, "trian")
    assert "DATA" in refused(capsys, "train")
    assert "--epochs" in refused(capsys, "train", "a.zarr", "--epochs", "many")
    assert "does not exist" in refused(capsys, "info", "a.zarr")
    assert "not a positive count" in refused(capsys, "make", "linear", "a.zarr", "--rows", "lots")
    assert "choose one of" in refused(capsys, "make", "cubic", "a.zarr", "--rows", "10")
    assert "is missing" in refused(capsys, "evaluate", "runs/none", str(make_small(here)))
    assert not Path("a.zarr").exists()


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "501"], "a batch of 501 rows is larger than the dataset of 500 rows"),
        (["--batch-size", "0"], "batch size must be at least 1, not 0"),
        (["--memory", "64MiB"], r"budget of 64.0 MiB is below the \d+ MiB"),
        (["--memory", "9999TiB"], r"is more than the .* that this process may use"),
        (["--memory", "much"], "not a size"),
        (["--model", "forest"], "no model is called 'forest'"),
        (["--optimizer", "magic"], "no optimizer is called 'magic'"),
        (["--shuffle", "perfect"], "no shuffle is called 'perfect'"),
        (["--lr", "0"], "lr must be a positive finite number"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--features", "images"], "no array 'images' for features"),
        (["--target", "labels"], "no array 'labels' for target"),
        (["--feature-scale", "half"], "'half' is not a factor"),
        (["--missing", "zero"], "missing is one of raise, fill"),
        (["--run", "small.zarr/X/zarr.json/run"], "cannot write to"),
    ],
)
def test_bad_options_are_refused_before_work(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    make_small(here)
    assert re.search(message, refused(capsys, "train", "small.zarr", *options))
    assert not Path("runs").exists()


def test_a_run_directory_that_holds_a_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_small(here)
    called(capsys, "train", "small.zarr", "--lr", "0.1", "--epochs", "1")
    assert "already holds a run" in refused(capsys, "train", "small.zarr")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.arange(500)}, "row .* of y has target .*, but logistic takes labels 0 and 1"),
        ({"y": np.full(500, 0.5)}, "has target 0.5"),
        ({"X": np.full((500, 2), np.nan, np.float32)}, r"row \d+ of X has nan in feature 0"),
    ],
)
def test_bad_rows_are_named(
    here: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, np.ndarray], message: str
) -> None:
    make_small(here, **changes)
    assert re.search(message, refused(capsys, "train", "small.zarr"))
    assert not Path("runs").exists()


def test_bad_datasets(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plain").mkdir()
    assert "not a Zarr group" in refused(capsys, "train", "plain")
    ones = {"data": np.ones((4, 1)), "chunks": (4, 1)}
    foreign(here / "a.zarr", 3, X=dict(ones), y={"data": np.ones(5), "chunks": (5,)})
    assert "differ along axis 0" in refused(capsys, "train", "a.zarr")
    foreign(here / "b.zarr", 2, X={"data": np.zeros((3, 2), "U3"), "chunks": (3, 2)})
    assert "not a real number" in refused(capsys, "train", "b.zarr")


@pytest.mark.slow
def test_a_disk_too_small_for_make(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "make", "logistic", "a.zarr", "--rows", "1000G")
    assert re.search(r"will take about .* but .* free", message)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_saves_and_ends_with_its_status(here: Path, number: signal.Signals) -> None:
    write_dataset(
        here / "a.zarr", chunk_rows=500, X=np.ones((50_000, 8), "f4"), y=np.arange(50_000) % 2
    )
    command = [sys.executable, "-m", "ooc", "train", "a.zarr", "--lr", "0.1", "--json"]
    process = subprocess.Popen(
        [*command, "--epochs", "100000", "--run", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (here / "run" / "history.jsonl").exists():  # before its first step nothing is saved
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    result = json.loads(out.splitlines()[-1])
    saved = json.loads((here / "run" / "run.json").read_text())
    assert result["parameters_sha256"] == saved["parameters_sha256"]
    position = saved["position"]
    assert position["epoch"] * 196 + position["row"] // 256 == result["steps"]
    assert ooc.load(here / "run").results["steps"] == result["steps"]


@pytest.mark.slow
def test_lines_instead_of_a_bar_where_there_is_no_terminal(here: Path) -> None:
    write_dataset(here / "a.zarr", X=np.ones((500, 8), "f4"), y=np.arange(500) % 2)
    code = (
        "import ooc.core.progress_bar as bar; bar.LINE_SECONDS = 0.0\n"
        "from ooc.cli import run; run('train a.zarr --lr 0.1 --epochs 3 --json'.split())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["steps"] == 6
    *said, roles = done.stderr.splitlines()
    assert roles == "roles by the names of arrays: features X, target y (--no-target for none)"
    lines = [line for line in said if "rows/s" in line]
    assert len(lines) == 3
    for part in ("100%", "rows/s", "GB/s", "loss", "memory", "of 1.00 GiB", "waits for"):
        assert part in lines[-1]


@pytest.mark.slow
def test_a_live_bar_on_a_terminal(here: Path) -> None:
    """A real pseudo-terminal: the bar is drawn on standard error, the JSON stays alone."""
    write_dataset(here / "a.zarr", X=np.ones((500, 8), "f4"), y=np.arange(500) % 2)
    master, slave = os.openpty()
    command = [sys.executable, "-m", "ooc", "train", "a.zarr", "--lr", "0.1", "--json"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    process = subprocess.Popen(
        [*command, "--epochs", "10"], stdout=subprocess.PIPE, stderr=slave, env=environment
    )
    os.close(slave)
    drawn = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        drawn += part
    os.close(master)
    assert json.loads(process.communicate()[0])["steps"] == 20
    assert "train a.zarr" in drawn.decode()
    assert "rows/s" in drawn.decode()


def test_help_does_not_load_what_it_does_not_need() -> None:
    code = (
        "import sys\nfrom ooc.cli import main\nmain(['--help'])\n"
        "heavy = {'numba', 'zarr', 'dask', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, ooc\n"
        "assert not {'numba', 'zarr', 'dask', 'numpy'} & set(sys.modules)\n"
        "assert ooc.Loader and ooc.Trainer and ooc.open and ooc.create and ooc.load\n"
        "assert ooc.models.Softmax and ooc.optim.adam\n"
        "from ooc.stream.scheduler import transfers_rows\n"
        "assert not transfers_rows()\n"
        "assert not {'distributed', 'matplotlib', 'plotly', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_info_says_how_each_array_is_read_and_verifies(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_small(here)
    x = {"data": np.ones((20, 2)), "chunks": (10, 2), "filters": [numcodecs.AsType("<f4", "<f8")]}
    foreign(here / "other.zarr", 2, X=x)
    info = called(capsys, "info", "small.zarr", "--io", "buffered", "--verify")
    assert info["arrays"]["X"]["read_path"].startswith("native, buffered")
    assert info["bad_chunks"] == []
    info = called(capsys, "info", "other.zarr")
    assert info["arrays"]["X"]["read_path"] == "zarr-python: its codec is astype"
    plan = called(capsys, "plan", "small.zarr", "--io", "direct")
    assert plan["read_paths"]["X"].split(":")[0] in ("native, direct", "native, buffered")
    file = next(file for file in Path("small.zarr/X/c").rglob("0") if file.is_file())
    file.write_bytes(file.read_bytes()[:-3])
    assert main(["info", "small.zarr", "--verify", "--json"]) == 2
    printed = capsys.readouterr()
    assert "chunks of small.zarr cannot be read" in printed.err
    assert len(json.loads(printed.out)["bad_chunks"]) > 0


def test_bad_chunks_are_skipped_on_request(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_small(here)
    file = next(file for file in Path("small.zarr/X/c").rglob("0") if file.is_file())
    file.write_bytes(b"")
    assert "cannot be read from" in refused(capsys, "train", "small.zarr")
    result = called(
        capsys, "train", "small.zarr", "--on-bad-chunk", "skip", "--epochs", "1", "--run", "skipped"
    )
    assert result["skipped_rows"] == 500 - result["rows"] > 0
    assert "io is one of" in refused(capsys, "train", "small.zarr", "--io", "fast", "--run", "b")


@pytest.mark.slow
def test_shuffle_a_store_and_measure_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    called(capsys, "make", "logistic", "a.zarr", "--rows", "40k", "--order", "sorted")
    memory = ["--memory", "512MiB"]
    options = [*memory, "--batch-size", "100", "--window", "4"]
    before = called(capsys, "shuffle", "a.zarr", "--measure", "--picture", "a.png", *options)
    assert Path("a.png").stat().st_size > 10_000
    assert before["every_row_once"]
    assert before["columns"][0]["column"]["name"] == "y"
    assert before["columns"][0]["observed"] > 2
    result = called(capsys, "shuffle", "a.zarr", "b.zarr", "--seed", "3", *memory)
    assert result["rows"] == 40_000
    assert result["path"] == "b.zarr"
    after = called(capsys, "shuffle", "b.zarr", "--measure", *options)
    assert after["columns"][0]["observed"] < 1.5
    np.save("order.npy", np.arange(40_000)[::-1])
    listed = called(capsys, "shuffle", "a.zarr", "--measure", "--order", "order.npy", *options)
    assert listed["order"] == "list"
    assert main(["shuffle", "a.zarr", "--measure", *options]) == 0
    assert "same-block pairs" in capsys.readouterr().out


@pytest.mark.slow
def test_a_plan_predicts_and_advises(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    called(capsys, "make", "logistic", "a.zarr", "--rows", "400k", "--order", "sorted")
    options = ["--memory", "512MiB", "--batch-size", "100"]
    found = called(capsys, "plan", "a.zarr", *options)
    assert found["worst_column"] == "y"
    assert found["predicted_inflation"] > 1.05
    assert found["needed_blocks_per_window"] > found["blocks_per_window"]
    assert main(["plan", "a.zarr", *options]) == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for advice in ("more memory", "smaller chunks", "an exact shuffle", "rows gathered at"):
        assert advice in printed


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shuffle", "a.zarr"], "name the dataset to write, or give --measure"),
        (["shuffle", "a.zarr", "a.zarr"], "a.zarr already exists"),
        (["shuffle", "a.zarr", "a.zarr/b.zarr"], "lies inside the source"),
        (["shuffle", "a.zarr", "b.zarr", "--measure"], "--measure writes nothing"),
        (["shuffle", "a.zarr", "b.zarr", "--picture", "p.png"], "--picture goes with --measure"),
        (["shuffle", "a.zarr", "--measure", "--order", "best"], "no order is called 'best'"),
        (["shuffle", "a.zarr", "--measure", "--order", "no.npy"], "no.npy cannot be read"),
        (["shuffle", "a.zarr", "--measure", "--sample", "1"], "at least 2, or all"),
        (["train", "a.zarr", "--window", "big"], 'window is a number of blocks, "auto" or "fit"'),
        (["train", "a.zarr", "--sampling", "weight"], "has no array of weights"),
        (["plan", "a.zarr", "--lanes", "0"], "lanes must be at least 1"),
    ],
)
def test_shuffles_that_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write_dataset(here / "a.zarr", X=np.ones((40, 3), np.float32), y=np.zeros(40))
    writes = arguments[0] == "shuffle" and "--measure" not in arguments
    assert message in refused(capsys, *arguments, *([] if writes else ["--batch-size", "10"]))


@pytest.mark.slow
def test_methods_on_the_full_gradient_and_their_resume(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "make", "logistic", "big.zarr", "--rows", "20k", "--features", "8")
    fixed = ["big.zarr", "--memory", "512MiB", "--batch-size", "64", "--standardise", "no"]
    for name in ("lbfgs", "cg", "hybrid"):
        run = f"runs/{name}"
        result = called(capsys, "train", *fixed, "--optimizer", name, "--run", run)
        assert (result["ended"], result["gradient_norm"] <= 1e-6) == ("tolerance", True)
        assert called(capsys, "resume", run)["parameters_sha256"] == result["parameters_sha256"]
    told = refused(capsys, "train", *fixed, "--optimizer", "lbfgs", "--lr", "0.1")
    assert "leave out lr=0.1" in told
    told = refused(capsys, "train", *fixed, "--optimizer", "hybrid", "--l1", "0.1")
    assert "use l2=" in told


@pytest.mark.slow
def test_a_run_is_steered(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    called(capsys, "make", "logistic", "big.zarr", "--rows", "20k", "--features", "8")
    fixed = ["train", "big.zarr", "--memory", "512MiB", "--batch-size", "64", "--lr", "0.1"]
    grown = called(capsys, *fixed, "--batch-schedule", "100=640", "--run", "runs/a")
    assert grown["steps"] == 100 + 22
    cooled = called(
        capsys, *fixed, "--temperature", "0=1,200=0.1", "--temperature-by", "batch",
        "--largest-batch", "640", "--steer-every", "10", "--run", "runs/b",
    )  # fmt: skip
    assert 30 < cooled["steps"] < 200
    followed = called(capsys, *fixed, "--auto-batch", "--largest-batch", "512", "--run", "runs/c")
    assert followed["steps"] < 313
    assert "choose one" in refused(capsys, *fixed, "--auto-batch", "--batch-schedule", "1=2")
    assert "not 'high'" in refused(capsys, *fixed, "--temperature", "high")
    assert "give one of these" in refused(capsys, *fixed, "--largest-batch", "100")

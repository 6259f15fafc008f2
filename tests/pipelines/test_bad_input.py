"""Bad input to any pipeline ends in one line and status 2, before any work."""

import importlib
from pathlib import Path

import pytest

CASES = [
    ("beam_current", ["--training-seconds", "9"], "9 s to train on and 3600 to test, in 1 epochs"),
    ("beam_current", ["--memory", "lots"], "'lots' is not a size"),
    ("cryo_em", ["--memory", "lots"], "'lots' is not a size"),
    ("cryo_em", ["--images", "few"], "'few' is not a positive count"),
    ("cryo_em", ["--images", "100"], "2 epochs with batches of 256 are not possible"),
    ("cryo_em", ["--box", "4"], "a box of 4 pixels of 5.0 A, padded 2.0 times, cannot be"),
    ("cryo_em", ["--padding", "0.5"], "padded 0.5 times, cannot be"),
    ("cryo_em", ["--snr", "0"], "a signal-to-noise ratio is positive, not 0.0"),
    ("cryo_em", ["--preferred", "2"], "the share of preferred views is from 0 to 1, not 2.0"),
    ("cryo_em", ["--rate", "0"], "lr must be a positive finite number"),
    ("cryo_em", ["--map", "a.mrc"], "a.mrc does not exist; name an MRC file of a density"),
    ("cryo_em", ["--poses", "unknown", "--box", "16"], "images of 16 x 16 pixels hold"),
    ("cryo_em", ["--poses", "unknown", "--passes", "0"], "and 0 passes, cannot be"),
    ("cryo_em", ["--poses", "unknown", "--alone"], "--alone goes with poses that are known"),
    ("cryo_em", ["--poses", "guessed"], "invalid choice: 'guessed'"),
    ("cryo_em", ["--particles", "a.star"], "a.star does not exist; name a STAR file of particles"),
    ("descent_laws", ["--only", "gravity"], "invalid choice: 'gravity'"),
    ("metabolic_flux", ["--memory", "lots"], "'lots' is not a size"),
    ("metabolic_flux", ["--conditions", "0"], "0 conditions with 500 states to judge by"),
    ("metabolic_flux", ["--floor", "1"], "the growth floor is a share from 0 to below 1, not 1.0"),
    ("metabolic_flux", ["--hidden", "8,x"], "'8,x' are no widths; write them as 256,256"),
    ("metabolic_flux", ["--epochs", "0"], "0 epochs with batches of 256"),
    ("metabolic_flux", ["--sbml", "a.xml"], "a.xml does not exist; name an SBML file"),
    ("metabolic_flux", ["--product", "EX_gold"], "has no reaction 'EX_gold'"),
    ("metabolic_flux", ["--cobra", "python"], "OptGP reads an SBML file: give one with --sbml"),
    ("mnist", [], "mnist-t10k-images-idx3-ubyte.gz does not exist; OOC_REAL_DATA names its"),
    ("mnist", ["--rows", "many"], "'many' is not a positive count"),
    ("mnist", ["--memory", "little"], "'little' is not a size"),
    ("mnist", ["--epochs", "0"], "0 epochs with batches of 256"),
    ("mnist", ["--rows", "100"], "a batch at most the 100 rows"),
    ("mnist", ["--lr", "-1"], "lr must be a positive finite number"),
    ("mnist", ["--model", "mlp", "--hidden", "8,0"], "hidden width must be a whole number"),
    ("mnist", ["--model", "mlp", "--hidden", "8,x"], "'8,x' are no widths; write them as 256,256"),
    ("molecules", ["--minima", "0"], "'0' is not a positive count"),
    ("molecules", ["--memory", "lots"], "'lots' is not a size"),
    ("molecules", ["--searches", "13:4,12:5"], "'12:5' is no cluster and number of searches"),
    ("molecules", ["--searches", "13"], "'13' is no cluster and number of searches"),
    ("molecules", ["--quenches", "0"], "0 quenches on None threads are not possible"),
    ("molecules", ["--threads", "0"], "5000 quenches on 0 threads are not possible"),
    ("particles", ["--hidden", "8,0"], "hidden width must be a whole number of at least 1, not 0"),
    ("particles", ["--rows", "10", "--batch-size", "11"], "a batch at most the 10 rows"),
    ("particles", ["--memory", "lots"], "'lots' is not a size"),
    ("protein_interfaces", ["--memory", "lots"], "'lots' is not a size"),
    ("protein_interfaces", ["--rows", "5k"], "5,000 rows and 20,000 held out are too few to"),
    ("protein_interfaces", ["--epochs", "0"], "0 epochs with batches of 256"),
    ("protein_interfaces", ["--hidden", "0"], "--hidden must be at least 1, not 0"),
    ("protein_interfaces", ["--critic-steps", "0"], "--critic-steps must be at least 1, not 0"),
    ("protein_interfaces", ["--penalty", "0"], "--penalty must be positive, not 0.0"),
    ("protein_interfaces", ["--lr", "-1"], "lr must be a positive finite number"),
    ("protein_interfaces", ["--average", "1"], "average must be"),
    ("protein_interfaces", [], "prodigy-interfaces.json does not exist; OOC_REAL_DATA names its"),
    ("pinn", ["--only", "bridge"], "there is no problem 'bridge'; there are cantilever-load"),
    ("pinn", ["--seeds", "0"], "0 seeds with batches of 64 are not possible"),
    ("pinn", ["--problem", "mine.py"], "mine.py does not exist; write a file that defines PROBLEM"),
    ("pinn", ["--points", "0"], "0 points inside and 16 on each piece"),
    ("pinn", ["--memory", "lots"], "'lots' is not a size"),
    ("sorted_data", ["--rows", "many"], "'many' is not a positive count"),
    ("sorted_data", ["--memory", "lots"], "'lots' is not a size"),
    ("sovereign_rating", ["--memory", "lots"], "'lots' is not a size"),
    ("sovereign_rating", ["--rows", "70k"], "70,000 headlines are less than one in each of 72,000"),
    ("sovereign_rating", ["--countries", "8"], "8 countries over 40 years are too few to hold"),
    ("sovereign_rating", ["--epochs", "0"], "0 epochs with batches of 256"),
    ("sovereign_rating", ["--split", "rows"], "a split by random rows is refused: rows of one"),
    ("sovereign_rating", ["--csv", "a.csv"], "--csv FILE and --columns FILE.toml go together"),
    ("sovereign_rating", ["--csv", "a.csv", "--columns", "a.toml"], "a.toml does not exist; write"),
    ("stragglers", ["--batch-seconds", "0"], "a mini-batch takes a positive time, not 0.0 s"),
    ("stragglers", ["--folder", "s3://a/b"], "s3://a/b"),
]


@pytest.mark.parametrize(
    ("name", "arguments", "message"), CASES, ids=[f"{name} {' '.join(a)}" for name, a, _ in CASES]
)
def test_bad_input_is_refused_in_one_line_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OOC_REAL_DATA", str(tmp_path))
    assert importlib.import_module(f"pipelines.{name}.__main__").main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"{name}: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_digits_need_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OOC_REAL_DATA", raising=False)
    assert importlib.import_module("pipelines.mnist.__main__").main([]) == 2
    assert "OOC_REAL_DATA is not set; set it to the folder" in capsys.readouterr().err

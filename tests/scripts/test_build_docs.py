"""The documentation builds without a warning, its links lead somewhere, and its code runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset
from documentation import FOLDER, PAGES, ROOT, blocks_of, packages_missing, script_of

import ooc
from ooc.stream.batch import Batch
from ooc.version import VERSION
from scripts.build_docs import dead_links

BUILD = [sys.executable, str(ROOT / "scripts" / "build_docs.py")]
SCRIPTS = {name: script_of(text) for name, text in PAGES.items() if blocks_of(text)}
(MODEL,) = [code for _, code in blocks_of(PAGES["adding"])]
(MEMORY, _) = [code for _, code in blocks_of(PAGES["memory_test"])]


def run(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **more}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_it_builds_without_a_warning_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    done = run([*BUILD, "--out", str(tmp_path / "docs")], ROOT)
    assert done.returncode == 0, done.stderr
    made = {path.stem for path in (tmp_path / "docs").glob("*.html")}
    assert set(PAGES) <= made
    reference = (tmp_path / "docs" / "python.html").read_text()
    for name in ("ooc.open", "ooc.Trainer", "ooc.Trainer.fit", "ooc.OOCClassifier"):
        assert f'id="{name}"' in reference
    commands = re.sub("<[^>]*>", "", (tmp_path / "docs" / "command_line.html").read_text())
    for told in ("ooc train", "--on-bad-chunk", "lbfgs, cg or hybrid", "ooc shuffle"):
        assert told in commands


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[there](nowhere.md)", "nowhere.md"),
        ("`ooc.Trainr` trains", "ooc.Trainr"),
        ("[there](#no-such-part)", "no-such-part"),
        ("[there](https://nohost/)", "nohost/ is no address"),
        ("<a href='gone.html'>there</a>", "gone.html is not there"),
        ("<img src='https://example.org/a.png'>", "loaded from elsewhere"),
        ("```{toctree}\nother\n```", "other"),
    ],
)
def test_a_dead_link_ends_it(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text(f"# Title\n\n{text}\n")
    where = ["--sources", str(tmp_path / "pages"), "--out", str(tmp_path / "docs")]
    done = run([*BUILD, *where], ROOT)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.slow
def test_a_page_that_nothing_leads_to_ends_it(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    for name in ("index", "orphan"):
        (tmp_path / "pages" / f"{name}.md").write_text("# Title\n")
    where = ["--sources", str(tmp_path / "pages"), "--out", str(tmp_path / "docs")]
    done = run([*BUILD, *where], ROOT)
    assert done.returncode == 1
    assert "orphan" in done.stderr


def test_links_of_pages_are_looked_up_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.css").write_text("")
    (tmp_path / "index.html").write_text(
        "<link href='a.css'><a href='sub/b.html#here'>b</a><a href='https://example.org/x'>x</a>"
        "<a href='sub/b.html#gone'>b</a><a href='c.html'>c</a><a href='https://example'>y</a>"
        "<script src='https://example.org/a.js'></script>"
    )
    (tmp_path / "sub" / "b.html").write_text("<p id='here'><a href='../index.html'>up</a>")
    found = [line.partition(": ")[2].split()[0] for line in dead_links(tmp_path)]
    assert found == ["sub/b.html#gone", "c.html", "https://example", "https://example.org/a.js"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SCRIPTS.keys() - {"adding"}))
def test_a_page_works_as_pasted_from_top_to_bottom(tmp_path: Path, name: str) -> None:
    if missing := packages_missing(SCRIPTS[name]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    (tmp_path / "page.py").write_text(SCRIPTS[name])
    where = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = run([sys.executable, "page.py"], tmp_path, **where)
    assert done.returncode == 0, done.stderr


def test_every_page_with_code_that_can_be_pasted_is_tried() -> None:
    """A page of commands that are shown alone says so by its blocks' language."""
    for name, text in PAGES.items():
        languages = set(re.findall(r"^```(\w+)$", text, re.M))
        assert languages <= {"bash", "python", "console", "text"}, name


def test_every_file_that_is_named_exists() -> None:
    for page, text in PAGES.items():
        for name in re.findall(r"`((?:ooc|pipelines|scripts|tests)/[\w/.]*)`", text):
            assert (ROOT / name).exists(), (page, name)


def test_what_is_new_begins_with_this_version() -> None:
    versions = re.findall(r"^## ([\d.]+)", PAGES["CHANGELOG"], re.M)
    assert versions[0] == VERSION
    assert versions == sorted(versions, reverse=True)


@pytest.mark.slow
def test_the_memory_table_is_what_its_script_prints() -> None:
    done = run([sys.executable, str(ROOT / "scripts" / "memory_table.py")], ROOT)
    assert done.stdout
    assert done.stdout in PAGES["memory"]


def test_the_list_of_attacks_is_the_whole_page_of_it() -> None:
    (name,) = re.findall(r"^```\{include\} (.*)\n```", PAGES["attacks"], re.M)
    assert (FOLDER / name).resolve() == ROOT / "tests" / "attack" / "README.md"


def test_the_model_of_ones_own_is_short_and_keeps_the_contract(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Its gradient is the slope of its loss, and it learns what its branches can tell."""
    assert len(MODEL.splitlines()) <= 64
    names: dict = {"__name__": "branches"}
    exec(compile(MODEL, "adding.md", "exec"), names)
    model = names["Branches"](units=8)
    assert isinstance(model, ooc.models.Model)
    x = rng.standard_normal((3000, 5)).astype(np.float32)
    y = np.tanh(x[:, 0] - x[:, 1]) + np.tanh(2 * x[:, 2] + x[:, 4])
    batch = Batch({"X": x[:200], "y": y[:200]}, np.arange(200), 0, 0, ("X", "y", None))
    layout = model.layout((5,))
    parameters = model.init(layout, rng)
    gradient, other = np.empty(layout.size), np.empty(layout.size)
    model.loss_and_grad(parameters, batch, gradient)
    for i in range(layout.size):
        up, down = parameters.copy(), parameters.copy()
        up[i] += 2**-6
        down[i] -= 2**-6
        slope = model.loss_and_grad(up, batch, other) - model.loss_and_grad(down, batch, other)
        assert gradient[i] == pytest.approx(32 * slope, rel=1e-2, abs=1e-3)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=100, X=x, y=y.astype(np.float32))
    run = ooc.Trainer(model, ooc.optim.adam(0.01), 50, memory="512MiB").fit(dataset, epochs=10)
    assert run.evaluate(dataset)["loss"] < 0.02 * y.var()


@pytest.mark.slow
@pytest.mark.parametrize(("bound", "outcome"), [("512MiB", "passed"), ("128MiB", "failed")])
def test_the_memory_test_passes_as_pasted_and_fails_below(
    tmp_path: Path, bound: str, outcome: str
) -> None:
    (tmp_path / "test_it.py").write_text(MEMORY.replace("512MiB", bound))
    options = ["-p", "ooc.testing.plugin", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    done = run([sys.executable, "-m", "pytest", *options, str(tmp_path)], tmp_path)
    assert f"1 {outcome}" in done.stdout, done.stdout

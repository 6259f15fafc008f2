"""The main path where terminals, folders and limits are unlike a developer's: works, or one line.

Each environment is a shell, in which the command line is run as a person would; what comes out is
what comes out of a plain one, to the last bit.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent

# One process takes what follows the first step, and leaves how each ended.
STEPS_OF_ONE = """
import json, shlex, sys
from ooc.cli import run
ends = {}
for line in map(shlex.split, sys.argv[1:]):
    try:
        run(line)
    except SystemExit as end:
        ends[line[0]] = end.code
with open("ends.json", "w") as file:
    json.dump(ends, file)
"""
# A view of the file system in which the package cannot be written, as one of root's is for others.
READ_ONLY = (
    'unshare -m sh -c \'mount --bind "$PACKAGE" "$PACKAGE" && mount -o remount,ro,bind "$PACKAGE" '
    '&& exec "$@"\' sh env NUMBA_CACHE_DIR= HOME=/proc/none XDG_CACHE_HOME='
)
# What is put before a command, and behind it.
ENVIRONMENTS = {
    "plain": ("", ""),
    "ascii": ("PYTHONIOENCODING=ascii", ""),
    "posix": ("LC_ALL=POSIX", ""),
    "posix, no UTF-8 mode": ("LC_ALL=POSIX PYTHONUTF8=0 PYTHONCOERCECLOCALE=0", ""),
    "no standard error": ("", "2>&-"),
    "no standard output": ("", ">&-"),
    "no streams at all": ("", "<&- >&- 2>&-"),
    "no such layer": ("NUMBA_THREADING_LAYER=tbb", ""),
    "no home": ("NUMBA_CACHE_DIR= HOME=/proc/none XDG_CACHE_HOME= XDG_CONFIG_HOME=", ""),
    "no home, no folder for what is temporary": (
        "NUMBA_CACHE_DIR=/proc/none HOME=/proc/none TMPDIR=/proc/none",
        "",
    ),
    "read-only package, no home": (READ_ONLY, ""),
    "processes": ("DASK_SCHEDULER=processes", ""),
    "few files": ("ulimit -n 48;", ""),
    "narrow": ("COLUMNS=20 TERM=dumb", ""),
    "a colour terminal": ("FORCE_COLOR=1", ""),
}
STEPS = (
    "make softmax {data} --rows 3000 --features 5 --classes 3",
    "info {data} --verify",
    "plan {data} --memory 512MiB",
    "train {data} --model softmax --memory 512MiB --lr 0.1 --run {run}",
    "evaluate {run} {data} --memory 512MiB",
    "predict {run} {data} {out} --memory 512MiB",
    "report {run} --out {page}",
)


def run_all(folder: Path, before: str, behind: str) -> subprocess.CompletedProcess[str]:
    """Run all steps in names with brackets, in a shell of that environment."""
    places = {
        "data": "a [b] {c} é.zarr",
        "run": "runs/[red]x[/blue]",
        "out": "out[0].zarr",
        "page": "page [1].html",
    }
    lines = [shlex.join(part.format(**places) for part in line.split()) for line in STEPS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    environment["PACKAGE"] = str(ROOT / "ooc")
    first = f'{before} "$PYTHON" -m ooc {lines[0]} {behind}'
    rest = f'{before} "$PYTHON" -c {shlex.join([STEPS_OF_ONE, *lines[1:]])} {behind}'
    return subprocess.run(
        ["bash", "-c", f"({first}) && ({rest})"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("expected")
    run_all(folder, *ENVIRONMENTS["plain"])
    return parameters(folder)


def parameters(folder: Path) -> str:
    return json.loads((folder / "runs/[red]x[/blue]/run.json").read_text())["parameters_sha256"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_main_path_comes_to_its_end(tmp_path: Path, expected: str, environment: str) -> None:
    before, behind = ENVIRONMENTS[environment]
    if before == READ_ONLY and subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("nobody but root makes a view of the file system")
    done = run_all(tmp_path, before, behind)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    ends = json.loads((tmp_path / "ends.json").read_text())
    assert ends == {step.split()[0]: 0 for step in STEPS[1:]}, done.stderr
    # Beside progress and guessed roles, one line says what is unlike elsewhere.
    said = done.stderr.splitlines()
    assert len({line for line in said if line.startswith("ooc: ")}) <= 1, said
    notes = ("ooc: ", "roles by the names ", "the run was trained on ")
    expected_lines = (*notes, *(f"{step.split()[0]} " for step in STEPS))
    assert all(line.startswith(expected_lines) for line in said), said
    if ">&-" not in behind.replace("2>&-", ""):
        assert done.stdout
    assert parameters(tmp_path) == expected
    assert (tmp_path / "page [1].html").read_text().startswith("<!DOCTYPE html>")
    left = {path.name for path in tmp_path.iterdir()} - {"ends.json"}
    assert left == {"a [b] {c} é.zarr", "runs", "out[0].zarr", "page [1].html"}


def test_a_script_of_processes_without_a_main_guard_ends_in_one_line(tmp_path: Path) -> None:
    work = (
        "ooc.synthetic.make('a.zarr', ooc.synthetic.Recipe('linear', 500, 3))\n"
        "with dask.config.set(scheduler='processes'):\n"
        "    print(next(iter(ooc.Loader(ooc.open('a.zarr'), 100, memory='512MiB'))).rows.size)\n"
    )
    bare = f"import dask, ooc\n{work}"
    guarded = "import dask, ooc\nif __name__ == '__main__':\n    " + work.replace("\n", "\n    ")
    told = {}
    for name, code in (("bare", bare), ("guarded", guarded)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "script.py").write_text(code)
        told[name] = subprocess.run(
            [sys.executable, "script.py"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert told["guarded"].stdout == "100\n", told["guarded"].stderr
    assert told["bare"].returncode == 1
    assert "InputError: Dask's scheduler of processes would run" in told["bare"].stderr
    assert told["bare"].stderr.count("Traceback") == 1

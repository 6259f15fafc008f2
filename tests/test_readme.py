"""Every command, script and figure of the README is true."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README, re.S)
SETUP, EXTRAS, SHELL = (code for language, code in BLOCKS if language == "bash")
(SCRIPT,) = (code for language, code in BLOCKS if language == "python")


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.mark.slow
def test_shell_commands_and_the_script_work_as_pasted(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("")
    shell = ["bash", "-euo", "pipefail", "-c", SHELL]
    done = subprocess.run(shell, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "projected" in done.stdout
    assert (tmp_path / "predictions.zarr").is_dir()
    script = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(script, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loss, accuracy = map(float, done.stdout.split()[:2])
    assert loss < 0.4
    assert accuracy > 0.83
    assert "(1, 128)" in done.stdout


def test_the_script_has_about_ten_lines() -> None:
    assert len([line for line in SCRIPT.splitlines() if line]) <= 10


def test_a_newcomer_needs_no_more() -> None:
    assert len(README.splitlines()) <= 200


def test_ci_runs_the_test_command() -> None:
    commands = SETUP.split("\n")
    assert commands[:2] == ["bash scripts/demo", "bash scripts/test"]
    assert "\nbash scripts/test\n" in (ROOT / ".ci" / "run").read_text()


def test_every_extra_is_told() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = EXTRAS.removeprefix("bash scripts/setup ").strip().split(",")
    assert set(asked) <= set(project["optional-dependencies"])
    table = README[README.index("| extra |") :].partition("\n\n")[0]
    told = re.findall(r"^\| (.*?) \|", table, re.M)[2:]
    names = {name for cell in told for name in re.findall(r"`([\w-]+)`", cell)}
    assert names == set(project["optional-dependencies"])


def test_every_file_that_is_named_or_linked_exists() -> None:
    named = re.findall(r"`((?:ooc|pipelines|scripts|tests)/[\w/.]*)`", README)
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(linked) > 20
    for name in named + linked:
        assert (ROOT / name).exists(), name


@pytest.mark.slow
@pytest.mark.timeout(900)  # it installs all that there is
def test_the_demo_runs_in_a_fresh_clone_and_again_with_what_is_there(tmp_path: Path) -> None:
    """The command of the README, a new virtual environment, the real size."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    plain = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "NUMBA_CACHE_DIR")}
    for _ in range(2):
        done = subprocess.run(
            ["bash", "scripts/demo"], cwd=clone, env=plain, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        number = r"([\d.,]+)"
        found = re.search(rf"loss on them  {number}   best possible {number}", done.stdout)
        assert found is not None, done.stdout
        assert float(found[1]) < 1.01 * float(found[2])
        assert "data, decoded  4.0" in done.stdout
        assert re.search(r"memory budget  512 MiB", done.stdout)
    assert "ooc make" not in done.stdout

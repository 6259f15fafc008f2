"""One wrapper runs every script, by the name that it is called by, in a fresh clone too."""

import subprocess
from pathlib import Path

import pytest
from pairs import pairs

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
NAMES = sorted(path.name for path in SCRIPTS.iterdir() if path.is_symlink())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git would hand out, with a Python of its own that only says what it is told to run."""
    clone = tmp_path_factory.mktemp("clone")
    archive = ["git", "archive", "HEAD", "scripts", "pyproject.toml"]
    packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "x", "-C", str(clone)], input=packed, check=True)
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PWD" "$@"\n')
    python.chmod(0o755)
    (clone / ".venv" / ".installed").touch()
    return clone


def test_every_script_that_has_a_name_is_there() -> None:
    assert {"demo", "headline", "bench_peers", "bench_networks", "memory_table"} <= set(NAMES)
    for name in NAMES:
        assert (SCRIPTS / name).readlink() == Path("run")
        assert (SCRIPTS / f"{name}.py").read_text().startswith('"""')


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("name", "command"),
    pairs(NAMES, [["scripts/{}"], ["bash", "scripts/{}"], ["scripts/run", "{}"]]),
)
def test_a_script_is_run_with_its_arguments(clone: Path, command: list[str], name: str) -> None:
    words = [word.format(name) for word in command]
    done = subprocess.run(
        [*words, "--rows", "4 k"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{clone} scripts/{name}.py --rows 4 k\n"


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["commands"]])
def test_a_script_that_is_not_there_is_refused_in_one_line(
    clone: Path, arguments: list[str]
) -> None:
    done = subprocess.run(["scripts/run", *arguments], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("scripts/run: there is no script '")
    assert f"choose one of: {NAMES[0]} " in done.stderr
    assert done.stderr.count("\n") == 1

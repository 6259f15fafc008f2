"""Virtual environments for the peers, made on first use, and commands that say why they failed."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
ROOT = SCRIPTS.parent
ENVIRONMENTS = ROOT / ".cache" / "peers"


class UnavailableError(Exception):
    """A peer cannot be run here; the message says why, in one line."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment under `ENVIRONMENTS`.

    Attributes
    ----------
    name
        Its folder.
    requirements
        What pip installs, versions pinned.
    oldest, newest
        Versions of Python that will do, such as (3, 12).
    """

    name: str
    requirements: tuple[str, ...]
    oldest: tuple[int, int] = (3, 11)
    newest: tuple[int, int] = (3, 14)

    def install(self) -> Path:
        """Install what is missing; return the interpreter.

        Raises
        ------
        UnavailableError
            If no Python will do, or pip fails.
        """
        folder = ENVIRONMENTS / self.name
        python, mark = folder / "bin" / "python", folder / ".installed"
        wanted = self._fingerprint()
        if mark.exists() and mark.read_text() == wanted:
            return python
        reasons = []
        for base in self._interpreters():
            print(f"installing {self.name} into {folder.relative_to(ROOT)}", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            try:
                run_checked([base, "-m", "venv", str(folder)])
                run_checked([str(python), "-m", "pip", "install", "--quiet", *self.requirements])
            except UnavailableError as error:
                reasons.append(str(error))
                continue
            mark.write_text(wanted)
            return python
        oldest, newest = (".".join(map(str, version)) for version in (self.oldest, self.newest))
        missing = f"needs a Python from {oldest} to {newest}, and none was found"
        raise UnavailableError(reasons[0] if reasons else missing)

    def _fingerprint(self) -> str:
        """Return what an installed environment depends on; ooc's own requirements count."""
        with (ROOT / "pyproject.toml").open("rb") as stream:
            own = tomllib.load(stream)["project"]["dependencies"]
        return json.dumps([self.requirements, own if "--editable" in self.requirements else []])

    def _interpreters(self) -> list[str]:
        """Return one interpreter for each version of Python that will do, the present one first."""
        minors = range(self.newest[1], self.oldest[1] - 1, -1)
        on_path = [shutil.which(f"python3.{minor}") for minor in minors]
        managed = sorted(Path.home().glob(".pyenv/versions/*/bin/python"), reverse=True)
        found: dict[tuple[int, int], str] = {}
        for candidate in [sys.executable, *on_path, *map(str, managed)]:
            if candidate:
                found.setdefault(_python_version(candidate), candidate)
        return [base for version, base in found.items() if self.oldest <= version <= self.newest]


def run_checked(command: Sequence[str], timeout: float | None = None) -> None:
    """Run a command that finds these packages; its error's last line is the reason if it fails."""
    path = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"took more than {timeout:g} s") from None
    except OSError as error:
        raise UnavailableError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR:")] or said
        reason = errors[-1].strip() if errors else f"ended with status {done.returncode}"
        raise UnavailableError(textwrap.shorten(reason, 200))


def _python_version(python: str) -> tuple[int, int]:
    """Return (3, 12) for Python 3.12, (0, 0) for what does not run or has no venv."""
    code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if done.returncode:
        return 0, 0
    major, minor = map(int, done.stdout.split())
    return major, minor

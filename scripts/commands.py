"""What the scripts share: commands run in processes of their own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr


def run_ooc(*arguments: str, before: Callable[[], None] | None = None) -> dict[str, Any]:
    """Run one command of the shell's door in a process of its own and return its JSON.

    Parameters
    ----------
    arguments
        The command and its options, without ``--json``.
    before
        Called in the new process before the command starts.
    """
    print("$ ooc", *arguments, flush=True)
    command = [sys.executable, "-m", "ooc", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, preexec_fn=before)
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def best_possible(store: Path) -> dict[str, float]:
    """Return the best loss and accuracy that a model can have on a store of `ooc make`."""
    generator: Any = zarr.open_group(store, mode="r").attrs["generator"]
    best: dict[str, float] = generator["best"]
    return best


def print_table(lines: list[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name, _ in lines)
    print()
    for name, value in lines:
        print(f"{name:>{width}}  {value}")

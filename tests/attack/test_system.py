"""Errors of the system while something is written: one line that names it, and nothing half."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from attack.ends import MEMORY, end_of, problems_of
from attack.processes import Forks
from attack.stores import train, write_with_runs
from ooc.runs import checkpoint

pytestmark = pytest.mark.slow
ERRORS = ("ENOSPC", "EROFS", "EIO", "EMFILE")
CALLS = ("open", "write", "fsync", "replace", "rename", "mkdir", "lock")
COMMANDS = ("make", "train", "predict", "shuffle", "report", "resume", "picture")
CASES = [
    (command, call, error)
    for command in COMMANDS
    for call in CALLS
    # Drawing takes seconds.
    for error in (ERRORS[:2] if command in ("report", "picture") else ERRORS)
]
TOO_SMALL = ("too small", "free")


def line_of(command: str, data: Path, run: Path, out: Path) -> list[str]:
    return {
        "make": ["make", "linear", str(out / "m.zarr"), "--rows", "50", "--features", "2"],
        "train": train(data, out / "run"),
        "predict": ["predict", str(run), str(data), str(out / "p.zarr"), "--memory", MEMORY],
        "shuffle": ["shuffle", str(data), str(out / "s.zarr"), "--memory", MEMORY],
        "report": ["report", str(run), "--out", str(out / "page.html")],
        "resume": ["resume", str(out / "begun")],
        "picture": [
            "shuffle",
            str(data),
            "--measure",
            "--picture",
            str(out / "a.png"),
            "--batch-size",
            "16",
        ],
    }[command]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a store, and a run of it that can be gone on with."""
    folder = tmp_path_factory.mktemp("system")
    return write_with_runs(folder, "sharded"), folder / "run"


class Failing:
    """Has one call of the system fail where it is about files below a folder that are written."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = str(folder), number

    def check(self, path: Any, names_it: bool = True) -> None:
        if isinstance(path, int):
            with suppress(OSError):
                path = Path(f"/proc/self/fd/{path}").readlink()
        if str(path).startswith(self.folder):
            where = (str(path),) if names_it else ()
            raise OSError(self.number, os.strerror(self.number), *where)

    def of(self, call: str, patch: pytest.MonkeyPatch) -> None:
        """Patch the calls of Python that come to this call of the system."""
        if call == "open":
            self.on(patch, os, "open", lambda path, flags, *rest: flags & os.O_CREAT)
            whole = Path.open

            def opened(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
                if set(mode) & set("wax"):
                    self.check(path)
                return whole(path, mode, *rest, **more)

            patch.setattr(Path, "open", opened)
        elif call == "write":
            self.on(patch, os, "pwrite", lambda *_: True)
            whole_open = Path.open

            def opening(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
                stream = whole_open(path, mode, *rest, **more)
                if set(mode) & set("wax") and str(path).startswith(self.folder):
                    return Full(stream, self.number)
                return stream

            patch.setattr(Path, "open", opening)
        elif call == "lock":
            import fcntl

            self.on(patch, fcntl, "flock", lambda *_: True)
        else:
            self.on(patch, os, call, lambda *_: True, names_it=call != "fsync")

    def on(
        self,
        patch: pytest.MonkeyPatch,
        module: Any,
        name: str,
        is_meant: Callable[..., Any],
        names_it: bool = True,
    ) -> None:
        whole = getattr(module, name)

        def call(path: Any, *rest: Any, **more: Any) -> Any:
            if is_meant(path, *rest):
                self.check(path, names_it and name != "pwrite" and name != "flock")
            return whole(path, *rest, **more)

        patch.setattr(module, name, call)


class Full:
    """A stream that cannot be written to; the error names no file, as those of Python's streams."""

    def __init__(self, stream: Any, number: int) -> None:
        self.stream, self.number = stream, number

    def write(self, content: Any) -> int:
        raise OSError(self.number, os.strerror(self.number))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __enter__(self) -> "Full":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_ends_in_one_line_and_nothing_half(
    tmp_path: Path, base: tuple[Path, Path], command: str, call: str
) -> None:
    data, run = base
    problems = []
    for error in (each for *of, each in CASES if of == [command, call]):
        out = tmp_path / error
        out.mkdir()
        shutil.copytree(data.parent / "begun", out / "begun")
        before = {path for path in out.rglob("*") if path.name != "lock"}
        line = line_of(command, data, run, out)
        with pytest.MonkeyPatch.context() as patch:
            Failing(out, getattr(errno, error)).of(call, patch)
            end = end_of(line)
        if end.status == 0 and "Traceback" not in end.err:
            continue  # it makes no such call; what it wrote is whole
        found = problems_of(end, 2, str(out))[:1]
        if error == "EROFS" and any(word in end.err for word in TOO_SMALL):
            found.append(f"a read-only disk is called too small: {end.err}")
        left = {path for path in out.rglob("*") if path.name != "lock"} - before
        if bad := [str(p.relative_to(out)) for p in left if not is_well(p, out, error, call)]:
            found.append(f"it left {bad[:4]}")
        # What was saved before is still whole.
        assert checkpoint.load(out / "begun")[1]["step"] >= 2
        problems += [f"{error}: {each}" for each in found]
    assert not problems, "\n".join(problems)


def is_well(path: Path, out: Path, error: str, call: str) -> bool:
    """Tell whether something may be left: a run that had begun, and what a shuffle goes on from."""
    top = path.relative_to(out).parts[0]
    if call == "lock" and top.endswith(".lock"):
        return True  # it may be another's; the next one takes it over
    if top in ("run", "begun"):
        return not path.name.endswith(".partial") or call in ("replace", "rename")
    return top in (".s.zarr.shuffle", ".s.zarr.partial")


# Real limits and disks, for commands in processes of their own.
LIMITS = [(command, size) for command in COMMANDS for size in (0, 100, 3000)]
DISKS = [(command, disk) for command in COMMANDS for disk in ("full", "read-only")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_limit_on_the_size_of_files_is_met_in_one_line(
    tmp_path: Path, base: tuple[Path, Path], forks: Forks, command: str
) -> None:
    data, run = base
    # Kernels are in the cache: else theirs may be the first file that cannot be written.
    warm = tmp_path / "warm"
    warm.mkdir()
    shutil.copytree(data.parent / "begun", warm / "begun")
    assert forks.end(forks.begin(line_of(command, data, run, warm)), 60).status == 0
    for size in (size for each, size in LIMITS if each == command):
        out = tmp_path / str(size)
        out.mkdir()
        shutil.copytree(data.parent / "begun", out / "begun")
        child = forks.begin(line_of(command, data, run, out), most_file_bytes=size)
        end = forks.end(child, 60)
        assert end.status in (0, 2) and "Traceback" not in end.err, end
        told = [line for line in end.err.splitlines() if line.startswith("ooc: ")]
        assert end.status == 0 or (len(told) == 1 and str(out) in told[0]), end.err
        assert not list(out.glob("*.partial")) and not list(out.glob("*.lock")), end.err
        assert checkpoint.load(out / "begun")[1]["step"] >= 2


def can_mount() -> bool:
    with suppress(OSError):
        line = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/tmp"]
        return subprocess.run(line, capture_output=True).returncode == 0
    return False


@pytest.mark.parametrize("disk", ["full", "read-only"])
def test_a_disk_is_full_or_read_only_and_called_that(
    tmp_path: Path, base: tuple[Path, Path], disk: str
) -> None:
    if not can_mount():
        pytest.skip("nothing can be mounted here")
    data, run = base
    out = tmp_path / "out"
    out.mkdir()
    how = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(out)]
    prepare = f"{' '.join(how)} && cp -r {data.parent}/begun {out}/"
    if disk == "read-only":
        prepare += f" && mount -o remount,ro none {out}"
    else:
        prepare += f" && (head -c 64000 /dev/zero > {out}/filler; true)"
    with ExitStack() as stack:
        forks = stack.enter_context(Forks(["unshare", "-rm"], prepare))
        for command in (each for each, of in DISKS if of == disk):
            end = forks.end(forks.begin(line_of(command, data, run, out)), 60)
            told = [line for line in end.err.splitlines() if line.startswith("ooc: ")]
            assert end.status == 2 and "Traceback" not in end.err, (command, end)
            assert len(told) == 1 and str(out) in told[0], (command, end.err)
            said = ("ead-only",) if disk == "read-only" else ("No space left", "free")
            assert any(word in told[0] for word in said), (command, told)

"""Damaged and odd runs: refused by name, or gone on with to the bits that they would have had."""

import io
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attack.ends import MEMORY, attack, end_of, problems_of
from attack.stores import trained, write
from ooc.runs import checkpoint

pytestmark = pytest.mark.slow
Spoil = Callable[[Path], object]
Saved = tuple[dict[str, np.ndarray], dict[str, Any]]


def bytes_of(change: Callable[[bytes], bytes]) -> Spoil:
    return lambda file: file.write_bytes(change(file.read_bytes()))


def instead(make: Spoil) -> Spoil:
    def spoil(file: Path) -> None:
        file.unlink()
        make(file)

    return spoil


def sparse(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(2**40)


# In place of a file, whichever it is.
PLACES: dict[str, Spoil] = {
    "a folder": instead(Path.mkdir),
    "a pipe": instead(os.mkfifo),
    "a link to itself": instead(lambda file: file.symlink_to(file)),
    "an endless device": instead(lambda file: file.symlink_to("/dev/zero")),
    "a file of a terabyte": sparse,
}


def members(change: Callable[[dict[str, bytes]], object], pack: int = zipfile.ZIP_STORED) -> Spoil:
    """Write the members again as `change` leaves them."""

    def spoil(file: Path) -> None:
        with zipfile.ZipFile(file) as packed:
            found = {name: packed.read(name) for name in packed.namelist()}
        change(found)
        with zipfile.ZipFile(file, "w", pack) as packed:
            for name, content in found.items():
                packed.writestr(name, content)

    return spoil


def header(text: str, length: int | None = None) -> Callable[[dict[str, bytes]], object]:
    """Give the parameters a header of NumPy's that says something else."""
    told = text.encode().ljust(118) + b"\n"
    size = len(told) if length is None else length
    begin = b"\x93NUMPY\x02\x00" + struct.pack("<I", size)
    return lambda found: found.update({"parameters.npy": begin + told + bytes(16)})


def objects(found: dict[str, bytes]) -> None:
    packed = io.BytesIO()
    np.save(packed, np.array([{"a": 1}], object), allow_pickle=True)
    found["parameters.npy"] = packed.getvalue()


# What is not what was saved: the file's bytes, or the members of its archive.
FILES: dict[str, Spoil] = {
    **PLACES,
    **{
        f"cut at {share}": bytes_of(
            lambda content, share=share: content[: int(share * len(content))]
        )
        for share in (0.0, 0.01, 0.3, 0.7, 0.99)
    },
    "noise": bytes_of(lambda content: np.random.default_rng(1).bytes(len(content))),
    "text": bytes_of(lambda content: b"no archive"),
    "zeros": bytes_of(lambda content: bytes(len(content))),
    "behind something": bytes_of(lambda content: content[200:] + content[:200]),
    "packed": members(lambda found: None, zipfile.ZIP_DEFLATED),
    "a bomb": members(lambda found: found.update(more=bytes(2**27)), zipfile.ZIP_DEFLATED),
    "no members": members(dict.clear),
    "no description": members(lambda found: found.pop("description.npy")),
    "no hash": members(lambda found: found.pop("description_sha256.npy")),
    "empty member": members(lambda found: found.update({"parameters.npy": b""})),
    "header of 2**40": members(
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2**40,)}")
    ),
    "header of terabytes": members(
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}")
    ),
    "header below zero": members(
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}")
    ),
    "header of 4 GiB": members(header("{}", 2**32 - 1)),
    "header of code": members(header("__import__('os').abort()")),
    "header of nothing": members(header("None")),
    "objects": members(objects),
}


def saved_again(change: Callable[[Saved], object]) -> Spoil:
    """Save what `change` leaves, whole: its hashes are right."""

    def spoil(file: Path) -> None:
        arrays, description = checkpoint.read(file)
        change((arrays, description))
        run, step = file.parent.parent, int(file.stem.partition("-")[2])
        checkpoint.save(run, step, arrays, description)

    return spoil


ARRAYS = ("parameters", "iterate", "optimizer_state", "totals")
OTHER_ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "complex": lambda values: values.astype(complex),
    "text": lambda values: np.full(values.shape, "text"),
    "of bytes": lambda values: np.full(values.shape, b"x"),
    "of another float": lambda values: values.astype(np.float16),
    "whole": lambda values: values.astype(np.int32),
    "yes or no": lambda values: values.astype(bool),
    "times": lambda values: np.zeros(values.shape, "M8[s]"),
    "a record": lambda values: np.zeros(values.shape, [("a", "<f4")]),
    "longer": lambda values: np.concatenate([values.ravel(), values.ravel()]),
    "empty": lambda values: values.ravel()[:0],
    "a number": lambda values: np.array(1.0, values.dtype),
    "of more axes": lambda values: values[None],
    "not finite": lambda values: np.full_like(values, np.nan),
}
KEYS = (
    "model", "optimizer", "row_shape", "results", "epochs", "finished", "dataset", "fingerprint",
    "memory", "plan", "position", "trainer", "watchers", "versions", "parameters_sha256",
)  # fmt: skip
INNER = (
    ("model", "name"), ("optimizer", "name"), ("dataset", "path"), ("dataset", "features"),
    ("fingerprint", "files"), ("fingerprint", "rows"), ("position", "epoch"), ("plan", "rows"),
    ("trainer", "model"), ("trainer", "optimizer"), ("trainer", "batch_size"), ("trainer", "seed"),
    ("watchers", "recorder"),
)  # fmt: skip
OTHER_VALUES = {
    "null": None, "a number": -7, "a text": "text", "a list": [1, [2]], "an object": {"a": {}},
    "huge": 10**30, "not finite": float("nan"),
}  # fmt: skip


def other_array(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return saved_again(lambda saved: saved[0].update({name: make(saved[0][name])}))


def other_value(keys: tuple[str, ...], value: Any) -> Spoil:
    def change(saved: Saved) -> None:
        inner = saved[1]
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return saved_again(change)


def without(keys: tuple[str, ...]) -> Spoil:
    def change(saved: Saved) -> None:
        inner = saved[1]
        for key in keys[:-1]:
            inner = inner[key]
        inner.pop(keys[-1], None)

    return saved_again(change)


# Whole, and still not what a run saves.
ODD: dict[str, Spoil] = {
    **{f"no {name}": saved_again(lambda saved, name=name: saved[0].pop(name)) for name in ARRAYS},
    **{
        f"{name} {kind}": other_array(name, make)
        for name in ARRAYS
        for kind, make in OTHER_ARRAYS.items()
    },
    **{f"no {'.'.join(keys)}": without(keys) for keys in (*((key,) for key in KEYS), *INNER)},
    **{
        f"{'.'.join(keys)} {kind}": other_value(keys, value)
        for keys in (*((key,) for key in KEYS), *INNER)
        for kind, value in OTHER_VALUES.items()
        if (keys, kind) != (("epochs",), "huge")  # as many as anybody may ask for
    },
}


def line(content: bytes) -> Spoil:
    return bytes_of(lambda before: before + content)


# What else a history may hold: it is a log, in whose lines nobody believes.
HISTORIES: dict[str, Spoil] = {
    "gone": Path.unlink,
    "empty": bytes_of(lambda before: b""),
    "binary": line(bytes(range(256)) + b"\n"),
    "zeros": line(bytes(2**16)),
    "half a line": line(b'{"kind": "train", "st'),
    "a list": line(b"[1]\n"),
    "a number": line(b"7\n"),
    "null": line(b"null\n"),
    "deep": line(b"[" * 100_000 + b"\n"),
    "long": line(b"x" * 2**25 + b"\n"),
    "long number": line(b'{"kind": "train", "step": ' + b"9" * 10_000 + b"}\n"),
    "step of text": line(b'{"kind": "train", "step": "one"}\n'),
    "step below zero": line(b'{"kind": "train", "step": -5}\n'),
    "step of a fraction": line(b'{"kind": "train", "step": 1.5}\n'),
    "step null": line(b'{"kind": "train", "step": null}\n'),
    "step huge": line(b'{"kind": "train", "step": 1e400, "loss": 1}\n'),
    "kind unknown": line(b'{"kind": "unknown", "step": 1}\n'),
    "kind a list": line(b'{"kind": [1], "step": 1}\n'),
    "no kind": line(b'{"step": 1}\n'),
    "loss of text": line(b'{"kind": "train", "step": 1, "loss": "low", "rows": "all"}\n'),
    "not finite": line(b'{"kind": "train", "step": 1, "loss": NaN, "seconds": Infinity}\n'),
    "in UTF-16": bytes_of(lambda before: before.decode().encode("utf-16")),
    "without ends of lines": bytes_of(lambda before: before.replace(b"\n", b"")),
    "of other ends of lines": bytes_of(lambda before: before.replace(b"\n", b"\r\n")),
    "many empty lines": line(b"\n" * 10**6),
    "all twice": bytes_of(lambda before: before * 2),
}
NOTHING_TO_DRAW = ("gone", "empty", "without ends of lines")
COMMANDS = ("evaluate", "predict", "resume", "report")
IN_PLACES = [(file, name) for file in ("history.jsonl", "run.json", "lock") for name in PLACES]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder with data and a run that is half done, and the hash of the whole one's."""
    folder = tmp_path_factory.mktemp("checkpoints")
    data = write(folder / "a.zarr", "v3")
    trained(data, folder / "run", "--save-steps", "2", "--keep", "9")
    files = sorted((folder / "run" / "checkpoints").iterdir())
    whole = json.loads((folder / "run" / "run.json").read_text())["parameters_sha256"]
    for file in (*files[:1], *files[2:]):
        file.unlink()
    (folder / "run" / "run.json").write_text(json.dumps(checkpoint.read(files[1])[1]))
    return folder, whole


def lines_of(folder: Path, run: Path) -> dict[str, list[str]]:
    data, memory = str(folder / "a.zarr"), ["--memory", MEMORY]
    return {
        "evaluate": ["evaluate", str(run), data, *memory],
        "predict": ["predict", str(run), data, str(run.parent / "out.zarr"), *memory],
        "resume": ["resume", str(run)],
        "report": ["report", str(run), "--out", str(run.parent / "page.html")],
    }


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("*.npz"))


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_named_or_the_one_before_is_taken(
    tmp_path: Path, begun: tuple[Path, str], name: str
) -> None:
    folder, whole = begun
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    before, lines = newest(run), lines_of(folder, run)
    FILES[name](before)
    problems = attack(lines.pop("report"), 0)
    for each in lines.values():
        problems += attack(each, 2, str(run), most_grown=2**26)
    assert not problems, "\n".join(problems)
    # With a whole one before it, nothing is lost but work.
    shutil.rmtree(run)
    shutil.copytree(folder / "run", run)
    shutil.copy(before, run / "checkpoints" / "step-000000000003.npz")
    FILES[name](newest(run))
    problems = attack(lines["resume"], 0, "is damaged", "took that of step 2")
    assert not problems, "\n".join(problems)
    assert json.loads((run / "run.json").read_text())["parameters_sha256"] == whole


@pytest.mark.parametrize("first", range(0, len(ODD), 20))
def test_a_whole_checkpoint_that_is_odd_is_refused_or_right(
    tmp_path: Path, begun: tuple[Path, str], first: int
) -> None:
    folder, whole = begun
    loss = end_of([*lines_of(folder, folder / "run")["evaluate"], "--json"]).out
    problems = []
    for name in list(ODD)[first : first + 20]:
        run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
        lines = lines_of(folder, run)
        ODD[name](newest(run))
        for command in ("evaluate", "resume"):
            end = end_of([*lines[command], "--json"])
            found = problems_of(end, 0 if end.status == 0 else 2)[:1]
            if not found and end.status == 0 and command == "resume":
                sha = json.loads(end.out)["parameters_sha256"]
                found += [] if sha == whole else ["other parameters, silently"]
            elif not found and end.status == 0:
                same = json.loads(end.out)["loss"] == json.loads(loss)["loss"]
                found += [] if same or name.startswith("parameters") else ["another loss, silently"]
            problems += [f"{name}, {command}: {each}" for each in found]
        shutil.rmtree(run)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", HISTORIES)
def test_a_damaged_history_stops_nobody(tmp_path: Path, begun: tuple[Path, str], name: str) -> None:
    folder, whole = begun
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    HISTORIES[name](run / "history.jsonl")
    problems = []
    for number, command in enumerate(("report", "evaluate", "resume", "report")):
        status = 2 if name in NOTHING_TO_DRAW and number == 0 else 0
        problems += attack(lines_of(folder, run)[command], status, most_grown=2**27)
    assert not problems, "\n".join(problems)
    assert json.loads((run / "run.json").read_text())["parameters_sha256"] == whole


@pytest.mark.parametrize(("file", "name"), IN_PLACES)
def test_what_is_no_file_ends_in_a_line_or_does_not_matter(
    tmp_path: Path, begun: tuple[Path, str], file: str, name: str
) -> None:
    folder, whole = begun
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    (run / file).touch()
    PLACES[name](run / file)
    problems = []
    for command, line in lines_of(folder, run).items():
        end = end_of(line)
        if end.status == 2:
            problems += attack(line, 2, str(run))
        elif end.status or "Traceback" in end.err:
            problems.append(f"{command}: {end.status} {end.err[-300:]}")
        elif command == "resume":
            sha = json.loads((run / "run.json").read_text())["parameters_sha256"]
            assert sha == whole
        problems += ["memory"] if end.grown > 2**27 else []
    assert not problems, "\n".join(problems)

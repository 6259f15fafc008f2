"""Damaged metadata of local stores: one line that names the array, before any work."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attack.ends import MEMORY, attack
from attack.stores import bases, copy_of, train

pytestmark = pytest.mark.slow
Spoil = Callable[[Path], None]


def bytes_of(content: bytes) -> Spoil:
    return lambda file: void(file.write_bytes(content))


def void(_: object) -> None:
    pass


def instead(make: Callable[[Path], object]) -> Spoil:
    def spoil(file: Path) -> None:
        file.unlink()
        make(file)

    return spoil


def with_(*keys: Any, **change: Any) -> Spoil:
    """Set what lies at these keys, or take it away where no value is given."""

    def spoil(file: Path) -> None:
        document = json.loads(file.read_text())
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        if "value" in change:
            inner[keys[-1]] = change["value"]
        else:
            del inner[keys[-1]]
        file.write_text(json.dumps(document))

    return spoil


# In place of what the file of an array's or a group's metadata holds.
FILES: dict[str, Spoil] = {
    "not JSON": bytes_of(b"{"),
    "empty": bytes_of(b""),
    "binary": bytes_of(bytes(range(256))),
    "zeros": bytes_of(bytes(4096)),
    "utf-16": lambda file: void(file.write_text(file.read_text(), encoding="utf-16")),
    "cut short": lambda file: void(file.write_text(file.read_text()[:-30])),
    "a list": bytes_of(b"[]"),
    "a number": bytes_of(b"7"),
    "a text": bytes_of(b'"text"'),
    "null": bytes_of(b"null"),
    "an empty object": bytes_of(b"{}"),
    "deep list": bytes_of(b"[" * 200_000),
    "deep object": bytes_of(b'{"a":' * 200_000),
    "FIFO": instead(os.mkfifo),
    "folder": instead(Path.mkdir),
    "link to itself": instead(lambda file: file.symlink_to(file)),
    "endless device": instead(lambda file: file.symlink_to("/dev/zero")),
    "version 99": with_("zarr_format", value=99),
    "version as text": with_("zarr_format", value="three"),
    "no version": with_("zarr_format"),
}
HUGE = 2**70
# What is in both versions; the places differ.
BOTH = {
    "shape negative": ("shape", [-60, 3]),
    "shape of fractions": ("shape", [60.5, 3]),
    "shape null": ("shape", None),
    "shape of nulls": ("shape", [None, 3]),
    "shape huge": ("shape", [HUGE, 3]),
    "shape of text": ("shape", ["60", "x"]),
    "shape nested": ("shape", [[60], 3]),
    "shape a number": ("shape", 60),
    "shape of no axes": ("shape", []),
    "shape of more axes": ("shape", [60, 3, 1]),
    "shape of 100 axes": ("shape", [1] * 100),
    "shape without rows": ("shape", [0, 3]),
    "shape without columns": ("shape", [60, 0]),
    "shape infinite": ("shape", [float("inf"), 3]),
    "shape not a number": ("shape", [float("nan"), 3]),
    "dtype unknown": ("dtype", "float77"),
    "dtype null": ("dtype", None),
    "dtype a number": ("dtype", 4),
    "dtype an object": ("dtype", {"name": "float32"}),
    "dtype a list": ("dtype", [["a", "b"]]),
    "chunks zero": ("chunks", [0, 3]),
    "chunks negative": ("chunks", [-10, 3]),
    "chunks of fractions": ("chunks", [10.5, 3]),
    "chunks null": ("chunks", None),
    "chunks huge": ("chunks", [HUGE, 3]),
    "chunks of fewer axes": ("chunks", [10]),
    "chunks of more axes": ("chunks", [10, 3, 1]),
    "chunks of text": ("chunks", ["10", "x"]),
    "codecs a number": ("codecs", 7),
    "codecs a text": ("codecs", "zstd"),
    "codecs unknown": ("codecs", "unknown"),
    "fill value a text": ("fill_value", "text"),
    "fill value a list": ("fill_value", [1, 2]),
    "fill value an object": ("fill_value", {"a": 1}),
    "attributes a list": ("attributes", [1]),
    "attributes a text": ("attributes", "text"),
}
GONE = ("shape", "dtype", "chunks", "codecs", "fill_value")
PLACES: dict[int, dict[str, tuple[Any, ...]]] = {
    2: {"codecs": ("compressor",)},
    3: {"dtype": ("data_type",), "chunks": ("chunk_grid", "configuration", "chunk_shape")},
}
UNKNOWN = {2: {"id": "unknown"}, 3: [{"name": "unknown"}]}
ONE_VERSION: dict[int, dict[str, Spoil]] = {
    2: {
        "order unknown": with_("order", value="Z"),
        "order gone": with_("order"),
        "filters a text": with_("filters", value="delta"),
        "filters unknown": with_("filters", value=[{"id": "unknown"}]),
        "separator unknown": with_("dimension_separator", value="x"),
        "pickle": with_("filters", value=[{"id": "pickle"}]),
        "objects": with_("dtype", value="|O"),
    },
    3: {
        "node unknown": with_("node_type", value="thing"),
        "node a group": with_("node_type", value="group"),
        "node gone": with_("node_type"),
        "grid unknown": with_("chunk_grid", "name", value="hexagonal"),
        "grid gone": with_("chunk_grid"),
        "keys unknown": with_("chunk_key_encoding", "name", value="unknown"),
        "transformers": with_("storage_transformers", value=[{"name": "unknown"}]),
        "codecs without bytes": with_("codecs", value=[{"name": "zstd", "configuration": {}}]),
        "codecs empty": with_("codecs", value=[]),
        "dimensions of one axis": with_("dimension_names", value=["a"]),
        "dimensions a number": with_("dimension_names", value=7),
        "level a text": with_("codecs", -1, "configuration", value={"level": "high"}),
        "must be understood": with_("novelty", value={"name": "new", "must_understand": True}),
    },
}


def damages(version: int) -> dict[str, Spoil]:
    """Return all damage to an array of a version, by its name."""
    place = PLACES[version]
    changed = {
        name: with_(
            *place.get(key, (key,)), value=UNKNOWN[version] if value == "unknown" else value
        )
        for name, (key, value) in BOTH.items()
        if (key, version) != ("attributes", 2)
    }
    gone = {f"{key} gone": with_(*place.get(key, (key,))) for key in GONE}
    return {**FILES, **changed, **gone, **ONE_VERSION[version]}


CASES = [(layout, name) for layout in ("v2", "v3") for name in damages(int(layout[1]))]
OF_GROUPS = [(layout, name) for layout in ("v2", "v3") for name in FILES]
OF_OTHERS = OF_GROUPS
COMMANDS = ("info", "plan", "train", "predict", "shuffle")
OF_OTHER_COMMANDS = ("info", "train", "shuffle")
# Other encodings of JSON are read; without a compressor, chunks are what is wrong.
READ = {"utf-16"}
# Of a group, what its arrays say is all that matters.
READ_OF_GROUPS = {("v3", "an empty object"), ("v3", "no version")}
FOUND_IN_CHUNKS = {("v2", "codecs gone", "info")}


def line_of(command: str, data: Path, run: Path, folder: Path) -> list[str]:
    """Return the line of a command on data, which writes into a folder."""
    out = str(folder / f"{command}.zarr")
    if command == "train":
        return train(data, folder / "run")
    if command == "plan":
        return ["plan", str(data), "--batch-size", "16", "--memory", MEMORY]
    between, output = {"predict": ([str(run)], [out]), "shuffle": ([], [out])}.get(
        command, ([], [])
    )
    memory = [] if command == "info" else ["--memory", MEMORY]
    return [command, *between, str(data), *output, *memory]


def metadata_file(folder: Path, layout: str, of_group: bool = False) -> Path:
    return folder / ("zarr.json" if layout == "v3" else ".zgroup" if of_group else ".zarray")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return bases(tmp_path_factory.mktemp("metadata"))


def attacked(
    folder: Path,
    store: Path,
    place: tuple[str, str],
    commands: tuple[str, ...],
    reads: Callable[[str], bool],
    *names: str,
) -> list[str]:
    """Damage an array, or the group, of a copy; return what is wrong with how commands end.

    `place` is the array and the damage; `names` are in refusals, beside the store's.
    """
    (array, name), layout, data = place, store.stem, copy_of(store, folder)
    damages(int(layout[1]))[name](metadata_file(data / array, layout, of_group=not array))
    found = []
    for command in commands:
        line = line_of(command, data, store.parent / f"run-{layout}", folder)
        how = (0,) if reads(command) else (2, data.name, *names)
        found += attack(line, *how, folder=folder)
    return found


@pytest.mark.parametrize(("layout", "name"), CASES)
def test_a_damaged_array_is_named_by_every_command(
    tmp_path: Path, stores: dict[str, Path], layout: str, name: str
) -> None:
    def reads(command: str) -> bool:
        return name in READ or (layout, name, command) in FOUND_IN_CHUNKS

    problems = attacked(tmp_path, stores[layout], ("X", name), COMMANDS, reads, "X")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(("layout", "name"), OF_GROUPS)
def test_a_damaged_group_is_named_by_every_command(
    tmp_path: Path, stores: dict[str, Path], layout: str, name: str
) -> None:
    does = (layout, name) in READ_OF_GROUPS or name in READ
    problems = attacked(tmp_path, stores[layout], ("", name), COMMANDS, lambda _: does)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(("layout", "name"), OF_OTHERS)
def test_a_damaged_array_that_is_not_used_stands_in_nobodys_way(
    tmp_path: Path, stores: dict[str, Path], layout: str, name: str
) -> None:
    problems = attacked(tmp_path, stores[layout], ("z", name), OF_OTHER_COMMANDS, lambda _: True)
    assert not problems, "\n".join(problems)

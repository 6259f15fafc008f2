"""The house: packages stand on floors, imports go down, there are no cycles."""

import ast
import graphlib
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent / "ooc"

# A package imports from the packages of floors below its own; within a package files have no cycle.
FLOORS = (
    {"version"},
    {"core"},
    {"metrics", "optim"},
    {"kernels", "store"},
    {"models", "objects", "stream", "synthetic"},
    {"engines", "shuffle", "export"},
    {"runs", "conversion", "cluster"},
    {"training"},
    {"measure", "report"},
    {"cli", "estimators", "torch", "testing"},
    {"__main__"},
)
FLOOR_OF = {package: number for number, packages in enumerate(FLOORS) for package in packages}
FILES = {
    ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(HOUSE.rglob("*.py"))
}


def imports_of(path: Path) -> set[str]:
    """Return the files of this package that a file imports, wherever it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in FILES else str(node.module))
    return {name for name in found if name == "ooc" or name.startswith("ooc.")}


def third_parties_of(path: Path) -> set[str]:
    """Return the top-level names of everything else that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("name", [name for name in FILES if name != "ooc"])
def test_a_package_imports_only_from_floors_below(name: str) -> None:
    package = name.split(".")[1]
    for imported in imports_of(FILES[name]):
        assert imported != "ooc", f"{name} imports the package's root"
        other = imported.split(".")[1]
        assert other == package or FLOOR_OF[other] < FLOOR_OF[package], f"{name}: {imported}"


@pytest.mark.slow
def test_files_have_no_cycles() -> None:
    graph = {name: imports_of(path) - {name} for name, path in FILES.items() if name != "ooc"}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(graph)


def test_the_root_holds_public_names_and_packages() -> None:
    files = {path.name for path in HOUSE.iterdir() if path.suffix == ".py"}
    assert files == {"__init__.py", "__main__.py", "version.py"}


def users_of(library: str) -> set[str]:
    return {name for name, path in FILES.items() if library in third_parties_of(path)}


@pytest.mark.slow
def test_one_file_imports_dask() -> None:
    assert users_of("dask") == {"ooc.stream.scheduler"}


@pytest.mark.slow
def test_only_datasets_and_block_readers_know_zarr() -> None:
    assert {name.split(".")[1] for name in users_of("zarr")} == {"objects", "store"}

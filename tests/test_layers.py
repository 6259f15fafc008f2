"""The house: imports go one way, there are no cycles, nothing imports the package's root."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Top of the page is the bottom of the house: a file imports only from lines above its own.
FLOORS = [
    {"errors", "version"},
    {"memory", "process", "rng", "compiled", "blas", "blockio.asynchronous", "kernels.counters"},
    {"losses", "schedules", "remote", "hashing", "metrics.progress", "metrics.measured"},
    {"optim.settings", "metrics.base"},
    {"optim.penalties", "optim.descent", "optim.adaptive"},
    {"optim.step"},
    {"optim.optimizer"},
    {"optim.full_gradient"},
    {"optim.table"},
    {"optim"},
    {"metrics.means", "metrics.auc", "metrics.confusion", "metrics.regression"},
    {"metrics"},
    {"selection", "draws"},
    {"dataset", "order", "writer", "kernels", "kernels.rows", "kernels.network_memory"},
    {"kernels.activations", "kernels.dropout", "kernels.noise_totals"},
    {"kernels.linear", "models.base", "blockio.codecs", "blockio.errors", "blockio.files"},
    {"kernels.dense", "kernels.heads", "kernels.linear_window", "models.bad_rows"},
    {"kernels.gradient_sums"},
    {"kernels.linear_parallel", "kernels.network", "models.own_loss"},
    {"kernels.linear_sums"},
    {"blockio.layout", "blockio.generic", "models.linear"},
    {"models.classification", "models.regression"},
    {"blockio.native", "models.network", "kernels.network_window", "generate"},
    {"blockio", "models.mlp", "models.autoencoder"},
    {"models", "evaluation"},
    {"plan", "verify", "synthetic", "columns", "shuffle.theory", "shuffle.scan"},
    {"reader", "sampling", "splits", "shuffle.blocks", "shuffle.records", "shuffle.scratch"},
    {"shuffle.job"},
    {"shuffle.external_sort"},
    {"shuffle.advice"},
    {"loader"},
    {"shuffle.streams", "shuffle.mixing"},
    {"shuffle.report", "shuffle.picture"},
    {"shuffle"},
    {"descents", "parallel_choice", "preparation", "fingerprint", "noise_log"},
    {"steering"},
    {"linear_engine", "network_engine", "batch_engine", "minimise"},
    {"full_sums"},
    {"full_gradient_engine"},
    {"hybrid_engine"},
    {"engines", "checkpoint"},
    {"descend", "run_dir", "scoring", "range_test"},
    {"recorder", "callbacks", "saver", "run", "noise", "steering_watcher"},
    {"validation"},
    {"halving", "session"},
    {"progression"},
    {"trainer", "grid"},
    {"resuming", "bench"},
    {"progress", "report.axes", "report.curves"},
    {"report.history"},
    {"report.runs", "report.pictures"},
    {"report.sections"},
    {"report.page"},
    {"report"},
    {"cli.groups", "cli.show", "cli.signals", "cli.steering"},
    {"cli.options", "cli.models"},
    {
        "cli.data",
        "cli.training",
        "cli.bench",
        "cli.shuffle",
        "cli.plan",
        "cli.scoring",
        "cli.report",
    },
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
FILES = {
    ".".join(path.relative_to(ROOT / "ooc").with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "ooc").rglob("*.py"))
    if path != ROOT / "ooc" / "__init__.py"
}


def imports_of(path: Path) -> set[str]:
    """Return the modules of this package that a file imports, wherever it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner.removeprefix("ooc.") in FILES
                found.add(inner if is_module else str(node.module))
    return {name for name in found if name == "ooc" or name.startswith("ooc.")}


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_from_floors_below(name: str) -> None:
    assert name in FLOOR_OF, f"{name} has no floor yet; give it one"
    for imported in imports_of(FILES[name]):
        assert imported != "ooc", f"{name} imports the package's root"
        below = FLOOR_OF[imported.removeprefix("ooc.")]
        assert below < FLOOR_OF[name], f"{name} imports {imported}, which is not below it"


def test_only_the_reader_imports_dask() -> None:
    users = {name for name, path in FILES.items() if "import dask" in path.read_text()}
    assert users == {"reader"}


def test_only_datasets_and_block_readers_know_zarr() -> None:
    users = {name for name, path in FILES.items() if "import zarr\n" in path.read_text()}
    assert users == {"dataset", "writer", "blockio.layout", "blockio.generic"}

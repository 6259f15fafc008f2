"""The threading layer that the user names is used where it is there, or another one, and told."""

import pytest

from ooc.core import threading_layer


@pytest.mark.parametrize(
    ("wanted", "there", "used", "said"),
    [
        ("default", ["workqueue"], "default", ""),
        ("OMP", ["omp", "workqueue"], "OMP", ""),
        ("threadsafe", ["omp", "workqueue"], "threadsafe", ""),
        ("threadsafe", ["workqueue"], "default", "threadsafe {} is not installed here; workqueue"),
        ("forksafe", ["workqueue"], "forksafe", ""),
        ("forksafe", ["omp"], "default", "forksafe {} is not installed here; omp"),
        ("safe", ["tbb"], "safe", ""),
        ("workqueue", ["workqueue"], "workqueue", ""),
        ("safe", ["omp", "workqueue"], "default", "safe {} is not installed here; omp"),
        ("tbb", ["workqueue"], "default", "tbb {} is not installed here; workqueue"),
        ("fast", ["tbb", "omp"], "default", "fast {} is none that Numba knows; tbb"),
    ],
)
def test_a_layer_is_used_or_replaced_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wanted: str,
    there: list[str],
    used: str,
    said: str,
) -> None:
    config = threading_layer.numba.config
    monkeypatch.setattr(config, "THREADING_LAYER", wanted)
    monkeypatch.setattr(config, "THREADING_LAYER_PRIORITY", ["omp"])
    monkeypatch.setattr(threading_layer, "is_installed", lambda layer: layer in there)
    threading_layer.choose_layer()
    assert used == config.THREADING_LAYER
    assert config.THREADING_LAYER_PRIORITY == ["tbb", "omp", "workqueue"]
    told = said.format("of NUMBA_THREADING_LAYER")
    line = f"ooc: the threading layer {told} is used\n" if said else ""
    assert capsys.readouterr().err == line


def test_an_order_that_the_user_gave_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    config = threading_layer.numba.config
    monkeypatch.setattr(config, "THREADING_LAYER", "default")
    monkeypatch.setattr(config, "THREADING_LAYER_PRIORITY", ["workqueue", "omp", "tbb"])
    threading_layer.choose_layer()
    assert config.THREADING_LAYER_PRIORITY == ["workqueue", "omp", "tbb"]


def test_a_layer_that_cannot_be_loaded_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def import_module(name: str) -> None:
        asked.append(name)
        if name.endswith("omppool"):
            raise ImportError(name)

    monkeypatch.setattr(threading_layer.importlib, "import_module", import_module)
    assert threading_layer.is_installed("workqueue")
    assert not threading_layer.is_installed("omp")
    assert asked == ["numba.np.ufunc.workqueue", "numba.np.ufunc.omppool"]

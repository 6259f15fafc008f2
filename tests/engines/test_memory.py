"""What engines' libraries take, each measured in a fresh process: no more than the plan says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ooc
from ooc.engines.engine import BLAS_BYTES
from ooc.engines.full_gradient_engine import LIBRARY_BYTES

OPTIMISERS = """
from ooc.engines.minimise import replay
from ooc.engines.hybrid_engine import whitening
from ooc.optim import cg, lbfgs
before = resident_bytes()
for method in (lbfgs(), cg()):
    replay(method.full, np.zeros(8), np.ones(1), np.ones((1, 8)))
whitening(np.eye(8), np.zeros(8))
"""
PRODUCTS = """
from ooc.core.blas import one_thread
before = resident_bytes()
with one_thread():
    from scipy.linalg.blas import sgemm
    for size in (64, 512):
        one = np.ones((size, size), np.float32, order="F")
        sgemm(1.0, one, one, c=one, overwrite_c=True)
    del one
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "declared"),
    [(OPTIMISERS, LIBRARY_BYTES), (PRODUCTS, BLAS_BYTES)],
    ids=["optimisers", "products"],
)
def test_libraries_take_what_the_plan_says(code: str, declared: int) -> None:
    """A quarter at least, so that the number cannot be one that never fails."""
    before = (
        "import numpy as np\nimport ooc.training.trainer\n"
        "from ooc.core.process import resident_bytes\n"
    )
    command = [sys.executable, "-c", before + code + "print(resident_bytes() - before)"]
    environment = {**os.environ, "PYTHONPATH": str(Path(ooc.__file__).parent.parent)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    assert declared / 4 < int(done.stdout) <= declared

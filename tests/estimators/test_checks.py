"""scikit-learn's own checks of what an estimator is."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.utils import estimator_checks as checks

import ooc

ROOT = Path(__file__).resolve().parent.parent.parent
# Without the variable the check of the array API is skipped, and with it nothing is.
ALL = """
import json, sys, warnings
import ooc
from sklearn.utils.estimator_checks import check_estimator
warnings.simplefilter("ignore")
ends = check_estimator(getattr(ooc, sys.argv[1])(), on_fail=None)
print(json.dumps({end["check_name"]: [end["status"], str(end["exception"])] for end in ends}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["OOCClassifier", "OOCRegressor"])
def test_every_check_passes(name: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-c", ALL, name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    ends = json.loads(done.stdout.splitlines()[-1])
    assert len(ends) > 50
    assert {name: end for name, end in ends.items() if end[0] != "passed"} == {}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("estimator", [ooc.OOCClassifier(), ooc.OOCRegressor()], ids=str)
@pytest.mark.parametrize(
    "check",
    [
        checks.check_sample_weight_equivalence_on_dense_data,
        checks.check_dataframe_column_names_consistency,
        checks.check_estimator_sparse_tag,
        checks.check_estimators_partial_fit_n_features,
        checks.check_estimators_nan_inf,
        checks.check_readonly_memmap_input,
        checks.check_estimators_pickle,
    ],
)
def test_some_checks_pass(check: Callable[..., None], estimator: Any) -> None:
    check(type(estimator).__name__, estimator)

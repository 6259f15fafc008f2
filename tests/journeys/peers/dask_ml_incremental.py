"""Arrays of Dask with dask-ml's Incremental and scikit-learn: python dask_ml_incremental.py DATA"""

import sys

import dask.array as da
from dask_ml.preprocessing import StandardScaler
from dask_ml.wrappers import Incremental
from sklearn.linear_model import SGDRegressor
from sklearn.metrics import r2_score

counts, outcome = (da.from_zarr(sys.argv[1], component=name) for name in ("counts", "outcome"))
logs = da.log1p(counts.astype("float32"))
last = len(outcome) - round(0.1 * len(outcome))
scaler = StandardScaler().fit(logs[:last])
model = Incremental(SGDRegressor(alpha=1e-6, eta0=0.001, random_state=0), shuffle_blocks=True,
                    random_state=0)  # fmt: skip
model.fit(scaler.transform(logs[:last]), outcome[:last])
predicted = model.predict(scaler.transform(logs[last:])).compute()
print(f"r2 {r2_score(outcome[last:].compute(), predicted):.4f}")

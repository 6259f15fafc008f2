"""Arrays of Dask with dask-ml's own regression: python dask_ml_regression.py DATA"""

import sys

import dask.array as da
from dask_ml.linear_model import LinearRegression
from dask_ml.preprocessing import StandardScaler
from sklearn.metrics import r2_score

counts, outcome = (da.from_zarr(sys.argv[1], component=name) for name in ("counts", "outcome"))
logs = da.log1p(counts.astype("float32"))
last = len(outcome) - round(0.1 * len(outcome))
scaler = StandardScaler().fit(logs[:last])
model = LinearRegression(solver="lbfgs", C=1e6, max_iter=20)
model.fit(scaler.transform(logs[:last]), outcome[:last])
predicted = model.predict(scaler.transform(logs[last:])).compute()
print(f"r2 {r2_score(outcome[last:].compute(), predicted):.4f}")

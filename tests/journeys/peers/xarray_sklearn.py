"""Weather with xarray and scikit-learn: python xarray_sklearn.py DATA.zarr

A year at a time, as memory allows: one pass for means and spreads, and epochs of `partial_fit`.
"""

import sys

import numpy as np
import xarray
from sklearn.linear_model import SGDRegressor
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

EPOCHS, PIECE = 5, 1500
names = ["t2m", "d2m", "msl", "u10", "v10"]
weather = xarray.open_zarr(sys.argv[1], chunks=None)
times = weather.sizes["time"]
last = times - round(0.2 * times)


def pieces(start, stop):
    for first in range(start, stop, PIECE):
        part = weather.isel(time=slice(first, min(first + PIECE, stop))).load()
        rows = [part[name].values.reshape(part.sizes["time"], -1) for name in names]
        yield np.hstack(rows), part["demand"].values.astype(float)


scaler, target = StandardScaler(), StandardScaler()
for rows, demand in pieces(0, last):
    scaler.partial_fit(rows)
    target.partial_fit(demand[:, None])
model = SGDRegressor(alpha=1e-5, eta0=1e-5, random_state=0)
rng = np.random.default_rng(0)
for _ in range(EPOCHS):
    for rows, demand in pieces(0, last):
        order = rng.permutation(len(rows))
        model.partial_fit(
            scaler.transform(rows)[order], target.transform(demand[:, None])[order, 0]
        )
found = [
    (target.inverse_transform(model.predict(scaler.transform(rows))[:, None])[:, 0], demand)
    for rows, demand in pieces(last, times)
]
predicted, demand = map(np.concatenate, zip(*found, strict=True))
print(f"r2 {r2_score(demand, predicted):.4f}")

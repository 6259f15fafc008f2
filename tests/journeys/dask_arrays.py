"""Predict an outcome from arrays of Dask, within a budget: python dask_arrays.py DATA.zarr"""

import sys

import dask.array as da

import ooc

counts, outcome = (da.from_zarr(sys.argv[1], name) for name in ("counts", "outcome"))
logs = da.log1p(counts.astype("float32"))
train, held_out = ooc.split(ooc.open({"X": logs, "y": outcome}), 0.1, ordered=True)
trainer = ooc.Trainer(ooc.models.Linear(), ooc.optim.adam(), batch_size=256, memory="432MiB")
run = trainer.fit(train)
print(f"r2 {run.evaluate(held_out)['r2']:.4f}")

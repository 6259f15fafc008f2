"""Predict the demand for energy from fields of weather: python climate.py DATA.zarr"""

import sys

import ooc

fields = ["t2m", "d2m", "msl", "u10", "v10"]
weather = ooc.open(sys.argv[1], features=fields, target="demand")
earlier, later = ooc.split(weather, 0.2, ordered=True)
model = ooc.models.Linear(standardise=True)
trainer = ooc.Trainer(model, ooc.optim.adam(), batch_size=128, memory="320MiB")
run = trainer.fit(earlier, epochs=3)
print(f"r2 {run.evaluate(later)['r2']:.4f}")

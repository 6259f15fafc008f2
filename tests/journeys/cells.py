"""Tell the types of cells apart, for donors who were not seen: python cells.py DATA.zarr"""

import sys

import ooc

cells = ooc.open(sys.argv[1], target="obs/cell_type", transform="log-normalise")
seen, unseen = ooc.split(cells, by="obs/donor", groups=["D3", "D7"])
model = ooc.models.Softmax(classes=12)
trainer = ooc.Trainer(model, ooc.optim.adam(0.001), batch_size=64, memory="256MiB")
run = trainer.fit(seen)
print(f"accuracy {run.evaluate(unseen)['accuracy']:.4f}")

"""Predict who clicks, from hashed categories: python clicks.py DATA.parquet"""

import sys

import ooc

texts = [f"C{number}" for number in range(1, 27)]
names = [f"I{number}" for number in range(1, 14)] + texts
how = {"hash_text": texts, "dtype": "int32", "missing_values": "fill:-1", "memory": "640MiB"}
ooc.convert(sys.argv[1], "codes.zarr", names, "label", **how)
earlier, later = ooc.split(ooc.open("codes.zarr", transform="hash:20"), 0.1, ordered=True)
trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.adagrad(0.05), memory="640MiB")
print(f"auc {trainer.fit(earlier).evaluate(later, memory='640MiB')['auc']:.4f}")

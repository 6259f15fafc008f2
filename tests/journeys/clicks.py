"""Predict who clicks, from hashed categories: python clicks.py DATA.parquet"""

import sys

import pyarrow.parquet as pq
from pandas.util import hash_pandas_object

import ooc

texts = [f"C{number}" for number in range(1, 27)]
with ooc.create("codes.zarr", {"X": ("int32", (39,)), "y": ("int8", ())}) as writer:
    for piece in pq.ParquetFile(sys.argv[1], read_dictionary=texts).iter_batches(2**16):
        codes = piece.drop_columns("label").to_pandas().apply(hash_pandas_object, index=False)
        writer.append({"X": codes.values.astype("i4"), "y": piece["label"].to_numpy()})
earlier, later = ooc.split(ooc.open("codes.zarr", transform="hash:20"), 0.1, ordered=True)
trainer = ooc.Trainer(ooc.models.Logistic(), ooc.optim.adagrad(0.05), memory="640MiB")
print(f"auc {trainer.fit(earlier).evaluate(later, memory='640MiB')['auc']:.4f}")

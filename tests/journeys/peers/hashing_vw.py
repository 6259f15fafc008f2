"""Clicks with Vowpal Wabbit: python hashing_vw.py DATA

Text in its format is written once, by Arrow's own loops, and read in one pass.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet
from sklearn.metrics import roc_auc_score
from vowpalwabbit import Workspace

file, folder = pyarrow.parquet.ParquetFile(sys.argv[1]), Path()
rows = file.metadata.num_rows
last, done = rows - round(0.1 * rows), 0
train, test, labels = folder / "train.vw", folder / "test.vw", []
with train.open("w") as early, test.open("w") as late:
    for piece in file.iter_batches(2**16):
        label = piece["label"].to_numpy()
        parts = [pc.if_else(pc.equal(piece["label"], 1), "1 |n", "-1 |n")]
        for name in piece.schema.names[1:14]:
            value = pc.cast(pc.round(pc.log1p(pc.cast(piece[name], "float32")), 3), "string")
            parts.append(pc.fill_null(pc.binary_join_element_wise(name, value, ":"), ""))
        parts.append(pc.binary_join_element_wise("|c", piece["C1"], " C1="))
        parts += [
            pc.binary_join_element_wise(name, piece[name], "=") for name in piece.schema.names[15:]
        ]
        lines = pc.binary_join_element_wise(*parts, " ").to_pylist()
        cut = min(max(last - done, 0), len(label))
        early.writelines(line + "\n" for line in lines[:cut])
        late.writelines(line + "\n" for line in lines[cut:])
        labels.append(label[cut:])
        done += len(label)
how = ["--quiet", "--loss_function", "logistic", "-b", "22", "--learning_rate", "0.1"]
model, scores = folder / "model.vw", folder / "scores"
Workspace(arg_list=[*how, "--data", str(train), "-f", str(model)]).finish()
tested = ["--quiet", "-t", "-i", str(model), "--data", str(test), "-p", str(scores)]
Workspace(arg_list=tested).finish()
print(f"auc {roc_auc_score(np.concatenate(labels), np.loadtxt(scores)):.4f}")

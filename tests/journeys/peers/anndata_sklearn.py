"""Cells with a backed AnnData and scikit-learn: python anndata_sklearn.py DATA.h5ad

Slices of a thousand cells are read from the file in turn, as memory allows, and `partial_fit`
learns from each; the file's cells are in no order, so that they need no shuffle.
"""

import sys

import anndata
import numpy as np
from sklearn.linear_model import SGDClassifier

HELD_OUT = ["D3", "D7"]
cells = anndata.read_h5ad(sys.argv[1], backed="r")
types = cells.obs["cell_type"].cat.categories
labels, is_held = cells.obs["cell_type"].to_numpy(), cells.obs["donor"].isin(HELD_OUT).to_numpy()
model = SGDClassifier("log_loss", alpha=1e-4, average=True, random_state=0)


def slices(held_out):
    for first in range(0, cells.n_obs, 1000):
        part = slice(first, first + 1000)
        chosen = is_held[part] == held_out
        rows = cells.X[part][np.flatnonzero(chosen)]
        rows = rows.multiply(1e4 / rows.sum(axis=1)).tocsr()
        yield rows.log1p(), labels[part][chosen]


for rows, names in slices(False):
    model.partial_fit(rows, names, types)
right = [model.predict(rows) == names for rows, names in slices(True)]
print(f"accuracy {np.concatenate(right).mean():.4f}")

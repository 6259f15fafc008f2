"""Cells with annbatch's loader and scikit-learn: python annbatch_sklearn.py DATA.zarr

As annbatch advises: the zarrs pipeline, slices of the store that are preloaded together and
shuffled. Donors that are held out are left out of each batch, and tell the quality in a pass of
their own.
"""

import sys

import anndata
import numpy as np
import zarr
from annbatch import Loader
from sklearn.linear_model import SGDClassifier

HELD_OUT = ["D3", "D7"]
zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
group = zarr.open_group(sys.argv[1], mode="r")
obs = anndata.io.read_elem(group["obs"])
cells = anndata.AnnData(
    anndata.io.sparse_dataset(group["X"]), obs, anndata.io.read_elem(group["var"])
)
types = obs["cell_type"].cat.categories


def batches(shuffle, held_out):
    loader = Loader(
        batch_size=1024, chunk_size=64, preload_nchunks=64, shuffle=shuffle, to=None,
        preload_to_gpu=False, rng=np.random.default_rng(0) if shuffle else None,
    )  # fmt: skip
    for batch in loader.add_adata(cells):
        chosen = np.flatnonzero(batch["obs"]["donor"].isin(HELD_OUT).to_numpy() == held_out)
        rows = batch["X"][chosen]
        rows = rows.multiply(1e4 / rows.sum(axis=1).reshape(-1, 1)).tocsr()
        yield rows.log1p(), batch["obs"]["cell_type"].to_numpy()[chosen]


model = SGDClassifier("log_loss", alpha=1e-4, average=True, random_state=0)
for rows, labels in batches(True, False):
    model.partial_fit(rows, labels, types)
right = [model.predict(rows) == labels for rows, labels in batches(False, True)]
print(f"accuracy {np.concatenate(right).mean():.4f}")

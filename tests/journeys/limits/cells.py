"""Only start, and read each cell when training and evaluation would: python cells.py DATA.zarr"""

import sys

import ooc

cells = ooc.open(sys.argv[1], target="obs/cell_type", transform="log-normalise")
seen, unseen = ooc.split(cells, by="obs/donor", groups=["D3", "D7"])
loaders = [ooc.Loader(part, 64, memory="256MiB", shuffle="none") for part in (seen, unseen)]
print(f"rows {sum(len(batch.rows) for loader in loaders for batch in loader)}")

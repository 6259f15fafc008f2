"""Only start, and read all cells once, in order: python cells.py DATA.zarr"""

import sys

import ooc

cells = ooc.open(sys.argv[1], target="obs/cell_type", transform="log-normalise")
loader = ooc.Loader(cells, 256, memory="256MiB", shuffle="none")
print(f"rows {sum(len(batch.rows) for batch in loader)}")

"""Only start, and read all fields once, in order: python climate.py DATA.zarr"""

import sys

import ooc

fields = ["t2m", "d2m", "msl", "u10", "v10"]
weather = ooc.open(sys.argv[1], features=fields, target="demand")
loader = ooc.Loader(weather, 128, memory="320MiB", shuffle="none")
print(f"rows {sum(len(batch.rows) for batch in loader)}")

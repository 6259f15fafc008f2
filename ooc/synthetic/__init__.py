"""Generated data whose best possible loss is known.

Examples
--------
>>> made = make(folder / "made.zarr", Recipe("logistic", rows=1000, features=4))
>>> made["rows"], 0.5 < made["accuracy"] < 1
(1000, True)
"""

from ooc.synthetic.fill import check_free_space, fill
from ooc.synthetic.kinds import KINDS, ORDERS, Kind, Recipe, make

__all__ = ["KINDS", "ORDERS", "Kind", "Recipe", "check_free_space", "fill", "make"]

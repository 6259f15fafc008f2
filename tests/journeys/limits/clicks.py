"""Only start, and read the whole table once, piece by piece: python clicks.py DATA.parquet"""

import sys

import pyarrow.parquet

import ooc  # noqa: F401  what starts is what the job starts

pieces = pyarrow.parquet.ParquetFile(sys.argv[1]).iter_batches()
print(f"rows {sum(piece.num_rows for piece in pieces)}")

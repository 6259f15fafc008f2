"""Files of encoded chunks: each grows aside, and gets its name when it is whole."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ooc.store.fields import checked

# In the index of a shard, where a chunk is not stored.
MISSING = 2**64 - 1


def chunk_files(path_of: Callable[[int], Path]) -> Callable[[bytes], None]:
    """Return what writes encoded chunks one after another, each to a file of its own."""
    numbers = itertools.count()

    def append(encoded: bytes) -> None:
        path = path_of(next(numbers))
        aside = aside_of(path)
        aside.write_bytes(encoded)
        aside.rename(path)

    return append


def aside_of(path: Path) -> Path:
    """Return where a file grows until it gets its name; its folder is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.part")


@contextmanager
def shard_file(path: Path, chunks: int) -> Iterator[Callable[[bytes], None]]:
    """Write encoded chunks one after another, then their index; the file gets its name at last."""
    aside, numbers = aside_of(path), itertools.count()
    index = np.full((chunks, 2), MISSING, "<u8")
    with aside.open("wb") as stream:

        def append(encoded: bytes) -> None:
            index[next(numbers)] = stream.tell(), len(encoded)
            stream.write(encoded)

        yield append
        stream.write(checked(index.tobytes()))
        # A shard that has its name is kept by whoever goes on: it must be there after an outage.
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(path)

"""What could not be read of a window: counted, and told by its first chunks, however many it is."""

from dataclasses import dataclass, field

import numpy as np

from ooc.store.chunks import BadChunkError

# Bad chunks that are kept: a run that skips some meets them again in every epoch.
MOST_NOTED = 100


@dataclass
class Unread:
    """Takes the chunks that reading some blocks finds to be bad, as a list would.

    Attributes
    ----------
    spans
        First row and stop of each block.
    count, first
        Of the chunks, of which some may be part of several blocks.
    rows
        (rows of all blocks,) bool, those that could not be read.
    """

    spans: list[tuple[int, int]]
    count: int = 0
    first: list[BadChunkError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places = np.cumsum([0, *(stop - start for start, stop in self.spans)])
        self.rows = np.zeros(self._places[-1], bool)

    def append(self, found: BadChunkError) -> None:
        """Note a chunk."""
        self.count += 1
        if len(self.first) < MOST_NOTED:
            self.first.append(found)
        start, stop = self.spans[found.run]
        offset = self._places[found.run] - start
        self.rows[max(start, found.rows[0]) + offset : min(stop, found.rows[1] + 1) + offset] = True

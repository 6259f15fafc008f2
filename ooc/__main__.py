"""Run the command line, as ``ooc`` or ``python -m ooc``: it can be ended from its first import."""

import gc
import os
import sys

from ooc.core.process import share_heaps
from ooc.core.stopping import Interrupted, hush, interrupt, listen, status_of, told

# Objects between two collections of garbage, and how many of these are between two of older ones:
# imports make hundreds of thousands that stay, and looking at all of them takes a tenth of a start.
COLLECTED_AFTER = 20_000, 20, 100


def main() -> None:
    """Run the command line and leave the process with its exit status."""
    try:
        listen(interrupt)
        sys.unraisablehook = hush
        gc.set_threshold(*COLLECTED_AFTER)
        share_heaps()
        from ooc.cli import run

        run()
    except Interrupted as error:
        # What else is under way, such as an import in pieces, is of no use any more.
        print(told(error), file=sys.stderr, flush=True)
        os._exit(status_of(error))


if __name__ == "__main__":
    main()

"""Lines between two threads of this process, without Dask."""

import socket
from types import SimpleNamespace
from typing import Any

from ooc.cluster.line import Line


def line_over(end: socket.socket) -> Line:
    """Return a line over one end of a pair of sockets."""
    end.setblocking(False)
    stream = SimpleNamespace(
        io_loop=SimpleNamespace(remove_handler=lambda number: None), fileno=end.fileno, socket=end
    )
    comm: Any = SimpleNamespace(stream=stream, closed=lambda: False, abort=end.close)
    return Line(comm)


def line_pair() -> tuple[Line, Line]:
    """Return both ends of a line."""
    one, other = socket.socketpair()
    return line_over(one), line_over(other)

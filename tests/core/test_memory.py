"""Memory of a process's own."""

import os

import numpy as np

from ooc.core.memory import own_memory


def test_what_a_child_writes_is_not_seen_by_its_parent() -> None:
    memory = own_memory((4,), np.dtype("f8"))
    memory[:] = 1
    child = os.fork()
    if child == 0:
        memory[:] = 2
        os._exit(0)
    os.waitpid(child, 0)
    assert memory.tolist() == [1, 1, 1, 1]

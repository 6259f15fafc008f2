"""Memory of a process's own."""

import mmap
import os

import numpy as np
import pytest

from ooc.core.memory import LARGE_PAGE, own_memory


def test_what_a_child_writes_is_not_seen_by_its_parent() -> None:
    memory = own_memory((4,), np.dtype("f8"))
    memory[:] = 1
    child = os.fork()
    if child == 0:
        memory[:] = 2
        os._exit(0)
    os.waitpid(child, 0)
    assert memory.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("shape", [(3, 5), (7,), (0, 4), ()])
@pytest.mark.parametrize("kind", ["f4", "i8", "u1"])
def test_memory_is_an_array_of_zeros_on_pages_of_its_own(shape: tuple[int, ...], kind: str) -> None:
    memory = own_memory(shape, np.dtype(kind))
    assert (memory.shape, memory.dtype) == (shape, np.dtype(kind))
    assert not memory.any()
    assert memory.ctypes.data % mmap.PAGESIZE == 0 or memory.size == 0
    memory[...] = 1
    assert (memory == 1).all()


@pytest.mark.parametrize("size", [1, LARGE_PAGE - 1, LARGE_PAGE, 3 * LARGE_PAGE + 5])
def test_memory_of_large_pages_begins_with_one(size: int) -> None:
    memory = own_memory((size,), np.dtype("u1"), large_pages=True)
    assert memory.shape == (size,)
    assert not memory.any()
    memory[...] = 1
    assert memory.all()
    assert memory.ctypes.data % (LARGE_PAGE if size >= LARGE_PAGE else mmap.PAGESIZE) == 0

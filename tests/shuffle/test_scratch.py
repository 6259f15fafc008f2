"""Scratch files: units are found in all pieces, and pieces with their tables."""

import os
from pathlib import Path

import numpy as np
import pytest

from ooc.shuffle.scratch import Scratch


def test_a_unit_is_read_from_all_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece, in requests of any size; a piece that is there is found with its table."""
    monkeypatch.setattr("ooc.shuffle.scratch.READ_BYTES", 40)
    monkeypatch.setattr("ooc.shuffle.scratch.WRITE_BYTES", 4096)
    pieces = [np.arange(300 * 16) % 251, np.arange(40, 40 + 200 * 16) % 241]
    tables = [np.array([0, 7, 7, 300]), np.array([0, 0, 150, 200])]
    scratch = Scratch(tmp_path, 2, 3, 16)
    assert scratch.find(0) is None
    for number, (values, table) in enumerate(zip(pieces, tables, strict=True)):
        rows = table[-1]
        memory = scratch.buffer(rows)
        assert memory.ctypes.data % 4096 == len(memory) % 4096 == 0
        assert len(memory) >= rows * 16 + 8 * 4 + 8
        memory[: rows * 16] = values
        scratch.write(number, memory, rows, table, 2**63 + number)
    again = Scratch(tmp_path, 2, 3, 16)
    assert [again.find(number) for number in range(2)] == [2**63, 2**63 + 1]
    for each in (scratch, again):
        for unit in range(3):
            expected = [
                values.reshape(-1, 16)[table[unit] : table[unit + 1]]
                for values, table in zip(pieces, tables, strict=True)
            ]
            out = np.zeros((500, 16), np.uint8)
            count = each.read_unit(unit, out)
            assert count == sum(map(len, expected))
            np.testing.assert_array_equal(out[:count], np.concatenate(expected))


def opened(folder: Path) -> list[str]:
    """Return the files of a folder that this process has open."""
    links = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    return [each for each in links if each.startswith(str(folder.resolve()))]


def test_what_is_cleared_leaves_the_disk(tmp_path: Path) -> None:
    """Whatever was read: a file that is open keeps its room. What is there no more is no error."""
    scratch, out = Scratch(tmp_path, 3, 1, 16), np.zeros((20, 16), np.uint8)
    for number in range(2):
        scratch.write(number, scratch.buffer(10), 10, np.array([0, 10]), 1)
    assert scratch.read_unit(0, out) == 20
    assert len(opened(tmp_path)) == 2
    scratch.clear()
    assert not opened(tmp_path)
    assert not list(tmp_path.glob("piece-*"))

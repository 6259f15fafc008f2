"""What a conversion takes is known before it begins: threads are fewer where memory is short."""

import pytest
from conversions import number, source_of

from ooc.conversion.budget import Fit, fit
from ooc.conversion.layout import lay_out
from ooc.core.errors import TooSmallError
from ooc.core.sizes import format_size

MIB = 2**20


def fitted(budget: int, threads: int | None, held: int = 0, format: str = "npy") -> Fit:
    source = source_of(
        number("X", "f4", 100, rows=9), number("y", "f8", rows=9), is_table=False,
        held_bytes=5 * MIB, piece_bytes=lambda names: 3 * MIB,
    )  # fmt: skip
    return fit(source, lay_out(source), format, budget, threads, held)


def projected(threads: int, ahead: int = 3) -> int:
    """By hand: 408 bytes a row as they are read and as they are written, chunks of 1310 rows."""
    piece, chunk = 3 * MIB * 2, 1310 * 408
    under_way = (2 * threads + 3) * piece + ahead * 3 * MIB + (threads + 2) * 2 * 2 * MIB
    return (144 + 5) * MIB + 2 * chunk + under_way


def test_chunks_and_shards_are_cut_by_the_widest_array() -> None:
    found = fitted(10**12, 4)
    assert (found.threads, found.depth, found.widest, found.budget) == (4, 5, 400, 10**12)
    assert found.chunk_rows == 2**19 // 400 == 1310
    assert found.shard_rows == 1310 * (2**27 // (1310 * 400))
    assert found.projected == projected(4)


def test_what_a_library_and_the_process_hold_is_counted() -> None:
    usual = fitted(10**12, 1).projected
    assert fitted(10**12, 1, held=7).projected == usual + 7
    assert fitted(10**12, 1, format="hdf5").projected == usual + 32 * MIB


def test_threads_are_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitted(projected(3), 4).threads == 3
    assert fitted(projected(3) - 1, 4).threads == 2
    least, shape = projected(1, ahead=0), (1310, 1310 * 256, 400)
    assert fitted(projected(1), 4) == Fit(1, 2, 3, *shape, projected(1), projected(1))
    assert fitted(projected(1) - 1, 4) == Fit(1, 2, 0, *shape, least, projected(1) - 1)
    for cores, threads in ((2, 3), (7, 8), (64, 8), (None, 2)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert fitted(10**12, None).threads == threads


def test_a_budget_into_which_one_thread_does_not_fit_is_refused() -> None:
    least = projected(1, ahead=0)
    needed = -(-least // MIB)
    with pytest.raises(TooSmallError) as caught:
        fitted(least - 1, 4)
    assert str(caught.value) == (
        f"the budget of {format_size(least - 1)} is below the {needed} "
        f"MiB that converting there.x needs; raise the memory to {needed}MiB"
    )
    assert fitted(needed * MIB, 4).threads == 1

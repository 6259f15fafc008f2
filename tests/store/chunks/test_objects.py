"""Ranges of objects are asked for as they are wanted, and what is wrong with one is told of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from ooc.store.answers import ServerError
from ooc.store.chunks.files import Request
from ooc.store.chunks.objects import UNKNOWN_SIZE, ObjectReader

WHOLE = bytes(range(100))


class Store:
    """A remote store of one object; what is below "bad" fails as it is told to."""

    retries, most_bytes = 5, 0
    allowed_exceptions = (FileNotFoundError,)

    def __init__(self, error: Exception | None = None, size: int | None = 100) -> None:
        self.error, self.size, self.asked = error, size, list[Any]()

    async def fetch(self, key: str, start: int | None, stop: int | None) -> tuple[bytes, Any]:
        self.asked.append((key, start, stop))
        if self.error is not None and "bad" in key:
            raise self.error
        return WHOLE[start:stop], self.size


def reader_of(store: Store, whole: bool = False) -> ObjectReader:
    dataset: Any = SimpleNamespace(path="s3://b/a.zarr", storage_options={"token": "SECRET1"})
    return ObjectReader(dataset, "X", store, 7000, whole)  # type: ignore[arg-type]


def path(name: str) -> str:
    return f"s3://b/a.zarr/X/{name}"


def test_ends_of_objects_are_asked_for_with_their_size() -> None:
    store = Store()
    reader = reader_of(store)
    for length, at_end, asked in ((30, True, (-30, None)), (30, False, (0, 30))):
        found = reader.read_end(path("c/0"), length, at_end)
        assert found is not None and found[1] == 100
        assert bytes(found[0]) == (WHOLE[-30:] if at_end else WHOLE[:30])
        assert store.asked.pop() == ("X/c/0", *asked)
    # One that is shorter is all that there is; some servers do not tell how long it is.
    found = reader.read_end(path("c/0"), 300, False)
    assert found is not None and (bytes(found[0]), found[1]) == (WHOLE, 100)
    found = reader_of(Store(size=None)).read_end(path("c/0"), 30, True)
    assert found is not None and found[1] == UNKNOWN_SIZE >= 2**62
    found = reader_of(Store(size=None)).read_end(path("c/0"), 300, False)
    assert found is not None and found[1] == 100
    assert reader_of(Store(FileNotFoundError())).read_end(path("bad"), 30, True) is None
    with pytest.raises(OSError, match="broken"):
        reader_of(Store(ValueError("broken"))).read_end(path("bad"), 30, True)


def test_a_chunk_that_is_an_object_is_read_whole() -> None:
    for whole, asked in ((True, (None, None)), (False, (20, 30))):
        store = Store()
        reader = reader_of(store, whole)
        assert bytes(reader.read(Request(path("c/0"), 20, 30))) == (
            WHOLE if whole else WHOLE[20:30]
        )
        assert store.asked == [("X/c/0", *asked)]
        assert (reader.size(path("c/0")), reader.retries, store.most_bytes) == (7000, 5, 7000)
        assert reader.mode == "requests"


# What a store raises, what is told of it, and whether all that share a request have it.
ERRORS: list[tuple[Exception, type[OSError], str, bool]] = [
    (FileNotFoundError("gone"), FileNotFoundError, "gone", True),
    (ServerError("busy SECRET1"), ServerError, "busy ...", True),
    (PermissionError("no SECRET1"), PermissionError, "no ...", True),
    (ValueError("odd SECRET1"), OSError, "odd ...", False),
    (OSError(5, "cut"), OSError, "[Errno 5] cut", False),
]


@pytest.mark.parametrize(("error", "kind", "said", "of_all"), ERRORS)
def test_what_is_wrong_with_one_is_told_of_it(
    error: Exception, kind: type[OSError], said: str, of_all: bool
) -> None:
    requests = [
        Request(path("c/0"), 0, 9, [1]), Request(path("bad"), 3, 5, [1]),
        Request(path("c/1"), 9, 12, [1, 2]), Request(path("bad"), 5, 9, [1, 2]),
    ]  # fmt: skip
    found = list(reader_of(Store(error)).read_all(requests))
    assert [request for request, _ in found] == requests
    first, alone, second, shared = (data for _, data in found)
    assert bytes(first) == WHOLE[:9] and bytes(second) == WHOLE[9:12]  # type: ignore[arg-type]
    assert type(alone) is kind and str(alone) == said
    if of_all:
        assert type(shared) is kind and str(shared) == said
    else:
        assert shared is None, "one of those that share it may be to blame"
    with pytest.raises(kind) as caught:
        reader_of(Store(error)).read(Request(path("bad"), 3, 5))
    assert type(caught.value) is kind and str(caught.value) == said
    assert caught.value.__cause__ is None


def test_a_range_that_is_shared_is_read_alone_where_it_is_to_be_blamed() -> None:
    store = Store(ValueError("odd"))
    with pytest.raises(OSError, match="it is cut short"):
        reader_of(store).read(Request(path("bad"), 3, 5, [1, 2]))

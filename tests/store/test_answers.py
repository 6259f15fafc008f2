"""What a server answers: which errors pass, and which bytes are those that were asked for."""

import asyncio

import aiohttp
import pytest
from botocore.exceptions import ClientError

from ooc.store.answers import ServerError, Wanted, passes, take


@pytest.mark.parametrize(
    ("status", "may_pass"),
    [
        *((each, True) for each in (408, 425, 429, 500, 502, 503, 504)),
        *((each, False) for each in (400, 401, 403, 404, 410, 416)),
    ],
)
def test_errors_that_may_be_gone_are_asked_for_again(status: int, may_pass: bool) -> None:
    of_web = aiohttp.ClientResponseError(None, (), status=status)  # type: ignore[arg-type]
    of_s3 = ClientError({"ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")  # type: ignore
    assert (passes(of_web), passes(of_s3)) == (may_pass, may_pass)


@pytest.mark.parametrize(
    ("start", "stop", "part", "is_right"),
    [
        (20, 30, "bytes 20-29/100", True),
        (20, 30, "bytes 10-19/100", False),
        (20, 30, "bytes 20-30/100", False),
        (-10, None, "bytes 90-99/100", True),
        (-10, None, "bytes 80-89/100", False),
    ],
)
def test_a_part_that_was_not_asked_for_is_refused(
    start: int, stop: int | None, part: str, is_right: bool
) -> None:
    pieces = [b"0123456789", b""]

    async def read(most: int) -> bytes:
        return pieces.pop(0)

    async def taken() -> bytearray:
        return await take(read, 206, {"content-range": part}, Wanted(start, stop, 10, 1.0))

    if is_right:
        assert asyncio.run(taken()) == b"0123456789"
    else:
        with pytest.raises(ServerError, match="were asked for"):
            asyncio.run(taken())

"""Addresses are put in one form, and what goes wrong behind one is told on one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ooc.core.errors import InputError
from ooc.store.addresses import checked_path, explained, is_denied, reason_of
from ooc.store.answers import ServerError
from ooc.store.file_systems import merged


class StatusError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


def said(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_addresses_are_put_in_one_form_or_refused() -> None:
    for given, path in (
        ("a/b.zarr", "a/b.zarr"), (Path("a") / "b", "a/b"), ("s3:/b/a.zarr", "s3://b/a.zarr"),
        ("s3://b/a.zarr//", "s3://b/a.zarr"), ("memory://a.zarr", "memory://a.zarr"),
        ("https://h:80/a", "https://h:80/a"), ("c:/data", "c:/data"), ("s3://b?x=1", "s3://b?x=1"),
    ):  # fmt: skip
        assert checked_path(given, None) == path
    assert checked_path("s3://b/a", {"key": "k"}) == "s3://b/a"
    assert said(lambda: checked_path("a/b", {"key": "k"})) == (
        "storage_options are for URLs, and a/b is a local folder"
    )
    for given, shown in (
        ("s3://", "s3://"), ("://b/a", "://b/a"), ("https:///", "https:///"),
        ("http://me:word@[x", "[x"),
    ):  # fmt: skip
        assert said(lambda given=given: checked_path(given, None)) == (
            f"{shown} is no URL of a Zarr group; write it like s3://bucket/name.zarr"
        )
    assert said(lambda: checked_path("https://me:word@h/a.zarr", None)) == (
        "the URL of https://h/a.zarr holds a password; give it in storage_options"
    )
    for scheme in ("http", "https"):
        assert said(lambda scheme=scheme: checked_path(f"{scheme}://h/a?token=b", None)) == (
            f"the URL of {scheme}://h/a has a query, and a group is many objects below one "
            "address; give tokens in storage_options"
        )


EXPLAINED: list[tuple[str, Exception, str]] = [
    (
        "s3://b/a", ImportError("install s3fs"),
        "s3://b/a needs a package that is not installed (install s3fs); run: pip install "
        "'ooc[remote]'",
    ),
    *(
        (f"{scheme}://b/a", ImportError("install it"),
         f"{scheme}://b/a needs a package that is not installed (install it); run: pip install "
         "'ooc[remote]'")
        for scheme in ("s3a", "gs", "gcs", "http", "https")
    ),
    (
        "hdfs://b/a", ImportError("no pyarrow"),
        "hdfs://b/a needs a package that is not installed (no pyarrow); install it",
    ),
    (
        "ftpx://b/a", ValueError("Protocol not known: ftpx"),
        "ftpx://b/a has the unknown scheme 'ftpx'; use s3, gs, https, memory or a folder",
    ),
    (
        "s3://b/a", PermissionError("no SECRET1"),
        "no permission to read s3://b/a: no ...; give keys in storage_options or the environment, "
        'or {"anon": True} where the data are public',
    ),
    (
        "s3://b/a", type("NoCredentialsError", (Exception,), {})("none found"),
        "no permission to read s3://b/a: none found; give keys in storage_options or the "
        'environment, or {"anon": True} where the data are public',
    ),
    (
        "s3://b/a", ExceptionGroup("several", [ServerError("busy")]),
        "the server of s3://b/a does not answer: busy; check the network, the URL and "
        "storage_options",
    ),
    ("s3://b/a", ValueError("SECRET1 odd"),
     "s3://b/a cannot be read: ... odd; check the URL and storage_options"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "error", "line"), EXPLAINED)
def test_what_went_wrong_behind_an_address_is_one_line(
    path: str, error: Exception, line: str
) -> None:
    def fail(error: Exception, path: str = path) -> None:
        with explained(path, {"token": "SECRET1"}):
            raise error

    assert said(lambda: fail(error)) == line
    with pytest.raises(type(error)) as caught:
        fail(error, "a/folder")
    assert caught.value is error
    known = InputError("known")
    assert said(lambda: fail(known)) == "known"


def test_who_gives_no_permission_is_known() -> None:
    denied = [StatusError(401), StatusError(403), PermissionError("x"), OSError("Forbidden: x")]
    assert all(map(is_denied, [*denied, ExceptionGroup("x", [denied[0]])]))
    others = [StatusError(404), StatusError(400), OSError("it was Forbidden"), ValueError("x")]
    assert not any(map(is_denied, others))


def test_an_error_is_told_on_one_short_line() -> None:
    assert reason_of(OSError("two\n lines  here")) == "two lines here"
    assert reason_of(KeyError("it is 'so'")) == "it is 'so'"
    assert (reason_of(KeyError()), reason_of(ValueError())) == ("KeyError", "ValueError")
    long = reason_of(OSError("word " * 200))
    assert 390 < len(long) <= 400 and long.endswith("[...]")
    # A short word is no secret, and an address is none.
    options = {"key": "five5", "token": "sixsix", "base_url": "http://a", "port": 1234567}
    shown = reason_of(OSError("five5 sixsix http://a 1234567"), options)
    assert shown == "five5 ... http://a 1234567"


def test_options_in_options_are_added() -> None:
    ours = {"a": {"b": {"c": 1, "d": 1}, "e": 1}, "f": {"g": 1}, "h": 1}
    theirs = {"a": {"b": {"d": 2}}, "f": 2, "i": {"j": 2}}
    assert merged(ours, theirs) == {
        "a": {"b": {"c": 1, "d": 2}, "e": 1}, "f": 2, "h": 1, "i": {"j": 2},
    }  # fmt: skip
    assert ours == {"a": {"b": {"c": 1, "d": 1}, "e": 1}, "f": {"g": 1}, "h": 1}

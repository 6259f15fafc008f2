"""File systems that are kept, and what the environment says of servers and keys meanwhile."""

import pytest

from ooc.store.file_systems import open_file_system

s3fs = pytest.importorskip("s3fs")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "another"),
        ("AWS_SESSION_TOKEN", "new"),
    ],
)
def test_what_the_environment_says_now_counts(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec knows file systems by their options alone."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:7")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "that-nobody-sees")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    before = open_file_system("s3")
    assert open_file_system("s3") is before
    assert before.s3.meta.endpoint_url == "http://127.0.0.1:7"
    monkeypatch.setenv(name, value)
    now = open_file_system("s3")
    found = now.s3._request_signer._credentials
    said = {
        "AWS_ENDPOINT_URL": now.s3.meta.endpoint_url,
        "AWS_ACCESS_KEY_ID": found.access_key,
        "AWS_SESSION_TOKEN": found.token,
    }
    assert said[name] == value
    assert before.s3.meta.endpoint_url == "http://127.0.0.1:7", "who has it goes on with it"

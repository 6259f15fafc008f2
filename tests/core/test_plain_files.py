"""Files that are read whole are files, and no larger than they may be."""

import os
from pathlib import Path

import pytest

from ooc.core.plain_files import check_plain


def test_a_file_of_at_most_so_many_bytes_passes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(bytes(2048))
    check_plain(file)
    check_plain(file, 2048)
    (tmp_path / "link").symlink_to(file)
    check_plain(tmp_path / "link", 2048)
    check_plain(tmp_path, 1)
    check_plain(tmp_path / "none", 1)
    with pytest.raises(ValueError, match=r"/a has 2.00 KiB, above the 2.00 KiB that"):
        check_plain(file, 2047)
    with pytest.raises(ValueError) as refused:
        check_plain(file, 1024)
    assert str(refused.value) == f"{file} has 2.00 KiB, above the 1.00 KiB that it may hold"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        with pytest.raises(ValueError) as refused:
            check_plain(path)
        assert str(refused.value) == f"{path} is a pipe, a socket or a device, no file"

"""Pictures are written as their names ask for, whole or not at all."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ooc.core.errors import InputError
from ooc.core.figures import save_figure


class Drawn:
    """A figure that writes down how it is saved."""

    canvas = SimpleNamespace(get_supported_filetypes=lambda: {"png": "", "svg": ""})

    def savefig(self, stream: Any, format: str, dpi: int) -> None:
        stream.write(f"{format} at {dpi}".encode())


@pytest.mark.parametrize(("name", "kind"), [("a.png", "png"), ("a.SVG", "svg"), ("a", "png")])
def test_a_picture_is_written_as_its_name_asks_for(tmp_path: Path, name: str, kind: str) -> None:
    save_figure(Drawn(), tmp_path / name, 110)  # type: ignore[arg-type]
    assert (tmp_path / name).read_text() == f"{kind} at 110"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_kind_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        save_figure(Drawn(), tmp_path / "a.doc", 110)  # type: ignore[arg-type]
    assert str(refused.value) == (
        f"no picture can be written as {tmp_path / 'a.doc'}; name it .png, .svg or .pdf"
    )
    with pytest.raises(InputError, match=r"https://host/a\.png is a URL, and pictures are kept in"):
        save_figure(Drawn(), "https://host/a.png", 110)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []

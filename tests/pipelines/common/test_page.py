"""The page escapes whatever it shows."""

from pipelines.common.checks import Check
from pipelines.common.figures import Picture
from pipelines.common.page import page
from pipelines.common.section import Section
from pipelines.common.table import Table


def test_the_page_escapes_what_it_shows() -> None:
    check = Check("<b>law</b>", 1.0, '"<q>', True, "a <i2> b")
    shown_picture = Picture("name", "<i>caption</i>", '"><script>', b"png")
    table = Table("<t>", ("<td>",), (("</td>x",),))
    section = Section("<u>title</u>", "<v>", (table,), (shown_picture,), (check,))
    shown = page("<h>", "<w>", "<s>", [section])
    for raw in (
        *("<b>law", "<i>caption", "<script>", "<u>title", "</td>x", "<s>", "<q>"),
        *("<i2>", "<t>", "<v>", "<w>", "<h>"),
    ):
        assert raw not in shown

"""What a terminal would obey is spelt out, and what it shows is left as it is."""

import unicodedata

import pytest

from ooc.core.terminal import one_line, printable, say


def test_every_control_and_invisible_character_is_spelt_out() -> None:
    """Those of Unicode's classes Cc, Zl and Zp, and of Cf what turns or hides text."""
    for code in range(0x3000):
        text = chr(code)
        is_obeyed = unicodedata.category(text) in ("Cc", "Zl", "Zp") and text not in "\t\n"
        is_obeyed |= unicodedata.bidirectional(text) in ("LRE", "RLE", "PDF", "LRO", "RLO")
        is_obeyed |= unicodedata.bidirectional(text) in ("LRI", "RLI", "FSI", "PDI")
        is_obeyed |= code in (0x061C, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F)
        spelt = f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
        if is_obeyed:
            assert printable(text) == spelt
        elif unicodedata.category(text) not in ("Cf", "Cn"):
            assert printable(text) == text
    assert printable(chr(0xFEFF)) == "\\ufeff"
    assert printable("e\u0301 \u05d0 \u4e2d") == "e\u0301 \u05d0 \u4e2d"
    assert printable(12) == "12"


def test_a_text_on_one_line_has_single_spaces() -> None:
    assert one_line("  a\t b\r\n\n c\x1b[0m ") == "a b c\\x1b[0m"


def test_a_line_goes_to_standard_error_where_there_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say("one\ntwo\x07")
    assert capsys.readouterr() == ("", "one two\\x07\n")
    monkeypatch.setattr("sys.stderr", None)
    say("lost")
    assert capsys.readouterr().out == ""

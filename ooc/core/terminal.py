"""Text for terminals: what names and paths hold is shown, and never obeyed."""

import io
import os
import sys

# Controls but tab and line feed, and what turns the direction of text or breaks a line unseen.
_OBEYED = (
    *(code for code in range(32) if code not in (9, 10)),
    *range(127, 160),
    0x061C,
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x206A),
    0xFEFF,
)
_SHOWN = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _OBEYED}


def printable(text: object) -> str:
    r"""Return a text with everything spelt out that a terminal would obey instead of show.

    Examples
    --------
    >>> print(printable("red" + chr(27) + "[31m"))
    red\x1b[31m
    """
    return str(text).translate(_SHOWN)


def one_line(text: object) -> str:
    r"""Return a text on one line, printable.

    Examples
    --------
    >>> one_line(" a  b\nc ")
    'a b c'
    """
    return printable(" ".join(str(text).split()))


def say(text: object) -> None:
    """Print one line on standard error, where the process has one."""
    # Without it, print would take standard output, which is for results.
    if sys.stderr is not None:
        print(printable(text).replace("\n", " "), file=sys.stderr, flush=True)


def prepare_streams() -> None:
    """Make the standard streams of this process such that text can be written to them.

    What an encoding lacks is spelt out. A stream that was closed is one that forgets: else a file
    of the process's own would be opened in its place.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123  open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish_streams() -> str | None:
    """Write out what standard output holds; return why that cannot be, None if it is well."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # What cannot be written would be tried again as the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return error.strerror
    return None

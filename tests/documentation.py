"""The pages of the documentation and their code, for the tests that run it."""

import re
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "scripts" / "documentation"
PAGES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.md"))}


def blocks_of(text: str) -> list[tuple[str, str]]:
    """Return language and code of the blocks that are to be pasted: those that name no file."""
    found = re.findall(r"^```(bash|python)\n(.*?)^```", text, re.S | re.M)
    return [(language, code) for language, code in found if not code.startswith("# ooc/")]


def script_of(text: str) -> str:
    """Return a page's blocks from top to bottom as one program.

    Processes that the program starts may import it again: commands run once.
    """
    parts = ["import subprocess\n"]
    for language, code in blocks_of(text):
        command = ["bash", "-euo", "pipefail", "-c", code]
        once = f"if __name__ == '__main__':\n    subprocess.run({command}, check=True)\n"
        parts.append(code if language == "python" else once)
    return "\n".join(parts)


def packages_missing(script: str) -> list[str]:
    """Return the packages that a program imports, and that are not installed."""
    names = re.findall(r"^(?:import|from) (\w+)", script, re.M)
    return [name for name in names if find_spec(name) is None]

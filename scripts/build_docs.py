"""Build the documentation, with warnings as errors, and check every link of every page."""

import argparse
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "scripts" / "documentation"
OUT = ROOT / "build" / "docs"
SCHEMES = ("https", "http", "mailto")


class Page(HTMLParser):
    """What a page links to, what it loads, and where it can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down what an element says of links."""
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif "src" in given or tag == "link":
            self.loaded.append(given.get("src", given.get("href", "")))


def dead_links(folder: Path) -> list[str]:
    """Return what is wrong with links of HTML pages in a folder, each in one line.

    A page or a place in it that is not there is dead. Addresses of other servers are not asked,
    but have to be well formed, and nothing may be loaded from there.
    """
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(folder)
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    found.append(f"{where}: {link} is loaded from elsewhere")
                elif parts.scheme not in (*SCHEMES, "data") or not is_well_formed(link):
                    found.append(f"{where}: {link} is no address")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else {unquote(parts.fragment)}
            if not target.is_file():
                found.append(f"{where}: {link} is not there")
            elif parts.fragment and unquote(parts.fragment) not in anchors:
                found.append(f"{where}: {link} is no place in that page")
    return found


def is_well_formed(address: str) -> bool:
    """Tell whether an address has a host with a domain, and no character that needs escaping.

    Examples
    --------
    >>> is_well_formed("https://example.org/a"), is_well_formed("https://example")
    (True, False)
    """
    parts = urlsplit(address)
    if parts.scheme in ("mailto", "data"):
        return True
    return "." in (parts.hostname or "") and not set(address) & set(' <>"{}|\\^`')


def main() -> int:
    """Build, check, and say where the pages are; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the pages: build/docs")
    parser.add_argument("--sources", type=Path, default=SOURCES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    # Links can be checked without it.
    from sphinx.cmd.build import build_main

    aside = ["--doctree-dir", str(given.out.parent / f"{given.out.name}-doctrees")]
    strict = ["--fail-on-warning", "--nitpicky", "--fresh-env", "--quiet", "--jobs", "auto"]
    sources = [str(given.sources), "--conf-dir", str(SOURCES)]
    status = build_main(["--builder", "html", *strict, *aside, *sources, str(given.out)])
    if status:
        return status
    dead = dead_links(given.out.resolve())
    print("\n".join(dead), file=sys.stderr, end="\n" if dead else "")
    if not dead:
        print(f"{given.out / 'index.html'}")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())

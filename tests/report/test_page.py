"""The page: whole, self-contained, deaf to markup in data; and the command that writes it."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from histories import GIB, description, write_run

from ooc.cli import main
from ooc.core.errors import InputError
from ooc.report import write_report
from ooc.report.axes import colours, text_colour
from ooc.report.page import page
from ooc.report.runs import read_runs

EVIL = "</title><script>document.title='owned'</script><img src=x onerror=alert(1)>&\"'$x_1$"
VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """Collects the elements of a page, and checks that each one that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


# A description whose every text is markup.
TEXTS = {
    "model": {"name": EVIL, EVIL: EVIL},
    "optimizer": {"name": EVIL, "rate": EVIL, "schedule": {"name": EVIL}, "l1": EVIL},
    "dataset": {"path": EVIL},
    "versions": {EVIL: EVIL},
    "batch_size": EVIL,
    "results": {"parameters_sha256": EVIL, "steps": 1},
}


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page on three runs, the best of which is markup."""
    folder = tmp_path_factory.mktemp("evil")
    runs = [
        write_run(folder / EVIL.replace("/", "|"), {**description(), **TEXTS}, noise=True),
        write_run(folder / "killed", kill_at=130, budget=2 * GIB),
        write_run(folder / "_short", {**description(), "model": {"name": "\ud800"}}, lines=1),
    ]
    metric = {"kind": "validation", "step": 1, "seconds": 1.0, EVIL: 0.5}
    with (runs[0] / "history.jsonl").open("a") as stream:
        stream.write(json.dumps(metric) + "\n{\n")
    write_report(runs, folder / "page.html")
    return (folder / "page.html").read_text()


def check_harmless(page: Page) -> None:
    assert page.open == []
    assert {tag for tag, _ in page.elements} & {"script", "img", "iframe", "link", "a"} == set()
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]
    assert page.named("title") == [{}]


def test_markup_in_data_stays_text(evil: str) -> None:
    check_harmless(Page(evil))
    assert "".join(Page(evil).words).count("<script>document.title='owned'</script>") >= 3


@pytest.mark.parametrize("count", [1, 2, 9])
def test_markup_that_runs_share_stays_text(tmp_path: Path, count: int) -> None:
    name = EVIL.replace("/", "|")
    folders = [tmp_path / f"{name}{i}" for i in range(count)]
    runs = read_runs([write_run(folder, {**description(), **TEXTS}, lines=2) for folder in folders])
    text = page(runs, [])
    check_harmless(Page(text))
    assert "".join(Page(text).words).count("<script>document.title='owned'</script>") >= 5


def test_nothing_is_fetched(evil: str) -> None:
    (policy,) = [meta for meta in Page(evil).named("meta") if "http-equiv" in meta]
    assert str(policy["content"]).startswith("default-src 'none'")
    sources = ("src", "href", "xlink:href", "srcset", "data", "poster", "action")
    links = [found[name] for _, found in Page(evil).elements for name in sources if name in found]
    links += re.findall(r"url\(([^)]*)\)", evil)
    assert links
    assert all(str(link).startswith("#") for link in links)
    assert "@import" not in evil


def test_ids_are_unique_and_what_is_referred_to_is_there(evil: str) -> None:
    ids = [found["id"] for _, found in Page(evil).elements if "id" in found]
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r'(?:href="|url\()#([^")]+)', evil))
    assert referred <= set(ids)


def test_each_picture_is_whole_and_has_words_for_who_cannot_see_it(evil: str) -> None:
    pictures = re.findall(r"<svg .*?</svg>", evil, flags=re.DOTALL)
    assert len(pictures) == 14
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.attrib["role"] == "img"
        assert re.search(r"runs, .*\d", root.attrib["aria-label"])
        assert "<script" not in picture


def test_runs_have_the_same_colour_in_all_pictures(evil: str) -> None:
    root = ElementTree.fromstring(
        "<page>" + "".join(re.findall(r"<svg .*?</svg>", evil, flags=re.DOTALL)) + "</page>"
    )
    shades = colours(3)
    seen = set()
    for element in root.iter():
        found = re.search(r"\.(curve|dots|saves|resumes)-run-(\d)$", element.attrib.get("id", ""))
        if found:
            styles = " ".join(part.attrib.get("style", "") for part in element.iter())
            used = set(re.findall(r"(?:stroke|fill): (#[0-9a-f]{6})", styles)) - {"#ffffff"}
            assert used == {shades[int(found[2])]}
            seen.add(found[0].split(".")[1])
    assert {"curve-run-0", "curve-run-1", "curve-run-2", "dots-run-0"} <= seen
    assert {"saves-run-0", "resumes-run-1"} <= seen or {"saves-run-1", "resumes-run-0"} <= seen


def test_every_run_can_be_told_from_the_others() -> None:
    for runs in (1, 7, 8, 48):
        assert len(set(colours(runs))) == runs
    assert {text_colour(shade) for shade in colours(48)} == {"#fff", "#000"}


@pytest.mark.slow
def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(9):
        write_run(tmp_path / f"sweep/{i}", rate=0.01 * 1.6**i, lines=9, seed=i)
    folders = [f"sweep/{i}" for i in range(9)]
    assert main(["report", *folders, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    content = Path("report.html").read_bytes()
    assert (told["path"], told["page_bytes"]) == ("report.html", len(content))
    assert sorted(told["runs"]) == sorted(folders)
    rows = [row["class"] for row in Page(content.decode()).named("tr") if "class" in row]
    assert rows == [f"run-{i}" for i in range(9)]
    assert main(["report", "sweep/0", "--out", "again.html"]) == 0
    assert "again.html" in capsys.readouterr().out
    first = Path("again.html").read_bytes()
    assert main(["report", "sweep/0", "--out", "again.html"]) == 0
    assert Path("again.html").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "again.html",
        "report.html",
        "sweep",
    ]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["report", *arguments]) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert printed.out == ""
    return line


def test_what_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", lines=2)
    Path("empty").mkdir()
    assert "RUN" in refused(capsys)
    assert "empty holds no history.jsonl" in refused(capsys, "run", "empty")
    assert "none does not exist" in refused(capsys, "none")
    assert "run is a folder; name the file" in refused(capsys, "run", "--out", "run")
    assert "the folder no of a.html does not exist" in refused(capsys, "run", "--out", "no/a.html")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'ooc[report]'" in refused(capsys, "none")
    with pytest.raises(InputError, match="matplotlib"):
        write_report(["run"], "a.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "run"]


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--help"]) == 0
    assert "Example: ooc report" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        {"loss": float("nan")},
        {"loss": 0.0, "learning_rate": 0.0, "memory_bytes": 0, "rows": 0, "wait_seconds": 0.0},
        {"loss": -1e300, "noise_scale": 1e-300, "memory_budget_bytes": 1e300},
        {"rows": 1, "loss": 1e-12, "temperature": 1e300, "batch_size": 1},
    ],
)
def test_numbers_at_the_edge_are_drawn(tmp_path: Path, line: dict[str, float]) -> None:
    (tmp_path / "history.jsonl").write_text(
        "".join(
            json.dumps({"kind": "train", "step": step, "seconds": step, **line}) + "\n"
            for step in (0, 1)
        )
    )
    write_report([tmp_path], tmp_path / "page.html")
    assert Page((tmp_path / "page.html").read_text()).open == []


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_real_browser_runs_nothing_and_complains_of_nothing(evil: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(evil)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += [f"--user-data-dir={tmp_path}/profile", "--enable-logging=stderr", "--dump-dom"]
    command = [str(BROWSER), *options, (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    assert "<title>Report on 3 runs</title>" in done.stdout
    assert done.stdout.count("<figure>") == 14
    assert "<script" not in done.stdout

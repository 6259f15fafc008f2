"""What a prompt and a notebook show of an object: short, true, and harmless."""

from dataclasses import replace
from html.parser import HTMLParser

import ooc
from ooc.core.summary import Summary
from ooc.store.dataset import Dataset


class Cells(HTMLParser):
    """The texts and tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts, self.tags = list[str](), set[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def test_dataset_plan_loader_and_run_tell_what_they_are(dataset: Dataset) -> None:
    loader = ooc.Loader(dataset, 100, memory="512MiB")
    next(iter(loader))
    trainer = ooc.Trainer(ooc.models.Logistic(standardise=False), ooc.optim.sgd(1e-6), 100)
    run = trainer.fit(dataset, epochs=2)
    expected: list[tuple[Summary, list[str]]] = [
        (dataset, ["rows 1,003", "features X float32 (3,)", "target y int64", dataset.path]),
        (loader.plan, ["steps 11 of 100 rows", "of 512 MiB"]),
        (loader, ["arrays X, y", "at epoch 0, row 100", dataset.path]),
        (run, ["model logistic", "parameters 4", "steps 22", f"loss {run.results['loss']:.4g}"]),
    ]
    for each, texts in expected:
        line = repr(each)
        assert line.startswith(f"{type(each).__name__}(") and len(line) < 300 and "\n" not in line
        for text in texts:
            assert text in line
        cells = Cells(each._repr_html_()).texts
        for name, value in each.facts().items():
            assert f"{name} {value}" in line
            assert cells[cells.index(name) + 1] == value
    part = ooc.split(dataset, 0.5, by="row")[0]
    assert f"rows {part.rows:,} of 1,003" in repr(part)


def test_names_are_shown_and_never_obeyed(dataset: Dataset) -> None:
    bad = replace(dataset, path="https://key:secret@host/<script>a\x1b[31m</script>")
    assert "\x1b" not in repr(bad) and "secret" not in repr(bad) + bad._repr_html_()
    assert "script" not in Cells(bad._repr_html_()).tags

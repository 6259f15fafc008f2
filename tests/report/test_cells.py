"""Settings and results in words; and the tables and details that are made of them."""

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from histories import description

from ooc.report.cells import NOTHING, make_results, make_settings, moment, shown, text
from ooc.report.history import History, Standing
from ooc.report.page import page
from ooc.report.runs import ReportedRun, read_runs
from ooc.report.tables import definitions, facts, runs_table, tiles
from ooc.stream.options import StreamOptions


def history(**more: Any) -> History:
    end = Standing(step=1200.0, rows=6e6, bytes=3e9, seconds=4.0, wait_seconds=1.0)
    return History(**{"end": end, "last_loss": 0.25, **more})


def test_all_results_are_told() -> None:
    measured = {"accuracy": 0.98765, "auc": 0.91234, "calibration_error": 0.01236, "r2": 0.5,
                "mean_absolute_error": 0.1234567}  # fmt: skip
    measured |= {"within_one": 0.995, "mean_absolute_notches": 0.4567891}
    measured |= {"quadratic_weighted_kappa": 0.87654}
    results = {
        "loss": 0.123456, "memory_budget_bytes": 2**30, "memory_peak_bytes": 2**29, "epochs": 3,
        "total_seconds": 90, "validation": measured, "started": "2026-03-04T05:06:07+00:00",
        "parameters_sha256": "0123456789abcdef",
    }  # fmt: skip
    results |= {"lanes": 4, "workers": 2, "bytes_per_step": 2131, "answers_wait_seconds": 0.4}
    results |= {"dropped_gradients": [3, 0, 4, 1]}
    told = history(
        best_validation=(0.34567891, 1100.0), save_seconds=0.125,
        counts=Counter(checkpoint=2000, resume=3),
    )  # fmt: skip
    described = {"results": results, "plan": {"rows": 2_000_000}, "machine": "A"}
    assert make_results(told, described) == {
        "validation loss": "0.34568", "best step": "1,100", "accuracy": "98.77%",
        "within one": "99.50%", "mean abs. notches": "0.4568", "kappa": "0.8765", "AUC": "0.9123",
        "calibration error": "0.0124", "R2": "0.5000", "mean abs. error": "0.12346",
        "training loss": "0.12346", "rows": "2,000,000", "steps": "1,200", "epochs": "3",
        "training time": "4 s", "total time": "1 min 30 s", "rows/s": "1,500,000", "GB/s": "0.75",
        "peak memory": "50% of 1.00 GiB", "waiting": "25%",
        "lanes": "4 lanes on 2 workers, 2,131 bytes a step, 10% waiting, 8 gradients dropped",
        "saves": "2,000 in 0.12 s",
        "resumes": "3", "started": "04 Mar 2026 05:06 UTC", "machine": "A",
        "parameters sha256": "01234567",
    }  # fmt: skip


def test_results_that_were_not_saved_are_those_of_the_history() -> None:
    told = make_results(history(memory_budget_bytes=2.0**30, memory_peak_bytes=2.0**28), {})
    assert told["training loss"] == "0.25" and told["peak memory"] == "25% of 1.00 GiB"
    assert told["saves"] == "0" and told["resumes"] == "0"
    for name in ("validation loss", "best step", "accuracy", "rows", "epochs", "started", "machine",
                 "parameters sha256", "total time"):  # fmt: skip
        assert told[name] == NOTHING, name
    nothing = make_results(History(), {"parameters_sha256": "fedcba9876"})
    assert nothing["parameters sha256"] == "fedcba98"
    assert {nothing[name] for name in ("training time", "rows/s", "GB/s", "waiting")} == {NOTHING}
    assert nothing["training loss"] == "not finite" and nothing["peak memory"] == NOTHING


def settings(history: History | None = None, **changes: Any) -> dict[str, str]:
    return make_settings(history or History(), description(**changes))


def test_what_is_not_set_is_not_told() -> None:
    optimizer = {"name": "sgd", "rate": 0.5, "l1": 0.25, "l2": 0.0, "clip_norm": 1.0}
    optimizer |= {"schedule": {"warmup": 0}, "constants": []}
    told = settings(optimizer=optimizer, plan={"batch_size": 32}, memory="1GiB", epochs=7)
    for name in ("L2", "schedule", "warm-up", "optimizer's numbers", "rows held out", "seed"):
        assert name not in told
    expected = {"L1": "0.25", "clipping": "1", "learning rate": "0.5", "batch size": "32",
                "passes": "7", "memory": "1GiB"}  # fmt: skip
    assert {name: told[name] for name in expected} == expected
    assert settings(batch_size=64)["batch size"] == "64"
    grown = History(batch_sizes=(1024.0, 4096.0))
    assert settings(grown)["batch size"] == "1,024 to 4,096"
    assert settings(History(batch_sizes=(1024.0, 1024.0)))["batch size"] == "1,024"


def test_a_schedule_has_numbers_and_a_rate_was_found_where_that_is_so() -> None:
    def trainer(**asked: Any) -> dict[str, str]:
        return settings(trainer={"optimizer": asked, "validation": {"data": 0.125}, "seed": 0})

    assert "schedule's numbers" not in trainer(rate=0.1, schedule={"constants": [0, 0]})
    given = trainer(rate=0.1, schedule={"constants": [50, 0]})
    assert given["schedule's numbers"] == "50000, 0" and given["learning rate"] == "0.1"
    assert trainer(rate=None)["learning rate"] == "0.1, found"
    assert trainer()["learning rate"] == "0.1"
    assert (given["rows held out"], given["seed"]) == ("0.125 of all", "0")
    held = settings(trainer={"validation": {"data": "held.zarr"}})
    assert held["rows held out"] == "held.zarr"


def test_of_the_stream_what_is_not_as_usual_is_told() -> None:
    usual = StreamOptions().to_config()
    names = ("shuffle", "window", "lanes", "sampling", "missing_values", "on_bad_chunk")
    told = settings(trainer={name: usual[name] for name in names})
    assert not {name.replace("_", " ") for name in names} & set(told)
    told = settings(trainer=dict.fromkeys(names, "odd"))
    assert all(told[name.replace("_", " ")] == "odd" for name in names)


def test_settings_are_bounded() -> None:
    model = {"name": "m", **{f"s{i}": i for i in range(99)}}
    assert len(settings(model=model)) == 40


def test_values_are_written_shortly() -> None:
    assert [text(value) for value in (None, False, 0.1234567, 7, [1, True])] == [
        NOTHING, "no", "0.123457", "7", "1, yes",
    ]  # fmt: skip
    assert text(list(range(8))) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert text(list(range(9))) == "0, 1, 2, 3, 4, 5, 6, 7, …"
    assert text("x" * 80) == "x" * 80
    assert text("a" * 41 + "b" * 40) == "a" * 38 + "…" + "b" * 38
    assert shown(math.inf, ".2f") == NOTHING and shown(math.nan, ".2f", "none") == "none"
    assert moment(None) == moment("yesterday") == NOTHING


def run_of(
    name: str, settings: dict[str, str], path: str = "data/a.zarr", **results: Any
) -> ReportedRun:
    described = {"dataset": {"path": path}, "results": {"started": results.pop("started", None)}}
    told = {**make_results(history(), described), **results}
    return ReportedRun(
        Path("runs", name), name, history(), described, settings, told, 0.25, "loss", ()
    )


def head(table: str) -> list[str]:
    (found,) = re.findall(r"<thead>.*?</thead>", table, flags=re.DOTALL)
    return re.findall(r"<th(?: [^>]*)?>(.*?)</th>", found)


def rows(table: str) -> list[list[str]]:
    (found,) = re.findall(r"<tbody>.*?</tbody>", table, flags=re.DOTALL)
    return [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in found.split("</tr>")[:-1]]


def test_what_differs_has_columns_and_what_is_shared_a_list() -> None:
    shared = {"model": "linear", "data": "a.zarr", "machine": "A"}
    first = {**shared, **{f"s{i}": "1" for i in range(6)}, "own": "9", "L2": "0.5"}
    second = {**shared, **{f"s{i}": "2" for i in range(6)}}
    group = [run_of("a", first), run_of("b", second, **{"peak memory": "50% of 1.00 GiB"})]
    table = runs_table(group, ["[1]", "[2]"])
    # Six of all runs and an own one; L2 is 0 where it is not told.
    assert head(table)[:7] == ["", "run", "s0", "s1", "s2", "s3", "s4"]
    assert rows(table)[1][:4] == ["[2]", "b", "2", "2"]
    assert rows(table)[1][head(table).index("peak memory")] == "50%"
    assert "Also different, see below: s5, L2, own." in table
    assert "The same in all 2 runs</h4>" in table
    below = table.partition("The same in all 2 runs")[2]
    assert "<dt>model</dt><dd>linear</dd>" in below
    assert "<dt>data</dt>" not in below and "<dt>machine</dt>" not in below
    # Nothing was measured: no column of dashes.
    assert "accuracy" not in head(table) and "rows/s" in head(table)
    assert 'data-run="1"' in table and 'title="runs/b"' in table
    same = runs_table([run_of("a", second), run_of("b", second)], ["[1]", "[2]"])
    assert head(same)[:3] == ["", "run", "training loss"] and 'class="name"' in same
    assert 'class="name more"' in table
    kept = re.findall(r'<th class="setting">(.*?)</th>', table)
    assert kept == ["s0", "s1"]
    assert '<th class="more">training loss' not in table
    one, other = (run_of(each, first, **{"validation loss": "1"}) for each in "ab")
    for group, narrow in (([one, other], False), ([one, run_of("b", first)], True)):
        judged = runs_table(group, ["[1]", "[2]"])
        assert ('<th class="more">training loss' not in judged) == narrow


def test_a_run_alone_has_tiles_and_settings() -> None:
    told = tiles(run_of("a", {"model": "linear", "data": "a.zarr", "machine": "A"}))
    first, _, second = told.partition("<h4>Settings</h4>")
    assert first.startswith('<dl class="tiles">') and "<dt>steps</dt><dd>1,200</dd>" in first
    assert NOTHING not in first
    assert second == '<dl class=""><div><dt>model</dt><dd>linear</dd></div></dl>'


def test_long_values_take_a_line_and_dashes_none() -> None:
    listed = definitions({"a": "x" * 60, "b": "y" * 61, "c": NOTHING})
    assert listed == (
        f'<dl class=""><div><dt>a</dt><dd>{"x" * 60}</dd></div>'
        f"<div class=long><dt>b</dt><dd>{'y' * 61}</dd></div></dl>"
    )


def test_facts_are_those_of_all_runs() -> None:
    early, late = "2026-03-04T05:06:07+00:00", "2026-03-05T05:06:07+00:00"
    known = {"rows": "100", "machine": "A", "total time": "3 s"}
    one, other = run_of("a", {}, started=late, **known), run_of("b", {}, started=early, **known)
    assert facts([one]) == (
        "<p>data/a.zarr · 100 rows trained on · started 05 Mar 2026 05:06 UTC · total time 3 s · A"
        "</p>"
    )
    assert facts([one, other]) == (
        "<p>data/a.zarr · 100 rows trained on · started 04 Mar 2026 05:06 UTC to 05 Mar 2026 05:06 "
        "UTC · total time 3 s · A</p>"
    )
    strange = run_of("c", {}, started="?", **{**known, "machine": "B", "rows": "7"})
    assert facts([one, strange]) == (
        "<p>data/a.zarr · started 05 Mar 2026 05:06 UTC · total time 3 s · 2 machines, see each run"
        "</p>"
    )
    assert facts([run_of("d", {}, path="")]) == ""


def written(folder: Path, count: int, lines: str = "") -> list[ReportedRun]:
    for i in range(count):
        (folder / f"{i:02}").mkdir()
        line = f'{{"kind": "train", "step": 1, "seconds": 1, "loss": 0.{i + 1:02}}}\n'
        (folder / f"{i:02}" / "history.jsonl").write_text(line + lines)
    return read_runs([folder / f"{i:02}" for i in range(count)])


@pytest.mark.parametrize("count", [1, 2, 6, 7])
def test_a_page_of_few_runs_has_their_names_and_notes_open(tmp_path: Path, count: int) -> None:
    text, _ = page(written(tmp_path, count), "")
    (title,) = re.findall("<title>(.*?)</title>", text)
    assert title == ("Report on 00" if count == 1 else f"Report on {count} runs")
    buttons = re.findall(
        r'<button class="run" data-run="(\d)" title="(\d\d)".*?</span>(.*?)</b', text
    )
    named = [f" {i:02}" if count <= 6 else "" for i in range(count)]
    assert buttons == ([] if count == 1 else [(str(i), f"{i:02}", named[i]) for i in range(count)])
    notes = f"Notes on {count} of {count} runs" if count > 1 else "Notes"
    assert f"<details{' open' if count <= 6 else ''}><summary>{notes}</summary>" in text
    # Of the runs, the best one is open.
    opened = re.findall(r"<details( open)?><summary><span", text)
    assert opened == ([] if count == 1 else [" open", *[""] * (count - 1)])
    assert "by training loss" in text or count == 1


def test_losses_are_told_by_what_they_were_measured_on(tmp_path: Path) -> None:
    line = '{"kind": "validation", "step": 1, "seconds": 1, "loss": 0.5}\n'
    text, _ = page(written(tmp_path, 2, line), "")
    assert "Best first, by validation loss." in text


def test_many_lines_and_gaps_are_noted(tmp_path: Path) -> None:
    lines = "{\n[]\n" + '{"kind": "train", "step": 2, "seconds": 2, "loss": NaN}\n'
    lines += '{"kind": "validation", "step": 2, "seconds": 2, "auc": Infinity}\n'
    (run,) = written(tmp_path, 1, lines)
    assert run.notes == (
        "run.json is not there yet: nothing was saved, settings are not known",
        "2 lines of the history cannot be read and are left out",
        "loss is not finite in 1 lines: gaps in the curve",
        "validation auc is not finite in 1 lines: gaps in the curve",
    )


@pytest.mark.parametrize(
    ("described", "notes"),
    [
        ('{"results": {"steps": 1}}', ()),
        ('{"finished": false, "results": {"steps": 1}}',
         ("not finished: it stopped at step 1; `ooc resume` goes on with it",)),
        ('{"finished": false, "results": {"steps": 0}}',
         ("last saved at step 0, but the history goes on to 1",)),
        ('{"finished": true, "results": {"dropped": "why"}}', ("left behind: why",)),
        ("[]", ("run.json holds no description: settings are not known",)),
    ],
)  # fmt: skip
def test_how_a_run_ended_is_noted(tmp_path: Path, described: str, notes: tuple[str, ...]) -> None:
    written(tmp_path, 1)
    (tmp_path / "00" / "run.json").write_text(described)
    (run,) = read_runs([tmp_path / "00"])
    assert run.notes == notes


def test_classes_are_called_by_their_names_where_there_is_one_for_each() -> None:
    run = run_of("a", {})
    run.description["results"]["class_names"] = ["no", 7.5]  # type: ignore[index]
    assert run.class_names(2) == ["no", "7.5"]
    assert run.class_names(3) == ["0", "1", "2"]


def test_a_long_description_is_cut(tmp_path: Path) -> None:
    written(tmp_path, 1)
    for length, is_whole in ((7000, True), (9000, False)):
        described = f'{{"model": {{"name": "{"m" * length}"}}, "results": {{"end": 7}}}}'
        (tmp_path / "00" / "run.json").write_text(described)
        text, _ = page(read_runs([tmp_path / "00"]), "")
        (shown,) = re.findall(r"<pre>(.*?)</pre>", text, flags=re.DOTALL)
        assert ("&quot;end&quot;: 7" in shown) == is_whole
        assert shown.endswith("…") != is_whole


def test_kinds_of_runs_are_linked_to_where_they_are(tmp_path: Path) -> None:
    written(tmp_path, 3)
    for name, data in (("00", "b.zarr"), ("01", "a.zarr"), ("02", "b.zarr")):
        described = f'{{"dataset": {{"path": "x/{data}"}}, "model": {{"name": "logistic"}}}}'
        (tmp_path / name / "run.json").write_text(described)
    text, _ = page(read_runs([tmp_path / name for name in ("00", "01", "02")]), "")
    loss = "<small>logistic loss</small>"
    assert "these are of 2 kinds.</p><ul>" in text
    assert re.findall(r"<li><a href=.*?</li>", text) == [
        f'<li><a href="#group-0">a.zarr {loss}</a>: 01</li>',
        f'<li><a href="#group-1">b.zarr {loss}</a>: 2 runs</li>',
    ]
    assert re.findall(r'id="group-(\d)"><h2>(.*?) <', text) == [("0", "a.zarr"), ("1", "b.zarr")]


def test_curves_of_many_runs_are_calmer(tmp_path: Path) -> None:
    lines = "".join(
        f'{{"kind": "train", "step": {i}, "seconds": {i}, "loss": 0.5}}\n' for i in range(2, 150)
    )
    # Of 150 points, and of 8 x 150 shared by a dozen, neighbours two at a time.
    for count, length in ((1, 149), (8, 149), (12, 75)):
        (tmp_path / str(count)).mkdir()
        (run, *_) = written(tmp_path / str(count), count, lines)
        assert len(run.history.curves["loss"]) == length


def test_losses_that_were_saved_decide_and_else_those_of_the_last_line(tmp_path: Path) -> None:
    written(tmp_path, 3)
    for name, loss in (("00", "0.5"), ("01", "NaN")):
        (tmp_path / name / "run.json").write_text(f'{{"results": {{"loss": {loss}}}}}')
    found = read_runs([tmp_path / name for name in ("00", "01", "02")])
    assert [(run.name, run.loss) for run in found] == [("01", 0.02), ("02", 0.03), ("00", 0.5)]

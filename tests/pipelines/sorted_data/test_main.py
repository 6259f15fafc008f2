"""The pipeline on sorted data, in small: each way is compared, no shuffle is seen to be broken."""

import sys
from pathlib import Path

import pytest

from pipelines import sorted_data


@pytest.mark.slow
def test_it_compares_draws_and_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sorted_data, "CHUNK_BYTES", 16 * 2**10)
    monkeypatch.setattr(sorted_data, "HELD_OUT", 20_000)
    monkeypatch.setattr(sorted_data, "PAIR_ROWS", 160_057)
    monkeypatch.setattr(sorted_data, "PAIR_BLOCK", 40)
    monkeypatch.setattr(sorted_data, "RATE", 0.05)
    arguments = ["--rows", "120k", "--memory", "1GiB", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["sorted_data", *arguments])
    assert sorted_data.main() == 0
    printed = capsys.readouterr().out
    for title in ("sorted by label", "sorted by a drifting feature"):
        table = printed.rsplit(f"\n{title}\n", 1)[1].splitlines()
        excess = {
            line[:22].strip(): float(line[22:].split("%")[0].split()[-1]) for line in table[1:7]
        }
        assert excess["no shuffle"] > 5
        assert abs(excess["exact shuffle"]) < 2
    assert "a full shuffle" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["sorted-data.png"]


def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sorted_data", "--rows", "many", "--folder", str(tmp_path)])
    assert sorted_data.main() == 2
    assert "sorted_data: 'many' is not a positive count" in capsys.readouterr().err

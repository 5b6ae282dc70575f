"""The benchmarks of speed run: everything small, in this process, and no figure is looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "speed"


def run(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout


@pytest.mark.slow
def test_rows_are_timed_against_the_textbooks_loop(tmp_path):
    rows = ["mlp", "mlp-one", "mlp-machine"]  # those of images are tried in the tests of ganzoo-images
    shown = run(FOLDER, *rows, "--tiny", "--pairs", 1, "--json", tmp_path / "found.json")
    found = [json.loads(line) for line in (tmp_path / "found.json").read_text().splitlines()]
    assert [row["row"] for row in found] == rows
    for row in found:
        assert f"{row['row']}: " in shown
        (sides,) = row["rounds"]
        assert sides.keys() == {"textbook", *row["ratios"]}
        assert all(side["rate"] > 0 for side in sides.values())
        assert {"commit", "torch"} <= row["environment"].keys()


@pytest.mark.slow
def test_growth_is_measured_and_drawn(tmp_path):
    run(FOLDER / "growth.py", "--tiny", "--out", tmp_path / "growth")
    growth = json.loads((tmp_path / "growth.json").read_text())["growth"]
    assert growth.keys() == {"seeds", "batch", "width", "entries"}
    assert "| seeds |" in (tmp_path / "growth.md").read_text()
    assert (tmp_path / "growth.png").stat().st_size > 10_000

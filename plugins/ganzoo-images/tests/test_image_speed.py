"""The benchmarks of speed that train on images run: everything small, and no figure is looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks" / "speed"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="not in a checkout of the project")
def test_rows_of_images_are_timed_against_the_textbooks_loop(tmp_path):
    rows = ["dcgan", "dcgan-upsample", "sngan", "sampling"]
    file = tmp_path / "found.json"
    command = [sys.executable, str(FOLDER), *rows, "--tiny", "--pairs", "1", "--json", str(file)]
    subprocess.run(command, check=True, timeout=300)
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["row"] for row in found] == rows
    for row in found:
        (sides,) = row["rounds"]
        assert sides.keys() == {"textbook", *row["ratios"]}
        assert all(side["rate"] > 0 for side in sides.values())

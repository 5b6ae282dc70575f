"""What the default suite shows of the original GAN on the classic test of mode collapse, whatever it is."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ganzoo import bench
from ganzoo.executor import LocalProcesses


@pytest.mark.slow
def test_modes_and_quality_of_ns_gan_on_the_ring_over_five_seeds(tmp_path):
    todo = dataclasses.replace(bench.plan(["ns-gan.ring"]), seeds=5)
    board = bench.bench(todo, tmp_path, LocalProcesses(2), device="cpu", workers=2)
    (entry,) = board["entries"]
    assert [run["status"] for run in entry["runs"]] == ["finished"] * 5
    floor = {name: score["value"] for name, score in board["floors"]["ring"].items()}
    bounds = {"modes": (0, 8), "high-quality": (0, 100), "mode-kl": (0, 2.1)}
    for name, (low, high) in bounds.items():
        shown = {which: entry["metrics"][name][which] for which in ("last", "best")}
        print(json.dumps({"metric": name, "real data": floor[name], **shown}))
        for score in shown.values():
            assert len(score["values"]) == 5
            assert all(low <= value <= high for value in score["values"])
            assert low <= score["mean"] <= high
            assert score["half_width"] >= 0
    # What was published is held beside it, and nothing is said about reaching it.
    assert {each["metric"]: each["value"] for each in entry["expected"]} == {
        "modes": 6.3,
        "high-quality": 98.2,
        "mode-kl": 0.45,
    }

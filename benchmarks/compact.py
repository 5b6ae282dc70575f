"""Keeps of a leaderboard what is worth recording: ``python benchmarks/compact.py bench/full/leaderboard.json OUT``.

Curves and pictures stay behind; every number with its values by seed, device, commit and versions is kept. Metrics
whose names follow are kept with what they say besides, such as what baselines score.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DROPPED = ("curves", "pictures", "definition", "paper", "model")


def main(source: Path, target: Path, *detailed: str) -> None:
    board = json.loads(source.read_text())
    board["entries"] = [{k: v for k, v in entry.items() if k not in DROPPED} for entry in board["entries"]]
    for entry in board["entries"]:
        results = [
            source.parent / "runs" / entry["recipe"] / f"seed-{run['seed']}" / "result.json" for run in entry["runs"]
        ]
        metrics = [json.loads(path.read_text())["metrics"] for path in results if detailed]
        entry |= {"detail": {name: [each[name]["detail"] for each in metrics] for name in detailed}} if detailed else {}
    target.write_text(json.dumps(board, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])

"""Keeps of a leaderboard what is worth recording: ``python benchmarks/compact.py bench/full/leaderboard.json OUT``.

Curves and pictures stay behind; every number with its values by seed, device, commit and versions is kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DROPPED = ("curves", "pictures", "definition", "paper", "model")


def main(source: Path, target: Path) -> None:
    board = json.loads(source.read_text())
    board["entries"] = [{k: v for k, v in entry.items() if k not in DROPPED} for entry in board["entries"]]
    target.write_text(json.dumps(board, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Seconds from the shell to the end of the commands that must be quick: ``python benchmarks/speed/startup.py``."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "ganzoo --help": ["-m", "ganzoo", "--help"],
    "ganzoo list": ["-m", "ganzoo", "list"],
    "ganzoo plugins": ["-m", "ganzoo", "plugins"],
    "python -c pass": ["-c", "pass"],
    "python -c 'import torch'": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(repeats: int = 15) -> None:
    for name, arguments in COMMANDS.items():
        seconds(arguments)  # the first one fills the caches
        times = sorted(seconds(arguments) for _ in range(repeats if "torch" not in name else 5))
        row = {
            "command": name,
            "median": round(statistics.median(times), 3),
            "range": [round(times[0], 3), round(times[-1], 3)],
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()

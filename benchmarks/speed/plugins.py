"""Seconds of commands with 0, 1, 10 and 50 plugins: ``python benchmarks/speed/plugins.py``.

A plugin is a distribution on the path as an install leaves it: a light module with ten entries of four options each,
and metadata with a long description. Counts alternate, each run is a fresh process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COUNTS = (0, 1, 10, 50)
COMMANDS = ("--help", "list", "plugins")

MODULE = """
from ganzoo import Entry, Option, hookimpl

NAMES = ("alpha", "beta", "gamma", "delta")
OPTIONS = tuple(Option(name, float, 0.5, low=0, high=1, help="what it is for") for name in NAMES)


@hookimpl
def ganzoo_divergences():
    return [Entry(f"{name}-{{i}}", f"{module}.code:D{{i}}", "one of ten", OPTIONS) for i in range(10)]
"""


def make(folder: Path, count: int) -> Path:
    """A folder for the path with ``count`` plugins in it."""
    for k in range(count):
        name, module = f"ganzoo-bench{k}", f"ganzoo_bench{k}"
        (folder / module).mkdir(parents=True)
        (folder / module / "__init__.py").write_text(MODULE.format(name=f"d{k}", module=module))
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: ganzoo>=0.1,<0.2\n\n"
        (info / "METADATA").write_text(head + "A long description.\n" * 300)
        (info / "entry_points.txt").write_text(f"[ganzoo]\nmain = {module}\n")
    folder.mkdir(exist_ok=True)
    return folder


def seconds(command: str, folder: Path) -> float:
    names = ",".join(p.name.split("-")[0].replace("_", "-") for p in folder.glob("*.dist-info"))
    env = {**os.environ, "PYTHONPATH": str(folder), "GANZOO_LOAD_PLUGINS": names}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "ganzoo", command], check=True, stdout=subprocess.DEVNULL, env=env)
    return time.perf_counter() - start


def main(repeats: int = 11) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folders = {count: make(Path(scratch) / str(count), count) for count in COUNTS}
        times: dict[tuple[str, int], list[float]] = {(c, n): [] for c in COMMANDS for n in COUNTS}
        for repeat in range(repeats + 1):
            for (command, count), found in times.items():
                spent = seconds(command, folders[count])
                if repeat:  # the first one fills the caches
                    found.append(spent)
    for (command, count), found in times.items():
        spread = [round(min(found), 3), round(max(found), 3)]
        row = {"command": f"ganzoo {command}", "plugins": count, "median": round(statistics.median(found), 3)}
        print(json.dumps({**row, "range": spread}))


if __name__ == "__main__":
    main()

"""Sides timed in turn, and what is recorded of it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")

THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def alternate(sides: Mapping[str, Callable[[], T]], rounds: int) -> list[dict[str, T]]:
    """A B C, A B C, …: what each side gave in each round."""
    return [{name: side() for name, side in sides.items()} for _ in range(rounds)]


def ratios(rounds: Sequence[Mapping[str, float]], of: str, to: str) -> dict[str, float]:
    """The median of ``of / to`` over rounds, with its range: what slows a round down slows both."""
    each = [found[of] / found[to] for found in rounds]
    return {"median": statistics.median(each), "low": min(each), "high": max(each)}


def shown(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f}× ({ratio['low']:.2f} to {ratio['high']:.2f})"


def fresh(
    arguments: Sequence[str],
    threads: int | None = 1,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> dict[str, Any]:
    """The last line that a fresh Python process prints, as JSON. ``threads``: of its libraries; none: their default."""
    kept = {name: value for name, value in os.environ.items() if name not in THREADS}
    count = {} if threads is None else dict.fromkeys(THREADS, str(threads))
    command = [python, *arguments]
    out = subprocess.run(command, env={**kept, **count, **(env or {})}, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def record(device: str = "cpu") -> dict[str, Any]:
    """What makes sense of figures later: commit, machine, versions, and what else the machine did."""
    import torch

    from ganzoo.provenance import environment

    load = [round(each, 2) for each in os.getloadavg()] if hasattr(os, "getloadavg") else None
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(torch.device(device)),
        "cores": os.cpu_count(),
        "load": load,
    }


def append(file: Path, found: Mapping[str, Any]) -> None:
    """One more line of JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as out:
        out.write(json.dumps(found, ensure_ascii=False) + "\n")

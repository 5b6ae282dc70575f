"""What every experiment records, and how a measurement is held against what was published."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import scipy
import torch

from ganzoo.files import finite
from ganzoo.provenance import environment

Check = dict[str, Any]


def one_thread() -> None:
    """Small networks do not profit from more, and runs side by side suffer from it."""
    torch.set_num_threads(1)


def close(
    what: str, expected: float, measured: float | list[float], tolerance: float, source: str, *, relative: bool = False
) -> Check:
    """``|measured − expected| ≤ tolerance``, or ``≤ tolerance · |expected|``; of several values, for each of them."""
    allowed = tolerance * abs(expected) if relative else tolerance
    values = measured if isinstance(measured, list) else [measured]
    return {
        "what": what,
        "expected": expected,
        "measured": measured,
        "tolerance": f"{tolerance:.0%}" if relative else tolerance,
        "source": source,
        "holds": bool(values) and all(abs(value - expected) <= allowed for value in values),
    }


def true(what: str, expected: str, measured: Any, holds: bool, source: str) -> Check:
    """An expectation that is a sentence."""
    return {"what": what, "expected": expected, "measured": measured, "source": source, "holds": bool(holds)}


def recorded(name: str, result: dict[str, Any], device: str = "cpu") -> dict[str, Any]:
    """``result`` below what is needed to make sense of it later; an environment of its own stays."""
    head = {
        "experiment": name,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": {**environment(torch.device(device)), "scipy": scipy.__version__},
    }
    return {**head, **result, "holds": all(check["holds"] for check in result["checks"])}


def write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(finite(result), indent=1, ensure_ascii=False) + "\n")


def spread(values: Sequence[float]) -> str:
    """The mean, and the distance from it to the farthest value."""
    mean = statistics.fmean(values)
    return f"{mean:.4f} ± {max(abs(value - mean) for value in values):.4f}"


def rows(head: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """A table in plain text: the first column to the left, the others to the right."""
    cells = [[*map(str, head)], *([*map(_cell, row)] for row in body)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    )


def _cell(value: Any) -> str:
    return (
        ("yes" if value else "NO")
        if isinstance(value, bool)
        else f"{value:.4f}"
        if isinstance(value, float)
        else str(value)
    )

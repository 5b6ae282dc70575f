"""Our loops against others: ``python benchmarks/speed [ROW ...] [--pairs N] [--device cpu|cuda] [--json FILE]``.

Each measurement is a fresh process with one thread, unless the row says otherwise. Those of a row alternate: the other
loop, ours, ours with each shortcut, and again. Printed and recorded are the median of the ratios with their range. Data
are loaded, and loops compiled and warmed up, before the clock starts; the first step, with its compilation, is timed by
itself: in the first round from an empty cache, then from a full one. ``--torchgan PYTHON`` also times the trainer of
torchgan, in rows that it has, by the Python of an environment where that is installed (see ``_torchgan.py``).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import _pairs
import _torchgan
import torch
from _rows import CUDA_AIMS, ROWS, TEXTBOOK, Row
from _timing import Setting

Rounds = list[dict[str, dict[str, Any]]]


def main(arguments: list[str] | None = None) -> int:
    given = _parsed(arguments)
    if given.list:
        print("\n".join(f"{name:16} {row.about}" for name, row in ROWS.items()))
        return 0
    seconds = 0.02 if given.tiny else given.seconds
    setting = Setting(torch.device(given.device), seconds, given.tiny)
    if given.one:
        name, side = given.one
        print(json.dumps(ROWS[name].sides[side].measure(setting)))
        return 0
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device is here: these rows are measured where one is", file=sys.stderr)
        return 1
    for name in given.rows or [name for name, row in ROWS.items() if given.device in row.devices]:
        found = compare(name, setting, given.pairs, given.torchgan)
        print(report(found), flush=True)
        if given.json:
            _pairs.append(given.json, found)
    return 0


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/speed", description="Our loops against others.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="all of the device's, if none is named")
    parser.add_argument("--pairs", type=int, default=5, help="rounds (5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement, at least (5)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, help="append the results, a line of JSON for each row")
    parser.add_argument("--torchgan", metavar="PYTHON", help="of an environment that has torchgan")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--tiny", action="store_true", help="only see that everything runs, in this process")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "SIDE"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.rows if name not in ROWS]:
        parser.error(f"no row is called {unknown[0]!r}; there are {', '.join(ROWS)}")
    return given


def compare(name: str, setting: Setting, pairs: int, torchgan: str | None = None) -> dict[str, Any]:
    row, head = ROWS[name], _pairs.record(setting.device.type)
    with tempfile.TemporaryDirectory() as cache:
        one = partial(_here, row) if setting.tiny else partial(_fresh, name, row, cache)
        sides = {side: partial(one, side, setting) for side in row.sides}
        if torchgan and name in _torchgan.ROWS:
            sides["torchgan"] = partial(_of_torchgan, torchgan, name, setting)
        rounds = _pairs.alternate(sides, pairs)
    rates = [{side: found["rate"] for side, found in each.items()} for each in rounds]
    aims = row.aims if setting.device.type == "cpu" else {"ours": CUDA_AIMS[name]} if name in CUDA_AIMS else {}
    result = {
        **head,
        "row": name,
        "about": row.about,
        "unit": row.unit,
        "ratios": {side: _pairs.ratios(rates, side, TEXTBOOK) for side in sides if side != TEXTBOOK},
        "aims": aims,
        "rounds": rounds,
    }
    return result if setting.device.type == "cpu" else {**result, **_roofline(row, rounds, setting)}


def _here(row: Row, side: str, setting: Setting) -> dict[str, Any]:
    return row.sides[side].measure(setting)


def _fresh(name: str, row: Row, cache: str, side: str, setting: Setting) -> dict[str, Any]:
    more = ["--seconds", str(setting.seconds), "--device", setting.device.type]
    command = [str(Path(__file__).parent), "--one", name, side, *more]
    return _pairs.fresh(command, row.sides[side].threads, {"TORCHINDUCTOR_CACHE_DIR": cache})


def _of_torchgan(python: str, name: str, setting: Setting) -> dict[str, Any]:
    more = ["--seconds", str(setting.seconds), "--device", setting.device.type]
    return _pairs.fresh([str(Path(__file__).with_name("_torchgan.py")), name, *more], python=python)


def _roofline(row: Row, rounds: Rounds, setting: Setting) -> dict[str, Any]:
    """How much of a step's time a device at its ceiling would need."""
    from _roofline import ceilings, floor

    limits = ceilings(setting.device)
    shares = {
        side: floor(found, limits, row.sides[side].precision) / (1e-3 * found["step_milliseconds"])
        for side, found in rounds[-1].items()
        if side in row.sides
    }
    return {"ceilings": limits, "share_of_roofline": shares}


def report(found: Mapping[str, Any]) -> str:
    first, last = found["rounds"][0], found["rounds"][-1]
    lines = [f"{found['row']}: {found['about']} (load {found['load']})"]
    for side, each in last.items():
        ratio = found["ratios"].get(side)
        aim = f", aim {found['aims'][side]:g}" if side in found["aims"] else ""
        compared = f"{_pairs.shown(ratio)}{aim}" if ratio else "1"
        shares = found.get("share_of_roofline", {})
        share = f", {shares[side]:.0%} of the roofline" if side in shares else ""
        begins = f"first step {first[side]['first_seconds']:.1f} s, then {each['first_seconds']:.1f} s"
        lines.append(f"  {side:24} {each['rate']:10.4g} {found['unit']}/s  {compared}{share}; {begins}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

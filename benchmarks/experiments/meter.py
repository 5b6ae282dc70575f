"""What fresh critics say of known pairs, beside the truth: every divergence of which the truth is known.

Theory: an estimate is at most the truth in expectation, with equality for the optimal critic (Nguyen, Wainwright &
Jordan 2010; Nowozin, Cseke & Tomioka 2016). Nothing was published for these pairs; the truth is an integral.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from typing import Any, Final

from _shared import Check, close, one_thread, rows

from ganzoo import meter, sides
from ganzoo.bench import interval
from ganzoo.part import Part
from ganzoo.plugins import registry

PAIRS: Final = ("shift", "scale", "mixture-gaussian", "uniforms", "correlation", "wide-ring", "dropped-modes")
#: Their critics are their own, and no truth is known to hold them against.
LEFT_OUT: Final = ("ragan", "kernel-mmd", "sinkhorn")
TOLERANCE: Final = 0.05
SOURCE: Final = "the integral between the densities"


def run(seeds: int, jobs: int) -> dict[str, Any]:
    settings = meter.Settings(critics=seeds, control=False)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=one_thread) as pool:
        found = dict(zip(PAIRS, pool.map(_measure, PAIRS, [settings] * len(PAIRS)), strict=True))
    return {
        "settings": {**asdict(settings), "sizes": sides.SIZES},
        "left_out": LEFT_OUT,
        "pairs": found,
        "checks": [check for name, readings in found.items() for check in _checks(name, readings)],
    }


def _measure(pair: str, settings: meter.Settings) -> list[dict[str, Any]]:
    names = [name for name in registry().names("divergence") if name not in LEFT_OUT]
    known = Part("pair", pair).resolved().build()
    divergences = {name: Part("divergence", name).resolved().build() for name in names}
    readings, _ = meter.measure(divergences, sides.of_density(known.p), sides.of_density(known.q), settings)
    return [_row(reading) for reading in readings]


def _row(reading: meter.Reading) -> dict[str, Any]:
    estimate, truth = interval(reading.values), reading.truth
    known = truth is not None and math.isfinite(truth.value) and estimate["mean"] is not None
    return {
        "divergence": reading.divergence,
        "unit": reading.unit,
        "true": None if truth is None else "infinite" if math.isinf(truth.value) else truth.value,
        "true_error": truth.error if truth else None,
        "estimate": estimate,
        "relative_error": estimate["mean"] / truth.value - 1 if known and truth else None,
        "saturated": reading.saturated,
    }


def _checks(pair: str, readings: list[dict[str, Any]]) -> Iterator[Check]:
    for row in readings:
        if row["relative_error"] is not None:
            what = f"{row['divergence']} of {pair}"
            yield close(what, row["true"], row["estimate"]["mean"], TOLERANCE, SOURCE, relative=True)


def table(result: dict[str, Any]) -> str:
    blocks: list[str] = []
    for pair, readings in result["pairs"].items():
        body = [[row["divergence"], _true(row), _estimate(row), _error(row)] for row in readings]
        blocks.append(rows((pair, "true", "estimate", "relative error"), body))
    return "\n\n".join(blocks)


def _true(row: dict[str, Any]) -> str:
    true = row["true"]
    return "unknown" if true is None else "∞" if true == "infinite" else f"{true:.4g}"


def _estimate(row: dict[str, Any]) -> str:
    mean, half = row["estimate"]["mean"], row["estimate"]["half_width"]
    return "—" if mean is None else f"{mean:.4g}" + (f" ± {half:.2g}" if half is not None else "")


def _error(row: dict[str, Any]) -> str:
    return "" if row["relative_error"] is None else f"{row['relative_error']:+.1%}"

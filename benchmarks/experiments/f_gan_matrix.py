"""Trained under one divergence, judged by another: the best under each is the one trained for it (f-GAN, §4.1).

Entry ``(a, b)`` is ``D_b`` by quadrature at the Gaussian that was fitted under ``D_a``, in the units of
`f_gan_gaussian`, whose runs these are: of the fits with a critic the mean over seeds, and beside it that of the exact
optima. Nowozin, Cseke & Tomioka (2016), arXiv:1606.00709: in each column the diagonal is the smallest.
"""

from __future__ import annotations

import statistics
from typing import Any

import _shared
from f_gan_gaussian import PUBLISHED, SETTINGS, exact, measure

PAPER = "Nowozin, Cseke & Tomioka (2016), arXiv:1606.00709, section 4.1"
Matrix = dict[str, dict[str, Any]]


def run(seeds: int, jobs: int) -> dict[str, Any]:
    measured = measure(seeds, jobs)
    by_seed = {name: {b: _of_runs(b, found["runs"]) for b in PUBLISHED} for name, found in measured.items()}
    learned = {a: {b: statistics.fmean(values) for b, values in row.items()} for a, row in by_seed.items()}
    best = {
        name: {b: exact(b, found["exact"]["mu"], found["exact"]["sigma"]) for b in PUBLISHED}
        for name, found in measured.items()
    }
    return {
        "paper": PAPER,
        "seeds": list(range(seeds)),
        "settings": dict(SETTINGS),
        "measured": {"learned": learned, "learned by seed": by_seed, "exact": best},
        "checks": [*_checks("learned, mean over seeds", learned), *_checks("exact", best)],
    }


def _of_runs(name: str, runs: list[dict[str, Any]]) -> list[float]:
    return [exact(name, each["mu"], each["sigma"]) for each in runs]


def _checks(kind: str, matrix: Matrix) -> list[_shared.Check]:
    """A fit that failed is not a number, and not the smallest either."""
    checks: list[_shared.Check] = []
    for column in PUBLISHED:
        values = {row: matrix[row][column] for row in PUBLISHED}
        holds = all(values[column] < value for row, value in values.items() if row != column)
        smallest = min(values, key=lambda row: (values[row] != values[row], values[row]))
        checks.append(_shared.true(f"{kind}: the smallest {column} was trained for", column, smallest, holds, PAPER))
    return checks


def table(result: dict[str, Any]) -> str:
    tables = []
    for kind in ("learned", "exact"):
        matrix: Matrix = result["measured"][kind]
        body = [[row, *(matrix[row][column] for column in PUBLISHED)] for row in PUBLISHED]
        tables.append(_shared.rows([f"{kind}: trained under ↓ judged by →", *PUBLISHED], body))
    return "\n\n".join(tables)

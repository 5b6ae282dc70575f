"""Seconds of Fréchet distances, PRDC and sliced Wasserstein: ganzoo's against the libraries' and the textbooks'.

The other sides are: the distance as pytorch-fid computes it (``np.cov``, ``scipy.linalg.sqrtm`` of the product, the
offset where that is not finite), from moments and from samples; ``compute_prdc`` of the package ``prdc``, whose
pairwise distances are scikit-learn's; a loop over projections with ``scipy.stats.wasserstein_distance``; and
``ot.sliced_wasserstein_distance`` of the package POT with p = 1, given the same projections. Rows whose package is not
installed are left out, and said to be.

Each measurement is a fresh process on one core, after a small warm-up; they alternate (A B A B …). Printed and recorded
are the median ratio with its range, the median seconds, and how far the values are apart; a row whose values differ by
more than its tolerance fails. ``python benchmarks/speed/evaluation.py [--pairs 5] [--rows NAME …] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import torch

Values = Sequence[float]
Given = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Row:
    """``data(small)`` makes what both sides are given; ``aim`` is the ratio aimed at, where there is one."""

    name: str
    other: str
    data: Callable[[bool], Given]
    ours: Callable[..., Values]
    theirs: Callable[..., Values]
    tolerance: float
    aim: float | None = None
    package: str = "scipy"


def features(n: int, d: int, seed: int) -> torch.Tensor:
    """Samples in float32 whose variances fall over four orders, as those of features do."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return x * torch.logspace(0, -2, d) * (1 + 0.1 * seed) + 0.01 * seed


def two(n: int, d: int) -> Callable[[bool], Given]:
    return lambda small: tuple(features(64 if small else n, 32 if small else d, seed) for seed in (0, 1))


def moments(n: int, d: int) -> Callable[[bool], Given]:
    def data(small: bool) -> Given:
        sets = [x.double().numpy() for x in two(n, d)(small)]
        return tuple(torch.from_numpy(np.asarray(f)) for x in sets for f in (x.mean(0), np.cov(x, rowvar=False)))

    return data


def clouds(n: int, d: int) -> Callable[[bool], Given]:
    def data(small: bool) -> Given:
        rng = torch.Generator().manual_seed(0)
        x, y = (torch.randn(64 if small else n, d, generator=rng) for _ in range(2))
        return x, y * 0.95 + 0.05

    return data


def images(n: int, d: int, projections: int) -> Callable[[bool], Given]:
    def data(small: bool) -> Given:
        rng = torch.Generator().manual_seed(0)
        x, y = (torch.rand(64 if small else n, d, generator=rng) * 2 - 1 for _ in range(2))
        theta = torch.randn(d, projections, generator=rng, dtype=torch.float64)
        return x, y * 0.95 + 0.05, theta / theta.norm(dim=0)

    return data


def our_moments(*given: torch.Tensor) -> Values:
    from ganzoo.distances import frechet_from_moments

    return [frechet_from_moments(*given)]


def our_frechet(x: torch.Tensor, y: torch.Tensor) -> Values:
    from ganzoo.distances import frechet

    return [frechet(x, y)]


def our_prdc(x: torch.Tensor, y: torch.Tensor) -> Values:
    from ganzoo.distances import prdc

    return prdc(x, y, 5)


def our_sliced(x: torch.Tensor, y: torch.Tensor, theta: torch.Tensor) -> Values:
    from ganzoo.distances import sliced_wasserstein

    return [sliced_wasserstein(x, y, theta)]


def sqrtm_moments(*given: torch.Tensor) -> Values:
    from scipy import linalg

    mu, sigma, nu, lam = (moment.numpy() for moment in given)
    root: Any = linalg.sqrtm(sigma.dot(lam))
    if not np.isfinite(root).all():
        offset = np.eye(len(sigma)) * 1e-6
        root = linalg.sqrtm((sigma + offset).dot(lam + offset))
    return [float((mu - nu).dot(mu - nu) + np.trace(sigma) + np.trace(lam) - 2 * np.trace(np.real(root)))]


def sqrtm_frechet(x: torch.Tensor, y: torch.Tensor) -> Values:
    sets = [samples.double().numpy() for samples in (x, y)]
    return sqrtm_moments(*(torch.from_numpy(f) for s in sets for f in (s.mean(0), np.cov(s, rowvar=False))))


def package_prdc(x: torch.Tensor, y: torch.Tensor) -> Values:
    from prdc import compute_prdc  # pyright: ignore[reportMissingImports]

    found = compute_prdc(x.numpy(), y.numpy(), nearest_k=5)
    return [float(found[name]) for name in ("precision", "recall", "density", "coverage")]


def scipy_sliced(x: torch.Tensor, y: torch.Tensor, theta: torch.Tensor) -> Values:
    from scipy.stats import wasserstein_distance

    a, b, directions = x.double().numpy(), y.double().numpy(), theta.numpy()
    return [float(np.mean([wasserstein_distance(a @ each, b @ each) for each in directions.T]))]


def pot_sliced(x: torch.Tensor, y: torch.Tensor, theta: torch.Tensor) -> Values:
    import ot  # pyright: ignore[reportMissingImports]

    a, b, directions = (given.double().numpy() for given in (x, y, theta))
    return [float(ot.sliced_wasserstein_distance(a, b, p=1, projections=directions))]


def pot_sliced_float32(x: torch.Tensor, y: torch.Tensor, theta: torch.Tensor) -> Values:
    import ot  # pyright: ignore[reportMissingImports]

    a, b, directions = (given.float().numpy() for given in (x, y, theta))
    return [float(ot.sliced_wasserstein_distance(a, b, p=1, projections=directions))]


SQRTM = "pytorch-fid's formula with scipy.linalg.sqrtm"
SLICED = "sliced W1, n = m = 10,000, d = 3072, 128 projections"
PROJECTED = images(10_000, 3072, 128)
ROWS = {
    "frechet-moments": Row(
        "Fréchet from moments, d = 2048", SQRTM, moments(5_000, 2048), our_moments, sqrtm_moments, 1e-6, 6.5
    ),
    "frechet": Row(
        "Fréchet of 5,000 samples, d = 2048", SQRTM, two(5_000, 2048), our_frechet, sqrtm_frechet, 1e-6, 6.5
    ),
    # The root of a product of rank 499 is what is inexact there.
    "frechet-few": Row("Fréchet of 500 samples, d = 2048", SQRTM, two(500, 2048), our_frechet, sqrtm_frechet, 1e-3, 50),
    "prdc": Row(
        "PRDC, n = m = 10,000, d = 64, k = 5",
        "the package prdc, float32",
        clouds(10_000, 64),
        our_prdc,
        package_prdc,
        5e-4,
        6,
        "prdc",
    ),
    "sliced": Row(SLICED, "a loop over projections, scipy", PROJECTED, our_sliced, scipy_sliced, 1e-6, 8),
    "sliced-pot": Row(SLICED, "the package POT, float64", PROJECTED, our_sliced, pot_sliced, 1e-6, package="POT"),
    "sliced-pot-float32": Row(
        SLICED,
        "the package POT, float32",
        PROJECTED,
        our_sliced,
        pot_sliced_float32,
        1e-3,
        package="POT",
    ),
}


def measure(row: Row, side: str) -> dict[str, Any]:
    """Seconds and values of one side, in this process, on one core: the package prdc starts eight threads."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    run = {"ours": row.ours, "theirs": row.theirs}[side]
    run(*row.data(True))
    given = row.data(False)
    began = time.perf_counter()
    values = run(*given)
    return {"seconds": time.perf_counter() - began, "values": list(values)}


def fresh(name: str, side: str) -> dict[str, Any]:
    """``measure`` in a fresh process with one thread."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--one", name, side]
    out = subprocess.check_output(command, env={**os.environ, **one}, text=True)
    return json.loads(out.splitlines()[-1])


def alternate(first: Callable[[], Any], second: Callable[[], Any], pairs: int) -> list[tuple[Any, Any]]:
    """A B A B …"""
    return [(first(), second()) for _ in range(pairs)]


def compare(name: str, row: Row, pairs: int) -> dict[str, Any]:
    found = alternate(lambda: fresh(name, "ours"), lambda: fresh(name, "theirs"), pairs)
    ratios = [theirs["seconds"] / ours["seconds"] for ours, theirs in found]
    ours, theirs = (side["values"] for side in found[0])
    apart = max(abs(a - b) / max(1e-12, abs(b)) for a, b in zip(ours, theirs, strict=True))
    return {
        "row": row.name,
        "other": row.other,
        "aim": row.aim,
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "seconds": {
            side: statistics.median(pair[index]["seconds"] for pair in found)
            for index, side in enumerate(("ours", "theirs"))
        },
        "pairs": [[ours["seconds"], theirs["seconds"]] for ours, theirs in found],
        "values": {"ours": ours, "theirs": theirs},
        "relative_difference": apart,
        "within_tolerance": apart <= row.tolerance,
    }


def shown(result: dict[str, Any]) -> str:
    ratio, seconds = result["ratio"], result["seconds"]
    aim = f", aim {result['aim']:g}" if result["aim"] else ""
    apart = f"values {result['relative_difference']:.1e} apart" + ("" if result["within_tolerance"] else ": TOO FAR")
    return (
        f"{result['row']} against {result['other']}: {ratio['median']:.1f}× ({ratio['low']:.1f} to {ratio['high']:.1f}"
        f"{aim}), {seconds['ours']:.3f} s against {seconds['theirs']:.2f} s, {apart}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", type=Path, help="append the result to this file, one line of JSON")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "SIDE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(ROWS[given.one[0]], given.one[1])))
        return 0
    results = []
    for name in given.rows:
        row = ROWS[name]
        if not util.find_spec({"POT": "ot"}.get(row.package, row.package)):
            print(f"{row.name} against {row.other}: left out, {row.package} is not installed")
            continue
        results.append(compare(name, row, given.pairs))
        print(shown(results[-1]), flush=True)
    if given.json:
        append(given.json, results)
    return 0 if all(result["within_tolerance"] for result in results) else 1


def append(file: Path, results: list[dict[str, Any]]) -> None:
    from ganzoo.provenance import environment

    installed = {each.metadata["Name"] for each in metadata.distributions()}
    versions = {
        name: metadata.version(name) for name in ("numpy", "scipy", "scikit-learn", "prdc", "POT") if name in installed
    }
    record = {"environment": {**environment(torch.device("cpu")), **versions}, "rows": results}
    with file.open("a") as out:
        out.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    sys.exit(main())

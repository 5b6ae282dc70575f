"""The likelihood under Parzen windows, in which the papers of 2014 report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import torch
from torch import Tensor

from ganzoo import Evidence, Metric, Score

#: Widths of the window that are tried, from .1 to 1 on a logarithmic scale, and validation samples they are tried on.
WIDTHS: Final = tuple(10 ** (i / 9 - 1) for i in range(10))
VALIDATED: Final = 1_000
CHUNK: Final = 500
LEVELS: Final = 256


@final
@dataclass(frozen=True)
class Parzen(Metric):
    """``E log 1/n Σ_i N(x; g_i, σ² I)`` of held-out images ``x`` in nats, with n generated ones ``g_i``, in [0, 1].

    σ is the best of ten for 1,000 images of the validation part. Pixels are levels over 255, not dequantised:
    Goodfellow et al. (2014), after Breuleux, Bengio & Vincent (2011). It is kept for their tables alone. It prefers the
    centres of clusters to samples: Theis, van den Oord & Bethge, "A note on the evaluation of generative models"
    (2016), find that it ranks models wrongly.
    """

    samples: int = 10_000
    unit: ClassVar[str] = "nats"
    better: ClassVar[Literal["lower", "higher"]] = "higher"
    on_request: ClassVar[bool] = True

    def applies(self, evidence: Evidence) -> bool:
        return len(evidence.dataset.shape) == 3

    def __call__(self, evidence: Evidence) -> Score:
        show = evidence.dataset.shown
        centres = show(evidence.fake.x).flatten(1).double()
        real, valid = (_levels(show(x)) for x in (evidence.real.x, evidence.dataset.some("validation", VALIDATED).x))
        means = [float(log_likelihood(valid, centres, width).mean()) for width in WIDTHS]
        width = WIDTHS[max(range(len(WIDTHS)), key=means.__getitem__)]
        found = log_likelihood(real, centres, width)
        error = float(found.std()) / math.sqrt(len(found))
        how = f"{len(centres):,} generated, {len(real):,} held-out, σ {width:.3f}, ± {error:.1f} (standard error)"
        return Score(float(found.mean()), how, {"sigma": width, "standard error": error})


def _levels(shown: Tensor) -> Tensor:
    """Dequantised intensities as levels over 255, ``(n, d)``."""
    return ((shown * LEVELS).floor().clamp(0, LEVELS - 1) / (LEVELS - 1)).flatten(1).double()


def log_likelihood(x: Tensor, centres: Tensor, width: float) -> Tensor:
    """``log 1/m Σ_i N(x; g_i, σ² I)``, ``(n,)``, for ``x (n, d)`` and ``g (m, d)``."""
    m, d = centres.shape
    sizes = centres.square().sum(1)
    found: list[Tensor] = []
    for rows in x.split(CHUNK):
        squared = (rows.square().sum(1, keepdim=True) + sizes - 2 * rows @ centres.T).clamp_min(0)
        found.append((-squared / (2 * width**2)).logsumexp(1))
    return torch.cat(found) - math.log(m) - d * math.log(width * math.sqrt(2 * math.pi))

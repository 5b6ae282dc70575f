"""A schedule between two values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from ganzoo import Schedule


@final
@dataclass(frozen=True)
class HalfCosine(Schedule):
    """``end + (start − end)·(1 + cos(π t/T))/2``."""

    start: float = 1.0
    end: float = 0.0

    def __call__(self, step: int, steps: int) -> float:
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * step / steps)) / 2

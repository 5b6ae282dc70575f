"""The noun *pair*: two known distributions, for which the truth that a meter should find is known too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ganzoo.density import Density
from ganzoo.errors import IncompatibleError


@final
@dataclass(frozen=True, eq=False)
class Pair:
    """``p`` in the place of ``P_data`` and ``q`` in that of ``P_G``, both of one shape; no generator is needed."""

    p: Density
    q: Density

    def __post_init__(self) -> None:
        if tuple(self.p.shape) != tuple(self.q.shape):
            raise IncompatibleError(f"the two sides have the shapes {tuple(self.p.shape)} and {tuple(self.q.shape)}")

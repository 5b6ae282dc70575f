"""The term that trains a generator without a discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from ganzoo.divergence import SampleDivergence
from ganzoo.errors import IncompatibleError
from ganzoo.game import GENERATOR, Round
from ganzoo.terms import Term, require_players


@final
@dataclass(frozen=True)
class Match(Term):
    """``divergence`` between the real batch and a generated one, in its own unit, with no critic between them."""

    divergence: SampleDivergence
    generator: str = GENERATOR
    label: ClassVar[str] = "match"

    def __call__(self, round: Round) -> Tensor:
        return self.divergence.loss(round.real.x, round.fake(self.generator).x)

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        require_players(self, networks, self.generator)
        if not isinstance(self.divergence, SampleDivergence):
            raise IncompatibleError(f"{type(self.divergence).__name__} is measured by a critic, not on samples alone")

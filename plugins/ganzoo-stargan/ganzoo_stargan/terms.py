"""What holds a translation to its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast, final

from torch import Tensor, nn

from ganzoo import Round, Term, Translator
from ganzoo.errors import IncompatibleError
from ganzoo.game import GENERATOR
from ganzoo.terms import require_players


@final
@dataclass(frozen=True)
class Reconstruct(Term):
    """``E |x − G(G(x, c), c_x)|``, the mean over all numbers of a sample ``x`` with the label ``c_x``: what was
    translated, translated back. Choi et al. (2018), eq. 4; Zhu et al. (2017).
    """

    generator: str = GENERATOR
    label: ClassVar[str] = "reconstruct"

    def __call__(self, round: Round) -> Tensor:
        real, fake = round.real, round.fake(self.generator)
        back = round.generate(fake.x, cast(Tensor, real.label), generator=self.generator)
        return (real.x - back).abs().mean()

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        require_players(self, networks, self.generator)
        if not isinstance(networks[self.generator], Translator):
            kind = type(networks[self.generator]).__name__
            raise IncompatibleError(f"what starts from samples can go back to them, and {kind} starts from noise")

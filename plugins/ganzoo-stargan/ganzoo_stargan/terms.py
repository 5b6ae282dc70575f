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
class Cycle(Term):
    """``E |x − G(G(x, c), c_x)|``, the mean over all numbers of a sample ``x`` with the label ``c_x``: what was
    translated, translated back. Choi et al. (2018), eq. 4; Zhu et al. (2017).
    """

    generator: str = GENERATOR
    label: ClassVar[str] = "cycle"

    def __call__(self, round: Round) -> Tensor:
        real, fake = round.real, round.fake(self.generator)
        back = round.generate(fake.x, cast(Tensor, real.label), generator=self.generator)
        return (real.x - back).abs().mean()

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        _require_translator(self, networks, self.generator)


@final
@dataclass(frozen=True)
class Identity(Term):
    """``E |x − G(x, c_x)|``, the mean over all numbers of a sample ``x`` with the label ``c_x``: what is asked to be
    what it is stays as it is. Zhu et al. (2017), section 5.2, after Taigman, Polyak & Wolf (2017).

    What was translated there and back is the same too where both ways change colours that nobody asked to be changed;
    this says that they are not to.
    """

    generator: str = GENERATOR
    label: ClassVar[str] = "identity"

    def __call__(self, round: Round) -> Tensor:
        x, own = round.real
        return (x - round.generate(x, own, generator=self.generator)).abs().mean()

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        _require_translator(self, networks, self.generator)


def _require_translator(term: Term, networks: Mapping[str, nn.Module], generator: str) -> None:
    require_players(term, networks, generator)
    if not isinstance(networks[generator], Translator):
        kind = type(networks[generator]).__name__
        raise IncompatibleError(f"{term.label} is of what starts from samples, and {kind} starts from noise")

"""The noun *penalty*: a term that holds a discriminator back; most of them read its gradient in its input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, cast

import torch
from torch import Tensor, nn

from ganzoo.errors import IncompatibleError
from ganzoo.game import DISCRIMINATOR, Round
from ganzoo.terms import Term, require_players

#: Layers through which the samples of a batch see each other.
BATCH_STATISTICS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def input_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``∇_x Σ function(x)``, shape of ``x``: the per-sample gradient where samples do not see each other.

    Built on `torch.func.grad`, so it is itself differentiable and works under `torch.func.vmap`. ``function`` must
    compute its verdict afresh (`Round.discriminate`): one computed before has no gradient in ``x`` and the penalty
    would be zero.
    """

    def total(at: Tensor) -> Tensor:
        return function(at).sum()

    return cast(Tensor, torch.func.grad(total)(x))


class Penalty(Term):
    """A term of the discriminator's turn that reads the discriminator's input gradient."""

    discriminator: str = DISCRIMINATOR
    label: ClassVar[str] = "penalty"

    @abstractmethod
    def __call__(self, round: Round) -> Tensor: ...

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        require_players(self, networks, self.discriminator)
        network = networks[self.discriminator]
        mixing = [m for m in network.modules() if isinstance(m, BATCH_STATISTICS)]
        if mixing:
            raise IncompatibleError(
                f"{type(self).__name__} needs each sample's own input gradient, and {type(network).__name__} has batch "
                f"statistics ({type(mixing[0]).__name__}), through which samples see each other"
            )

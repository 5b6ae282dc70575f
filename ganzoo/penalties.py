"""The noun *penalty*: a term that holds a discriminator back; most of them read its gradient in its input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganzoo.errors import IncompatibleError
from ganzoo.game import DISCRIMINATOR, Round
from ganzoo.terms import Term


def input_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``∇_x Σ function(x)``, shape of ``x``: the per-sample gradient where samples do not see each other.

    Built on `torch.func.grad`, so it is itself differentiable and works under `torch.func.vmap`. ``function`` must
    compute its verdict afresh (`Round.discriminate`): one computed before has no gradient in ``x`` and the penalty
    would be zero.
    """
    return torch.func.grad(lambda at: function(at).sum())(x)


class Penalty(Term):
    """A term of the discriminator's turn that reads the discriminator's input gradient."""

    discriminator: str = DISCRIMINATOR
    label: ClassVar[str] = "penalty"

    @abstractmethod
    def __call__(self, round: Round) -> Tensor: ...

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        network = networks[self.discriminator]
        mixing = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if mixing:
            raise IncompatibleError(
                f"{type(self).__name__} needs each sample's own input gradient, and {type(network).__name__} has batch "
                f"statistics ({type(mixing[0]).__name__}), through which samples see each other"
            )

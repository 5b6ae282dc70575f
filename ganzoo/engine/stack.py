"""Networks that are alike, as one: what R of them hold, in tensors whose first dimension is R."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Final, final

import torch
from torch import Tensor, nn

from ganzoo.errors import IncompatibleError

#: No loop over vectors takes more numbers at once.
ALIGNED: Final = 64


@final
class Stack:
    """Parameters that are trained in one tensor ``flat (R, P)``; everything else in ``buffers``, ``(R, …)`` by name.

    One tensor is one call of the optimizer, of the moving average and of the check for what is not finite. ``P`` is a
    multiple of `ALIGNED`, so that all runs lie alike in vectors; the rest is zero and stays so. What is the same in all
    networks and not saved with their weights is no part of it: the networks hold it themselves.
    """

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        first = networks[0]
        trained = {name: p for name, p in first.named_parameters() if p.requires_grad}
        self.names, self.shapes = tuple(trained), tuple(p.shape for p in trained.values())
        self.sizes = tuple(p.numel() for p in trained.values())
        if len({p.dtype for p in trained.values()}) != 1:
            raise IncompatibleError(f"the parameters of {type(first).__name__} are of several types, or there are none")
        each = [[p.detach().flatten() for p in network.parameters() if p.requires_grad] for network in networks]
        rest = each[0][0].new_zeros(-sum(self.sizes) % ALIGNED)
        self._rest = len(rest)
        self.flat = torch.stack([torch.cat([*pieces, rest]) for pieces in each]).to(device)
        saved = set(first.state_dict())
        held = [_held(network) for network in networks]
        self.buffers = {
            name: torch.stack([each[name].detach() for each in held]).to(device)
            for name, value in held[0].items()
            if name in saved or any(not torch.equal(value, each[name]) for each in held)
        }
        self.saved = tuple(name for name in (*self.names, *self.buffers) if name in saved)
        self._tied = {name: self._first(first, name) for name in saved - {*self.names, *self.buffers}}

    @staticmethod
    def _first(network: nn.Module, name: str) -> str:
        """The name under which a tensor that has several is held."""
        everything = dict(network.named_parameters(remove_duplicate=False))
        return next(n for n, p in network.named_parameters() if p is everything.get(name))

    def clone(self) -> Stack:
        twin = copy.copy(self)
        twin.flat, twin.buffers = self.flat.clone(), {name: t.clone() for name, t in self.buffers.items()}
        return twin

    def pieces(self, flat: Tensor) -> list[Tensor]:
        """``(…, P)`` cut into the parameters, ``(…, *shape)`` each."""
        pieces = zip(flat.split((*self.sizes, self._rest), -1), self.shapes, strict=False)
        return [piece.unflatten(-1, shape) if len(shape) else piece.squeeze(-1) for piece, shape in pieces]

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, self.pieces(flat), strict=True))

    def state(self, run: int) -> dict[str, Tensor]:
        """The ``state_dict`` of one of them: views."""
        state = {**self.named(self.flat[run]), **{name: t[run] for name, t in self.buffers.items()}}
        state = {name: state[name] for name in self.saved}
        return {**state, **{name: state[first] for name, first in self._tied.items()}}

    def load(self, run: int, state: Mapping[str, Tensor]) -> None:
        for name, t in self.state(run).items():
            t.copy_(state[name])


def _held(network: nn.Module) -> dict[str, Tensor]:
    fixed = {name: p for name, p in network.named_parameters() if not p.requires_grad}
    return {**fixed, **dict(network.named_buffers())}

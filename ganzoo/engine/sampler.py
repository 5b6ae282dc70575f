"""Batches of a fixed set of samples, in an order that depends on the seed and the position alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ganzoo.dataset import Batch
from ganzoo.seeds import derive


class Sampler:
    """An endless row of shuffled epochs. ``consumed`` is its whole state."""

    def __init__(self, data: Batch, seed: int) -> None:
        self.data, self.seed = data, seed
        self.consumed = 0
        self._epoch, self._order = -1, torch.empty(0)

    def next(self, n: int) -> Batch:
        """The ``n`` samples that come now."""
        pieces: list[Tensor] = []
        while n:
            epoch, offset = divmod(self.consumed, len(self.data.x))
            piece = self._shuffled(epoch)[offset : offset + n]
            pieces.append(piece)
            n -= len(piece)
            self.consumed += len(piece)
        return self.data.take(pieces[0] if len(pieces) == 1 else torch.cat(pieces))

    def _shuffled(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            rng = torch.Generator().manual_seed(derive(self.seed, f"epoch {epoch}"))
            order = torch.randperm(len(self.data.x), generator=rng)
            self._epoch, self._order = epoch, sent(order, self.data.x.device)
        return self._order


def sent(t: Tensor, device: torch.device) -> Tensor:
    """On the device, which nobody waits for."""
    return t.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else t.to(device)

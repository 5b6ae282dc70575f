"""Batches of a fixed set of samples, in an order that depends on the seed and the position alone."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import torch
from torch import Tensor

from ganzoo.dataset import Batch
from ganzoo.seeds import derive

#: Of the memory that a device has free, the part that samples may take.
SHARE: Final = 0.5


class Sampler:
    """An endless row of shuffled epochs. ``consumed`` is its whole state.

    Args:
        data: the samples, on ``device`` or on the host. From there the batch after the next is gathered by a thread
            while the device works, and sent without waiting.
        seed: of the order.
        device: of the batches; that of the samples if nothing is said.
    """

    def __init__(self, data: Batch, seed: int, device: torch.device | None = None) -> None:
        self.data, self.seed, self.device = data, seed, device or data.x.device
        self.consumed = 0
        self._epoch, self._order = -1, torch.empty(0)
        self._away = self.data.x.device != self.device
        self._ahead: tuple[int, int, Future[Batch]] | None = None

    def next(self, n: int) -> Batch:
        """The ``n`` samples that come now."""
        start = self.consumed
        self.consumed += n
        if not self._away:
            return self.data.take(self._rows(start, n))
        if self._ahead and self._ahead[:2] == (start, n):
            gathered = self._ahead[2].result()
        else:
            gathered = self._gather(self._rows(start, n))
        self._ahead = self.consumed, n, _gatherer().submit(self._gather, self._rows(self.consumed, n))
        return gathered.to(self.device, non_blocking=True)

    def _gather(self, rows: Tensor) -> Batch:
        found = self.data.take(rows)
        return found.pinned() if self.device.type == "cuda" else found

    def _rows(self, start: int, n: int) -> Tensor:
        pieces: list[Tensor] = []
        while n:
            epoch, offset = divmod(start, len(self.data.x))
            piece = self._shuffled(epoch)[offset : offset + n]
            pieces.append(piece)
            n -= len(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _shuffled(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            rng = torch.Generator().manual_seed(derive(self.seed, f"epoch {epoch}"))
            order = torch.randperm(len(self.data.x), generator=rng)
            self._epoch, self._order = epoch, sent(order, self.data.x.device)
        return self._order


_GATHERERS: Final[list[ThreadPoolExecutor]] = []


def _gatherer() -> ThreadPoolExecutor:
    """One thread of the process, made when it is needed."""
    if not _GATHERERS:
        _GATHERERS.append(ThreadPoolExecutor(1, "ganzoo-gather"))
    return _GATHERERS[0]


def resident(data: Batch, device: torch.device) -> Batch:
    """The samples on the device, where they fit; else where they are."""
    if device.type == "cuda":
        needed = sum(t.nbytes for t in data if t is not None)
        if needed > SHARE * torch.cuda.mem_get_info(device)[0]:
            return data
    return data.to(device)


def sent(t: Tensor, device: torch.device) -> Tensor:
    """On the device, which nobody waits for."""
    return t.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else t.to(device)

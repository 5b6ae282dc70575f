"""Smooth resampling of maps: each channel with the filter ``k kᵀ``, ``k = (1, 3, 3, 1)/8``, zero outside of the map."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d


def _kernel(gain: float) -> Tensor:
    """``gain · k kᵀ``, ``(1, 1, 4, 4)``."""
    k = (2 - (torch.arange(4) - 1.5).abs()) / 4
    return gain * torch.outer(k, k)[None, None]


@final
class SmoothUp(nn.Module):
    """``(n, c, h, w)`` to ``(n, c, 2h, 2w)``: pixels between pixels by linear interpolation."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _kernel(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        c = x.shape[1]
        return conv_transpose2d(x, self.kernel.to(x.dtype).expand(c, 1, 4, 4), stride=2, padding=1, groups=c)


@final
class Smooth(nn.Module):
    """The filter alone, or with ``stride=2`` at every second pixel: ``(n, c, h, w)`` to ``(n, c, h/2, w/2)``.

    Args:
        stride: 1 or 2.
        padding: zeros around the map.
        gain: of a constant.
    """

    kernel: Tensor

    def __init__(self, stride: int = 1, padding: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self.register_buffer("kernel", _kernel(gain), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        c = x.shape[1]
        return conv2d(x, self.kernel.to(x.dtype).expand(c, 1, 4, 4), None, self.stride, self.padding, groups=c)

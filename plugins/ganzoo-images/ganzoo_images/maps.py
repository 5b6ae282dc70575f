"""What generators and discriminators of images share: the sizes of their maps, and how weights begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar, final

from torch import Tensor, nn

from ganzoo.errors import IncompatibleError
from ganzoo.layers import ClassBatchNorm2d

M = TypeVar("M", bound=nn.Module)

#: A map from which an image grows, or to which it shrinks, has at most this side where depth is not given.
LARGEST: Final = 15


def halvings(shape: Sequence[int], depth: int | None, least: int) -> tuple[int, int]:
    """How often the side of an image is halved, and what is left of it.

    Args:
        shape: of an image, ``(channels, side, side)``.
        depth: how often; none: as long as it is even and at least ``least`` is left, and once at least.
        least: side of the smallest map.

    Raises:
        IncompatibleError: the shape is no square image's, or its side cannot be halved so often.
    """
    if len(shape) != 3 or shape[1] != shape[2]:
        raise IncompatibleError(f"it is for square images (channels, side, side), and a sample is {tuple(shape)}")
    side = shape[1]
    if depth is None:
        depth = 1
        while side % 2 ** (depth + 1) == 0 and side // 2 ** (depth + 1) >= least:
            depth += 1
        if side % 2 or side // 2**depth > LARGEST:
            raise IncompatibleError(
                f"a side of {side} does not come from halving down to between {least} and {LARGEST}; "
                "28, 32, 48 and 64 do: resize the images"
            )
    if side % 2**depth:
        raise IncompatibleError(f"a side of {side} cannot be halved {depth} times; give a smaller depth")
    return depth, side // 2**depth


@final
class Residual(nn.Module):
    """``body(x) + shortcut(x)``, or ``body(x, c) + shortcut(x)`` where the body is `Labelled`."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return (self.body(x) if c is None else self.body(x, c)) + self.shortcut(x)


@final
class Labelled(nn.Module):
    """A sequence of layers of which batch normalisations by label, and residual blocks of such sequences, get ``c``."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, c) if isinstance(layer, (ClassBatchNorm2d, Residual)) else layer(x)
        return x


def in_sequence(layers: Sequence[nn.Module], labelled: bool) -> nn.Module:
    """`Labelled`, or a plain sequence."""
    return Labelled(*layers) if labelled else nn.Sequential(*layers)


def batch_norm(channels: int, classes: int) -> nn.Module:
    """With a gain and a bias for each label, where there are classes."""
    return ClassBatchNorm2d(channels, classes) if classes else nn.BatchNorm2d(channels)


def small(network: M) -> M:
    """Weights of N(0, .02²), gains of N(1, .02²), biases of 0: Radford et al. (2016)."""
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, float(isinstance(module, (nn.BatchNorm2d, ClassBatchNorm2d))), 0.02)
    return network


def glorot(layer: M, gain: float = 1.0) -> M:
    """A layer with weights uniform on ``±gain √(6 / (inputs + outputs))`` and a bias of 0: Glorot & Bengio (2010)."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    nn.init.xavier_uniform_(weight, gain)
    if isinstance(bias, Tensor):
        nn.init.zeros_(bias)
    return layer

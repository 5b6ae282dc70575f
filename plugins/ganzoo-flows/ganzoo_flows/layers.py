"""Invertible layers. The elementwise transformations, and how layers compose, are zuko's.

zuko's own coupling and autoregressive layers look up the values of their masks, while they are built or at each call.
A tensor on the meta device has none, and under `torch.func.vmap` they must not be asked for; so the two layers here
follow from indices alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from zuko.lazy import LazyTransform
from zuko.nn import MaskedLinear
from zuko.transforms import AutoregressiveTransform, DependentTransform
from zuko.utils import unpack


@final
@dataclass(frozen=True)
class Elementwise:
    """A monotonic transformation ``g(·; θ)`` of single numbers: ``make`` is called with parameters of these
    ``shapes``, each with the dimensions of the numbers before its own."""

    make: Callable[..., Transform]
    shapes: Sequence[torch.Size]

    @property
    def parameters(self) -> int:
        """For one number."""
        return sum(math.prod(shape) for shape in self.shapes)

    def given(self, theta: Tensor) -> DependentTransform:
        """``g`` on vectors ``(…, d)``, for ``theta (…, d · parameters)``."""
        each = unpack(theta.unflatten(-1, (-1, self.parameters)), self.shapes)
        return DependentTransform(self.make(*each), 1)


@final
class Conditioner(nn.Module):
    """``θ(x) = W h(x) / √|h|`` with h a perceptron with ReLU.

    W starts at zero: a fresh layer does the same to all samples. The root keeps the size of a step of Adam, which moves
    all of W at once, from growing with the width.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.hidden, self.last = nn.ModuleList(layers[:-1]), layers[-1]
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = layer(x).relu()
        return self.last(x) / math.sqrt(self.last.in_features)


@final
class Coupling(LazyTransform):
    """``y_a = x_a``, ``y_b = g(x_b; θ(x_a))``: Dinh, Krueger & Bengio (2014), §3.2.

    Args:
        moves: of each feature whether it is in b; both parts have some.
        g: what is done to a feature of b.
        hidden: units in the hidden layers of the conditioner.
    """

    kept: Tensor
    moved: Tensor
    back: Tensor

    def __init__(self, moves: Sequence[bool], g: Elementwise, hidden: Sequence[int]) -> None:
        super().__init__()
        self.g, a = g, len(moves) - sum(moves)
        order = sorted(range(len(moves)), key=lambda j: moves[j])
        back = sorted(range(len(order)), key=lambda j: order[j])
        for name, index in (("kept", order[:a]), ("moved", order[a:]), ("back", back)):
            # They follow from the options, so there is nothing to save.
            self.register_buffer(name, torch.tensor(index), persistent=False)
        widths = (a, *hidden, sum(moves) * g.parameters)
        self.conditioner = Conditioner([nn.Linear(i, o) for i, o in pairwise(widths)])

    def forward(self, c: Tensor | None = None) -> Transform:
        return _Coupled(self)


class _Coupled(Transform):
    """A coupling as a transformation of vectors ``(…, d)``."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, layer: Coupling) -> None:
        super().__init__()
        self.layer = layer

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x_a, x_b = self._split(x)
        y_b, log_det = self._given(x_a).call_and_ladj(x_b)
        return self._merge(x_a, y_b), log_det

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        y_a, y_b = self._split(y)
        return self._merge(y_a, self._given(y_a).inv(y_b))

    def _given(self, x_a: Tensor) -> Any:
        return self.layer.g.given(self.layer.conditioner(x_a))

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[..., self.layer.kept], x[..., self.layer.moved]

    def _merge(self, x_a: Tensor, x_b: Tensor) -> Tensor:
        return torch.cat([x_a, x_b], -1)[..., self.layer.back]


@final
class Autoregressive(LazyTransform):
    """``y_i = g(x_i; θ_i(x_<i))``, all θ in one pass of a masked network: Germain, Gregor, Murray & Larochelle (2015).

    The inverse takes ``d`` passes.

    Args:
        d: features, at least two.
        g: what is done to a feature.
        hidden: units in the hidden layers of the conditioner.
        reverse: whether "before" means a higher index.
    """

    def __init__(self, d: int, g: Elementwise, hidden: Sequence[int], *, reverse: bool = False) -> None:
        super().__init__()
        self.d, self.g = d, g
        rank = torch.arange(d).flip(0) if reverse else torch.arange(d)
        # A hidden unit of degree m reads features of rank m and before, and is read by those after.
        degrees = [rank, *(torch.linspace(0, d - 2, units).round().long() for units in hidden)]
        masks = [o[:, None] >= i for i, o in pairwise(degrees)]
        masks.append((rank[:, None] > degrees[-1]).repeat_interleave(g.parameters, 0))
        self.conditioner = Conditioner([MaskedLinear(cast(torch.BoolTensor, mask)) for mask in masks])

    def forward(self, c: Tensor | None = None) -> Transform:
        return AutoregressiveTransform(lambda x: self.g.given(self.conditioner(x)), self.d)

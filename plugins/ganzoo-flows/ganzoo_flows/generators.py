"""Normalizing flows as generators: samples and exact likelihood from one invertible network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final, final

import torch
from torch import Tensor, nn
from zuko.flows.gaussianization import ElementWiseTransform
from zuko.lazy import LazyComposedTransform, LazyTransform
from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

from ganzoo.dataset import Batch
from ganzoo.errors import IncompatibleError
from ganzoo.generator import TractableGenerator
from ganzoo_flows.layers import Autoregressive, Coupling, Elementwise

#: What standardisation divides by at least, in units of the data: a constant feature has no scale of its own.
LEAST_STD: Final = 1e-6
#: An affine layer scales a feature by no more than the inverse of this, and no less than this.
LEAST_SLOPE: Final = 0.05

AFFINE: Final = Elementwise(partial(MonotonicAffineTransform, slope=LEAST_SLOPE), (torch.Size(), torch.Size()))


@final
class FlowGenerator(TractableGenerator):
    """``x = μ + σ ⊙ f⁻¹(z)``, ``z ∼ N(0, I)``, with f invertible.

    By the change of variables ``log p_G(x) = log N(f(u); 0, I) + log|det ∂f/∂u| − Σ log σ`` at ``u = (x − μ)/σ``.
    ``μ`` and ``σ``, ``(d,)``, are the mean and the standard deviation of the train part, which `initialise` reads:
    splines act on a box around the origin only. They are saved with the weights. Without that call they are 0 and 1.

    Args:
        shape: of one sample; the flow sees it flattened.
        transform: f, from data to noise, on vectors of ``d = prod(shape)`` features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int], transform: LazyTransform) -> None:
        super().__init__()
        self.shape, d = tuple(shape), math.prod(shape)
        self.transform = transform
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("std", torch.ones(d))

    def initialise(self, x: Tensor, rng: torch.Generator) -> None:
        std, mean = torch.std_mean(x.flatten(1), dim=0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(std.clamp_min(LEAST_STD))

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return torch.randn(n, math.prod(self.shape), generator=rng, device=rng.device), None

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return (self.mean + self.std * self.transform().inv(z)).unflatten(1, self.shape)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``z (n, d)``, which `forward` takes back to ``x (n, *shape)``, and ``log|det ∂z/∂x| (n,)``."""
        z, log_det = self.transform().call_and_ladj((x.flatten(1) - self.mean) / self.std)
        return z, log_det - self.std.log().sum()

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        z, log_det = self.encode(x)
        return log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)


def realnvp(shape: tuple[int, ...], transforms: int = 8, hidden: int = 64, depth: int = 2) -> FlowGenerator:
    """Affine couplings ``y_b = x_b · exp(s(x_a)) + t(x_a)``: Dinh, Sohl-Dickstein & Bengio (2017).

    Raises:
        IncompatibleError: in one dimension, where there is nothing to couple.
    """
    d = math.prod(shape)
    if d == 1:
        raise IncompatibleError("realnvp moves some features given the others, and here is one alone: use nsf")
    return FlowGenerator(shape, couplings(d, transforms, AFFINE, [hidden] * depth))


def nsf(shape: tuple[int, ...], transforms: int = 4, hidden: int = 64, depth: int = 2, bins: int = 16) -> FlowGenerator:
    """Couplings ``y_b = g(x_b; θ(x_a))`` with g a monotonic rational-quadratic spline on [−5, 5] and the identity
    outside: Durkan, Bekasov, Murray & Papamakarios (2019), RQ-NSF (C). In one dimension the splines are free ones.
    """
    d = math.prod(shape)
    g = Elementwise(MonotonicRQSTransform, [torch.Size([n]) for n in (bins, bins, bins - 1)])
    return FlowGenerator(shape, free(transforms, g) if d == 1 else couplings(d, transforms, g, [hidden] * depth))


def maf(shape: tuple[int, ...], transforms: int = 5, hidden: int = 64, depth: int = 2) -> FlowGenerator:
    """``y_i = x_i · exp(s(x_<i)) + t(x_<i)``, every other layer in reverse: Papamakarios, Pavlakou & Murray (2017).

    A sample takes a pass for each feature. In one dimension it is one Gaussian, since it is affine there.
    """
    d = math.prod(shape)
    if d == 1:
        return FlowGenerator(shape, free(transforms, AFFINE))
    layers = [Autoregressive(d, AFFINE, [hidden] * depth, reverse=i % 2 == 1) for i in range(transforms)]
    return FlowGenerator(shape, LazyComposedTransform(*layers))


def couplings(d: int, transforms: int, g: Elementwise, hidden: Sequence[int]) -> LazyTransform:
    """Two couplings for each bit of a feature's index: those where the bit is 0 move given those where it is 1, then
    the other way round. Any two features differ in a bit; after the last bit comes the first again."""
    bits = (d - 1).bit_length()
    return LazyComposedTransform(
        *(Coupling([j >> (i // 2 % bits) & 1 == i % 2 for j in range(d)], g, hidden) for i in range(transforms))
    )


def free(transforms: int, g: Elementwise) -> LazyTransform:
    """Transformations of one number whose parameters depend on nothing."""
    layers = [ElementWiseTransform(1, 0, g.make, g.shapes) for _ in range(transforms)]
    for layer in layers:
        for theta in layer.phi:
            nn.init.normal_(theta, std=0.1)  # near the identity, but no two of them the same
    return LazyComposedTransform(*layers)

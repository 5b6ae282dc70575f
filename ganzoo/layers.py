"""Layers for networks of images, for plugin authors: the mathematics of plain layers in fewer operations.

==================  =====================================================  ====================================
layer               stands for                                             computed as
==================  =====================================================  ====================================
`UpsampleConv2d`    nearest ×2 upsampling, then a 3×3 convolution          4×4 transposed convolution, stride 2
`ConvPool2d`        a 3×3 convolution, then 2×2 average pooling            4×4 convolution, stride 2
`NoiseToMap`        a transposed convolution of noise ``(n, d, 1, 1)``     matrix product
`SpectralNorm`      a layer whose weight is divided by its spectral norm   one power iteration before a turn
`ClassBatchNorm2d`  a batch normalisation for each label, of all samples   one normalisation, gains by label
==================  =====================================================  ====================================

Parameters have the names, shapes and initial values of the plain layer, so that nothing of this is seen in a model's
file. Two more rewrites need no layer: an average pooling and a 1×1 convolution commute, and so do a nearest upsampling
and a 1×1 convolution: the convolution belongs where the map is small.

All work on the meta device, under `torch.func.vmap` and `torch.func.grad`, in the channels-last format and under
autocast.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, embedding, linear, normalize

#: Iterations of the power method at construction: the singular values of random weights lie close together.
START: Final = 30
#: On the CPU, layers with at most this many weights take their step together; measured, larger ones lose by the copy.
TOGETHER: Final = 4096


@final
class UpsampleConv2d(nn.Module):
    """``conv(upsample(x))``: ``(n, inputs, h, w)`` to ``(n, outputs, 2h, 2w)``, nearest neighbours, 3×3, padding 1.

    A pixel that was copied meets sums of the kernel's entries. Added up beforehand they are the kernel of a transposed
    convolution: 4 products for a value of the result in place of 9, and no upsampled map.

    Its parameters are those of ``nn.Conv2d(inputs, outputs, 3, padding=1)``.
    """

    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        plain = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias

    def kernel(self, weight: Tensor) -> Tensor:
        """Of the transposed convolution, ``(inputs, outputs, 4, 4)``, from ``weight (outputs, inputs, 3, 3)``."""
        return _spread(weight.flip(2, 3).transpose(0, 1))

    def with_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        """``forward`` with another weight."""
        return conv_transpose2d(x, self.kernel(weight), self.bias, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.with_weight(x, self.weight)


@final
class ConvPool2d(nn.Module):
    """``pool(conv(x))``: ``(n, inputs, h, w)`` to ``(n, outputs, ⌊h/2⌋, ⌊w/2⌋)``, 3×3, padding 1, means of 2×2.

    The mean of four results is one result of the mean of four shifted kernels: 16 products in place of 36.

    Its parameters are those of ``nn.Conv2d(inputs, outputs, 3, padding=1)``.
    """

    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        plain = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias

    def kernel(self, weight: Tensor) -> Tensor:
        """Of the strided convolution, ``(outputs, inputs, 4, 4)``, from ``weight (outputs, inputs, 3, 3)``."""
        return _spread(weight) / 4

    def with_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        """``forward`` with another weight."""
        return conv2d(x, self.kernel(weight), self.bias, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.with_weight(x, self.weight)


def _spread(weight: Tensor) -> Tensor:
    """``Σ_{a, b ∈ {0, 1}} w[…, i − a, j − b]``, zero outside: ``(…, 3, 3)`` to ``(…, 4, 4)``."""
    # Such sums are fast with the channels innermost, and a few times slower than the convolution itself without.
    innermost = weight.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return avg_pool2d(innermost, 2, stride=1, padding=1, divisor_override=1)


@final
class NoiseToMap(nn.Module):
    """The first layer of an image generator: noise ``(n, inputs)`` or ``(n, inputs, 1, 1)`` to ``(n, outputs, size,
    size)``.

    Its parameters are those of ``nn.ConvTranspose2d(inputs, outputs, size)``, which on a map of one pixel is a matrix
    product. The map has the precision of the weight, in autocast too: under `torch.func.vmap` autocast lowers products
    and not convolutions, and batch normalisation takes no mixture of both.
    """

    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, size: int = 4, bias: bool = True) -> None:
        super().__init__()
        plain = nn.ConvTranspose2d(inputs, outputs, size, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias

    def forward(self, z: Tensor) -> Tensor:
        _, outputs, height, width = self.weight.shape
        if self.weight.stride(1) == 1:  # channels last: so is the map, without a copy of either
            product = z.flatten(1) @ self.weight.permute(0, 2, 3, 1).flatten(1)
            x = product.unflatten(1, (height, width, outputs)).permute(0, 3, 1, 2)
        else:
            x = (z.flatten(1) @ self.weight.flatten(1)).unflatten(1, (outputs, height, width))
        x = x.to(self.weight.dtype)
        return x if self.bias is None else x + self.bias[:, None, None]


@final
class ClassBatchNorm2d(nn.Module):
    """``γ[c] (x − μ)/√(v + ε) + β[c]``: ``x (n, channels, h, w)`` normalised by the statistics of the whole batch,
    then a gain and a bias of each label's own, summed where there are several; ``c (n,)`` or ``(n, classes)``, int64.

    de Vries et al., "Modulating early visual processing by language" (2017), after Dumoulin, Shlens & Kudlur (2017).
    The running statistics are those of ``nn.BatchNorm2d``, whatever the labels; ``weight`` and ``bias`` are ``(classes,
    channels)``, and begin at 1 and 0.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.weight = nn.Parameter(torch.ones(classes, channels))
        self.bias = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x = self.norm(x)
        weight, bias = (self._of(c, rows)[:, :, None, None].to(x.dtype) for rows in (self.weight, self.bias))
        return x * weight + bias

    @staticmethod
    def _of(c: Tensor, rows: Tensor) -> Tensor:
        return embedding(c, rows) if c.ndim == 1 else c.to(rows.dtype) @ rows


_APPLY: Final[Mapping[type[nn.Module], Callable[[Any, Tensor, Tensor], Tensor]]] = {
    nn.Linear: lambda layer, x, weight: linear(x, weight, layer.bias),
    nn.Conv2d: lambda layer, x, weight: layer._conv_forward(x, weight, layer.bias),
    UpsampleConv2d: UpsampleConv2d.with_weight,
    ConvPool2d: ConvPool2d.with_weight,
}


@final
class SpectralNorm(nn.Module):
    """``layer`` with the weight ``W / σ``, ``σ = uᵀ W v`` an estimate of the largest singular value of ``W``.

    ``W`` is the layer's weight as a matrix ``(outputs, inputs · kernel)``, in rewritten layers that of the plain 3×3
    kernel. ``u`` and ``v`` are buffers that `iterate_all` moves by one step of the power method; a network calls it in
    `Discriminator.prepare`. Gradients flow through ``W`` in ``σ`` and take ``u`` and ``v`` as fixed: Miyato et al.
    (2018), Algorithm 1. Initialise the layer first: what is known of ``σ`` at the start comes from `START` steps here.

    Args:
        layer: an ``nn.Linear``, ``nn.Conv2d``, `UpsampleConv2d` or `ConvPool2d`.

    Raises:
        TypeError: another layer.
    """

    u: Tensor
    v: Tensor

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        if type(layer) not in _APPLY:
            known = ", ".join(kind.__name__ for kind in _APPLY)
            raise TypeError(f"no spectral norm is known of {type(layer).__name__}; it is of {known}")
        self.layer = layer
        matrix = self.matrix.detach()
        self.register_buffer("u", normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", torch.zeros_like(matrix[0]))
        for _ in range(START):
            self.iterate()

    @property
    def matrix(self) -> Tensor:
        """``W (outputs, inputs · kernel)``."""
        weight = self.layer.weight
        assert isinstance(weight, Tensor)
        return weight.flatten(1)

    @torch.no_grad()
    def iterate(self) -> None:
        """``v ← Wᵀ u / ‖Wᵀ u‖``, ``u ← W v / ‖W v‖``, in place."""
        matrix = self.matrix
        self.v.copy_(normalize(matrix.mT @ self.u, dim=0))
        self.u.copy_(normalize(matrix @ self.v, dim=0))

    def sigma(self) -> Tensor:
        """The estimate, in full precision, kept above zero for the sake of a weight that is."""
        with torch.autocast("cuda" if self.u.is_cuda else "cpu", enabled=False):
            return (self.u @ (self.matrix @ self.v)).clamp_min(1e-12)

    def weight(self) -> Tensor:
        """``W / σ``, in the shape of the layer's weight."""
        weight = self.layer.weight
        assert isinstance(weight, Tensor)
        return weight / self.sigma()

    def forward(self, x: Tensor) -> Tensor:
        return _APPLY[type(self.layer)](self.layer, x, self.weight())


@torch.no_grad()
def iterate_all(module: nn.Module) -> None:
    """One step of the power method in every `SpectralNorm` of ``module``; alike ones together where that is faster."""
    alike: defaultdict[tuple[int, ...], list[SpectralNorm]] = defaultdict(list)
    for layer in module.modules():
        if isinstance(layer, SpectralNorm):
            alike[tuple(layer.matrix.shape)].append(layer)
    for (outputs, inputs), layers in alike.items():
        if len(layers) > 1 and (layers[0].u.is_cuda or outputs * inputs <= TOGETHER):
            _iterate_together(layers)
        else:
            for layer in layers:
                layer.iterate()


def _iterate_together(layers: list[SpectralNorm]) -> None:
    matrices, u = torch.stack([layer.matrix for layer in layers]), torch.stack([layer.u for layer in layers])
    v = normalize(matrices.mT @ u[..., None], dim=1)
    u = normalize(matrices @ v, dim=1)
    for layer, left, right in zip(layers, u.squeeze(2).unbind(), v.squeeze(2).unbind(), strict=True):
        layer.u.copy_(left)
        layer.v.copy_(right)

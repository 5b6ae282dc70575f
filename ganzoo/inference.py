"""A generator for sampling alone: what does not change between calls is computed once."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from ganzoo.generator import Generator, Translator
from ganzoo.layers import ConvPool2d, NoiseToMap, SpectralNorm, UpsampleConv2d

G = TypeVar("G", bound=Generator)

#: The largest difference between a sample and the same one of the folded generator, in units of the largest value.
TOLERANCE: Final = 1e-5
#: Samples on which that is tried.
TRIED: Final = 4
#: Layers that a batch normalisation after them can go into, and in which dimension of the weight its channels lie.
CHANNELS: Final = {
    nn.Linear: 0,
    nn.Conv1d: 0,
    nn.Conv2d: 0,
    nn.Conv3d: 0,
    UpsampleConv2d: 0,
    ConvPool2d: 0,
    nn.ConvTranspose1d: 1,
    nn.ConvTranspose2d: 1,
    nn.ConvTranspose3d: 1,
    NoiseToMap: 1,
}
NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def folded(generator: G) -> G:
    """A copy that gives the same samples faster, in eval mode and without gradients. It cannot be trained.

    Batch normalisation ``γ (x − μ)/√(v + ε) + β`` right after a layer in an ``nn.Sequential`` goes into the layer's
    weight and bias; other normalisations stay as they are. Spectral norms are divided out, the kernels of
    `ganzoo.layers` computed once, and on the CPU images laid out with the channels last. Samples differ by at most
    1e-5 of the largest value, which is tried on a few: where they differ more, or the network does not allow it, the
    copy is in eval mode and that is all.
    """
    plain = copy.deepcopy(generator).eval().requires_grad_(False)
    if isinstance(plain, Translator):  # there are no samples here on which to try it
        return plain
    fast = copy.deepcopy(plain)
    try:
        _fold(fast)
        if _agree(plain, fast):
            return fast
    except Exception:  # a plugin's network may look into layers that are no longer what they were
        pass
    return plain


def _fold(network: nn.Module) -> None:
    _replace(network, {m: _without_norm(m) for m in _unshared(network) if type(m) is SpectralNorm})
    own = _unshared(network)
    for body in own:
        if type(body) is not nn.Sequential:
            continue
        for (_, layer), (name, norm) in pairwise(list(body._modules.items())):
            if layer in own and norm in own and _fits(layer, norm):
                _absorb(layer, norm)
                body._modules[name] = nn.Identity()
    _replace(network, {m: _computed(m) for m in own if type(m) in (UpsampleConv2d, ConvPool2d)})
    tensors = list(network.parameters())
    if any(t.ndim == 4 for t in tensors) and all(t.device.type == "cpu" for t in tensors):
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _unshared(network: nn.Module) -> set[nn.Module]:
    """The modules that are used in one place, whose tensors are theirs alone, and which nobody listens to."""
    places = Counter(m for _, m in network.named_modules(remove_duplicate=False))
    tensors = Counter(p for m in places for p in m._parameters.values() if p is not None)
    return {
        m
        for m, times in places.items()
        if times == 1
        and all(tensors[p] == 1 for p in m._parameters.values() if p is not None)
        and not (m._forward_hooks or m._forward_pre_hooks)
    }


def _replace(network: nn.Module, others: dict[nn.Module, nn.Module]) -> None:
    for module in list(network.modules()):
        for name, child in module._modules.items():
            if child in others:
                module._modules[name] = others[child]


def _without_norm(module: Any) -> nn.Module:
    module.layer.weight = _fixed(module.weight())
    return module.layer


def _fits(layer: Any, norm: Any) -> bool:
    """Whether ``norm`` is a batch normalisation by fixed statistics of the channels that ``layer`` makes."""
    kind: Any = type(layer)
    return (
        kind in CHANNELS
        and type(norm) in NORMS
        and norm.running_mean is not None
        and getattr(layer, "groups", 1) == 1
        and layer.weight.shape[CHANNELS[kind]] == norm.num_features
    )


def _absorb(layer: Any, norm: Any) -> None:
    """``γ (W x + b − μ)/√(v + ε) + β`` as one layer, computed in double precision."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    bias = -norm.running_mean.double() if layer.bias is None else layer.bias.double() - norm.running_mean.double()
    bias = bias * scale if norm.bias is None else bias * scale + norm.bias.double()
    weight, dim = layer.weight, CHANNELS[type(layer)]
    shape = [-1 if i == dim else 1 for i in range(weight.ndim)]
    layer.weight = _fixed((weight.double() * scale.reshape(shape)).to(weight.dtype))
    layer.bias = _fixed(bias.to(weight.dtype))


def _computed(layer: Any) -> nn.Module:
    """The convolution that a rewritten layer computes, with its kernel."""
    kind = nn.ConvTranspose2d if type(layer) is UpsampleConv2d else nn.Conv2d
    outputs, inputs = layer.weight.shape[:2]
    with torch.device("meta"):  # nothing is drawn
        plain = kind(inputs, outputs, 4, stride=2, padding=1, bias=layer.bias is not None)
    plain.weight, plain.bias = _fixed(layer.kernel(layer.weight)), layer.bias
    return plain.eval()


def _fixed(t: Tensor) -> nn.Parameter:
    return nn.Parameter(t, requires_grad=False)


def _agree(plain: Generator, fast: Generator) -> bool:
    device = next(plain.parameters()).device
    z, c = plain.source(TRIED, torch.Generator(device).manual_seed(0))
    wanted, got = plain(z, c), fast(z, c)
    return bool((got - wanted).abs().max() <= TOLERANCE * wanted.abs().max().clamp_min(1))

"""Weights that anyone may have made: data, never code, and checked before they are used."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn.modules import module as hooks

from ganzoo.errors import GanzooError, ModelError
from ganzoo.origin import CONFIG, check_sum
from ganzoo.part import Part


def to_bytes(network: nn.Module) -> bytes:
    """A safetensors file of a network's parameters and buffers."""
    return safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()})


def weighted(part: Part, path: Path, sums: Mapping[str, Any]) -> nn.Module:
    """The network with the weights in a file, if that is the one that the configuration names in ``sums``; their names,
    shapes and types are compared before the network is allocated."""
    check_sum(path, sums)
    try:
        weights = safetensors.torch.load(path.read_bytes())
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} is no safetensors file: {error}") from None
    imagined = _imagined(part, len(weights), path)
    wanted = {name: (tuple(t.shape), t.dtype) for name, t in imagined.state_dict().items()}
    found = {name: (tuple(t.shape), t.dtype) for name, t in weights.items()}
    if found != wanted:
        odd = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))[0]
        raise ModelError(
            f"{path} does not fit its {CONFIG}: {odd!r:.120} is {found.get(odd)}, and should be {wanted.get(odd)}"
        )
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise ModelError(f"{path} holds weights that are not finite numbers")
    with torch.random.fork_rng(devices=[]):  # loading must not disturb the caller's random state
        network: nn.Module = part.build()
    network.load_state_dict(weights, assign=True)  # not copied: it may be large
    return network.eval().requires_grad_(False)


def _imagined(part: Part, tensors: int, path: Path) -> nn.Module:
    """The network on the meta device, where nothing is allocated."""
    try:
        with torch.device("meta"), _at_most(100 * (tensors + 10)):
            return part.build()
    except GanzooError:
        raise
    except Exception as error:  # of sizes that no tensor has, or whatever a plugin's network raises
        where = path.parent / CONFIG
        raise ModelError(f"{where}: its {part.kind} cannot be built: {type(error).__name__}: {error!s:.300}") from None


@contextmanager
def _at_most(pieces: int) -> Iterator[None]:
    """End the building of a network that gets more pieces than a file with so many tensors can be of: a configuration
    may ask for a billion layers."""
    made, own = 0, threading.get_ident()

    def count(*_: Any) -> None:
        nonlocal made
        made += threading.get_ident() == own  # other threads may be building networks too
        if made > pieces:
            raise ValueError("it asks for a network with far more layers than there are weights")

    added = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for each in added:
            each.remove()

"""Weights that anyone may have made: data, never code, and checked before they are used."""

from __future__ import annotations

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
from ganzoo.files import sha256
from ganzoo.origin import CONFIG, why_not
from ganzoo.part import Part


def to_bytes(network: nn.Module) -> bytes:
    """A safetensors file of a network's parameters and buffers."""
    return safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()})


def checked(path: Path, sums: Mapping[str, Any]) -> bytes:
    """The bytes of a file of weights, if they are those that the configuration names."""
    if not path.exists():
        raise ModelError(f"{path.parent} holds no model: {why_not(path.parent, path.name)}")
    if not path.is_file():
        raise ModelError(f"{path} is no ordinary file")
    data = path.read_bytes()
    if sha256(data) != sums.get(path.name):
        again = "; `ganzoo download --force` fetches it again" if "snapshots" in path.parts else ""
        raise ModelError(f"{path} is damaged: its checksum is not the one in {CONFIG}{again}")
    return data


def weighted(part: Part, data: bytes, path: Path) -> nn.Module:
    """The network with these weights; their names, shapes and types are compared before it is allocated."""
    try:
        weights = safetensors.torch.load(data)
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
    network.load_state_dict(weights)
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
    made = 0

    def count(*_: Any) -> None:
        nonlocal made
        made += 1
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

"""What a device could do at best: operations and bytes of a step, and how fast it multiplies and copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


class Traffic(TorchDispatchMode):
    """Bytes that operations read and write, each of its tensors once: what no fusion avoids is less."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.bytes += sum(t.nbytes for t in _tensors((args, kwargs, out)))
        return out


def _tensors(tree: Any) -> Iterator[Tensor]:
    seen: set[int] = set()
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor) and id(leaf) not in seen:
            seen.add(id(leaf))
            yield leaf


def count(step: Callable[[], Any]) -> dict[str, Any]:
    """Floating-point operations of matrix products and convolutions, and bytes moved, of one step."""
    with FlopCounterMode(display=False) as flops, Traffic() as traffic:
        step()
    return {"flops_per_step": flops.get_total_flops(), "bytes_per_step": traffic.bytes}


def ceilings(device: torch.device, side: int = 8192) -> dict[str, float]:
    """Operations per second of a square product by precision, and bytes per second of a copy, read and written."""
    found: dict[str, float] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a = torch.randn(side, side, device=device, dtype=dtype)
        found[name] = 2 * side**3 / _best(lambda a=a: a @ a, device)
    x = torch.zeros(side * side, device=device)
    y = torch.empty_like(x)
    return {**found, "copy": 2 * x.nbytes / _best(lambda: y.copy_(x), device)}


def _best(work: Callable[[], Any], device: torch.device, tries: int = 10) -> float:
    times = []
    for _ in range(tries):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times)


def floor(found: Mapping[str, Any], limits: Mapping[str, float], precision: str) -> float:
    """Seconds that a step takes at least, if it reaches the one ceiling or the other."""
    return max(found["flops_per_step"] / limits[precision], found["bytes_per_step"] / limits["copy"])

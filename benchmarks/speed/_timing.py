"""How long a loop takes per step, once it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

#: A measurement is cut into at least so many blocks of steps.
BLOCKS = 8


@dataclass(frozen=True)
class Setting:
    """Where it runs, at least for how many seconds, and whether only to see that it does: ``tiny``."""

    device: torch.device
    seconds: float = 5.0
    tiny: bool = False

    def size(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full


class Loop(NamedTuple):
    """``run(n)`` takes ``n`` more steps and reads what they log; ``models`` are trained by each of them."""

    run: Callable[[int], None]
    models: int = 1


Maker = Callable[[Setting], Loop]


def clock(device: torch.device) -> float:
    """Seconds, when the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(make: Maker, setting: Setting, ready: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    """Model-steps per second of the loop that ``make`` makes, after its warm-up and ``ready()``.

    ``first_seconds`` are those of its construction and first step, and of the compilation where there is one.
    """
    began = clock(setting.device)
    loop = make(setting)
    counted = _first(loop, setting.device)
    first = clock(setting.device) - began
    block = _warm(loop, setting)
    ready()
    done, began, now = 0, clock(setting.device), 0.0
    while now < setting.seconds:
        loop.run(block)
        done, now = done + block, clock(setting.device) - began
    return {
        "rate": done * loop.models / now,
        "models": loop.models,
        "steps": done,
        "seconds": now,
        "step_milliseconds": 1e3 * now / done,
        "first_seconds": first,
        "peak_mebibytes": peak(),
        **counted,
    }


def _warm(loop: Loop, setting: Setting) -> int:
    """How many steps are a block: twice as many again and again, until they take long enough."""
    block, took = 1, 0.0
    while True:
        began = clock(setting.device)
        loop.run(block)
        took = clock(setting.device) - began
        if took > setting.seconds / BLOCKS or setting.tiny:
            return block
        block *= 2


def peak() -> float | None:
    """The most memory that this process held, in MiB; none where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _first(loop: Loop, device: torch.device) -> dict[str, Any]:
    """The first step; on a GPU its operations and bytes, since it is plain where later ones repeat a recording."""
    if device.type != "cuda":
        loop.run(1)
        return {}
    from _roofline import count

    return count(lambda: loop.run(1))

"""Which device to compute on."""

from __future__ import annotations

import torch

from ganzoo.errors import OptionError


def pick_device(name: str) -> torch.device:
    """``auto`` is the best there is; anything else must be there."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    there = [kind for kind, available in here.items() if available]
    if name == "auto":
        return torch.device(there[0])
    if name.partition(":")[0] not in there:
        raise OptionError(f"there is no device {name!r} here; there is {', '.join(there)}")
    return torch.device(name)

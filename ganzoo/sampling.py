"""Samples of a model, into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch

from ganzoo import model as models
from ganzoo import pictures
from ganzoo.dataset import Batch
from ganzoo.errors import OptionError
from ganzoo.files import atomic_write
from ganzoo.model import Model
from ganzoo.origin import locate

if TYPE_CHECKING:
    from ganzoo.hub import Heard


def write_samples(path: str, n: int, seed: int, label: int | None, device: str, out: Path, heard: Heard) -> str:
    """Draw ``n`` samples and write them; the file's ending says how. Returns what was done, in words."""
    writers = {".png": _png, ".npz": _npz, ".safetensors": _safetensors}
    if out.suffix not in writers:
        raise OptionError(f"--out {out}: samples are written as {', '.join(writers)}")
    model = models.open_model(locate(path, heard=heard), device)
    batch = model.sample(n, seed=seed, label=label)
    writers[out.suffix](model, batch, out)
    return f"{n:,} samples of {model.name} (seed {seed}), shape {tuple(batch.x.shape)}: {out}"


def _png(model: Model, batch: Batch, out: Path) -> None:
    pictures.draw(model.dataset, batch.x, out, model.name)


def _npz(model: Model, batch: Batch, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in _arrays(batch).items()}
    np.savez(out, **arrays)


def _safetensors(model: Model, batch: Batch, out: Path) -> None:
    atomic_write(out, safetensors.torch.save(_arrays(batch)))


def _arrays(batch: Batch) -> dict[str, models.Tensor]:
    return {name: tensor.contiguous() for name, tensor in batch._asdict().items() if tensor is not None}

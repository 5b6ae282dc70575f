"""Checkpoints: safetensors and JSON, written atomically, the previous one kept, every byte checked when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
from torch import Tensor

from ganzoo.errors import CheckpointError
from ganzoo.files import atomic_write, sha256

FORMAT: Final = 2
KEPT: Final = 2


@dataclass(frozen=True)
class Checkpoint:
    """A run at a step. ``damaged`` says which later checkpoints had to be passed over, and why."""

    step: int
    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any]
    damaged: tuple[str, ...] = ()


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint and drop all but the last two. Its JSON comes last: without it the tensors do not count."""
    data = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    body = {"format": FORMAT, "step": step, "tensors": sha256(data), "meta": meta}
    atomic_write(folder / f"step-{step:09d}.safetensors", data)
    atomic_write(_json(folder, step), json.dumps({**body, "sha256": _sum(body)}, indent=1).encode())
    _tidy(folder, step)


def _tidy(folder: Path, step: int) -> None:
    """Drop all but the last two up to ``step``: later ones were damaged and would crowd out good ones."""
    kept = sorted(path for path in folder.glob("step-*.json") if path <= _json(folder, step))[-KEPT:]
    for path in sorted(folder.glob("step-*.*")):
        if path.with_suffix(".json") not in kept:
            path.unlink(missing_ok=True)


def load(folder: Path, step: int | None = None) -> Checkpoint | None:
    """The newest checkpoint that is whole; none if there never was one; `CheckpointError` if none is whole. With
    ``step``: the one of that step, or none."""
    damaged: list[str] = []
    for path in sorted(folder.glob("step-*.json") if step is None else [_json(folder, step)], reverse=True):
        try:
            step, tensors, meta = _read(path)
            return Checkpoint(step, tensors, meta, tuple(damaged))
        except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
            damaged.append(f"{path.with_suffix('.safetensors')}: {error}")
    if damaged and step is None:
        raise CheckpointError("no checkpoint is whole: " + "; ".join(damaged))
    return None


def _read(path: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]]:
    body = json.loads(path.read_bytes())
    if not isinstance(body, dict) or body.pop("sha256", None) != _sum(body):
        raise ValueError(f"the checksum of {path.name} does not match its content")
    if missing := {"format", "step", "tensors", "meta"} - set(body):
        raise ValueError(f"{path.name} does not say its {' and '.join(sorted(missing))}")
    if body["format"] != FORMAT:
        raise ValueError(f"format {body['format']} is not {FORMAT}")
    if int(path.stem.removeprefix("step-")) != body["step"] or not isinstance(body["meta"], dict):
        raise ValueError(f"{path.name} is not what was saved under this name")
    data = path.with_suffix(".safetensors").read_bytes()
    if sha256(data) != body["tensors"]:
        raise ValueError(f"its checksum does not match: truncated or corrupt ({len(data):,} bytes)")
    return body["step"], safetensors.torch.load(data), body["meta"]


def _json(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09d}.json"


def _sum(body: Mapping[str, Any]) -> str:
    return sha256(json.dumps(body, sort_keys=True).encode())

"""The noun *dataset*: samples of the true distribution ``P_data``; some also know their density."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ganzoo.errors import OptionError
from ganzoo.part import Option, as_object

PartName = Literal["train", "validation", "held-out"]
Scale = Literal["linear", "logit"]
PARTS: tuple[PartName, ...] = ("train", "validation", "held-out")


class Batch(NamedTuple):
    """Samples ``x`` of shape ``(n, *shape)`` and their labels, where there are any: ``(n,)`` numbers of classes or, of
    samples with several labels, ``(n, classes)`` of 0 and 1, int64."""

    x: Tensor
    label: Tensor | None = None

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Batch:
        return Batch(*(t.to(device, non_blocking=non_blocking) for t in self if t is not None))

    def pinned(self) -> Batch:
        """In memory from which a device can fetch it by itself."""
        return Batch(*(t.pin_memory() for t in self if t is not None))

    def take(self, index: Tensor | slice) -> Batch:
        rows = [t[index] if isinstance(index, slice) else t.index_select(0, index) for t in self if t is not None]
        return Batch(*rows)


@dataclass(frozen=True)
class Description:
    """What a dataset says of its samples, in its own words. A model carries it along."""

    shape: tuple[int, ...]
    classes: int | None = None
    labels: tuple[str, ...] = ()
    unit: str = "data units"
    limits: tuple[float, float] = (0.0, 1.0)
    scale: Scale = "linear"
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    several: bool = False
    attribute: str = ""

    def shown(self, x: Tensor) -> Tensor:
        """What is drawn of images: intensities from 0, black, to 1, white."""
        x, low, high = _linear(x, self.limits, self.scale)
        return ((x - low) / (high - low)).clamp(0, 1)

    def valued(self, intensity: Tensor) -> Tensor:
        """The samples of which `shown` gives these intensities, between 0 and 1."""
        _, low, high = _linear(intensity, self.limits, self.scale)
        x = low + (high - low) * intensity
        return x.logit() if self.scale == "logit" else x

    def json(self) -> dict[str, Any]:
        # What came later is not said where it is as it always was, so that old descriptions stay what they are.
        new = ("several", "attribute")
        said = {e.name: v for e in fields(self) if (v := getattr(self, e.name)) != e.default or e.name not in new}
        return {**said, "provenance": dict(self.provenance)}

    @classmethod
    def parse(cls, data: Any) -> Description:
        """Read `json` back; `OptionError` where it is none."""
        said = as_object(data, "data")
        read = {o.name: o.parse(said.get(o.name, None if o.default is ... else o.default), "data") for o in _DESCRIBED}
        limits = read["limits"]
        if len(limits) != 2 or not limits[0] < limits[1]:
            raise OptionError(f"data: limits={limits} is not allowed; it takes black and white")
        return cls(**read, provenance=as_object(data.get("provenance", {}), "provenance"))


_DESCRIBED = (
    Option("shape", int, low=1, high=2**20, many=True),
    Option("classes", int, low=1, optional=True),
    Option("labels", str, many=True),
    Option("unit", str),
    Option("limits", float, many=True),
    Option("scale", str, choices=("linear", "logit")),
    Option("several", bool, False),
    Option("attribute", str, ""),
)


def _linear(x: Tensor, limits: tuple[float, float], scale: Scale) -> tuple[Tensor, float, float]:
    """Samples, black and white on a scale on which intensities are linear."""
    low, high = limits
    if scale == "linear":
        return x, low, high
    return x.sigmoid(), 1 / (1 + math.exp(-low)), 1 / (1 + math.exp(-high))


class Dataset(ABC):
    """Three fixed parts of samples.

    ``train`` is what methods see, ``validation`` chooses the best snapshot of a run, ``held-out`` is what reported
    numbers are measured on. All three depend on the dataset's options alone, never on the seed of a run.

    Attributes: ``shape``, that of one sample; ``classes``, how many labels there are (none where samples have no
    label), ``labels``, what they are called, where they have names, ``attribute``, what they are labels of
    (``glasses``), and ``several``, whether a sample can have several of them or none; ``unit``, what one unit of ``x``
    is, for distances and likelihoods; ``limits``, black and white, where samples are images, and ``scale``, whether
    what lies between them is an intensity or its logit; ``provenance``, as JSON, where samples come from and what was
    done to them.

    Raises:
        DataError: by the constructor or whatever reads samples, where they are not at hand and cannot be fetched.
    """

    shape: tuple[int, ...]
    classes: int | None = None
    labels: tuple[str, ...] = ()
    unit: str = "data units"
    limits: tuple[float, float] = (0.0, 1.0)
    scale: Scale = "linear"
    provenance: Mapping[str, Any] = MappingProxyType({})
    several: bool = False
    attribute: str = ""

    @abstractmethod
    def part(self, name: PartName) -> Batch:
        """The samples of a part, float32 on the CPU: ``x (n, *shape)``, labels ``(n,)`` or, of ``several``, ``(n,
        classes)`` of 0 and 1, int64. The same at every call."""

    def stored(self, name: PartName) -> Batch:
        """The same samples as they are kept, which may be bytes in a file that is mapped into memory. What trains takes
        rows of them and has these `decoded`. Optional."""
        return self.part(name)

    def decoded(self, stored: Batch, rng: torch.Generator) -> Batch:
        """What rows that are kept stand for, float32 on the device where they are; what is random about it (a flip,
        the noise of a dequantisation) comes from ``rng``, which is there too. Optional, with `stored`."""
        return stored

    def plain(self, stored: Batch, rng: torch.Generator) -> Batch:
        """The same as numbers are measured on it: without what is done to samples in training alone, such as a flip.
        Optional, with a `decoded` that does so."""
        return self.decoded(stored, rng)

    def some(self, name: PartName, n: int) -> Batch:
        """The first ``n`` samples of a part, `plain`, the others not decoded: those of `part` but for what is
        random."""
        return self.plain(self.stored(name).take(slice(n)), torch.Generator().manual_seed(0))

    def translated(self, name: PartName, n: int, label: int) -> Tensor | None:
        """The first ``n`` samples of a part, as `some` gives them, as they would be with this label in place of their
        own, all else the same: what a translation should come to. None where nobody knows. Optional."""
        return None

    def shown(self, x: Tensor) -> Tensor:
        """What is drawn of images: intensities from 0, black, to 1, white."""
        return self.described().shown(x)

    def described(self) -> Description:
        """What can be said of its samples without having any."""
        about = (self.shape, self.classes, self.labels, self.unit, self.limits, self.scale, self.provenance)
        return Description(*about, several=self.several, attribute=self.attribute)


@dataclass(frozen=True)
class Modes:
    """The modes of a density: ``centres (k, d)`` with ``std (k,)`` each in every direction, chosen with ``weights
    (k,)``."""

    centres: Tensor
    std: Tensor
    weights: Tensor


class TractableDataset(Dataset):
    """A dataset that also knows its density ``p_data`` and can be drawn from without end."""

    modes: Modes

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """``log p_data(x)`` in nats, ``(n,)``, for ``x (n, *shape)``."""

    @abstractmethod
    def sample(self, n: int, rng: torch.Generator) -> Batch:
        """``n`` fresh samples."""

"""A model: a generator that was exported, as a folder in the layout of a Hub repository.

``config.json`` holds the recipe and where the weights come from, ``model.safetensors`` the averaged generator. Nothing
in it is code: it is rebuilt from registered names and declared options, and the weights are checked before they are
used.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Final, final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ganzoo import evaluate
from ganzoo.dataset import Batch, Dataset
from ganzoo.device import pick_device
from ganzoo.errors import IncompatibleError, ModelError, OptionError, UnknownNameError
from ganzoo.files import atomic_write, sha256, write_json
from ganzoo.generator import Generator, TractableGenerator
from ganzoo.part import Part, as_object
from ganzoo.recipe import Recipe

FORMAT: Final = 1
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A trained generator, and ``config``: its recipe, and where and how it came to be."""

    generator: Generator
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its recipe's."""
        return self.config["recipe"]["name"]

    @cached_property
    def recipe(self) -> Recipe:
        """How to train it again, which can need plugins that sampling does not."""
        return Recipe.parse(self.config["recipe"])

    @cached_property
    def dataset(self) -> Dataset:
        """What it was trained on."""
        return Part.parse(self.config["recipe"]["dataset"], "dataset").build()

    def sample(self, n: int, *, seed: int | None = None, label: int | Tensor | None = None) -> Batch:
        """``n`` samples ``x (n, *shape)`` on the CPU, with the labels they were made for where there are any.

        The same ``seed`` gives the same samples; without one they differ from call to call. ``label`` asks for one
        label, or for one each, ``(n,)``.
        """
        if n < 1:
            raise OptionError(f"n={n} is not allowed; it takes int ≥ 1")
        seed = secrets.randbits(63) if seed is None else seed
        return evaluate.sample(self.generator, n, seed, None if label is None else self._labels(n, label))

    def _labels(self, n: int, label: int | Tensor) -> Tensor:
        if self.generator.source(1, torch.Generator(next(self.generator.parameters()).device))[1] is None:
            raise IncompatibleError(f"{self.name} reads no label: its {type(self.generator).__name__} ignores it")
        labels = torch.as_tensor(label).expand(n) if isinstance(label, int) else label
        classes = self.dataset.classes or 0
        if len(labels) != n or int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise OptionError(f"label must be one of 0 to {classes - 1}, or {n} of them, not {label}")
        return labels

    def log_prob(self, x: Tensor) -> Tensor:
        """``log p_G(x)`` in nats, ``(n,)``; `IncompatibleError` where the generator has no density."""
        if not isinstance(self.generator, TractableGenerator):
            raise IncompatibleError(
                f"{self.name} has no likelihood: {type(self.generator).__name__} can only be sampled"
            )
        return evaluate.log_prob(self.generator, x)


def export(folder: Path, recipe: Recipe, generator: Generator, provenance: Mapping[str, Any]) -> None:
    """Write ``config.json`` and ``model.safetensors``. ``provenance`` says seed, step, versions and so on."""
    network = recipe.players[recipe.model].network
    config = {
        "library_name": "ganzoo",
        "format": FORMAT,
        "needs": {network.entry.distribution: network.entry.version},
        "generator": network.json(),
        "recipe": recipe.json(),
        **provenance,
    }
    data = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in generator.state_dict().items()})
    atomic_write(folder / WEIGHTS, data)
    write_json(folder / CONFIG, {**config, "sha256": {WEIGHTS: sha256(data)}})


def load(path: str | PathLike[str], *, device: str = "cpu") -> Model:
    """Load an exported model from its folder, from that of its run, or from that of `ganzoo train` (its first seed).

    Raises:
        ModelError: the folder holds no model, or one that is damaged, incomplete or does not match its configuration.
        UsageError: the model needs something that is not registered here.
    """
    folder = _model_in(Path(path))
    try:
        config = as_object(json.loads((folder / CONFIG).read_bytes()), CONFIG)
        sums = as_object(config.get("sha256", {}), "sha256")
        generator = as_object(config.get("generator", {}), "generator")
        recipe = as_object(config.get("recipe"), "recipe")
        as_object(recipe.get("dataset"), "the recipe's dataset")
        if not isinstance(recipe.get("name"), str):
            raise OptionError("its recipe has no name")
        data = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no model: {_why_not(folder, Path(str(error.filename)))}") from None
    except (ValueError, OSError, OptionError, RecursionError) as error:
        raise ModelError(f"{folder / CONFIG} cannot be read: {error}") from None
    if config.get("format") != FORMAT:
        raise ModelError(f"{folder / CONFIG} is not a ganzoo model of format {FORMAT}")
    if sha256(data) != sums.get(WEIGHTS):
        raise ModelError(f"{folder / WEIGHTS} is damaged: its checksum is not the one in {CONFIG}")
    try:
        part = Part.parse({**generator, "kind": "generator"}, "generator")
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}{_made_with(config.get('needs'))}") from None
    return Model(_weighted(part, data, folder).to(pick_device(device)), config)


def _made_with(needs: Any) -> str:
    """Which plugins are missing, where the model says what it needs."""
    names = [name for name in needs if isinstance(name, str)] if isinstance(needs, dict) else []
    plugins = sorted(set(names) - {"ganzoo"})
    return f". It was made with {', '.join(plugins)}: `ganzoo install {' '.join(plugins)}`" if plugins else ""


def _model_in(folder: Path) -> Path:
    for inner in (folder, folder / "model", folder / "seed-0" / "model"):
        if (inner / CONFIG).exists():
            return inner
    return folder


def _why_not(folder: Path, missing: Path) -> str:
    if not folder.exists():
        return "there is no such folder"
    for result in (folder / "result.json", folder / "seed-0" / "result.json"):
        with suppress(OSError, ValueError, AttributeError):
            if (status := json.loads(result.read_bytes()).get("status")) != "finished":
                return f"its run {status}"
    return f"{missing.name} is missing"


def _weighted(part: Part, data: bytes, folder: Path) -> Generator:
    """The generator with these weights; shapes are compared before anything is allocated."""
    try:
        with torch.device("meta"):
            imagined: Generator = part.build()
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:  # of sizes that no tensor has
        raise ModelError(f"{folder / CONFIG}: its generator cannot be built: {error}") from None
    wanted = {name: (tuple(t.shape), t.dtype) for name, t in imagined.state_dict().items()}
    try:
        weights = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder / WEIGHTS} is no safetensors file: {error}") from None
    found = {name: (tuple(t.shape), t.dtype) for name, t in weights.items()}
    if found != wanted:
        odd = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))[0]
        raise ModelError(
            f"{folder / WEIGHTS} does not fit its {CONFIG}: {odd} is {found.get(odd)}, and should be {wanted.get(odd)}"
        )
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise ModelError(f"{folder / WEIGHTS} holds weights that are not finite numbers")
    with torch.random.fork_rng(devices=[]):  # loading must not disturb the caller's random state
        generator: Generator = part.build()
    generator.load_state_dict(weights)
    return generator.eval().requires_grad_(False)

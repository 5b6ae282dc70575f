"""A model: a generator that was exported, as a folder in the layout of a Hub repository.

``config.json`` holds the recipe and where the weights come from, ``model.safetensors`` the averaged generator. Nothing
in it is code: it is rebuilt from registered names and declared options, and the weights are checked before they are
used.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ganzoo import evaluate
from ganzoo.dataset import Batch, Dataset
from ganzoo.errors import IncompatibleError, ModelError, OptionError
from ganzoo.files import atomic_write, sha256, write_json
from ganzoo.generator import Generator, TractableGenerator
from ganzoo.recipe import Recipe
from ganzoo.registry import as_object
from ganzoo.train import pick_device

FORMAT: Final = 1
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True, eq=False)
class Model:
    """A trained generator, its recipe, and ``config``: where and how it came to be."""

    generator: Generator
    recipe: Recipe
    config: Mapping[str, Any]

    def sample(self, n: int, *, seed: int | None = None, label: int | Tensor | None = None) -> Batch:
        """``n`` samples ``x (n, *shape)`` on the CPU, with the labels they were made for where the generator reads
        labels.

        The same ``seed`` gives the same samples; without one they differ from call to call.
        """
        seed = secrets.randbits(63) if seed is None else seed
        if isinstance(label, int):
            label = torch.full((n,), label)
        return evaluate.sample(self.generator, n, seed, label)

    def log_prob(self, x: Tensor) -> Tensor:
        """``log p_G(x)`` in nats, ``(n,)``; `IncompatibleError` where the generator's density cannot be written
        down."""
        if not isinstance(self.generator, TractableGenerator):
            raise IncompatibleError(
                f"{self.recipe.name} has no likelihood: {type(self.generator).__name__} can only be sampled"
            )
        return evaluate.log_prob(self.generator, x)

    def dataset(self) -> Dataset:
        """What it was trained on."""
        return self.recipe.dataset.build()


def export(folder: Path, recipe: Recipe, generator: Generator, provenance: Mapping[str, Any]) -> None:
    """Write ``config.json`` and ``model.safetensors``. ``provenance`` says seed, step, versions and so on."""
    data = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in generator.state_dict().items()})
    atomic_write(folder / WEIGHTS, data)
    config = {"library_name": "ganzoo", "format": FORMAT, "recipe": recipe.json(), **provenance}
    write_json(folder / CONFIG, {**config, "sha256": {WEIGHTS: sha256(data)}})


def load(path: str | PathLike[str], *, device: str = "cpu") -> Model:
    """Load an exported model from its folder (or from a run's, whose ``model`` it then is).

    Raises:
        ModelError: the folder holds no model, or one that is damaged, incomplete or does not match its configuration.
        UsageError: the model needs something that is not registered here.
    """
    folder = Path(path)
    if not (folder / CONFIG).exists() and (folder / "model" / CONFIG).exists():
        folder = folder / "model"
    try:
        config = as_object(json.loads((folder / CONFIG).read_bytes()), CONFIG)
        sums = as_object(config.get("sha256", {}), "sha256")
        data = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no model: {Path(str(error.filename)).name} is missing") from None
    except (ValueError, OSError, OptionError, RecursionError) as error:
        raise ModelError(f"{folder / CONFIG} cannot be read: {error}") from None
    if config.get("format") != FORMAT:
        raise ModelError(f"{folder / CONFIG} is not a ganzoo model of format {FORMAT}")
    if sha256(data) != sums.get(WEIGHTS):
        raise ModelError(f"{folder / WEIGHTS} is damaged: its checksum is not the one in {CONFIG}")
    recipe = Recipe.parse(config.get("recipe"))
    return Model(_generator(folder / WEIGHTS, recipe, data).to(pick_device(device)), recipe, config)


def _generator(path: Path, recipe: Recipe, data: bytes) -> Generator:
    """The recipe's generator with these weights; shapes are compared before anything is allocated."""
    with torch.device("meta"):
        made = {name: net for name, net in recipe.networks().items() if isinstance(net, Generator)}
    player, imagined = next(iter(made.items()))
    wanted = {name: (tuple(t.shape), t.dtype) for name, t in imagined.state_dict().items()}
    try:
        weights = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path} is no safetensors file: {error}") from None
    found = {name: (tuple(t.shape), t.dtype) for name, t in weights.items()}
    if found != wanted:
        odd = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))[0]
        raise ModelError(
            f"{path} does not fit its recipe: {odd} is {found.get(odd)}, the recipe wants {wanted.get(odd)}"
        )
    with torch.random.fork_rng(devices=[]):  # loading must not disturb the caller's random state
        generator: Generator = recipe.players[player].network.build()
    generator.load_state_dict(weights)
    return generator.eval().requires_grad_(False)

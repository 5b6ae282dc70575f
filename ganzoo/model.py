"""A model: a generator that was exported, as a folder in the layout of a Hub repository.

``config.json`` holds the recipe and where the weights come from, ``model.safetensors`` the averaged generator,
``discriminator.safetensors`` the discriminator of the last step. Nothing in it is code: networks are rebuilt from
registered names and declared options, and weights are checked before they are used.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast, final

import torch
from torch import Tensor, nn

from ganzoo import evaluate
from ganzoo.dataset import Batch, Dataset, Description
from ganzoo.device import pick_device
from ganzoo.discriminator import Discriminator
from ganzoo.errors import IncompatibleError, OptionError, UnknownNameError, suggest
from ganzoo.files import atomic_write, copy_file, copy_or_remove, sha256, write_json
from ganzoo.game import DISCRIMINATOR
from ganzoo.generator import Generator, TractableGenerator, Translator
from ganzoo.inference import folded
from ganzoo.origin import CARD, CONFIG, CRITIC, FORMAT, METRICS, MOST, SAMPLES, WEIGHTS, Origin, locate, read_config
from ganzoo.part import Option, Part, as_object
from ganzoo.recipe import Recipe
from ganzoo.registry import normalise
from ganzoo.seeds import derive
from ganzoo.weights import to_bytes, weighted

if TYPE_CHECKING:
    from ganzoo.publish import Published

#: One label for all, by number or name, or one for each; where samples have several, as `Model.sample` says.
Labels: TypeAlias = int | str | Sequence[Any] | Tensor
#: As many samples are worth having the generator folded for them.
FOLDED: Final = 256


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A trained generator, and ``config``: its recipe, and where and how it came to be."""

    generator: Generator
    config: Mapping[str, Any]
    origin: Origin = Origin(Path(os.devnull))  # noqa: RUF009

    def __repr__(self) -> str:
        return f"Model({self.name}, from {self.origin})"

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        max_bytes: int = MOST,
        device: str = "cpu",
    ) -> Model:
        """`load`, by the name that other libraries give it."""
        return load(
            pretrained_model_name_or_path,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            max_bytes=max_bytes,
            device=device,
        )

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

    @cached_property
    def data(self) -> Description:
        """What is to be known of the samples: shape, names of the labels, unit, black and white."""
        held = self.config.get("data")
        return self.dataset.described() if held is None else Description.parse(held)

    @cached_property
    def discriminator(self) -> Discriminator:
        """The discriminator of the last step, beside which the generator learned; from the Hub it is fetched when it is
        asked for. `IncompatibleError` where there was none, as in maximum likelihood."""
        sums = as_object(self.config.get("sha256", {}), "sha256")
        if CRITIC not in sums or DISCRIMINATOR not in self.recipe.players:
            raise IncompatibleError(f"{self.name} was exported without a discriminator")
        network = weighted(self.recipe.players[DISCRIMINATOR].network, self.origin.file(CRITIC), sums)
        return cast(Discriminator, network.to(next(self.generator.parameters()).device))

    def save_pretrained(
        self, save_directory: str | PathLike[str], *, push_to_hub: bool = False, repo_id: str | None = None, **push: Any
    ) -> Published | None:
        """Write the model into a folder that `load` and `ganzoo publish` take; with ``push_to_hub`` publish it too.

        Where the weights are those that it was loaded with, everything that is said of them goes along; where they were
        changed since, what was measured of the others does not, and the card says that they were.

        Raises:
            OptionError: ``repo_id`` or another option of `push_to_hub` without ``push_to_hub``.
            HubError: what is said of a model from the Hub cannot be fetched.
        """
        if not push_to_hub and (push or repo_id is not None):
            raise OptionError(f"{', '.join([*push, *(['repo_id'] if repo_id else [])])} needs push_to_hub=True")
        folder, old = Path(save_directory), as_object(self.config.get("sha256", {}), "sha256")
        data = to_bytes(self.generator)
        config = {**self.config, "sha256": {**old, WEIGHTS: sha256(data)}}
        same = old.get(WEIGHTS) == sha256(data)
        if not same:
            config |= {"metrics": {}, "weights": "changed after training", "sha256": {WEIGHTS: sha256(data)}}
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / WEIGHTS, data)
        if not same or self.origin.folder.resolve() != folder.resolve():
            for name in (CRITIC, METRICS, SAMPLES):  # nothing that is there of another model stays
                copy_or_remove(self.origin.find(name) if same else None, folder / name)
        if same and (card := self.origin.find(CARD)) is not None:
            copy_file(card, folder / CARD)
        write_json(folder / CONFIG, config)
        return self.push_to_hub(repo_id or folder.name, **push) if push_to_hub else None

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str | None = None,
        create_pr: bool = False,
        tag: str | None = None,
    ) -> Published:
        """Publish the model as ``ORG/NAME``, or as ``NAME`` of the token's own user, with its card.

        What is there already is not sent again.

        Raises:
            HubError: no right to write there, or the Hub does not answer.
        """
        from ganzoo import publish

        how = publish.Sending(private=private, token=token, message=commit_message, create_pr=create_pr, tag=tag)
        return publish.push(self, repo_id, how)

    def sample(self, n: int, *, seed: int | None = None, label: Labels | None = None) -> Batch:
        """``n`` samples ``x (n, *shape)`` on the CPU, with the labels they were made for where there are any.

        The same ``seed`` gives the same samples; without one they differ from call to call. ``label`` asks for one
        label, by its number or its name (``round``, ``glasses=round``), or for one each, ``n`` of them. Where samples
        have several, it is the one that they have, or names all of them (``Smiling,Young``), or is ``(classes,)`` or
        ``(n, classes)`` of 0 and 1.
        """
        chunks = list(self.samples(n, seed=seed, label=label))
        labels = [chunk.label for chunk in chunks if chunk.label is not None]
        return Batch(torch.cat([chunk.x for chunk in chunks]), torch.cat(labels) if labels else None)

    def samples(self, n: int, *, seed: int | None = None, label: Labels | None = None) -> Iterator[Batch]:
        """What `sample` gives, in chunks as they are made: for more than fits into memory."""
        if n < 1:
            raise OptionError(f"n={n} is not allowed; it takes int ≥ 1")
        if isinstance(self.generator, Translator):
            raise IncompatibleError(
                f"{self.name} starts from samples: say translate(x, label), or `ganzoo sample MODEL --source FILE --to "
                f"LABEL`, FILE {'a picture or ' if len(self.data.shape) == 3 else ''}an .npz archive of x"
            )
        seed = secrets.randbits(63) if seed is None else seed
        generator = folded(self.generator) if n >= FOLDED else self.generator
        reads = self.generator.source(1, torch.Generator(next(self.generator.parameters()).device))[1] is not None
        if label is not None and not reads:
            raise IncompatibleError(f"{self.name} reads no label: its {type(self.generator).__name__} ignores it")
        if label is None and reads and self.data.several:  # a generator draws one of them
            coins = torch.Generator().manual_seed(derive(seed, "labels"))
            label = torch.randint(2, (n, self.data.classes or 0), generator=coins)
        yield from evaluate.samples(generator, n, seed, None if label is None else self.numbers(n, label))

    def translate(self, x: Tensor, label: Labels) -> Tensor:
        """Samples ``x (n, *shape)``, in the units of the dataset, made into samples of a label, on the CPU. ``label``
        is as in `sample`.

        Raises:
            IncompatibleError: the generator starts from noise.
            OptionError: samples of another shape or unit, or a label that there is not.
        """
        generator, x = self.require_translator(), self.taken(torch.as_tensor(x))
        return evaluate.translate(generator, x, self.numbers(len(x), label))

    def taken(self, x: Tensor) -> Tensor:
        """The same as float32, where they can be samples of these data; raises as `translate` does."""
        shape = f"(n, {', '.join(map(str, self.data.shape))})"
        if tuple(x.shape[1:]) != self.data.shape or not len(x):
            raise OptionError(f"{self.name} takes samples {shape}, not {tuple(x.shape)}")
        if not x.is_floating_point():
            raise OptionError(f"{self.name} takes samples of floating-point numbers ({self.data.unit}), not {x.dtype}")
        if not x.isfinite().all():
            raise OptionError(f"{self.name} takes samples of finite numbers, and some here are not")
        (black, white), low, high = self.data.limits, float(x.min()), float(x.max())
        if len(self.data.shape) == 3 and max(black - low, high - white) > white - black:  # levels 0…255, say
            raise OptionError(f"{self.name} takes images from {black:g} to {white:g}, not from {low:g} to {high:g}")
        return x.float()

    def require_translator(self) -> Translator:
        """The generator, where it starts from samples; raises as `translate` does."""
        if isinstance(self.generator, Translator):
            return self.generator
        kind = type(self.generator).__name__
        raise IncompatibleError(f"{self.name} translates nothing: its {kind} starts from noise, as in sample(n)")

    def numbers(self, n: int, label: Labels) -> Tensor:
        """A label for each of ``n`` samples, as networks read them: ``(n,)``, or ``(n, classes)`` of 0 and 1 where
        samples have several."""
        classes, several = self.data.classes or 0, self.data.several
        row, most = ((classes,), 1) if several else ((), classes - 1)
        of = f"{classes} of 0 and 1, or so many" if several else f"one of 0 to {most}, its name, or one"
        wrong = OptionError(f"label must be {of} for each of {n}, not {label!r}")
        try:
            given = self._given(label)
        except (TypeError, ValueError, RuntimeError) as error:
            raise wrong from error
        labels = given.expand(n, *row) if given.shape == row else given
        if labels.shape != (n, *row) or (not several and (labels.is_floating_point() or labels.dtype == torch.bool)):
            raise wrong
        if not bool(((labels == labels.long()) & (labels >= 0) & (labels <= most)).all()):
            raise wrong
        return labels.long()

    def _given(self, label: Labels) -> Tensor:
        """What was asked for in numbers, names among them by what they mean here."""
        if self.data.several and isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        if isinstance(label, str):
            return self._several(label) if self.data.several else torch.tensor(self._numbered(self._value(label)))
        if isinstance(label, Sequence) and any(isinstance(each, str) for each in label):
            return torch.stack([self._given(each) for each in label])
        return torch.as_tensor(label)

    def _value(self, label: str) -> str:
        """The label in ``ATTRIBUTE=LABEL``, as in ``glasses=round``."""
        attribute, equals, value = label.partition("=")
        of = self.data.attribute
        if not of or label in self.data.labels:
            return label
        if equals and normalise(attribute) != normalise(of):
            raise OptionError(f"{self.name}: labels are of {of}, not of {attribute!r}; say a label, or {of}=LABEL")
        if equals or normalise(label) != normalise(of):
            return value if equals else label
        if "true" in self.data.labels:  # it is had or not
            return "true"
        raise OptionError(f"{self.name}: {of} is what labels are of; {suggest(label, self.data.labels)}")

    def _several(self, label: str) -> Tensor:
        """``Smiling,Young=false``: one, zero; what is not named is zero. ``1,0,1`` says it of each."""
        pieces = [piece.strip() for piece in label.split(",")]
        if len(pieces) == self.data.classes and {"0", "1"}.issuperset(pieces):
            return torch.tensor([int(piece) for piece in pieces])
        said: dict[int, int] = {}
        for each in filter(None, pieces):
            name, equals, value = each.partition("=")
            number = self._numbered(name)
            if number in said:
                raise OptionError(f"{self.name}: label {label!r} says {name} twice")
            said[number] = int(Option(name, bool).parse(value, self.name)) if equals else 1
        return torch.tensor([said.get(number, 0) for number in range(self.data.classes or 0)])

    def _numbered(self, label: str) -> int:
        """A label by its name, exactly or but for case and dashes; where there is none of this name, by its number."""
        names = [normalise(name) for name in self.data.labels]
        if label in self.data.labels:
            return self.data.labels.index(label)
        if (found := names.count(normalise(label))) == 1:
            return names.index(normalise(label))
        if found:
            alike = " and ".join(name for name in self.data.labels if normalise(name) == normalise(label))
            raise OptionError(f"{self.name}: label {label!r} may be {alike}; write it exactly")
        classes = self.data.classes or 0
        if label.isdecimal() and int(label) < classes:
            return int(label)
        number = not names or label.removeprefix("-").isdecimal()
        known = f"labels are numbers from 0 to {classes - 1}" if number else suggest(label, self.data.labels)
        raise OptionError(f"{self.name} has no label {label!r}; {known}")

    def log_prob(self, x: Tensor) -> Tensor:
        """``log p_G(x)`` in nats, ``(n,)``; `IncompatibleError` where the generator has no density."""
        if not isinstance(self.generator, TractableGenerator):
            raise IncompatibleError(
                f"{self.name} has no likelihood: {type(self.generator).__name__} can only be sampled"
            )
        return evaluate.log_prob(self.generator, x)


def export(
    folder: Path,
    recipe: Recipe,
    generator: Generator,
    provenance: Mapping[str, Any],
    discriminator: nn.Module | None = None,
) -> None:
    """Write ``config.json`` and the weights. ``provenance`` says seed, step, versions and so on."""
    network = recipe.players[recipe.model].network
    definition = recipe.json()
    networks = {WEIGHTS: generator, **({CRITIC: discriminator} if discriminator is not None else {})}
    sums: dict[str, str] = {}
    for name, module in networks.items():
        weights = to_bytes(module)
        atomic_write(folder / name, weights)
        sums[name] = sha256(weights)
    config = {
        "library_name": "ganzoo",
        "format": FORMAT,
        "needs": {entry.distribution: entry.version for entry in recipe.entries()},
        "generator": network.json(),
        "recipe": definition,
        "data": recipe.dataset.build().described().json(),
        **({"translates": True} if recipe.translates else {}),
        **provenance,
    }
    write_json(folder / CONFIG, {**config, "sha256": sums})


# Loading


def load(
    path: str | PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    max_bytes: int = MOST,
    device: str = "cpu",
) -> Model:
    """Load a model from its folder, from that of its run or of `ganzoo train` (its first seed), or from the Hub.

    Args:
        path: a folder, or ``ORG/NAME``, ``ORG/NAME@REVISION``, ``hf-hub:ORG/NAME``.
        revision: branch, tag or commit on the Hub. A commit that is in the cache is loaded without asking anyone.
        token: for private models; otherwise that of ``HF_TOKEN`` or of `hf auth login`.
        cache_dir: instead of the one in ``HF_HOME``.
        force_download: even what is in the cache.
        local_files_only: nothing but what is in the cache.
        max_bytes: the most that may be downloaded.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.

    Raises:
        ModelError: there is no model, or one that is damaged, incomplete or does not match its configuration.
        HubError: the Hub does not have it, does not give it, or does not answer.
        UsageError: the model needs something that is not registered here.
    """
    return open_model(
        locate(
            path,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            max_bytes=max_bytes,
        ),
        device,
    )


def open_model(origin: Origin, device: str = "cpu") -> Model:
    """The model that is there, checked."""
    folder = origin.folder
    config = read_config(folder)
    sums = as_object(config["sha256"], "sha256")
    try:
        part = Part.parse({**as_object(config["generator"], "generator"), "kind": "generator"}, "generator")
    except (UnknownNameError, OptionError) as error:
        raise type(error)(f"{error}{_made_with(config)}") from None
    network = weighted(part, folder / WEIGHTS, sums)
    return Model(cast(Generator, network.to(pick_device(device))), config, origin)


def _made_with(config: Mapping[str, Any]) -> str:
    """What is missing here, where the model says what it needs. Its word is no proof: nothing is installed by it."""
    needs = config.get("needs")
    named: dict[str, Any] = dict(cast("Mapping[str, Any]", needs)) if isinstance(needs, dict) else {}
    missing = sorted(islice((name for name in named if _DISTRIBUTION.fullmatch(name) and not _installed(name)), 9))
    if missing:
        return f". It says that it was made with {', '.join(missing)}: `ganzoo install {shlex.join(missing)}`"
    versions = [
        f"{name} {v}" for name, v in named.items() if _DISTRIBUTION.fullmatch(name) and _VERSION.fullmatch(str(v))
    ]
    return f". It was made with {', '.join(versions)}" if versions else ""


_DISTRIBUTION: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9.+!-]{1,40}")


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True

"""What an engine is: R runs of one recipe, a seed each, that take their steps together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, nn

from ganzoo.dataset import Batch, Dataset
from ganzoo.errors import PluginError
from ganzoo.game import Turn
from ganzoo.generator import Generator
from ganzoo.recipe import Recipe
from ganzoo.seeds import derive

#: Bytes of samples that a network may start from.
SEEN: Final = 2**31


class Engine(ABC):
    """Carries out the turns of a recipe for the runs with these seeds.

    *What* is computed is the recipe's; an engine decides *how*. Everything it is asked of one run is asked by the
    run's index, from 0, in the order of ``seeds``.
    """

    recipe: Recipe
    seeds: tuple[int, ...]
    device: torch.device

    @property
    @abstractmethod
    def name(self) -> str:
        """Kept in checkpoints, since two engines agree up to rounding only."""

    @abstractmethod
    def step(self, step: int, *, observe: bool = False) -> dict[str, Tensor]:
        """One pass over all turns. Returns each term's value by ``player/term``, ``(R,)``, on the device, unread.

        With ``observe``, what terms report besides (the estimate of a divergence, say) is among them.
        """

    def take_notes(self) -> list[str]:
        """What should be said to whoever watches, once."""
        return []

    @abstractmethod
    def finite(self) -> list[bool]:
        """Of each run, whether every parameter is. Waits for the device."""

    @abstractmethod
    def freeze(self, run: int, step: int, tensors: Mapping[str, Tensor]) -> None:
        """This run diverged: it goes back to what it was at ``step`` and stays there, and the others go on."""

    @abstractmethod
    def generator(self, run: int) -> Generator:
        """The moving average of the exported generator, in evaluation mode."""

    @abstractmethod
    def network(self, run: int, player: str) -> nn.Module:
        """A player's network as it is now."""

    @abstractmethod
    def tensors(self, run: int, step: int) -> dict[str, Tensor]:
        """All state of a run after ``step`` steps, by name: the same names in every engine."""

    @abstractmethod
    def load(self, run: int, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Become what ``tensors`` said at ``step``."""


class Seen:
    """The samples of the train part as a network that starts from data sees them, on the CPU, decoded when it asks."""

    def __init__(self, dataset: Dataset, train: Batch) -> None:
        self._dataset, self._train = dataset, train

    @cached_property
    def x(self) -> Tensor:
        n = len(self._train.x)
        most = max(1, SEEN // (4 * math.prod(self._dataset.shape)))
        # Of more than fit, evenly many: files may be in the order of their labels.
        rows = self._train if n <= most else self._train.take(torch.arange(most) * n // most)
        return self._dataset.decoded(rows, torch.Generator().manual_seed(0)).x


def initialised(recipe: Recipe, player: str, seed: int, train: Seen) -> nn.Module:
    """A network with its initial weights, made on the CPU: the same on every device, whatever the other players are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, f"weights {player}"))
        network: nn.Module = recipe.players[player].network.build()
    if isinstance(network, Generator) and type(network).initialise is not Generator.initialise:
        network.initialise(train.x, torch.Generator().manual_seed(derive(seed, f"initialise {player}")))
    return network


def labels(turns: Sequence[Turn]) -> list[str]:
    """What logs call each turn; the second of a player is numbered."""
    players = [turn.player for turn in turns]
    return [f"{p}-{players[:i].count(p) + 1}" if p in players[:i] else p for i, p in enumerate(players)]


def kept(optimizer: str, value: Any) -> Tensor:
    """Optimiser state as a checkpoint holds it: numbers are 0-dimensional in 64 bits, which torch's own never are."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (int, float)):
        return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)
    raise PluginError(f"the optimizer of {optimizer} keeps a {type(value).__name__}, which no checkpoint can hold")


def unkept(value: Tensor) -> Any:
    """What `kept` was given."""
    return value.item() if value.dtype in (torch.int64, torch.float64) and value.ndim == 0 else value


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def decay(recipe: Recipe, step: int) -> float:
    """Of the moving average: less in the first steps, so that it forgets the initial weights."""
    return min(recipe.ema, (1 + step) / (10 + step))

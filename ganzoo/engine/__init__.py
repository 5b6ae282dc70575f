"""How turns are executed, and which way is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from ganzoo.dataset import Batch
from ganzoo.engine.base import Engine
from ganzoo.engine.eager import SINGLE, Eager
from ganzoo.engine.stacked import COMPILED, STACK, Stacked
from ganzoo.errors import IncompatibleError
from ganzoo.penalties import BATCH_STATISTICS
from ganzoo.recipe import Recipe

AUTO: Final = "auto"
#: What one can ask for.
CHOICES: Final = (AUTO, STACK, SINGLE)

#: The widest stack on a CPU: more runs than this leave its caches, and take longer each.
WIDEST: Final = 32
#: A turn is compiled where a run has at least as many steps: fewer do not pay for the compilation.
COMPILE_STEPS: Final = 5_000
#: So many numbers a run's layers may give for a stack to be faster on a CPU uncompiled: with half as many five seeds
#: take half the time, with twice as many nothing is won: operations are worth their calls then, and leave the caches.
SMALL: Final = 2**15


@dataclass(frozen=True)
class Choice:
    """An engine's name, and why it was chosen where that is not what one would expect."""

    name: str
    why: str = ""


def choose(recipe: Recipe, train: Batch, runs: int, device: torch.device, asked: str = AUTO) -> Choice:
    """Which engine carries out ``runs`` of a recipe.

    Many seeds are stacked where that is measured to pay: dense networks, whose operations are small. On a CPU grouped
    convolutions take as long as separate ones. One run alone is not stacked unless that is ``asked`` for. Whether the
    runs are compiled too depends on the recipe alone, since it changes their bits.

    Raises:
        IncompatibleError: a stack is asked for and cannot be.
    """
    if asked == SINGLE or (asked == AUTO and runs == 1):
        return Choice(SINGLE)
    compiled = device.type == "cpu" and recipe.steps >= COMPILE_STEPS
    why = _against(recipe, device, asked, compiled) or _trial(recipe, train, device)
    if why and asked == STACK:
        raise IncompatibleError(f"{recipe.name} cannot be stacked: {why}. Use --engine single")
    if why:
        return Choice(SINGLE, why)
    return Choice(COMPILED if compiled else STACK)


def _against(recipe: Recipe, device: torch.device, asked: str, compiled: bool) -> str:
    """Why a recipe cannot be stacked, or had better not; nothing where it can."""
    with torch.device("meta"):
        networks = recipe.networks()
    for name, network in networks.items():
        if not getattr(network, "stackable", True):
            return f"{name}'s {type(network).__name__} says that it is not stackable"
    if recipe.precision == "bfloat16" and any(
        isinstance(m, BATCH_STATISTICS) for n in networks.values() for m in n.modules()
    ):
        return "in bfloat16, networks with batch statistics are not stacked"
    parameters = [parameter for network in networks.values() for parameter in network.parameters()]
    if asked != AUTO or device.type != "cpu":
        return ""
    if any(parameter.ndim > 3 for parameter in parameters):
        return "on a CPU, stacked convolutions are no faster"
    if not compiled and recipe.batch_size * sum(len(p) for p in parameters if p.ndim == 2) > SMALL:
        return (
            f"on a CPU, a stack of networks as large is no faster uncompiled, as runs below {COMPILE_STEPS:,} steps are"
        )
    return ""


def _trial(recipe: Recipe, train: Batch, device: torch.device) -> str:
    """Why two runs do not make a stack: the layers and terms of plugins may do what `torch.func.vmap` refuses."""
    try:
        Stacked(recipe, train, (0, 1), device).rehearse()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.160}"
    return ""


def make(choice: Choice, recipe: Recipe, train: Batch, seeds: Sequence[int], device: torch.device) -> Engine:
    """The engine that was chosen, for these seeds; the plain one takes one."""
    if choice.name == SINGLE:
        (seed,) = seeds
        return Eager(recipe, train, seed, device)
    return Stacked(recipe, train, seeds, device, compile=choice.name == COMPILED)


def widths(runs: int, workers: int, asked: str = AUTO) -> list[int]:
    """How many runs each of the stacks has that ``runs`` are cut into, where ``workers`` stacks are trained at once. A
    run is left alone only where that is ``asked`` for."""
    stacks = max(min(workers, runs // (1 if asked == SINGLE else 2)), -(-runs // WIDEST), 1)
    return [runs // stacks + (i < runs % stacks) for i in range(stacks)]

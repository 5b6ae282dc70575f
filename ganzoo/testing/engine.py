"""The contract of the engines: however a recipe is executed, it is the same training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from ganzoo.dataset import Batch
from ganzoo.engine import SINGLE, choose
from ganzoo.engine.eager import Eager
from ganzoo.engine.stacked import Stacked
from ganzoo.recipe import Recipe
from ganzoo.testing.common import attempt, expect, same

SEEDS: Final = (3, 1, 4)
CPU: Final = torch.device("cpu")
#: Of gradients in double precision; of losses in single precision, where an optimizer may enlarge rounding errors.
DOUBLE, FLOAT = 1e-6, 1e-5


def check_engines(recipe: Recipe, *, steps: int = 3, compile: bool = False) -> str:
    """A run that stops in the middle goes on bit by bit. Stacked seeds are the runs that they are alone: in double
    precision their gradients are, in single precision their first steps; bit by bit they do not depend on how many they
    are, nor on a stop in the middle.

    Returns why the recipe is not stacked, where it is not: then that is not checked.
    """
    name = f"recipe {recipe.name}"
    recipe = replace(recipe, steps=max(recipe.steps, steps))
    train = recipe.dataset.build().stored("train")
    _check_stop(recipe, train, name, steps)
    choice = choose(recipe, train, len(SEEDS), CPU, "auto")
    if choice.name == SINGLE:
        return choice.why
    _check_gradients(recipe, train, name, compile)
    half: dict[str, Tensor] = {}
    with attempt(f"{name}: some steps, alone and stacked"):
        alone = [Eager(recipe, train, seed, CPU) for seed in SEEDS]
        stack = Stacked(recipe, train, SEEDS, CPU, compile=compile)
        for step in range(steps):
            if step == steps // 2:
                half = {key: value.clone() for key, value in stack.tensors(1, step).items()}
            got, wanted = stack.step(step), [each.step(step) for each in alone]
            for key, values in got.items():
                off = max(float(abs(v - w[key]) / (1 + abs(w[key]))) for v, w in zip(values, wanted, strict=True))
                expect(
                    off <= (1e-3 if compile else FLOAT), f"{name}: stacked, {key} is off by {off:.1e} at step {step}"
                )
    with attempt(f"{name}: one seed as a stack, from the middle"):
        again = Stacked(recipe, train, SEEDS[1:2], CPU, compile=compile)
        again.load(0, steps // 2, half)
        for step in range(steps // 2, steps):
            again.step(step)
    same = all(torch.equal(value, stack.tensors(1, steps)[key]) for key, value in again.tensors(0, steps).items())
    expect(same, f"{name}: a seed's bits depend on how many others there are, or on a stop in the middle")
    return ""


def _check_stop(recipe: Recipe, train: Batch, name: str, steps: int) -> None:
    with attempt(f"{name}: a run from the middle"):
        whole, half = Eager(recipe, train, SEEDS[0], CPU), steps // 2
        for step in range(half):
            whole.step(step)
        # As in a file, which knows of no layout in memory; the other states a run keeps beside its engine's.
        kept = safetensors.torch.save({k: v.contiguous() for k, v in whole.tensors(0, half).items()})
        states = random.getstate(), np.random.get_state()
        for step in range(half, steps):
            whole.step(step)
        wanted = whole.tensors(0, steps)
        again = Eager(recipe, train, SEEDS[0], CPU)
        again.load(0, half, safetensors.torch.load(kept))
        random.setstate(states[0])
        np.random.set_state(states[1])
        for step in range(half, steps):
            again.step(step)
    differ = [key for key, value in again.tensors(0, steps).items() if not same(value, wanted[key])]
    expect(not differ, f"{name}: after a stop in the middle there are other bits in {', '.join(differ[:3])}")


def _check_gradients(recipe: Recipe, train: Batch, name: str, compile: bool) -> None:
    with _double(), attempt(f"{name}: a step in double precision"):
        train = Batch(train.x.double(), train.label)
        stack = Stacked(recipe, train, SEEDS, CPU, compile=compile)
        alone = [Eager(recipe, train, seed, CPU) for seed in SEEDS]
        stack.step(0)
        for each in alone:
            each.step(0)
    for player, held in stack.stacks.items():
        for run, (seed, each) in enumerate(zip(SEEDS, alone, strict=True)):
            trained = {n: p for n, p in each.networks[player].named_parameters() if n in held.names}
            got = held.named(held.flat.grad[run]) if held.flat.grad is not None else {}
            for key, slope in got.items():
                wanted = trained[key].grad
                wanted = torch.zeros_like(slope) if wanted is None else wanted
                off = float((slope - wanted).abs().max() / (1 + wanted.abs().max()))
                expect(
                    off <= DOUBLE, f"{name}: stacked, the gradient of {player}.{key} at seed {seed} is off {off:.1e}"
                )


@contextmanager
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)

"""Our loops: an engine, driven as a run drives it, with its log but without evaluation and checkpoints."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from typing import Any, Final

import torch
from _timing import Loop, Maker, Setting, measure
from torch import Tensor

from ganzoo import engine
from ganzoo.dataset import Batch, Dataset, PartName
from ganzoo.evaluate import IMAGES, samples
from ganzoo.inference import folded
from ganzoo.plugins import registry
from ganzoo.recipe import Recipe, create_recipe
from ganzoo.registry import Entry

#: Steps whose losses are read together.
LOG: Final = 50
#: So many steps to come pay for a compilation; the loop ends when its seconds are over.
STEPS: Final = 1_000_000


class Images(Dataset):
    """Noise in the place of ``(3, 32, 32)`` images: how long a step takes does not depend on what they show."""

    shape, limits = (3, 32, 32), (-1.0, 1.0)

    def part(self, name: PartName) -> Batch:
        return Batch(torch.rand(2048, *self.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)


def recipe(name: str, setting: Setting, options: Mapping[str, Any]) -> Recipe:
    """``name`` on its data, the images of this benchmark among them."""
    if registry().owner("dataset", "noise-32") is None:
        entry = Entry("noise-32", f"{__name__}:Images", "noise in the place of images")
        registry().adopt("dataset", entry, "speed", "0", "benchmark")
    return create_recipe(name, {"steps": 100 if setting.tiny else STEPS, **options})


def training(recipe: Recipe, setting: Setting, seeds: int = 1, asked: str = engine.AUTO) -> Loop:
    """The engine that a user gets for so many seeds."""
    train = recipe.dataset.build().stored("train")
    choice = engine.choose(recipe, train, seeds, setting.device, asked)
    made = engine.make(choice, recipe, train, range(seeds), setting.device)
    step = 0

    def run(steps: int) -> None:
        nonlocal step
        pending: list[dict[str, Tensor]] = []
        for _ in range(steps):
            step += 1
            due = step % LOG == 0
            pending.append(made.step(step - 1, observe=due))
            if due:
                _read(pending)
        _read(pending)

    return Loop(run, seeds)


def _read(pending: list[dict[str, Tensor]]) -> None:
    if pending:
        names = [name for name in pending[0] if "/" in name]
        torch.stack([torch.stack([row[name].float().reshape(-1) for name in names]) for row in pending]).mean(0).cpu()
    pending.clear()


def sampling(recipe: Recipe, setting: Setting, precision: str = "float32") -> Loop:
    """Images of an exported model."""
    generator = folded(recipe.players["generator"].network.build().to(setting.device))
    batch = setting.size(IMAGES, 8)
    seed = 0

    def run(batches: int) -> None:
        nonlocal seed
        for _ in range(batches):
            seed += 1
            with torch.autocast(setting.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                for _ in samples(generator, batch, seed):
                    pass

    return Loop(run, batch)


def together(make: Maker, setting: Setting, processes: int | None = None) -> dict[str, Any]:
    """`measure` in a process for each core, one thread each, all at the same time: rates add up."""
    processes = processes or os.cpu_count() or 1
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch"])
    barrier, found = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=_work, args=(make, setting, barrier, found)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    each = [found.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    rate = sum(one["rate"] for one in each)
    peak = sum(one["peak_mebibytes"] or 0 for one in each)
    return {**each[0], "rate": rate, "processes": processes, "peak_mebibytes": peak}


def _work(make: Maker, setting: Setting, barrier: Any, found: Any) -> None:
    torch.set_num_threads(1)
    found.put(measure(make, setting, barrier.wait))

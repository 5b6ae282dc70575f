"""What StarGAN's narrow generator can do at all: told the true translation, or to give its source back.

The recipe is that of the suite `nouns`; its generator alone is trained, for as many steps, on ``E |x' − G(x, c)|`` with
the true image ``x'``, or on ``E |x − G(x, c_x)|``; without attention, as the paper has it, and told the truth with it
too. What the game comes to beside that is the game's; the rest is the network's and the budget's.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final, cast

import torch
from _shared import Check, one_thread, rows, true
from torch import Tensor

from ganzoo import Translator, bench, evaluate
from ganzoo.bench import interval
from ganzoo.recipe import Recipe

#: What it is told, and whether it has attention.
TOLD: Final = {"the truth": False, "the source": False, "the truth, with attention": True}
#: Of the game itself without attention, three seeds: benchmarks/results/2026-11-23-stargan-nouns.json.
GAME: Final = 0.2514


def _recipe(told: str) -> Recipe:
    (recipe,) = bench.plan(suite="nouns", overrides={"generator.attention": TOLD[told]}).recipes
    return recipe


def run(seeds: int, jobs: int) -> dict[str, Any]:
    todo = [(told, seed) for told in TOLD for seed in range(seeds)]
    with ProcessPoolExecutor(jobs, get_context("spawn"), one_thread) as pool:
        found = list(pool.map(_one, *zip(*todo, strict=True)))
    entries = {
        told: {
            metric: interval([value[metric] for (name, _), value in zip(todo, found, strict=True) if name == told])
            for metric in found[0]
        }
        for told in TOLD
    }
    return {
        "seeds": list(range(seeds)),
        "recipe": _recipe("the truth").json(),
        "entries": entries,
        "checks": _checks(entries),
    }


def _one(told: str, seed: int) -> dict[str, float]:
    recipe = _recipe(told)
    data, rng = recipe.dataset.build(), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    generator = cast(Translator, recipe.players["generator"].network.build())
    optimizer = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 - 2 * step / recipe.steps))
    x, own = data.some("train", len(data.stored("train").x))
    own, classes = cast(Tensor, own), cast(int, data.classes)
    truth = [cast(Tensor, data.translated("train", len(x), label)) for label in range(classes)]
    for _ in range(recipe.steps):
        batch = torch.randint(len(x), (recipe.batch_size,), generator=rng)
        if told == "the source":
            c, wanted = own[batch], x[batch]
        else:
            c = torch.randint(classes, (recipe.batch_size,), generator=rng)
            wanted = torch.stack([truth[label][row] for label, row in zip(c.tolist(), batch.tolist(), strict=True)])
        loss = (wanted - generator(x[batch], c)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
    scores = evaluate.evaluate(generator, data, seed, evaluate.metrics(("true-distance", "domain-error")))
    held, label = data.some("held-out", 1_000)
    back = evaluate.translate(generator, held, cast(Tensor, label))
    return {**{name: score.value for name, score in scores.items()}, "given back": float((held - back).abs().mean())}


def _checks(entries: dict[str, Any]) -> list[Check]:
    found, kept = (entries[told]["true-distance"]["mean"] for told in ("the truth", "the truth, with attention"))
    return [
        true("told the truth, it comes nearer to it than by the game", f"< {GAME}", found, found < GAME, "theory"),
        true("with attention it comes nearer still", f"< {found}", kept, kept < found, "theory"),
    ]


def table(result: dict[str, Any]) -> str:
    head = (f"{len(result['seeds'])} seeds", *result["entries"]["the truth"])
    return rows(head, [[told, *(each["mean"] for each in of.values())] for told, of in result["entries"].items()])

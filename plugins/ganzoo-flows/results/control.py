"""What the adversarial term of `flow-gan` adds: the same recipe with it and without it, on the validation part.

``python results/control.py digits 600 OUT.json``. Without it there is no discriminator; optimiser, batch, average and
steps stay the same, which they do not between `flow-gan` and `mle-flow`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from ganzoo import evaluate
from ganzoo.bench import interval
from ganzoo.game import GENERATOR, Turn, part
from ganzoo.recipe import Recipe, create_recipe
from ganzoo.train import Run

METRICS = ("nll", "high-quality", "energy-distance")
SEEDS = 3


def without(recipe: Recipe) -> Recipe:
    turn = Turn(GENERATOR, part("term", "likelihood"))
    return replace(recipe, players={GENERATOR: recipe.players[GENERATOR]}, turns=(turn,))


def measured(recipe: Recipe, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(recipe, seed, Path(folder), device="cpu", draw=False)
        run.train()
    generator, data = run.generator(), run.dataset
    fake = evaluate.sample(generator, min(2_500, len(data.part("validation").x)), seed)
    chosen = {name: metric for name, metric in evaluate.metrics().items() if name in METRICS}
    density = partial(evaluate.log_prob, generator)
    scores = evaluate.measure(chosen, data, fake, density, part="validation")
    return {name: score.value for name, score in scores.items()}


def main(dataset: str, steps: int, target: Path) -> None:
    torch.set_num_threads(1)
    recipe = create_recipe(f"flow-gan.{dataset}", {"steps": steps, "evaluations": 4})
    result = {}
    for name, each in {"with": recipe, "without": without(recipe)}.items():
        rows = [measured(each, seed) for seed in range(SEEDS)]
        result[name] = {metric: interval(row[metric] for row in rows) for metric in rows[0]}
    target.write_text(
        json.dumps({"recipe": recipe.name, "steps": steps, "part": "validation", **result}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))

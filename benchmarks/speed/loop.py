"""Steps per second of js-gan.ring: ganzoo's loop against the textbook's.

The textbook loop is what tutorials show: a shuffling DataLoader over a TensorDataset, two Adams, a detached fake batch
for the discriminator, a fresh forward for the generator, and ``.item()`` on both losses at every step. The networks,
batch size, learning rates and losses are the recipe's. Ours keeps a moving average of the generator and a log besides.

Each measurement is a fresh process with one thread; they alternate (A B A B …), and what is printed is the median ratio
with its range. ``python benchmarks/speed/loop.py --pairs 7``
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

WARM = 100


def ours(steps: int) -> float:
    import torch

    from ganzoo.engine.eager import Eager
    from ganzoo.recipe import create_recipe

    torch.set_num_threads(1)
    recipe = create_recipe("js-gan.ring", {"steps": steps + WARM})
    engine = Eager(recipe, recipe.dataset.build().part("train"), 0, torch.device("cpu"))
    for step in range(WARM):
        engine.step(step)
    start, pending = time.perf_counter(), []
    for step in range(WARM, WARM + steps):
        pending.append(engine.step(step, observe=(step + 1) % 100 == 0))
        if (step + 1) % 100 == 0:  # as a run does for its log
            torch.stack([torch.stack(list(row.values())[:2]) for row in pending]).mean(0).tolist()
            pending = []
    return steps / (time.perf_counter() - start)


def textbook(steps: int) -> float:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    from ganzoo.recipe import create_recipe

    torch.set_num_threads(1)
    recipe = create_recipe("js-gan.ring")
    x = recipe.dataset.build().part("train").x
    noise = recipe.players["generator"].network.options["noise"]
    networks = recipe.networks()
    G, D = networks["generator"].body, networks["discriminator"].body
    options = recipe.players["generator"].optimizer.options
    rate = {"lr": options["lr"], "betas": (options["beta1"], options["beta2"])}
    opt_G, opt_D = torch.optim.Adam(G.parameters(), **rate), torch.optim.Adam(D.parameters(), **rate)
    loader = DataLoader(TensorDataset(x), batch_size=recipe.batch_size, shuffle=True, drop_last=True)
    loss = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(recipe.batch_size, 1), torch.zeros(recipe.batch_size, 1)
    done, start = 0, 0.0
    while True:
        for (real,) in loader:
            if done == WARM:
                start = time.perf_counter()
            if done == WARM + steps:
                return steps / (time.perf_counter() - start)
            opt_D.zero_grad()
            fake = G(torch.randn(recipe.batch_size, noise))
            loss_D = loss(D(real), ones) + loss(D(fake.detach()), zeros)
            loss_D.backward()
            opt_D.step()
            opt_G.zero_grad()
            fake = G(torch.randn(recipe.batch_size, noise))
            loss_G = -loss(D(fake), zeros)
            loss_G.backward()
            opt_G.step()
            loss_D.item(), loss_G.item()
            done += 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--one", choices=["ours", "textbook"])
    arguments = parser.parse_args()
    if arguments.one:
        print(globals()[arguments.one](arguments.steps))
        return
    pairs: list[tuple[float, float]] = []
    for _ in range(arguments.pairs):
        rates = [
            float(subprocess.check_output([sys.executable, __file__, "--one", name, "--steps", str(arguments.steps)]))
            for name in ("ours", "textbook")
        ]
        pairs.append((rates[0], rates[1]))
        print(f"ours {rates[0]:7.1f}  textbook {rates[1]:7.1f} steps/s  ratio {rates[0] / rates[1]:.2f}")
    ratios = sorted(a / b for a, b in pairs)
    summary = {
        "ours": statistics.median(a for a, _ in pairs),
        "textbook": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "range": [ratios[0], ratios[-1]],
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()

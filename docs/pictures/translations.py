"""Draws what a bench of `stargan.nouns` came to: ``python docs/pictures/translations.py bench/nouns stargan.png``.

Above, losses over the steps of each seed; below, held-out characters, what the first seed's model makes of them, and
what they truly are with these glasses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

import ganzoo
from ganzoo.evaluate import asked, translate

ROWS = 4
#: Terms of the generator, and what they are called here.
CURVES = {
    "generator/cycle": "reconstruction, E |x − G(G(x, c), c_x)|",
    "generator/classify": "classification, nats",
}


def main(bench: Path, target: Path) -> None:
    figure = Figure(figsize=(7, 7.6), dpi=80, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 2.6], squeeze=False)[:, 0]
    for axes, (term, name) in zip(above.subplots(1, 2), CURVES.items(), strict=True):
        for log in sorted(bench.glob("runs/stargan.nouns/seed-*/log.jsonl")):
            records = [json.loads(line) for line in log.read_text().splitlines()]
            records = [record for record in records if "losses" in record]
            axes.plot([r["step"] for r in records], [r["losses"][term] for r in records], lw=0.8, label=log.parent.name)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.set_ylim(0)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=7)
    _table(below.subplots(), ganzoo.load(bench / "models" / "stargan.nouns"))
    figure.savefig(target)


def _table(axes, model) -> None:
    data = model.dataset
    x, own = data.some("held-out", ROWS)
    labels = range(data.classes)
    made = torch.stack([x, *(translate(model.generator, x, asked(own, label)) for label in labels)], 1)
    truth = torch.stack([x, *(data.translated("held-out", ROWS, label) for label in labels)], 1)
    both = torch.stack([made, truth], 1).flatten(0, 1)
    tiles = torch.nn.functional.pad(data.shown(both), (1, 1, 1, 1), value=0.5)
    axes.imshow(tiles.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2).numpy())
    side = tiles.shape[-1]
    axes.set_xticks(
        [(i + 0.5) * side for i in range(1 + data.classes)],
        ["source", *data.labels],
        fontsize=7,
        rotation=30,
        ha="left",
    )
    axes.set_yticks([(i + 0.5) * side for i in range(2 * ROWS)], ["made", "true"] * ROWS, fontsize=7)
    axes.tick_params(top=False, bottom=False, left=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Draws the README's picture from the folder of a bench: ``python docs/pictures/make.py bench/full``."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

import ganzoo
from ganzoo import pictures

METHODS = ("mle-gaussian", "mle-gmm", "js-gan", "ns-gan")


def main(bench: Path) -> None:
    figure = Figure(figsize=(12, 6.4), dpi=80, layout="constrained")
    for row, dataset in enumerate(("ring", "digits")):
        for column, method in enumerate(METHODS):
            model = ganzoo.load(bench / "models" / f"{method}.{dataset}")
            axes = figure.add_subplot(2, len(METHODS), 1 + column + row * len(METHODS))
            pictures.paint(axes, model.dataset, model.sample(pictures.SHOWN, seed=0).x)
            axes.set_title(model.name, fontsize=11)
            if dataset == "ring":
                axes.set_axis_off()
    figure.savefig(Path(__file__).with_name("zoo.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

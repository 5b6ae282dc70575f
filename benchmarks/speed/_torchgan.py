"""The loop of torchgan's trainer, run by the Python of an environment that has it: ``PYTHON _torchgan.py ROW``.

torchgan 0.1.0 installs beside today's torch (``pip install --no-deps torchgan``, and numpy, scipy, pillow). It imports
torchvision, of which its loop uses nothing: where that is missing, an empty module stands in for it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from types import ModuleType
from typing import Any

import torch
from _textbook import endless
from _timing import Loop, Setting, measure
from torch import nn

BATCH = 64


def perceptrons(tg: Any, setting: Setting) -> tuple[dict[str, Any], torch.Tensor]:
    """Those of `_textbook.perceptrons`, 32 × 3, for points of a plane."""

    def body(outputs: int, activation: nn.Module) -> nn.Sequential:
        layers = [layer for i in range(3) for layer in (nn.Linear(32 if i else 2, 32), activation)]
        return nn.Sequential(*layers, nn.Linear(32, outputs))

    class G(tg.models.Generator):
        def __init__(self) -> None:
            super().__init__(2)
            self.body = body(2, nn.ReLU())

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.body(z)

    class D(tg.models.Discriminator):
        def __init__(self) -> None:
            super().__init__(2)
            self.body = body(1, nn.LeakyReLU(0.2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    adam = {"name": torch.optim.Adam, "args": {"lr": 1e-3, "betas": (0.5, 0.999)}}
    models = {"generator": {"name": G, "optimizer": adam}, "discriminator": {"name": D, "optimizer": adam}}
    return models, torch.randn(100_000, 2)


def dcgan(tg: Any, setting: Setting) -> tuple[dict[str, Any], torch.Tensor]:
    """torchgan's own, of the widths of ours."""
    adam = {"name": torch.optim.Adam, "args": {"lr": 2e-4, "betas": (0.5, 0.999)}}
    more = {"out_channels": 3, "step_channels": 64, "out_size": 32, "encoding_dims": 100}
    G = {"name": tg.models.DCGANGenerator, "args": more, "optimizer": adam}
    more = {"in_channels": 3, "step_channels": 64, "in_size": 32}
    D = {"name": tg.models.DCGANDiscriminator, "args": more, "optimizer": adam}
    return {"generator": G, "discriminator": D}, torch.rand(2048, 3, 32, 32) * 2 - 1


ROWS = {"mlp": perceptrons, "dcgan": dcgan}


def loop(row: str, setting: Setting) -> Loop:
    """`Trainer.train_iter` on batches of a ``DataLoader``, as `Trainer.train` calls it, without pictures and files."""
    if importlib.util.find_spec("torchvision") is None:
        sys.modules["torchvision"] = ModuleType("torchvision")
    import torchgan as tg
    import torchgan.losses
    import torchgan.models
    import torchgan.trainer

    models, x = ROWS[row](tg, setting)
    losses = [tg.losses.MinimaxGeneratorLoss(), tg.losses.MinimaxDiscriminatorLoss()]
    trainer = tg.trainer.Trainer(models, losses, device=setting.device)
    trainer.batch_size = BATCH
    batches = endless(x, BATCH, setting.device)

    def run(steps: int) -> None:
        for _ in range(steps):
            trainer.real_inputs = next(batches)
            _, _, generator, discriminator = trainer.train_iter()
            trainer.loss_information["generator_iters"] += generator
            trainer.loss_information["discriminator_iters"] += discriminator

    return Loop(run)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    os.environ["CONSOLE_LOGGING"] = "0"
    torch.set_num_threads(1)
    setting = Setting(torch.device(given.device), given.seconds)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # its trainer makes folders where it is
        found = measure(lambda setting: loop(given.row, setting), setting)
        os.chdir("/")
    print(json.dumps(found))


if __name__ == "__main__":
    main()

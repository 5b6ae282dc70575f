"""What is compared: of each row the other loop, which comes first, and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import _ours
import _textbook
import torch
from _timing import Loop, Maker, Setting, measure

TEXTBOOK: Final = "textbook"
#: By side: options of the recipe.
FRESH: Final[Mapping[str, Mapping[str, Any]]] = {"ours": {}}
SHORTCUTS: Final[Mapping[str, Mapping[str, Any]]] = {
    **FRESH,
    "shared noise": {"shared_noise": True},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, shared noise": {"precision": "bfloat16", "shared_noise": True},
}


@dataclass(frozen=True)
class Side:
    """``threads``: as many as torch takes by itself where none. ``together``: a process for each core."""

    make: Maker
    threads: int | None = 1
    together: bool = False
    precision: str = "float32"

    def measure(self, setting: Setting) -> dict[str, Any]:
        if self.threads:
            torch.set_num_threads(self.threads)
        if self.together:
            return _ours.together(self.make, setting, 2 if setting.tiny else None)
        return measure(self.make, setting)


@dataclass(frozen=True)
class Row:
    """``aims`` are ratios, by side; ``unit`` is what is counted per second."""

    about: str
    sides: Mapping[str, Side]
    aims: Mapping[str, float] = field(default_factory=dict[str, float])
    unit: str = "model-steps"
    devices: tuple[str, ...] = ("cpu", "cuda")


# Recipes and textbook loops of a size that depends on the setting; functions of modules, since they travel ------------


@dataclass(frozen=True)
class Ours:
    """The recipe ``name`` with ``options``, and those that ``sized`` gives, of ``seeds``."""

    name: str
    options: Mapping[str, Any]
    sized: Callable[[Setting], Mapping[str, Any]]
    seeds: Callable[[Setting], int] = lambda setting: 1
    asked: str = "auto"

    def __call__(self, setting: Setting) -> Loop:
        recipe = _ours.recipe(self.name, setting, {**self.sized(setting), **self.options})
        return _ours.training(recipe, setting, self.seeds(setting), self.asked)


def _perceptron(hidden: int, batch: int, setting: Setting) -> dict[str, Any]:
    size, many = setting.size(hidden, 4), setting.size(batch, 4)
    networks = {f"{player}.{key}": n for player in ("generator", "discriminator") for key, n in _body(size)}
    return {**networks, "generator.noise": 2, "batch_size": many}


def _body(hidden: int) -> list[tuple[str, int]]:
    return [("hidden", hidden), ("depth", 3)]


def _perceptron_textbook(hidden: int, batch: int, setting: Setting) -> Loop:
    x = _ours.recipe("ns-gan.ring", setting, {}).dataset.build().part("train").x
    return _textbook.perceptrons(
        x, setting, hidden=setting.size(hidden, 4), depth=3, batch=setting.size(batch, 4), noise=2
    )


def _dcgan(upsample: bool, setting: Setting) -> dict[str, Any]:
    width = setting.size(64, 2)
    return {
        "generator": "dcgan-upsample" if upsample else "dcgan",
        "generator.law": "normal",
        "generator.width": width,
        "discriminator.width": width,
        "batch_size": setting.size(64, 2),
    }


def _dcgan_textbook(upsample: bool, one_batch: bool, setting: Setting) -> Loop:
    width, batch = setting.size(64, 2), setting.size(64, 2)
    x = _images(setting)
    return _textbook.dcgan(x, setting, width=width, batch=batch, upsample=upsample, one_batch=one_batch)


def _sngan_widths(setting: Setting) -> tuple[int, int]:
    """As published on a GPU; on a CPU a step of those takes a minute."""
    width = setting.size(64, 2)
    return (256, 128) if setting.device.type == "cuda" else (width, width)


def _sngan(setting: Setting) -> dict[str, Any]:
    generator, discriminator = _sngan_widths(setting)
    return {
        "generator.width": generator,
        "discriminator.width": discriminator,
        "batch_size": setting.size(64, 2),
    }


def _sngan_textbook(setting: Setting) -> Loop:
    generator, discriminator = _sngan_widths(setting)
    batch = setting.size(64, 2)
    return _textbook.sngan(_images(setting), setting, generator=generator, discriminator=discriminator, batch=batch)


def _images(setting: Setting) -> torch.Tensor:
    return _ours.Images().part("train").x


def _sampling_textbook(setting: Setting) -> Loop:
    generator, _ = _textbook.dcgan_networks(setting.size(64, 2))
    return _textbook.sampling(generator, setting, batch=setting.size(64, 2))


def _sampling(precision: str, setting: Setting) -> Loop:
    recipe = _ours.recipe("dcgan.noise-32", setting, _dcgan(False, setting))
    return _ours.sampling(recipe, setting, precision)


def _stack(setting: Setting) -> int:
    """So many seeds are one program: on a CPU as many as pay (`ganzoo.engine.WIDEST`)."""
    from ganzoo.engine import WIDEST

    return setting.size(64 if setting.device.type == "cuda" else WIDEST, 2)


def _eight(setting: Setting) -> int:
    return setting.size(8, 2)


# ----------------------------------------------------------------------------------------------------------------------


def _sides(
    textbook: Maker, name: str, sized: Callable[[Setting], Mapping[str, Any]], variants: Any, **more: Any
) -> dict[str, Side]:
    ours = {
        side: Side(Ours(name, options, sized, **more), precision=options.get("precision", "float32"))
        for side, options in variants.items()
    }
    return {TEXTBOOK: Side(textbook), **ours}


def _perceptrons(hidden: int, batch: int, variants: Any, one: bool = False) -> dict[str, Side]:
    textbook, sized = partial(_perceptron_textbook, hidden, batch), partial(_perceptron, hidden, batch)
    return _sides(textbook, "ns-gan.ring", sized, variants, **({} if one else {"seeds": _stack}))


def _machine() -> dict[str, Side]:
    textbook = partial(_perceptron_textbook, 32, 64)
    ours = Ours("ns-gan.ring", {}, partial(_perceptron, 32, 64), seeds=_stack)
    return {
        TEXTBOOK: Side(textbook, threads=None),
        "textbook in processes": Side(textbook, together=True),
        "ours": Side(ours, together=True),
    }


def _images_row(upsample: bool, **more: Any) -> dict[str, Side]:
    one, two = (partial(_dcgan_textbook, upsample, one_batch) for one_batch in (True, False))
    sides = _sides(one, "dcgan.noise-32", partial(_dcgan, upsample), SHORTCUTS, **more)
    return {**sides, "textbook, fresh noise": Side(two)}


ROWS: Final[Mapping[str, Row]] = {
    "mlp": Row(
        "seeds of perceptrons 32 × 3, batch 64, per core",
        _perceptrons(32, 64, {k: SHORTCUTS[k] for k in ("ours", "shared noise")}),
        {"ours": 25, "shared noise": 25},
    ),
    "mlp-one": Row("one run of the same", _perceptrons(32, 64, FRESH, one=True)),
    "mlp-machine": Row(
        "the same on all cores, against the other loop with torch's own number of threads",
        _machine(),
        {"ours": 100},
        devices=("cpu",),
    ),
    "mlp-wide": Row(
        "seeds of perceptrons 128 × 3, batch 256, per core",
        _perceptrons(128, 256, {k: SHORTCUTS[k] for k in ("ours", "bfloat16")}),
        {"ours": 2.5, "bfloat16": 4.0},
    ),
    "dcgan": Row("DCGAN, 32 pixels, batch 64", _images_row(False), {"ours": 1.4, "bfloat16": 2.4}),
    "dcgan-upsample": Row(
        "DCGAN that upsamples, 32 pixels, batch 64", _images_row(True), {"ours": 2.6, "bfloat16": 4.0}
    ),
    "dcgan-stack": Row(
        "8 seeds of the DCGAN in one program",
        _images_row(False, seeds=_eight, asked="stack"),
        devices=("cuda",),
    ),
    "sngan": Row(
        "SNGAN ResNet, 32 pixels, batch 64, 5 steps of the discriminator",
        _sides(_sngan_textbook, "sngan-resnet.noise-32", _sngan, {k: SHORTCUTS[k] for k in ("ours", "bfloat16")}),
        {"ours": 1.6, "bfloat16": 3.0},
    ),
    "sampling": Row(
        "images of the DCGAN",
        {
            TEXTBOOK: Side(_sampling_textbook),
            "ours": Side(partial(_sampling, "float32")),
            "bfloat16": Side(partial(_sampling, "bfloat16"), precision="bfloat16"),
        },
        {"ours": 1.3, "bfloat16": 2.4},
        "images",
    ),
}
#: On an H100 the aims are estimates.
CUDA_AIMS: Final = {"mlp": 300.0, "dcgan": 12.0, "dcgan-stack": 40.0, "sngan": 4.0}

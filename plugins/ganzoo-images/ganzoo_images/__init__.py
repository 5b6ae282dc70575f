"""Images for ganzoo. This module is light: it declares entries and imports nothing that they point to."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ganzoo import Entry, Option, Paper, Part, hookimpl

RADFORD: Final = Paper(
    "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
    "Alec Radford and Luke Metz and Soumith Chintala",
    2016,
    "International Conference on Learning Representations",
    "https://arxiv.org/abs/1511.06434",
)
ODENA: Final = Paper(
    "Deconvolution and Checkerboard Artifacts",
    "Augustus Odena and Vincent Dumoulin and Chris Olah",
    2016,
    "Distill",
    "https://doi.org/10.23915/distill.00003",
)
MIYATO: Final = Paper(
    "Spectral Normalization for Generative Adversarial Networks",
    "Takeru Miyato and Toshiki Kataoka and Masanori Koyama and Yuichi Yoshida",
    2018,
    "International Conference on Learning Representations",
    "https://arxiv.org/abs/1802.05957",
)

SHAPE: Final = Option("shape", int, low=1, high=4096, many=True, fit="shape", help="of one image: channels, side, side")
WIDTH: Final = Option("width", int, 64, low=1, high=4096, help="channels of the largest map, doubled at each halving")
CHANNELS: Final = Option("width", int, 256, low=1, high=4096, help="channels of every map")
DEPTH: Final = Option(
    "depth", int, None, low=1, high=12, optional=True, help="how often the side doubles or halves; default: as it fits"
)
NOISE: Final = Option("noise", int, 100, low=1, high=65_536, help="dimensions of the noise")
LAW: Final = Option("law", str, "uniform", choices=("uniform", "normal"), help="of the noise: on (-1, 1), or N(0, I)")
SCHEDULE: Final = Option("schedule", "schedule", None, optional=True, help="of both players' learning rates")


@hookimpl
def ganzoo_generators() -> list[Entry]:
    here, options = "ganzoo_images.generators", (SHAPE, NOISE, LAW, WIDTH, DEPTH)
    residual = (SHAPE, replace(NOISE, default=128), replace(LAW, default="normal"), CHANNELS, DEPTH)
    return [
        Entry("dcgan", f"{here}:dcgan", "transposed convolutions and batch normalisation", options, RADFORD),
        Entry(
            "dcgan-upsample",
            f"{here}:dcgan_upsample",
            "the same with nearest upsampling and convolution",
            options,
            ODENA,
        ),
        Entry("sngan-resnet", f"{here}:sngan_resnet", "residual blocks that upsample", residual, MIYATO),
    ]


@hookimpl
def ganzoo_discriminators() -> list[Entry]:
    here = "ganzoo_images.discriminators"
    norm = Option("batch_norm", bool, True, help="as published; penalties on input gradients need false")
    residual = (SHAPE, replace(CHANNELS, default=128), DEPTH)
    return [
        Entry("dcgan", f"{here}:dcgan", "strided convolutions", (SHAPE, WIDTH, norm, DEPTH), RADFORD),
        Entry("sn-dcgan", f"{here}:sn_dcgan", "strided convolutions of spectral norm 1", (SHAPE, WIDTH, DEPTH), MIYATO),
        Entry("sngan-resnet", f"{here}:sngan_resnet", "residual blocks of spectral norm 1", residual, MIYATO),
    ]


@hookimpl
def ganzoo_methods() -> list[Entry]:
    here = "ganzoo_images.methods"
    return [
        Entry(
            "dcgan",
            f"{here}:dcgan",
            "the original GAN, non-saturating, between convolutional networks",
            (Option("divergence", "divergence", "gan"), _k(1), _adam(0.5, 0.999), SCHEDULE),
            RADFORD,
        ),
        Entry(
            "sngan-resnet",
            f"{here}:sngan_resnet",
            "the hinge loss between residual networks, spectral norm 1 in the discriminator",
            (Option("divergence", "divergence", "hinge"), _k(5), _adam(0.0, 0.9), SCHEDULE),
            MIYATO,
        ),
    ]


def _k(default: int) -> Option:
    return Option("k", int, default, low=1, high=1_000, help="steps of the discriminator for one of the generator")


def _adam(beta1: float, beta2: float) -> Option:
    return Option("optimizer", "optimizer", Part("optimizer", "adam", {"lr": 2e-4, "beta1": beta1, "beta2": beta2}))

"""Divergences for ganzoo. This module is light: it declares entries and imports nothing that they point to."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ganzoo.hookspecs import hookimpl
from ganzoo.part import Option, Part
from ganzoo.registry import Entry, Expected, RecipeEntry, SuiteEntry
from ganzoo_divergences import papers

DISCRIMINATOR: Final = Option("discriminator", str, "discriminator", help="which player")
GENERATOR: Final = Option("generator", str, "generator", help="which player")
SHAPE: Final = Option("shape", int, low=1, high=4096, many=True, fit="shape", help="of one sample")
HIDDEN: Final = Option("hidden", int, 128, low=1, high=65_536, help="units in a hidden layer")
DEPTH: Final = Option("depth", int, 2, low=1, high=64, help="hidden layers")
CLASSES: Final = Option(
    "classes", int, 0, low=0, high=100_000, help="labels that the network reads; 0: it ignores them"
)
SCHEDULE: Final = Option("schedule", "schedule", None, optional=True, help="of both players' learning rates")
STD: Final = Option("std", float, 0.1, low=0, help="of the noise, in units of the data")
UNROLL: Final = Option("unroll", int, 5, low=0, high=1_000, help="steps of the critic that the generator looks ahead")
RATE: Final = Option("rate", float, 0.01, low=0, help="of these steps, by gradient descent")
LIMIT: Final = Option("limit", float, 0.01, low=1e-9, help="largest weight, and smallest with a minus")
A: Final = Option("a", float, 0.0, help="the critic's target at generated samples")
B: Final = Option("b", float, 1.0, help="the critic's target at real samples")
C: Final = Option("c", float, 1.0, help="the generator's target at its samples")


def _k(default: int) -> Option:
    return Option("k", int, default, low=1, high=1_000, help="steps of the discriminator for one of the generator")


def _weight(default: float, help: str) -> Option:
    return Option("weight", float, default, low=0, help=help)


def _optimizer(name: str, **options: float) -> Option:
    return Option("optimizer", "optimizer", Part("optimizer", name, options))


def _adam(lr: float, beta1: float, beta2: float = 0.999) -> Option:
    return _optimizer("adam", lr=lr, beta1=beta1, beta2=beta2)


@hookimpl
def ganzoo_divergences() -> list[Entry]:
    return [*_f_divergences(), *_critics(), *_features(), *_samples()]


def _f_divergences() -> list[Entry]:
    here, paper = "ganzoo_divergences.fdivergences", papers.NOWOZIN
    alpha = Option("alpha", float, 0.5, low=-10, high=10, help="1 is KL(P ‖ Q), 0 is KL(Q ‖ P), both exactly")
    return [
        Entry("reverse-kl", f"{here}:ReverseKL", "reverse Kullback–Leibler, KL(P_G ‖ P_data)", paper=paper),
        Entry("jeffreys", f"{here}:Jeffreys", "KL(P_data ‖ P_G) + KL(P_G ‖ P_data)", paper=paper),
        Entry("pearson", f"{here}:Pearson", "Pearson's χ², ∫ (p − q)²/q", paper=paper),
        Entry("neyman", f"{here}:Neyman", "Neyman's χ², ∫ (p − q)²/p", paper=paper),
        Entry("hellinger", f"{here}:Hellinger", "squared Hellinger distance, between 0 and 2", paper=paper),
        Entry("total-variation", f"{here}:TotalVariation", "½ ∫ |p − q|, between 0 and 1", paper=paper),
        Entry("alpha", f"{here}:Alpha", "α-divergence, with KL and reverse KL as limits", (alpha,), paper),
    ]


def _critics() -> list[Entry]:
    here = "ganzoo_divergences.critics"
    return [
        Entry("wasserstein", f"{here}:Wasserstein", "W1, for a critic of bounded slope", paper=papers.ARJOVSKY),
        Entry("least-squares", f"{here}:LeastSquares", "½ ∫ (p − q)²/(p + q), by regression", (A, B, C), papers.MAO),
        Entry("hinge", f"{here}:Hinge", "total variation, by the hinge loss", paper=papers.LIM),
        Entry("rpgan", f"{here}:RpGAN", "relativistic pairs: JSD of P ⊗ Q and Q ⊗ P", paper=papers.JOLICOEUR),
        Entry("ragan", f"{here}:RaGAN", "relativistic average", paper=papers.JOLICOEUR),
    ]


def _kernel(default: str) -> tuple[Option, ...]:
    return (
        Option("kernel", str, default, choices=("gaussian", "rational-quadratic", "energy", "linear")),
        Option("bandwidths", float, (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0), low=1e-6, many=True, help="of gaussian"),
        Option("alphas", float, (0.2, 0.5, 1.0, 2.0, 5.0), low=1e-3, many=True, help="of rational-quadratic"),
        Option("unbiased", bool, True, help="leave out the pairs of a sample with itself"),
    )


def _features() -> list[Entry]:
    kernel, summary = _kernel("rational-quadratic"), "MMD² between a critic's features"
    return [Entry("kernel-mmd", "ganzoo_divergences.features:KernelMMD", summary, kernel, papers.BINKOWSKI)]


def _samples() -> list[Entry]:
    here = "ganzoo_divergences.samples"
    mmd = _kernel("gaussian")
    sinkhorn = (
        Option("blur", float, 0.05, low=1e-4, help="std of the smoothing, in data units"),
        Option("iterations", int, 50, low=2, high=10_000),
    )
    return [
        Entry("mmd", f"{here}:MMD", "squared maximum mean discrepancy of a kernel", mmd, papers.GRETTON),
        Entry("energy-distance", f"{here}:EnergyDistance", "2E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖", paper=papers.SZEKELY),
        Entry(
            "sinkhorn", f"{here}:Sinkhorn", "debiased entropic transport, W2² for a small blur", sinkhorn, papers.FEYDY
        ),
    ]


@hookimpl
def ganzoo_discriminators() -> list[Entry]:
    here = "ganzoo_divergences.discriminators"
    pack = Option("pack", int, 2, low=1, high=1_000, help="samples that are judged together")
    units = Option("units", int, 1, low=1, high=65_536, help="of its output: 1 is a score, more are features")
    layers = (SHAPE, HIDDEN, DEPTH)
    return [
        Entry("sn-mlp", f"{here}:SpectralNormMLP", "spectral norm 1 in every layer", (*layers, CLASSES), papers.MIYATO),
        Entry("packed-mlp", f"{here}:PackedMLP", "judges samples in packs", (*layers, pack, CLASSES), papers.LIN),
        Entry("smooth-mlp", f"{here}:SmoothMLP", "tanh units; a score or features", (*layers, units, CLASSES)),
    ]


@hookimpl
def ganzoo_terms() -> list[Entry]:
    here, divergence = "ganzoo_divergences.terms", Option("divergence", "divergence")
    falls = Option("schedule", "schedule", None, optional=True, help="of the noise; default: it stays")
    saturating = Option("saturating", bool, True, help="descend on the game's own value, or on its non-saturating form")
    players = (DISCRIMINATOR, GENERATOR)
    return [
        Entry(
            "match",
            f"{here}:Match",
            "a divergence between real and generated samples, without a critic",
            (divergence, GENERATOR),
            papers.LI,
        ),
        Entry(
            "noisy-criticise",
            f"{here}:NoisyCriticise",
            "the critic's loss between samples with noise",
            (divergence, STD, falls, *players),
            papers.SONDERBY,
        ),
        Entry(
            "noisy-fool",
            f"{here}:NoisyFool",
            "the generator's loss against a critic of samples with noise",
            (divergence, STD, falls, saturating, *players),
            papers.SONDERBY,
        ),
        Entry(
            "unrolled-fool",
            f"{here}:UnrolledFool",
            "the generator's loss against the critic some steps ahead",
            (divergence, UNROLL, RATE, saturating, *players),
            papers.METZ,
        ),
    ]


@hookimpl
def ganzoo_penalties() -> list[Entry]:
    here, both = "ganzoo_divergences.penalties", (DISCRIMINATOR, GENERATOR)
    spread = Option("spread", float, 0.5, low=0, help="of the noise, in standard deviations of the real batch")
    return [
        Entry("r2", f"{here}:R2", "squared input gradient at generated data", both, papers.MESCHEDER),
        Entry(
            "one-sided-gradient-penalty",
            f"{here}:OneSidedGradientPenalty",
            "input gradient of norm at most 1 between data",
            both,
            papers.PETZKA,
        ),
        Entry(
            "dragan", f"{here}:Dragan", "input gradient of norm 1 around data", (spread, DISCRIMINATOR), papers.KODALI
        ),
        Entry(
            "consistency",
            f"{here}:Consistency",
            "equal scores of a sample and of the same one with noise",
            (replace(spread, default=0.05), *both),
            papers.ZHAO,
        ),
        Entry(
            "witness-penalty",
            "ganzoo_divergences.features:WitnessPenalty",
            "input gradient of norm 1 of the witness of kernel-mmd",
            (Option("divergence", "divergence", "kernel-mmd"), *both),
            papers.BINKOWSKI,
        ),
    ]


@hookimpl
def ganzoo_projections() -> list[Entry]:
    return [Entry("clip", "ganzoo_divergences.updates:Clip", "every weight into a box", (LIMIT,), papers.ARJOVSKY)]


@hookimpl
def ganzoo_optimizers() -> list[Entry]:
    options = (
        Option("lr", float, 1e-3, low=0),
        Option("alpha", float, 0.99, low=0, high=0.999999, help="decay of the mean square"),
        Option("eps", float, 1e-8, low=0),
    )
    return [Entry("rmsprop", "ganzoo_divergences.updates:RMSprop", "Tieleman & Hinton", options)]


@hookimpl
def ganzoo_methods() -> list[Entry]:
    return [*_games(), *_held_games()]


def _games() -> list[Entry]:
    here = "ganzoo_divergences.methods"
    f = Option("divergence", "divergence", "hellinger")
    saturating = Option("saturating", bool, True, help="the game's own value, or its non-saturating form")
    clip = Option("clip", float, 0.01, low=1e-9, help="largest weight of the discriminator")
    penalty = Option("penalty", "penalty", "gradient-penalty")
    gamma = Option("gamma", float, 1.0, low=0, help="twice the weight of R1 and of R2")
    decay = Option("decay", float, 1.0, low=1e-6, help="what of gamma is left at the end")
    lam = _weight(10.0, "λ, of the penalty")
    matched = Option("divergence", "divergence", "mmd", help="of samples: mmd, energy-distance, sinkhorn")
    return [
        Entry(
            "f-gan",
            f"{here}:f_gan",
            "any f-divergence by its dual",
            (f, saturating, _k(1), _adam(1e-4, 0.5), SCHEDULE),
            papers.NOWOZIN,
        ),
        Entry(
            "wgan",
            f"{here}:wgan",
            "Wasserstein, by weight clipping",
            (clip, _k(5), _optimizer("rmsprop", lr=5e-5), SCHEDULE),
            papers.ARJOVSKY,
        ),
        Entry(
            "wgan-gp",
            f"{here}:wgan_gp",
            "Wasserstein, by a gradient penalty",
            (penalty, lam, _k(5), _adam(1e-4, 0.0, 0.9), SCHEDULE),
            papers.GULRAJANI,
        ),
        Entry("lsgan", f"{here}:lsgan", "least squares", (A, B, C, _k(1), _adam(1e-3, 0.5), SCHEDULE), papers.MAO),
        Entry("hinge-gan", f"{here}:hinge_gan", "the hinge loss", (_k(1), _adam(2e-4, 0.5), SCHEDULE), papers.LIM),
        Entry(
            "dragan",
            f"{here}:dragan",
            "non-saturating, with slope 1 around data",
            (lam, _k(1), _adam(1e-3, 0.5), SCHEDULE),
            papers.KODALI,
        ),
        Entry("rpgan", f"{here}:rpgan", "relativistic pairs", (_k(1), _adam(2e-4, 0.5), SCHEDULE), papers.JOLICOEUR),
        Entry("ragan", f"{here}:ragan", "relativistic average", (_k(1), _adam(2e-4, 0.5), SCHEDULE), papers.JOLICOEUR),
        Entry(
            "r3gan",
            f"{here}:r3gan",
            "relativistic pairs with R1 and R2",
            (Option("divergence", "divergence", "rpgan"), gamma, decay, _k(1), _adam(2e-4, 0.0, 0.99), SCHEDULE),
            papers.HUANG,
        ),
        Entry(
            "gmmn",
            f"{here}:gmmn",
            "moment matching, no discriminator",
            (matched, _adam(1e-3, 0.9), SCHEDULE),
            papers.LI,
        ),
    ]


def _held_games() -> list[Entry]:
    here = "ganzoo_divergences.methods"
    gan, hinge, kernel = (Option("divergence", "divergence", name) for name in ("gan", "hinge", "kernel-mmd"))
    pack = Option("pack", int, 2, low=1, high=64, help="samples that are judged together; a batch has 128 packs")
    lam, usual = _weight(10.0, "λ, of the penalty"), (_k(1), _adam(1e-3, 0.5), SCHEDULE)
    return [
        Entry(
            "sngan",
            f"{here}:sngan",
            "the hinge loss, with spectral norm 1 in every layer",
            (hinge, _k(5), _adam(2e-4, 0.0, 0.9), SCHEDULE),
            papers.MIYATO,
        ),
        Entry("pacgan", f"{here}:pacgan", "non-saturating, on packs of samples", (pack, *usual), papers.LIN),
        Entry(
            "mmd-gan",
            f"{here}:mmd_gan",
            "MMD² between a critic's features, with a gradient penalty",
            (kernel, lam, _k(5), _adam(1e-4, 0.5, 0.9), SCHEDULE),
            papers.BINKOWSKI,
        ),
        Entry("cr-gan", f"{here}:cr_gan", "non-saturating, consistent under noise", (lam, *usual), papers.ZHAO),
        Entry(
            "noisy-gan",
            f"{here}:noisy_gan",
            "non-saturating, with noise on all samples that falls to 0",
            (gan, STD, *usual),
            papers.SONDERBY,
        ),
        Entry(
            "unrolled-gan",
            f"{here}:unrolled_gan",
            "non-saturating, the generator looking ahead",
            (gan, UNROLL, RATE, *usual),
            papers.METZ,
        ),
    ]


@hookimpl
def ganzoo_recipes() -> list[RecipeEntry]:
    source = "PacGAN (2018), tables 1 and 2: 'PacGAN2', 2,500 samples"
    return [
        RecipeEntry(
            f"pacgan.{dataset}",
            summary="two dimensions of noise, as published",
            overrides={"generator.noise": 2},
            expected=(
                Expected("modes", modes, modes_error, source),
                Expected("high-quality", quality, None, source),
                Expected("mode-kl", kl, None, source),
            ),
        )
        for dataset, modes, modes_error, quality, kl in (
            ("ring", 7.9, 0.1, 95.6, 0.07),
            ("grid", 23.8, 0.7, 91.3, 0.13),
        )
    ]


@hookimpl
def ganzoo_suites() -> list[SuiteEntry]:
    """PacGAN's protocol: 2,500 samples, a sample within 3 std of a mode is good, a mode with one good sample counts."""
    methods = ("r3gan", "wgan-gp", "pacgan", "ns-gan", "js-gan")
    everywhere = {
        "generator.noise": 2,
        "generator.law": "uniform",
        "generator.depth": 4,
        "discriminator.depth": 4,
        "batch_size": 256,
        "steps": 15_000,
        "schedule": "linear",
        "optimizer.lr": 2e-3,
        "optimizer.beta1": 0.0,
        "optimizer.beta2": 0.99,
    }
    return [
        SuiteEntry(
            "pacgan",
            summary="ring and grid under PacGAN's protocol: five methods, ten seeds, equal networks",
            paper=papers.LIN,
            recipes=tuple(f"{method}.{dataset}" for dataset in ("ring", "grid") for method in methods),
            overrides={
                "*": everywhere,
                "r3gan.*": {"gamma": 1.0, "decay": 1e-3},
                # Five steps of the critic for one: as many of them as the others make.
                "wgan-gp.*": {"weight": 1.0, "optimizer.lr": 1e-3, "optimizer.beta2": 0.9, "steps": 3_000},
            },
            seeds=10,
        )
    ]

"""The built-in plugin. This module is light: it declares entries and imports nothing that they point to."""

from __future__ import annotations

from typing import Any, Final

from ganzoo.hookspecs import hookimpl
from ganzoo.part import Option, Part
from ganzoo.registry import Entry, Expected, Paper, RecipeEntry, SuiteEntry

GOODFELLOW: Final = Paper(
    "Generative Adversarial Nets",
    "Ian Goodfellow and Jean Pouget-Abadie and Mehdi Mirza and Bing Xu and David Warde-Farley and Sherjil Ozair"
    " and Aaron Courville and Yoshua Bengio",
    2014,
    "Advances in Neural Information Processing Systems 27",
    "https://arxiv.org/abs/1406.2661",
)
NOWOZIN: Final = Paper(
    "f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization",
    "Sebastian Nowozin and Botond Cseke and Ryota Tomioka",
    2016,
    "Advances in Neural Information Processing Systems 29",
    "https://arxiv.org/abs/1606.00709",
)
FISHER: Final = Paper(
    "On the Mathematical Foundations of Theoretical Statistics",
    "Ronald A. Fisher",
    1922,
    "Philosophical Transactions of the Royal Society A 222",
    "https://doi.org/10.1098/rsta.1922.0009",
)
DEMPSTER: Final = Paper(
    "Maximum Likelihood from Incomplete Data via the EM Algorithm",
    "Arthur P. Dempster and Nan M. Laird and Donald B. Rubin",
    1977,
    "Journal of the Royal Statistical Society B 39",
    "https://doi.org/10.1111/j.2517-6161.1977.tb01600.x",
)
MESCHEDER: Final = Paper(
    "Which Training Methods for GANs do actually Converge?",
    "Lars Mescheder and Andreas Geiger and Sebastian Nowozin",
    2018,
    "International Conference on Machine Learning",
    "https://arxiv.org/abs/1801.04406",
)
GULRAJANI: Final = Paper(
    "Improved Training of Wasserstein GANs",
    "Ishaan Gulrajani and Faruk Ahmed and Martin Arjovsky and Vincent Dumoulin and Aaron Courville",
    2017,
    "Advances in Neural Information Processing Systems 30",
    "https://arxiv.org/abs/1704.00028",
)
PACGAN: Final = Paper(
    "PacGAN: The power of two samples in generative adversarial networks",
    "Zinan Lin and Ashish Khetan and Giulia Fanti and Sewoong Oh",
    2018,
    "Advances in Neural Information Processing Systems 31",
    "https://arxiv.org/abs/1712.04086",
)

TANCIK: Final = Paper(
    "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains",
    "Matthew Tancik and Pratul P. Srinivasan and Ben Mildenhall and Sara Fridovich-Keil and Nithin Raghavan"
    " and Utkarsh Singhal and Ravi Ramamoorthi and Jonathan T. Barron and Ren Ng",
    2020,
    "Advances in Neural Information Processing Systems 33",
    "https://arxiv.org/abs/2006.10739",
)
ANIL: Final = Paper(
    "Sorting Out Lipschitz Function Approximation",
    "Cem Anil and James Lucas and Roger Grosse",
    2019,
    "International Conference on Machine Learning",
    "https://arxiv.org/abs/1811.05381",
)

SEED: Final = Option("seed", int, 0, low=0, high=1_000_000, help="of the fixed parts; not the seed of a run")
SHAPE: Final = Option("shape", int, low=1, high=4096, many=True, fit="shape", help="of one sample")
HIDDEN: Final = Option("hidden", int, 128, low=1, high=65_536, help="units in a hidden layer")
DEPTH: Final = Option("depth", int, 2, low=1, high=64, help="hidden layers")
CLASSES: Final = Option(
    "classes",
    int,
    0,
    low=0,
    high=100_000,
    optional=True,
    fit="classes",
    help="labels that the network reads; 0: it ignores them; none: as many as the data have",
)
HEAD: Final = Option(
    "head",
    str,
    "score",
    choices=("score", "projection", "classify"),
    help="how labels are read: beside the sample; as ⟨e(y), φ(x)⟩ in the score; not, but told by class logits",
)
K: Final = Option("k", int, 1, low=1, high=1_000, help="steps of the discriminator for one of the generator")
SCHEDULE: Final = Option("schedule", "schedule", None, optional=True, help="of both players' learning rates")
DISCRIMINATOR: Final = Option("discriminator", str, "discriminator", help="which player")
GENERATOR: Final = Option("generator", str, "generator", help="which player")


def _game_options(divergence: str) -> tuple[Option, ...]:
    adam = Part("optimizer", "adam", {"lr": 1e-3, "beta1": 0.5})
    return (Option("divergence", "divergence", divergence), K, Option("optimizer", "optimizer", adam), SCHEDULE)


def _likelihood_options() -> tuple[Option, ...]:
    return (Option("optimizer", "optimizer", Part("optimizer", "adam", {"lr": 1e-2})),)


@hookimpl
def ganzoo_datasets() -> list[Entry]:
    here = "ganzoo.zoo.datasets"
    return [
        Entry(
            "ring",
            f"{here}:Ring",
            "8 Gaussians on a circle of radius 1, std .01",
            (
                Option("modes", int, 8, low=1, high=1_000),
                Option("radius", float, 1.0, low=0),
                Option("std", float, 0.01, low=1e-6),
                SEED,
            ),
        ),
        Entry(
            "grid",
            f"{here}:Grid",
            "25 Gaussians on a 5 × 5 grid, std .05",
            (Option("std", float, 0.05, low=1e-6), SEED),
        ),
        Entry(
            "mixture-1d", f"{here}:Mixture1D", "two overlapping Gaussians on the line, of f-GAN §4.1", (SEED,), NOWOZIN
        ),
        Entry(
            "two-moons",
            f"{here}:TwoMoons",
            "two interleaving half circles",
            (Option("noise", float, 0.05, low=0), SEED),
        ),
        Entry("digits", f"{here}:Digits", "1,797 real handwritten digits, 8 × 8, dequantised", (SEED,)),
    ]


@hookimpl
def ganzoo_generators() -> list[Entry]:
    here = "ganzoo.zoo.generators"
    covariance = Option("covariance", str, "full", choices=("full", "diag"))
    floor = Option("floor", float, 1e-6, low=1e-12, help="least variance of a component in any direction")
    start = Option("start", str, "standard", choices=("standard", "moments"), help="N(0, I), or in closed form")
    components = Option(
        "components", int, None, 1, 10_000, optional=True, fit="classes", help="Gaussians; default: the classes, or 10"
    )
    return [
        Entry(
            "mlp",
            f"{here}:MLPGenerator",
            "a multilayer perceptron from noise",
            (
                SHAPE,
                Option("noise", int, 16, low=1, high=65_536, help="dimension of z"),
                HIDDEN,
                DEPTH,
                Option("law", str, "normal", choices=("normal", "uniform"), help="of z"),
                CLASSES,
            ),
            GOODFELLOW,
        ),
        Entry("gaussian", f"{here}:GaussianGenerator", "one Gaussian with full covariance", (SHAPE, start), FISHER),
        Entry(
            "gmm",
            f"{here}:MixtureGenerator",
            "a mixture of Gaussians",
            (SHAPE, components, covariance, floor),
            DEMPSTER,
        ),
    ]


@hookimpl
def ganzoo_discriminators() -> list[Entry]:
    here = "ganzoo.zoo.discriminators"
    octaves = Option("octaves", int, 6, low=0, high=16, help="scales of its features, from 1 down to 2^−octaves")
    even = Option("hidden", int, 64, low=2, high=65_536, help="units in a hidden layer, an even number")
    deeper = Option("depth", int, 3, low=1, high=64, help="hidden layers")
    return [
        Entry(
            "mlp",
            f"{here}:MLPDiscriminator",
            "a multilayer perceptron",
            (SHAPE, HIDDEN, DEPTH, CLASSES, HEAD),
            GOODFELLOW,
        ),
        Entry(
            "fourier-mlp",
            f"{here}:FourierDiscriminator",
            "a perceptron on waves of many lengths, for few dimensions",
            (SHAPE, HIDDEN, DEPTH, octaves, CLASSES),
            TANCIK,
        ),
        Entry(
            "lipschitz-mlp",
            f"{here}:LipschitzDiscriminator",
            "slope at most 1 by construction",
            (SHAPE, even, deeper, CLASSES),
            ANIL,
        ),
    ]


@hookimpl
def ganzoo_divergences() -> list[Entry]:
    here = "ganzoo.zoo.divergences"
    return [
        Entry("js", f"{here}:JensenShannon", "Jensen–Shannon, between 0 and log 2", paper=GOODFELLOW),
        Entry("gan", f"{here}:GAN", "the original value V = 2·JSD − log 4", paper=GOODFELLOW),
        Entry("kl", f"{here}:KullbackLeibler", "Kullback–Leibler, KL(P_data ‖ P_G)", paper=NOWOZIN),
    ]


@hookimpl
def ganzoo_methods() -> list[Entry]:
    here = "ganzoo.zoo.methods"
    return [
        Entry("js-gan", f"{here}:js_gan", "the original GAN, Algorithm 1: minimax", _game_options("gan"), GOODFELLOW),
        Entry("ns-gan", f"{here}:ns_gan", "the original GAN, non-saturating", _game_options("gan"), GOODFELLOW),
        Entry(
            "mle-gaussian", f"{here}:mle_gaussian", "a Gaussian by maximum likelihood", _likelihood_options(), FISHER
        ),
        Entry(
            "mle-gmm",
            f"{here}:mle_gmm",
            "a mixture of Gaussians by maximum likelihood",
            _likelihood_options(),
            DEMPSTER,
        ),
    ]


@hookimpl
def ganzoo_terms() -> list[Entry]:
    here = "ganzoo.terms"
    divergence = Option("divergence", "divergence")
    saturating = Option("saturating", bool, True, help="descend on the game's own value, or on its non-saturating form")
    return [
        Entry("criticise", f"{here}:Criticise", "the critic's loss", (divergence, DISCRIMINATOR, GENERATOR)),
        Entry("fool", f"{here}:Fool", "the generator's loss", (divergence, saturating, DISCRIMINATOR, GENERATOR)),
        Entry("likelihood", f"{here}:Likelihood", "−E log p_G of real data", (GENERATOR,)),
    ]


@hookimpl
def ganzoo_penalties() -> list[Entry]:
    here = "ganzoo.zoo.penalties"
    options = (DISCRIMINATOR, GENERATOR)
    return [
        Entry("r1", f"{here}:R1", "squared input gradient at real data", (DISCRIMINATOR,), MESCHEDER),
        Entry(
            "gradient-penalty", f"{here}:GradientPenalty", "input gradient of norm 1 between data", options, GULRAJANI
        ),
    ]


@hookimpl
def ganzoo_schedules() -> list[Entry]:
    here = "ganzoo.zoo.updates"
    begin = Option("begin", float, 0.0, low=0, high=0.999, help="fraction of training before it starts to change")
    end = Option("end", float, 0.0, help="the factor at the end")
    positive = (
        Option("start", float, 1.0, low=1e-12, help="the factor at the start"),
        Option("end", float, 0.01, low=1e-12, help="the factor at the end"),
    )
    return [
        Entry("cosine", f"{here}:Cosine", "from 1 along half a cosine", (end,)),
        Entry("linear", f"{here}:Linear", "1, then along a straight line", (begin, end)),
        Entry("exponential", f"{here}:Exponential", "by the same factor at every step", positive),
    ]


@hookimpl
def ganzoo_optimizers() -> list[Entry]:
    here = "ganzoo.zoo.updates"
    adam = (
        Option("lr", float, 1e-3, low=0),
        Option("beta1", float, 0.9, low=0, high=0.999999),
        Option("beta2", float, 0.999, low=0, high=0.999999),
        Option("eps", float, 1e-8, low=0),
    )
    sgd = (Option("lr", float, 0.1, low=0), Option("momentum", float, 0.0, low=0, high=0.999999))
    return [Entry("adam", f"{here}:Adam", "Kingma & Ba", adam), Entry("sgd", f"{here}:SGD", "with momentum", sgd)]


@hookimpl
def ganzoo_metrics() -> list[Entry]:
    here = "ganzoo.zoo.metrics"
    return [
        Entry("modes", f"{here}:ModesCovered", "modes of the density with a sample within 3 std", paper=PACGAN),
        Entry("high-quality", f"{here}:HighQuality", "share of samples within 3 std of a mode", paper=PACGAN),
        Entry("mode-kl", f"{here}:ModeKL", "KL of the modes' occupancy to the truth", paper=PACGAN),
        Entry("kl", f"{here}:KL", "KL(P_data ‖ P_G)"),
        Entry("jsd", f"{here}:JSD", "Jensen–Shannon divergence of P_data and P_G"),
        Entry("nll", f"{here}:NLL", "−E log p_G of held-out data"),
        Entry("energy-distance", f"{here}:EnergyDistance", "2E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖ to held-out data"),
        Entry("sliced-wasserstein", f"{here}:SlicedWasserstein", "mean W1 of random projections to held-out data"),
        Entry("class-kl", f"{here}:ClassKL", "KL of the class histogram, by a classifier fitted on the train part"),
    ]


@hookimpl
def ganzoo_extractors() -> list[Entry]:
    summary = "a small classifier that is trained on the train part"
    return [Entry("reference", "ganzoo.reference:Reference", summary, (SEED,))]


@hookimpl
def ganzoo_pairs() -> list[Entry]:
    here = "ganzoo.zoo.pairs"
    by, dimension = Option("by", float, 1.0, low=0), Option("dimension", int, 1, low=1, high=1_000)
    return [
        Entry("shift", f"{here}:shift", "N(0, I) and the same at a distance", (by, dimension)),
        Entry(
            "scale",
            f"{here}:scale",
            "N(0, I) and the same of another width",
            (Option("by", float, 1.5, low=1e-3), dimension),
        ),
        Entry(
            "mixture-gaussian",
            f"{here}:mixture_gaussian",
            "mixture-1d and the Gaussian that maximum likelihood fits to it",
            paper=NOWOZIN,
        ),
        Entry(
            "uniforms",
            f"{here}:uniforms",
            "two uniform laws that overlap",
            (Option("by", float, 0.5, low=0, high=10_000),),
        ),
        Entry(
            "apart",
            f"{here}:apart",
            "two narrow Gaussians that do not overlap",
            (by, Option("std", float, 0.1, low=1e-6)),
        ),
        Entry(
            "correlation",
            f"{here}:correlation",
            "a correlated Gaussian in the plane and a round one",
            (Option("rho", float, 0.8, low=-0.999, high=0.999),),
        ),
        Entry(
            "wide-ring",
            f"{here}:wide_ring",
            "the ring, and the same with wider modes",
            (Option("std", float, 0.02, low=1e-6),),
        ),
        Entry(
            "dropped-modes",
            f"{here}:dropped_modes",
            "the ring, and some of its modes",
            (Option("kept", int, 4, low=1, high=8),),
        ),
    ]


@hookimpl
def ganzoo_executors() -> list[Entry]:
    return [
        Entry("local", "ganzoo.executor:LocalProcesses", "processes on this machine", (Option("jobs", int, 1, low=1),))
    ]


@hookimpl
def ganzoo_recipes() -> list[RecipeEntry]:
    source = "PacGAN (2018), tables 1 and 2: 'GAN', 2,500 samples"
    ring = (
        Expected("modes", 6.3, 0.5, source),
        Expected("high-quality", 98.2, 0.2, source),
        Expected("mode-kl", 0.45, 0.09, source),
    )
    grid = (
        Expected("modes", 17.3, 0.8, source),
        Expected("high-quality", 94.8, 0.7, source),
        Expected("mode-kl", 0.70, 0.07, source),
    )
    published = {"ns-gan.ring": ring, "ns-gan.grid": grid}
    plane = [
        RecipeEntry(
            f"{method}.{dataset}",
            summary="two dimensions of noise, as in PacGAN",
            overrides={"generator.noise": 2},
            expected=published.get(f"{method}.{dataset}", ()),
        )
        for method in ("js-gan", "ns-gan")
        for dataset in ("ring", "grid", "mixture-1d", "two-moons")
    ]
    line = (Expected("kl", 0.2831, None, "f-GAN (2016), §4.1: μ 1.0100, σ 1.8308"),)
    return [
        *plane,
        RecipeEntry("mle-gaussian.mixture-1d", summary="closed form known", expected=line),
        RecipeEntry(
            "mle-gaussian.digits",
            summary="at the default rate of .01 some seeds leave the optimum in a long run",
            overrides={"optimizer.lr": 3e-3},
        ),
        RecipeEntry(
            "mle-gmm.digits",
            summary="its variance floor is the best of .0003 to .008 on the validation part",
            overrides={"generator.floor": 1e-3},
        ),
    ]


@hookimpl
def ganzoo_suites() -> list[SuiteEntry]:
    methods = ("js-gan", "ns-gan", "mle-gaussian", "mle-gmm")
    recipes = tuple(f"{method}.{dataset}" for dataset in ("ring", "grid", "mixture-1d", "digits") for method in methods)
    quick: dict[str, dict[str, Any]] = {
        "*": {"steps": 1_000, "evaluations": 4},
        "mle-*": {"steps": 500, "evaluations": 4},
    }
    # 64 correlated pixels take that long to reach the closed form, at a rate that a short run survives.
    quick["mle-gaussian.digits"] = {"steps": 2_000, "optimizer.lr": 1e-2}
    return [
        SuiteEntry(
            "default", summary="four methods on four datasets in about three minutes", recipes=recipes, overrides=quick
        ),
        SuiteEntry("full", summary="the same with each recipe's whole budget", recipes=recipes),
    ]

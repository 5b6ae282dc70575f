"""Normalizing flows for ganzoo. This module is light: it declares entries and imports nothing that they point to."""

from __future__ import annotations

from typing import Any, Final

from ganzoo import Entry, Option, Paper, Part, RecipeEntry, SuiteEntry, hookimpl

DINH: Final = Paper(
    "Density estimation using Real NVP",
    "Laurent Dinh and Jascha Sohl-Dickstein and Samy Bengio",
    2017,
    "International Conference on Learning Representations",
    "https://arxiv.org/abs/1605.08803",
)
PAPAMAKARIOS: Final = Paper(
    "Masked Autoregressive Flow for Density Estimation",
    "George Papamakarios and Theo Pavlakou and Iain Murray",
    2017,
    "Advances in Neural Information Processing Systems 30",
    "https://arxiv.org/abs/1705.07057",
)
DURKAN: Final = Paper(
    "Neural Spline Flows",
    "Conor Durkan and Artur Bekasov and Iain Murray and George Papamakarios",
    2019,
    "Advances in Neural Information Processing Systems 32",
    "https://arxiv.org/abs/1906.04032",
)
GROVER: Final = Paper(
    "Flow-GAN: Combining Maximum Likelihood and Adversarial Learning in Generative Models",
    "Aditya Grover and Manik Dhar and Stefano Ermon",
    2018,
    "AAAI Conference on Artificial Intelligence",
    "https://arxiv.org/abs/1705.08868",
)

SHAPE: Final = Option("shape", int, low=1, high=4096, many=True, fit="shape", help="of one sample")
HIDDEN: Final = Option("hidden", int, 64, low=1, high=2_048, help="units in a hidden layer of a conditioner")
DEPTH: Final = Option("depth", int, 2, low=1, high=8, help="hidden layers of a conditioner")
FLOW: Final = Option("flow", "generator", "nsf", help="the network: nsf, realnvp or maf")
DIVERGENCE: Final = Option("divergence", "divergence", "gan")
SATURATING: Final = Option("saturating", bool, True, help="the game's own value, or its non-saturating form")
K: Final = Option("k", int, 1, low=1, high=1_000, help="steps of the discriminator for one of the generator")


def _transforms(default: int) -> Option:
    return Option("transforms", int, default, low=1, high=64, help="layers of the flow")


def _adam(**options: float) -> Option:
    return Option("optimizer", "optimizer", Part("optimizer", "adam", options))


@hookimpl
def ganzoo_generators() -> list[Entry]:
    here = "ganzoo_flows.generators"
    bins = Option("bins", int, 16, low=2, high=256, help="of a spline")
    return [
        Entry(
            "realnvp",
            f"{here}:realnvp",
            "a flow of affine couplings; in two dimensions or more",
            (SHAPE, _transforms(8), HIDDEN, DEPTH),
            DINH,
        ),
        Entry("nsf", f"{here}:nsf", "a flow of spline couplings", (SHAPE, _transforms(4), HIDDEN, DEPTH, bins), DURKAN),
        Entry(
            "maf",
            f"{here}:maf",
            "an affine autoregressive flow; slow to sample, one Gaussian in one dimension",
            (SHAPE, _transforms(5), HIDDEN, DEPTH),
            PAPAMAKARIOS,
        ),
    ]


@hookimpl
def ganzoo_methods() -> list[Entry]:
    here = "ganzoo_flows.methods"
    weight = Option("weight", float, 1.0, low=0, help="λ, of the likelihood beside the divergence")
    return [
        Entry(
            "mle-flow",
            f"{here}:mle_flow",
            "a flow by maximum likelihood",
            (FLOW, _adam(lr=3e-3)),
            DURKAN,
        ),
        Entry(
            "gan-flow",
            f"{here}:gan_flow",
            "the same flow by a divergence",
            (FLOW, DIVERGENCE, SATURATING, K, _adam(lr=2e-4, beta1=0.5)),
            GROVER,
        ),
        Entry(
            "flow-gan",
            f"{here}:flow_gan",
            "the same flow by a divergence and by likelihood",
            (FLOW, DIVERGENCE, SATURATING, weight, K, _adam(lr=1e-3, beta1=0.5)),
            GROVER,
        ),
    ]


@hookimpl
def ganzoo_recipes() -> list[RecipeEntry]:
    short = "1,078 samples are soon learnt by heart: stops where the likelihood of the validation part does not rise"
    return [
        RecipeEntry("mle-flow.digits", summary=short, overrides={"steps": 600, "optimizer.lr": 1e-3}),
        RecipeEntry("flow-gan.digits", summary=short, overrides={"steps": 600}),
    ]


@hookimpl
def ganzoo_suites() -> list[SuiteEntry]:
    flows, others = ("mle-flow", "gan-flow", "flow-gan"), ("mle-gaussian", "mle-gmm", "js-gan")
    steps = {"ring": 2_000, "mixture-1d": 1_000, "digits": 600}
    budgets: dict[str, dict[str, Any]]
    budgets = {f"{m}.{d}": {"steps": n, "evaluations": 4} for d, n in steps.items() for m in flows}
    budgets |= {f"{m}.*": {"steps": 500, "evaluations": 4} for m in ("mle-gaussian", "mle-gmm")}
    budgets["js-gan.*"] = {"steps": 3_000, "evaluations": 4}
    # As in the default suite: 64 correlated pixels take that long to reach the closed form.
    budgets["mle-gaussian.digits"] = {"steps": 2_000, "optimizer.lr": 1e-2, "evaluations": 4}
    return [
        SuiteEntry(
            "flows",
            summary="one flow by likelihood, by a divergence and by both, beside a Gaussian, a mixture and a GAN",
            recipes=tuple(f"{method}.{dataset}" for dataset in steps for method in (*flows, *others)),
            overrides=budgets,
        )
    ]

"""Signs and sides: faults planted in the losses of every divergence that a critic measures."""

from dataclasses import dataclass

import pytest
import torch

from ganzoo.divergence import Divergence, Scores
from ganzoo.errors import IncompatibleError
from ganzoo.plugins import registry
from ganzoo.testing import ConformanceError, check_divergence
from ganzoo_divergences.critics import LeastSquares
from ganzoo_divergences.features import KernelMMD

REGISTERED = [entry.create({}) for entry in registry().all("divergence")]
ALL = [
    *(made for made in REGISTERED if isinstance(made, Divergence)),
    LeastSquares(-1, 1, 0),
    LeastSquares(3, 0.5, 0.5),  # real scores below those of generated samples
    LeastSquares(10, 10.02, 10.02),
    *(KernelMMD(kernel, unbiased=False) for kernel in ("gaussian", "energy", "linear")),
]


@dataclass(frozen=True)
class Planted(Divergence):
    """A divergence, known by its losses alone, with one of them replaced."""

    right: Divergence
    which: str
    fault: object

    def _call(self, which, scores):
        right = getattr(self.right, which)
        return self.fault(self.right, right, scores) if which == self.which else right(scores)

    def critic_loss(self, scores):
        return self._call("critic_loss", scores)

    def generator_loss(self, scores):
        return self._call("generator_loss", scores)

    def non_saturating_loss(self, scores):
        return self._call("non_saturating_loss", scores)

    def estimate(self, scores):
        return self._call("estimate", scores)


def negated(divergence, right, scores):
    return -right(scores)


def exchanged(divergence, right, scores):
    return right(Scores(lambda: scores.fake, lambda: scores.real))


def on_real_samples(divergence, right, scores):
    return right(Scores(lambda: scores.real, lambda: scores.real))


def the_critics(divergence, right, scores):
    return divergence.critic_loss(scores)


def above(divergence, right, scores):
    return right(scores) + 0.01


def below(divergence, right, scores):
    return right(scores) - 0.01


LOSSES = ("critic_loss", "generator_loss", "non_saturating_loss", "estimate")
FAULTS = [
    *((which, fault) for which in LOSSES for fault in (negated, exchanged)),
    *((which, the_critics) for which in LOSSES[1:]),
    *((which, on_real_samples) for which in LOSSES[1:3]),
    *(("estimate", fault) for fault in (above, below)),
]


def has(divergence, which):
    try:
        getattr(divergence, which)(Scores.of(torch.zeros(2), torch.zeros(2)))
    except IncompatibleError:
        return False
    return True


def planted():
    for divergence in ALL:
        for which, fault in FAULTS:
            if not has(divergence, which) or (fault is exchanged and isinstance(divergence, KernelMMD)):
                continue  # an MMD has no sides
            yield pytest.param(divergence, which, fault, id=f"{divergence}-{which}-{fault.__name__}")


@pytest.mark.parametrize(("divergence", "which", "fault"), [*planted()])
def test_a_planted_fault_is_caught(divergence, which, fault):
    with pytest.raises(ConformanceError):
        check_divergence(Planted(divergence, which, fault))


@pytest.mark.parametrize("divergence", ALL, ids=str)
def test_without_a_fault_the_wrapper_conforms(divergence):
    check_divergence(Planted(divergence, "", None))
    check_divergence(divergence)

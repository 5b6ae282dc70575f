"""f-divergences against closed forms, the published tables, and faults planted in them."""

import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
import scipy.special
import torch
from torch.func import grad, vmap

from ganzoo.divergence import FDivergence, Scores
from ganzoo.plugins import registry
from ganzoo.testing import ConformanceError, check_divergence
from ganzoo.zoo.divergences import GAN, JensenShannon
from ganzoo_divergences.fdivergences import (
    Alpha,
    Hellinger,
    Jeffreys,
    Neyman,
    Pearson,
    ReverseKL,
    TotalVariation,
    log_lambert,
)

ALPHAS = (-1.0, -0.5, 0.0, 1e-9, 0.3, 0.5, 1 - 1e-9, 1.0, 1.5, 2.0, 3.0)
NAMED = (ReverseKL(), Jeffreys(), Pearson(), Neyman(), Hellinger(), TotalVariation())
EVERY = (*NAMED, *(Alpha(a) for a in ALPHAS))
#: What is registered, here and in the core, and one more α.
REGISTERED = [entry.create({}) for entry in registry().all("divergence")]
ALL = (*(made for made in REGISTERED if isinstance(made, FDivergence)), Alpha(1.5))
every = pytest.mark.parametrize("divergence", EVERY, ids=str)

#: (mean, std) of P and of Q, in one dimension; every integral below is finite for each of them.
PAIRS = [
    ((0.0, 1.0), (0.0, 1.0)),
    ((0.0, 1.0), (1.0, 1.0)),
    ((0.0, 1.0), (-2.0, 1.0)),
    ((0.3, 0.9), (0.0, 1.0)),
    ((0.0, 1.1), (0.5, 1.0)),
    ((1.0, 0.25), (1.1, 0.3)),
    ((10.0, 2.0), (12.0, 2.2)),
]


def label(value):
    """The same in every process, which what Python prints of a function is not."""
    return getattr(value, "__name__", str(value))


def lambert(x):
    return torch.from_numpy(scipy.special.lambertw(x.numpy()).real)


def kl(p, q):
    (m, s), (n, t) = p, q
    return math.log(t / s) + (s * s + (m - n) ** 2) / (2 * t * t) - 0.5


def chernoff(alpha, p, q):
    """``∫ p^α q^{1−α}`` of two Gaussians."""
    (m, s), (n, t) = p, q
    mixed = (1 - alpha) * s * s + alpha * t * t
    assert mixed > 0, "the integral is infinite"
    scale = s ** (1 - alpha) * t**alpha / math.sqrt(mixed)
    return scale * math.exp(-alpha * (1 - alpha) * (m - n) ** 2 / (2 * mixed))


def total_variation(p, q):
    """``P(A) − Q(A)`` for the set ``A`` where p > q, between the roots of a quadratic."""
    (m, s), (n, t) = p, q
    if p == q:
        return 0.0
    a, b = 0.5 / t**2 - 0.5 / s**2, m / s**2 - n / t**2
    c = 0.5 * n**2 / t**2 - 0.5 * m**2 / s**2 + math.log(t / s)
    if a == 0:
        roots = [-c / b]
    else:
        root = math.sqrt(b * b - 4 * a * c)
        roots = sorted([(-b - root) / (2 * a), (-b + root) / (2 * a)])
    ends = [-math.inf, *roots, math.inf]
    cdf = scipy.special.ndtr
    mass = [abs(cdf((h - m) / s) - cdf((l - m) / s) - cdf((h - n) / t) + cdf((l - n) / t)) for l, h in pairwise(ends)]
    return sum(mass) / 2


def closed_form(divergence, p, q):
    match divergence:
        case ReverseKL():
            return kl(q, p)
        case Jeffreys():
            return kl(p, q) + kl(q, p)
        case Pearson():
            return chernoff(2, p, q) - 1
        case Neyman():
            return chernoff(-1, p, q) - 1
        case Hellinger():
            return 2 - 2 * chernoff(0.5, p, q)
        case TotalVariation():
            return total_variation(p, q)
        case Alpha(alpha):
            if abs(alpha * (alpha - 1)) < 1e-6:
                return kl(p, q) if alpha > 0.5 else kl(q, p)
            return (chernoff(alpha, p, q) - 1) / (alpha * (alpha - 1))
    raise AssertionError(divergence)


@every
def test_it_conforms(divergence):
    check_divergence(divergence)


@pytest.mark.parametrize(("p", "q"), PAIRS, ids=str)
@every
def test_both_forms_are_the_closed_form_between_gaussians(divergence, p, q):
    """``∫ q f(p/q)`` and the dual at the optimal critic, by quadrature."""
    middle, width = p[0], 40 * max(p[1], q[1])
    x = torch.linspace(middle - width, middle + width, 160_001, dtype=torch.float64)
    density = [torch.distributions.Normal(torch.tensor(m).double(), torch.tensor(s).double()) for m, s in (p, q)]
    log_p, log_q = (d.log_prob(x) for d in density)
    # Where both densities are 1e-200 nothing is left of the integrals, but infinity times zero would be.
    inside = torch.minimum(log_p, log_q) > -460
    log_p, log_q, h = log_p[inside], log_q[inside], float(x[1] - x[0])
    wanted = closed_form(divergence, p, q)
    primal = float((log_q.exp() * divergence.f((log_p - log_q).exp())).sum()) * h
    best = divergence.optimal_critic(log_p - log_q)
    dual = float((log_p.exp() * divergence.activation(best) - log_q.exp() * divergence.dual(best)).sum()) * h
    tolerance = (
        1e-4 if isinstance(divergence, TotalVariation) else 1e-6
    )  # f has a kink: the quadrature is of first order
    assert primal == pytest.approx(wanted, rel=tolerance, abs=tolerance)
    assert dual == pytest.approx(wanted, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize(
    ("divergence", "conjugate", "domain"),
    [
        (ReverseKL(), lambda t: -1 - torch.log(-t), (-30, -0.01)),
        (Pearson(), lambda t: t**2 / 4 + t, (-2, 30)),
        (Neyman(), lambda t: 2 - 2 * torch.sqrt(1 - t), (-30, 0.99)),
        (Hellinger(), lambda t: t / (1 - t), (-30, 0.99)),
        (TotalVariation(), lambda t: t, (-0.5, 0.5)),
        (
            Jeffreys(),
            lambda t: lambert((1 - t).exp()) + 1 / lambert((1 - t).exp()) + t - 2,
            (-30, 9),
        ),
        (Alpha(3.0), lambda t: (t * 2 + 1) ** (3 / 2) / 3 - 1 / 3, (-0.5, 30)),
        (Alpha(0.4), lambda t: (t * -0.6 + 1) ** (0.4 / -0.6) / 0.4 - 1 / 0.4, (-30, 1.6)),
    ],
    ids=label,
)
def test_its_conjugate_is_the_published_one(divergence, conjugate, domain):
    """f-GAN, table 6 (and for Jeffreys the same with Lambert's W)."""
    t = torch.linspace(*domain, 101, dtype=torch.float64)
    assert torch.allclose(divergence.conjugate(t), conjugate(t), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("divergence", "activation"),
    [
        (ReverseKL(), lambda v: -torch.exp(-v)),
        (Jeffreys(), lambda v: v),
        (Pearson(), lambda v: v),
        (Neyman(), lambda v: 1 - torch.exp(-v)),
        (Hellinger(), lambda v: 1 - torch.exp(-v)),
        (TotalVariation(), lambda v: torch.tanh(v) / 2),
    ],
    ids=label,
)
def test_its_activation_is_the_published_one(divergence, activation):
    v = torch.linspace(-8, 8, 33, dtype=torch.float64)
    assert torch.allclose(divergence.activation(v), activation(v))


@every
def test_the_conjugate_is_the_supremum(divergence):
    """By brute force over a fine grid of u, at and between the values of f', and outside of them."""
    u = torch.logspace(-8, 8, 40_001, dtype=torch.float64)
    t = divergence.f_prime(torch.logspace(-2, 2, 21, dtype=torch.float64))
    brute = (t[:, None] * u - divergence.f(u)).amax(1)
    assert torch.allclose(divergence.conjugate(t), brute, rtol=1e-5, atol=1e-5)
    if isinstance(divergence, (Pearson, TotalVariation)) or getattr(divergence, "alpha", 0) >= 1.5:
        below = torch.tensor([-3.0, -10.0], dtype=torch.float64)
        brute = (below[:, None] * u - divergence.f(u)).amax(1)
        assert torch.allclose(divergence.conjugate(below), brute, atol=1e-5)


@every
def test_the_dual_never_exceeds_the_divergence(divergence):
    p, q = torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.1, 0.5]], dtype=torch.float64)
    true = float((q * divergence.f(p / q)).sum())
    v = 4 * torch.randn(2_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = (p * divergence.activation(v) - q * divergence.dual(v)).sum(1)
    assert float(values.max()) <= true + 1e-12


@every
def test_float32_is_finite_at_scores_of_fifty(divergence):
    for function in (divergence.activation, divergence.dual):
        exact = torch.tensor([-50.0, -30.0, 30.0, 50.0], dtype=torch.float64)
        wanted = torch.stack([function(exact), vmap(grad(function))(exact)])
        got = torch.stack([function(exact.float()), vmap(grad(function))(exact.float())])
        can = wanted.abs() < 3e38
        assert got[can].isfinite().all()
        assert torch.allclose(got[can].double(), wanted[can], rtol=1e-3, atol=1e-6)


def test_alpha_is_the_others_where_it_should_be():
    u = torch.logspace(-2, 2, 41, dtype=torch.float64)
    same = {2.0: (Pearson(), 0.5), -1.0: (Neyman(), 0.5), 0.5: (Hellinger(), 2.0)}
    for alpha, (other, factor) in same.items():
        shift = factor * other.f_prime(torch.ones(())) - Alpha(alpha).f_prime(torch.ones(()))
        assert torch.allclose(Alpha(alpha).f(u), factor * other.f(u) - shift * (u - 1), atol=1e-10)
    for near, limit in ((1e-7, 0.0), (1 + 1e-7, 1.0)):
        assert torch.allclose(Alpha(near).f(u), Alpha(limit).f(u), atol=1e-3)
    assert torch.allclose(Alpha(1.0).f(u), u * u.log() - u + 1)
    assert torch.allclose(Alpha(0.0).f(u), -u.log() + u - 1)


def test_lambert_solves_its_equation_everywhere():
    a = torch.cat([torch.linspace(-100, 100, 2_001), torch.tensor([-1e6, 1e6, 1e30])]).double()
    y = log_lambert(a)
    assert torch.allclose(y + y.exp(), a, rtol=1e-13, atol=1e-13)
    few = torch.linspace(-20, 600, 200, dtype=torch.float64)
    assert torch.allclose(log_lambert(few).exp(), lambert(few.exp()))
    # Its derivative is 1/(1 + w), and that of the derivative −w/(1 + w)³.
    w = log_lambert(few).exp()
    assert torch.allclose(vmap(grad(log_lambert))(few), 1 / (1 + w), rtol=1e-10)
    assert torch.allclose(vmap(grad(grad(log_lambert)))(few), -w / (1 + w) ** 3, rtol=1e-8, atol=1e-14)
    assert log_lambert(a.float()).isfinite().all()


def test_scores_that_say_nothing_estimate_zero():
    """At the optimal critic of P = Q, which is constant."""
    for divergence in EVERY:
        v = divergence.optimal_critic(torch.zeros(16))
        assert float(divergence.estimate(Scores.of(v, v))) == pytest.approx(0, abs=1e-6)


@dataclass(frozen=True)
class Planted(FDivergence):
    """A divergence with one function replaced."""

    right: FDivergence
    which: str
    fault: object

    @property
    def offset(self):
        return self.right.offset

    def _call(self, which, x):
        right = getattr(self.right, which)
        return self.fault(right, x) if which == self.which else right(x)

    def f(self, u):
        return self._call("f", u)

    def f_prime(self, u):
        return self._call("f_prime", u)

    def conjugate(self, t):
        return self._call("conjugate", t)

    def activation(self, v):
        return self._call("activation", v)

    def dual(self, v):
        return self._call("dual", v)

    def optimal_critic(self, log_ratio):
        return self._call("optimal_critic", log_ratio)


FAULTS = {
    "sign of f": ("f", lambda right, x: -right(x)),
    "sign of f'": ("f_prime", lambda right, x: -right(x)),
    "sign of f*": ("conjugate", lambda right, x: -right(x)),
    "sign of activation": ("activation", lambda right, x: -right(x)),
    "sign of dual": ("dual", lambda right, x: -right(x)),
    "sign of score": ("optimal_critic", lambda right, x: right(-x)),
    "f* without a constant": ("conjugate", lambda right, x: right(x) + 1),
    "f* by a factor": ("conjugate", lambda right, x: 1.01 * right(x)),
    "f* with a slope": ("conjugate", lambda right, x: right(x) + 0.01 * x),
    "activation shifted": ("activation", lambda right, x: right(x + 0.01)),
    "activation scaled": ("activation", lambda right, x: right(2 * x)),
    "activation turned round": ("activation", lambda right, x: right(-x)),
    "dual without a constant": ("dual", lambda right, x: right(x) + 1),
    "dual scaled": ("dual", lambda right, x: right(2 * x)),
    "score halved": ("optimal_critic", lambda right, x: right(x / 2)),
    "f(1) is not 0": ("f", lambda right, x: right(x) + 0.01),
    "f the other way round": ("f", lambda right, x: x * right(1 / x)),
}


SYMMETRIC = (JensenShannon, GAN, Jeffreys, Hellinger, TotalVariation)


def planted():
    for divergence in ALL:
        for name, (which, fault) in FAULTS.items():
            symmetric = isinstance(divergence, SYMMETRIC) or divergence == Alpha(0.5)
            if name == "f the other way round" and symmetric:
                continue  # D_f(P‖Q) = D_f(Q‖P): no fault
            if name == "score halved" and divergence == TotalVariation():
                continue  # it reads the sign alone
            yield pytest.param(divergence, which, fault, id=f"{divergence}-{name}")


@pytest.mark.parametrize(("divergence", "which", "fault"), [*planted()])
def test_a_planted_fault_is_caught(divergence, which, fault):
    with pytest.raises(ConformanceError):
        check_divergence(Planted(divergence, which, fault))


@pytest.mark.parametrize("divergence", ALL, ids=str)
def test_without_a_fault_the_wrapper_conforms(divergence):
    check_divergence(Planted(divergence, "", None))

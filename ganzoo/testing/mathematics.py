"""Divergences against their mathematics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.func import grad, vmap

from ganzoo.divergence import Divergence, FDivergence, SampleDivergence, Scores
from ganzoo.errors import IncompatibleError
from ganzoo.testing.common import REPLICAS, attempt, check_dataclass, check_pure, close, expect, finite, rng
from ganzoo.testing.directions import check_directions

EXACT: Final = 1e-9
QUADRATURE: Final = 1e-6
STRATIFIED: Final = 2e-2
FLOAT32_MAX: Final = 3e38
#: The log ratio of densities that do not overlap.
FAR: Final = 30.0


def check_divergence(divergence: Divergence | SampleDivergence, *, name: str = "") -> None:
    """Scalars, finite, lazy and stackable, and one game: what the critic learns raises the estimate, and what it does
    to the scores of generated samples the generator undoes. An `FDivergence` is checked against its mathematics too."""
    name = name or f"divergence {type(divergence).__name__}"
    check_dataclass(divergence, name)
    expect(isinstance(divergence.unit, str) and bool(divergence.unit), f"{name}: its unit must be named")
    if isinstance(divergence, SampleDivergence):
        return _check_samples(divergence, name)
    expect(isinstance(divergence, Divergence), f"{name}: {type(divergence).__name__} is no ganzoo.Divergence")
    losses = _losses(divergence)
    for which, loss in losses.items():
        _check_loss(f"{name}: {which}", loss)
    for which in ("generator_loss", "non_saturating_loss"):
        if which in losses:
            _check_lazy(f"{name}: {which}", losses[which], must=isinstance(divergence, FDivergence))
    _check_meter(divergence, name)
    if isinstance(divergence, FDivergence):
        for check in (
            _check_f,
            _check_young,
            _check_critic,
            _check_stable,
            _check_value,
            _check_float32,
            _check_directions,
        ):
            check(divergence, name)
    return check_directions(divergence, losses, name)


def _losses(divergence: Divergence) -> dict[str, Callable[[Scores], Tensor]]:
    losses = {which: getattr(divergence, which) for which in ("critic_loss", "generator_loss", "estimate")}
    try:
        divergence.non_saturating_loss(Scores.of(torch.zeros(2), torch.zeros(2)))
    except IncompatibleError:
        return losses
    return {**losses, "non_saturating_loss": divergence.non_saturating_loss}


def _scores(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return torch.randn(*shape, generator=rng(0), dtype=dtype), torch.randn(*shape, generator=rng(1), dtype=dtype)


def _check_loss(what: str, loss: Callable[[Scores], Tensor]) -> None:
    for shape in ((8,), (8, 3)):
        real, fake = (s.requires_grad_() for s in _scores(*shape, dtype=torch.float32))
        value: Tensor = check_pure(what, lambda real=real, fake=fake: loss(Scores.of(real, fake)))
        expect(
            value.shape == (), f"{what} of scores {shape} has shape {tuple(value.shape)}, the contract is a scalar ()"
        )
        expect(finite(value), f"{what} of moderate scores is {value}")
        gradients = torch.autograd.grad(value, (real, fake), allow_unused=True)
        expect(any(g is not None and bool(g.any()) for g in gradients), f"{what} has no gradient in any score")
        expect(finite(*(g for g in gradients if g is not None)), f"{what} has a gradient that is not finite")
    real, fake = _scores(REPLICAS, 8)
    with attempt(f"{what} under torch.func.vmap"):
        values = vmap(lambda r, f: loss(Scores.of(r, f)))(real, fake)
    separate = torch.stack([loss(Scores.of(r, f)) for r, f in zip(real, fake, strict=True)])
    expect(close(values, separate), f"{what} under vmap differs from separate calls")


def _check_lazy(what: str, loss: Callable[[Scores], Tensor], must: bool) -> None:
    """A score that does not change the loss is not computed."""
    real, fake = _scores(8)
    read: list[str] = []

    def reading(which: str, value: Tensor) -> Callable[[], Tensor]:
        return lambda: (read.append(which), value)[1]

    a = loss(Scores(reading("real", real), reading("fake", fake)))
    b = loss(Scores.of(real.flip(0) * 2 + 1, fake))
    unused = "real" in read and bool(a == b)
    expect(
        not unused and not (must and "real" in read),
        f"{what} reads scores.real, which it does not need: it costs a forward",
    )


def _check_meter(divergence: Divergence, name: str) -> None:
    """What a meter takes from it: a supremum above 0, which the optimal critic reads where nothing overlaps."""
    slope, most = divergence.lipschitz, divergence.supremum
    expect(slope is None or slope > 0, f"{name}: lipschitz is {slope!r}, the contract is a slope above 0, or none")
    expect(most > 0, f"{name}: supremum is {most!r}, the contract is a number above 0, or infinity")

    def read(far: float) -> float:
        ratios = torch.full((4,), far, dtype=torch.float64)
        scores = (divergence.optimal_critic(ratio) for ratio in (ratios, -ratios))
        return float(divergence.estimate(Scores.of(*scores)))

    try:
        found, farther = read(FAR), read(2 * FAR)
    except IncompatibleError:
        return
    says = f"{name}: where nothing overlaps its optimal critic reads {found:.4f}"
    if math.isfinite(most):
        there = abs(found - most) < 1e-2 * most
        on_its_way = farther > 1.01 * found  # to a limit that is far
        expect(found < 1.01 * most and (there or on_its_way), f"{says}, and its supremum is {most:.4f}")
    else:
        expect(found > 1, f"{says}, and it has no supremum")


def _check_f(d: FDivergence, name: str) -> None:
    u = torch.logspace(-3, 3, 61, dtype=torch.float64)
    one = float(d.f(torch.ones((), dtype=torch.float64)))
    expect(abs(one - d.offset) < EXACT, f"{name}: f(1) = {one:.6g}, the contract is its offset {d.offset:.6g}")
    slope = vmap(grad(d.f))(u)
    expect(close(d.f_prime(u), slope, EXACT), f"{name}: f_prime is not the derivative of f")
    expect((slope.diff() >= -EXACT).all(), f"{name}: f is not convex")


def _check_young(d: FDivergence, name: str) -> None:
    u = torch.logspace(-3, 3, 61, dtype=torch.float64)
    t = d.f_prime(u)
    gap = d.f(u)[:, None] + d.conjugate(t) - u[:, None] * t
    scale = 1 + (u[:, None] * t).abs() + d.f(u).abs()[:, None]
    equality, inequality = (gap / scale).diagonal().abs().max(), (gap / scale).min()
    expect(equality < EXACT, f"{name}: f(u) + f*(t) = u·t fails at t = f'(u), by {float(equality):.1e} (Fenchel–Young)")
    expect(inequality > -EXACT, f"{name}: f(u) + f*(t) ≥ u·t fails, by {-float(inequality):.1e}: conjugate is not f*")


def _check_critic(d: FDivergence, name: str) -> None:
    log_ratio = torch.linspace(-7, 7, 57, dtype=torch.float64)
    got, wanted = d.activation(d.optimal_critic(log_ratio)), d.f_prime(log_ratio.exp())
    expect(close(got, wanted, EXACT), f"{name}: activation(optimal_critic(log p/q)) is not f'(p/q)")


def _check_stable(d: FDivergence, name: str) -> None:
    v = torch.linspace(-8, 8, 65, dtype=torch.float64)
    composed = d.conjugate(d.activation(v))
    valid = composed.isfinite()  # the composed form may be infinite where the activation leaves the domain of f*
    expect(valid.any(), f"{name}: conjugate(activation(v)) is nowhere finite")
    expect(close(d.dual(v)[valid], composed[valid], QUADRATURE), f"{name}: dual(v) is not conjugate(activation(v))")
    expect((d.activation(v).diff() >= 0).all(), f"{name}: activation is not increasing")


def _check_value(d: FDivergence, name: str) -> None:
    """The dual at the optimal critic is the divergence, no other gets above it: p = N(0, 1), q = N(.5, 1.2²)."""
    x = torch.linspace(-25, 25, 50_001, dtype=torch.float64)
    p, q = (torch.distributions.Normal(law[0], law[1]) for law in x.new_tensor([[0.0, 1.0], [0.5, 1.2]]))
    ratio, h = p.log_prob(x) - q.log_prob(x), x[1] - x[0]

    def value(v: Tensor) -> float:
        terms = p.log_prob(x).exp() * d.activation(v) - q.log_prob(x).exp() * d.dual(v)
        return float(terms.nan_to_num(0.0).sum() * h)

    best = d.optimal_critic(ratio)
    true, got = float((q.log_prob(x).exp() * d.f(ratio.exp())).nan_to_num(0.0).sum() * h), value(best)
    expect(true > d.offset, f"{name}: between two different densities ∫ q f(p/q) = {true:.6f}, not above f(1)")
    expect(
        abs(got - true) < QUADRATURE * (1 + abs(true)),
        f"{name}: the dual at the optimal critic is {got:.6f}, ∫ q f(p/q) is {true:.6f}",
    )
    for other in (d.optimal_critic(0.5 * ratio), d.optimal_critic(ratio + 0.2)):
        expect(value(other) <= got + QUADRATURE, f"{name}: another critic gets above the optimal one")
    _check_estimate(d, name)


def _check_estimate(d: FDivergence, name: str) -> None:
    """`estimate` at the optimal critic, over quantiles of p = N(0, 1) and q = N(.5, 1), is the divergence without the
    offset. Equal variances: with unequal ones q/p has tails that no number of quantiles reaches."""
    x = torch.linspace(-25, 25, 50_001, dtype=torch.float64)
    p, q = (torch.distributions.Normal(mean, x.new_tensor(1.0)) for mean in x.new_tensor([0.0, 0.5]))
    integrand = q.log_prob(x).exp() * d.f((p.log_prob(x) - q.log_prob(x)).exp())
    true = float(integrand.nan_to_num(0.0).sum() * (x[1] - x[0])) - d.offset
    level = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    at_p, at_q = p.icdf(level), q.icdf(level)
    real, fake = (d.optimal_critic(p.log_prob(x) - q.log_prob(x)) for x in (at_p, at_q))
    estimate = float(d.estimate(Scores.of(real, fake)))
    expect(
        abs(estimate - true) < STRATIFIED * (1 + true),
        f"{name}: estimate at the optimal critic is {estimate:.4f}, the truth {true:.4f}",
    )
    loss = float(d.critic_loss(Scores.of(real, fake)))
    step = real.std() * torch.sin(torch.arange(len(real)))
    worse = float(d.critic_loss(Scores.of(real - step.abs(), fake)))
    expect(loss <= worse, f"{name}: critic_loss falls when the scores of real samples do")


def _check_float32(d: FDivergence, name: str) -> None:
    """Values and gradients at |v| = 50 are finite in float32 wherever they are in float64."""
    for which in ("activation", "dual"):
        function = getattr(d, which)
        exact = torch.tensor([-50.0, -20.0, 0.0, 20.0, 50.0], dtype=torch.float64)
        wanted = torch.cat([function(exact), vmap(grad(function))(exact)])
        v = exact.float().requires_grad_()
        value = function(v)
        got = torch.cat([value, torch.autograd.grad(value.sum(), v)[0]]).detach()
        can = wanted.isfinite() & (wanted.abs() < FLOAT32_MAX)
        expect(finite(got[can]), f"{name}: {which} or its gradient overflows in float32 at |v| ≤ 50: {got.tolist()}")
        expect(
            torch.allclose(got[can].double(), wanted[can], rtol=1e-3, atol=1e-6),
            f"{name}: {which} or its gradient is {got.tolist()} in float32 at |v| ≤ 50, truly {wanted.tolist()}",
        )


def _check_directions(d: FDivergence, name: str) -> None:
    """Whatever the generator minimises, it wants the scores of its samples up."""
    for which, loss in _losses(d).items():
        if which in ("generator_loss", "non_saturating_loss"):
            real = _scores(8)[0]
            fake = d.optimal_critic(torch.linspace(-3, 3, 13, dtype=torch.float64))
            slope = torch.func.grad(lambda f, loss=loss, real=real: loss(Scores.of(real, f)))(fake)
            expect((slope < 0).all(), f"{name}: {which} does not fall when the score of a generated sample rises")


def _check_samples(divergence: SampleDivergence, name: str) -> None:
    x, y = torch.randn(12, 2, generator=rng(0)), torch.randn(8, 2, generator=rng(1)).requires_grad_()
    value: Tensor = check_pure(f"{name}: loss", lambda: divergence.loss(x, y))
    expect(value.shape == (), f"{name}: loss has shape {tuple(value.shape)}, the contract is a scalar ()")
    (gradient,) = torch.autograd.grad(value, y)
    expect(
        finite(value, gradient) and bool(gradient.any()),
        f"{name}: loss needs a finite gradient in the generated samples",
    )
    far = divergence.loss(x, y + 10 * math.sqrt(2))
    expect(far > value, f"{name}: loss does not grow when all generated samples move far away")
    a, b = torch.randn(2, REPLICAS, 8, 2, generator=rng(2), dtype=torch.float64)
    with attempt(f"{name}: loss under torch.func.vmap"):
        stacked = vmap(divergence.loss)(a, b)
    separate = torch.stack([divergence.loss(p, q) for p, q in zip(a, b, strict=True)])
    expect(close(stacked, separate), f"{name}: loss under vmap differs from separate calls")

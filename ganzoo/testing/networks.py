"""Generators and discriminators against their contracts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap

from ganzoo.dataset import Batch
from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.engine.functional import Functional
from ganzoo.generator import Generator, TractableGenerator
from ganzoo.testing.common import (
    BATCH,
    CLASSES,
    REPLICAS,
    attempt,
    check_pure,
    close,
    expect,
    finite,
    leaves,
    random_batch,
    rng,
    same,
    seeded,
)

QUADRATURE_POINTS: Final = {1: 20_001, 2: 701}  # in each direction
SAMPLES: Final = 20_000
STANDARD_ERRORS: Final = 6.0


def check_generator(make: Callable[[], Generator], shape: tuple[int, ...], *, name: str = "") -> None:
    """``make()`` gives fresh generators of samples of ``shape``, initialised from torch's global random state."""
    generator = _network(make, Generator, name)
    name = name or f"generator {type(generator).__name__}"
    real = random_batch(0, shape)
    real = Batch(real.x.float(), real.label)
    z, c = _check_source(generator, real, name)
    x = _check_forward(generator, (z, c), name, lambda x: x)
    expect(x.shape == (BATCH, *shape), _shape(name, "forward", x, "(n, *shape)", (BATCH, *shape)))
    expect(x.dtype == torch.float32, f"{name}: forward returned {x.dtype}, the contract is float32")
    _check_state(make, generator, lambda g: g(z, c), name)
    inputs = _inputs(generator, real)
    _check_vmap(make, lambda network, *given: network(*given), inputs, name, "forward")
    _check_prepare(make, lambda network, *given: network(*given), inputs, name)
    if isinstance(generator, TractableGenerator):
        _check_log_prob(make, generator, shape, c, name)


def check_discriminator(
    make: Callable[[], Discriminator], shape: tuple[int, ...], *, name: str = "", classes: int = CLASSES
) -> None:
    """``make()`` gives fresh discriminators of samples of ``shape``; labels are below ``classes``."""
    discriminator = _network(make, Discriminator, name)
    name = name or f"discriminator {type(discriminator).__name__}"
    x = random_batch(0, shape).x.float()
    c = torch.randint(classes, (BATCH,), generator=rng(0))
    with attempt(f"{name}: forward"):
        verdict = discriminator(x, c)
    expect(
        isinstance(verdict, Verdict), f"{name}: forward returned {type(verdict).__name__}, the contract is a Verdict"
    )
    _check_forward(discriminator, (x, c), name, lambda v: v.score)
    score, logits = verdict
    fits = score.ndim > 0 and len(score) > 0 and BATCH % len(score) == 0
    expect(
        fits,
        f"{name}: score has shape {tuple(score.shape)}, the contract is (n, *units), n dividing the batch of {BATCH}",
    )
    if logits is not None:
        expect(
            logits.ndim == 2 and len(logits) == len(score),
            _shape(name, "logits", logits, "(n, classes)", (len(score), "classes")),
        )
    _check_state(make, discriminator, lambda d: tuple(t for t in d(x, c) if t is not None), name)
    inputs = [
        (random_batch(seed, shape).x, torch.randint(classes, (BATCH,), generator=rng(seed))) for seed in range(REPLICAS)
    ]
    _check_vmap(make, lambda network, *given: network(*given).score, inputs, name, "forward")
    _check_prepare(make, lambda network, *given: network(*given).score, inputs, name)
    with attempt(f"{name}: forward on the meta device, where recipes are tried,"), torch.device("meta"):
        make()(x.to("meta"), c.to("meta"))


def _network(make: Callable[[], nn.Module], kind: type[nn.Module], name: str) -> Any:
    """A network, and the contracts of construction: on the meta device, and from the global random state alone."""
    with attempt(f"{name or kind.__name__.lower()}: construction on the meta device"), torch.device("meta"):
        meta = make()
    expect(
        isinstance(meta, kind), f"{name or make}: made {type(meta).__name__}, the contract is a ganzoo.{kind.__name__}"
    )
    name = name or type(meta).__name__
    for key, value in (*meta.named_parameters(), *meta.named_buffers()):
        expect(
            value.is_meta,
            f"{name}: {key} is on {value.device} when made on the meta device; make it on the default device",
        )
    built: list[nn.Module] = []
    for _ in range(2):
        with seeded(0), attempt(f"{name}: construction"):
            built.append(make())
    expect(_equal_state(*built), f"{name}: the same torch seed gave two different networks")
    for key, parameter in built[0].named_parameters():
        expect(
            parameter.dtype == torch.float32, f"{name}: parameter {key} is {parameter.dtype}, the contract is float32"
        )
    return built[0]


def _equal_state(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def _check_source(generator: Generator, real: Batch, name: str) -> tuple[Tensor, Tensor | None]:
    def draw(g: Generator, label: Tensor | None = None) -> Any:
        return g.source(BATCH, rng(0), real, label)

    source = check_pure(f"{name}: source", lambda: draw(generator))
    expect(
        isinstance(source, tuple) and len(source) == 2,
        f"{name}: source returned {source!r:.60}, the contract is (z, c)",
    )
    z, c = source
    expect(len(z) == BATCH, _shape(name, "source", z, "(n, …)", (BATCH, "…")))
    spoilt = copy.deepcopy(generator)
    with torch.no_grad():
        for parameter in spoilt.parameters():
            parameter.fill_(float("nan"))
    expect(
        same(draw(spoilt), source),
        f"{name}: source reads parameters; it may read its options, rng, batch and label only",
    )
    if c is not None:
        expect(len(c) == BATCH, _shape(name, "the condition from source", c, "(n, …)", (BATCH, "…")))
        wanted = torch.zeros_like(c)
        got = draw(generator, wanted)[1]
        expect(
            got is not None and torch.equal(got, wanted), f"{name}: source(label=…) does not give the labels asked for"
        )
    return z, c


def _check_forward(network: nn.Module, inputs: tuple[Any, ...], name: str, read: Callable[[Any], Tensor]) -> Tensor:
    """Deterministic, finite, and with finite gradients that reach parameters."""
    network = copy.deepcopy(network)

    def once() -> Tensor:
        return read(copy.deepcopy(network)(*inputs))

    out: Tensor = check_pure(f"{name}: forward", once)
    expect(finite(out), f"{name}: forward of an untrained network is not finite")
    parameters = [p for p in network.parameters() if p.requires_grad]
    value = read(network(*inputs)).square().sum()
    expect(value.requires_grad or not parameters, f"{name}: no gradient reaches a parameter")
    if parameters:
        gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        expect(finite(*gradients), f"{name}: a parameter's gradient is not finite")
        expect(any(bool(g.any()) for g in gradients), f"{name}: every parameter's gradient is zero")
    return out.detach()


def _check_state(make: Callable[[], nn.Module], network: nn.Module, forward: Callable[[Any], Any], name: str) -> None:
    """What is exported is the whole network."""
    with attempt(f"{name}: its state_dict, through safetensors,"):
        state = safetensors.torch.load(safetensors.torch.save(network.state_dict()))
        with seeded(1):
            fresh = make()
        fresh.load_state_dict(state)
    with torch.no_grad():
        expected = forward(copy.deepcopy(network).eval())
        expect(same(expected, forward(fresh.eval())), f"{name}: a network with the same state_dict gives other results")
        n = len(leaves(expected))
        expect(n > 0 and finite(*leaves(expected)), f"{name}: its results in eval mode are not finite")


def _inputs(generator: Generator, real: Batch) -> list[tuple[Tensor, ...]]:
    sources = [generator.source(BATCH, rng(seed), real) for seed in range(REPLICAS)]
    return [tuple(t.double() if t.is_floating_point() else t for t in source if t is not None) for source in sources]


def _check_vmap(
    make: Callable[[], nn.Module], read: Callable[..., Tensor], inputs: list[tuple[Tensor, ...]], name: str, what: str
) -> None:
    """Stacked parameters under `torch.func.vmap` give what separate networks give, gradients too."""
    if not getattr(make(), "stackable", True):
        return
    with seeded(0):
        networks = [make().double() for _ in inputs]
    with attempt(f"{name}: {what} under torch.func.vmap (say stackable = False if it cannot be stacked)"):
        params, buffers = stack_module_state([copy.deepcopy(n) for n in networks])

        def one(state: Mapping[str, Tensor], *given: Tensor) -> Tensor:
            return read(Functional(networks[0], state), *given)

        stacked = vmap(one)({**params, **buffers}, *(torch.stack(each) for each in zip(*inputs, strict=True)))
        gradients = torch.autograd.grad(
            stacked.square().sum(), list(params.values()), allow_unused=True, materialize_grads=True
        )
    plain = [read(Functional(network), *given) for network, given in zip(networks, inputs, strict=True)]
    expect(close(stacked, torch.stack(plain)), f"{name}: {what} under vmap differs from separate networks")
    for i, (network, value) in enumerate(zip(networks, plain, strict=True)):
        wanted = torch.autograd.grad(
            value.square().sum(), list(network.parameters()), allow_unused=True, materialize_grads=True
        )
        for got, want in zip(gradients, wanted, strict=True):
            expect(
                close(got[i], want), f"{name}: gradients of {what} under vmap differ from those of separate networks"
            )


def _check_prepare(
    make: Callable[[], Any], read: Callable[..., Tensor], inputs: list[tuple[Tensor, ...]], name: str
) -> None:
    """`prepare` moves nothing but buffers, which `forward` leaves alone; stacked it does what it does to each."""
    with seeded(0):
        networks = [make().double() for _ in inputs]
        for parameter in (p for network in networks for p in network.parameters()):
            parameter.data.add_(0.1 * torch.randn_like(parameter))  # as an update would
    untouched = copy.deepcopy(networks)
    for network, given in zip(networks, inputs, strict=True):
        before, state = _copied(network.state_dict()), dict(network.named_buffers())
        with torch.no_grad():
            check_pure(f"{name}: prepare", lambda network=network: _prepared(copy.deepcopy(network)))
            network.prepare()
        kept = all(torch.equal(before[key], p) for key, p in network.named_parameters())
        expect(kept, f"{name}: prepare changes parameters; that is the optimiser's work")
        in_place = all(b is state.get(key) for key, b in network.named_buffers())
        expect(in_place, f"{name}: prepare replaces buffers; write them in place (copy_)")
        after = _copied(network.state_dict())
        moved = [key for key, value in after.items() if not torch.equal(value, before[key])]
        used = copy.deepcopy(network)  # which may move other buffers, like the statistics of a batch
        read(Functional(used), *given)
        expect(
            all(torch.equal(after[key], used.state_dict()[key]) for key in moved),
            f"{name}: forward changes the buffers that prepare moves; they change once a turn, in prepare alone",
        )
    if getattr(networks[0], "stackable", True):
        _check_prepare_stacked(untouched, networks, name)


def _prepared(network: Any) -> tuple[Tensor, ...]:
    network.prepare()
    return tuple(network.buffers())


def _check_prepare_stacked(untouched: list[Any], prepared: list[Any], name: str) -> None:
    params, buffers = stack_module_state(untouched)

    def one(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        Functional(untouched[0], state).prepare()
        return {key: value.clone() for key, value in state.items()}

    with attempt(f"{name}: prepare under torch.func.vmap (say stackable = False if it cannot be stacked)"):
        stacked = vmap(one)({**params, **buffers})
    for key, value in stacked.items():
        separate = torch.stack(
            [network.get_parameter(key) if key in params else network.get_buffer(key) for network in prepared]
        )
        expect(close(value, separate), f"{name}: prepare under vmap gives another {key} than separate networks")


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in state.items()}


def _check_log_prob(
    make: Callable[[], Any], fresh: TractableGenerator, shape: tuple[int, ...], c: Tensor | None, name: str
) -> None:
    """The density is normalised (by quadrature, in one and two dimensions) and is the one that samples follow."""
    generator = copy.deepcopy(fresh).double()
    with torch.no_grad(), seeded(0):
        for parameter in generator.parameters():  # away from an initial value at which mistakes may not show
            parameter.add_(0.3 * torch.randn_like(parameter))
    n = SAMPLES if math.prod(shape) in QUADRATURE_POINTS else BATCH
    label = None if c is None else c[:1].expand(n, *c.shape[1:])
    z, c = generator.source(n, rng(0), None, label)
    with torch.no_grad(), attempt(f"{name}: log_prob"):
        x = generator(z.double(), c)
        log_prob = generator.log_prob(x, c)
    expect(log_prob.shape == (n,), _shape(name, "log_prob", log_prob, "(n,)", (n,)))
    expect(finite(log_prob), f"{name}: log_prob of its own samples is not finite")
    inputs = [(random_batch(seed, shape).x, *([] if c is None else [c[:BATCH]])) for seed in range(REPLICAS)]
    _check_vmap(make, lambda network, *given: network.log_prob(*given), inputs, name, "log_prob")
    if (d := x.flatten(1).shape[1]) in QUADRATURE_POINTS:
        grid, cell = _grid(x.flatten(1), QUADRATURE_POINTS[d])
        at = None if c is None else c[:1].expand(len(grid), *c.shape[1:])
        with torch.no_grad():  # in pieces, since a flow keeps much of each point
            pieces = grid.unflatten(1, shape).split(SAMPLES)
            density = torch.cat([generator.log_prob(p, None if at is None else at[: len(p)]) for p in pieces]).exp()
        compare_density(x.flatten(1), log_prob, grid, density, cell, name)


def compare_density(x: Tensor, log_prob: Tensor, grid: Tensor, density: Tensor, cell: float, name: str) -> None:
    """``∫ p = 1`` on a grid, and the moments of samples and their mean log density agree with it."""
    mass = float(density.sum() * cell)
    expect(abs(mass - 1) < 1e-3, f"{name}: ∫ exp(log_prob) = {mass:.4f} by quadrature, the contract is 1")
    weight = density * cell
    on_grid = torch.cat([grid, grid.square(), density.clamp_min(1e-300).log()[:, None]], 1)
    by_sample = torch.cat([x, x.square(), log_prob[:, None]], 1)
    expected, got = weight @ on_grid, by_sample.mean(0)
    error = by_sample.std(0) / len(x) ** 0.5
    off = (got - expected).abs() > STANDARD_ERRORS * error + 1e-3 * expected.abs()
    names = [
        f"E[{v}]" for v in (*(f"x{i}" for i in range(x.shape[1])), *(f"x{i}²" for i in range(x.shape[1])), "log p")
    ]
    for i in off.nonzero().flatten().tolist():
        expect(
            False,
            f"{name}: samples do not follow log_prob: {names[i]} is {got[i]:.4f}, by quadrature {expected[i]:.4f}",
        )


def _grid(x: Tensor, points: int) -> tuple[Tensor, float]:
    """A grid over the samples' range, half as much again to each side, and the size of its cells."""
    low, high = x.amin(0), x.amax(0)
    margin = (high - low) / 2
    axes = [
        torch.linspace(a, b, points, dtype=x.dtype)
        for a, b in zip((low - margin).tolist(), (high + margin).tolist(), strict=True)
    ]
    grid = torch.cartesian_prod(*axes).reshape(-1, len(axes))
    return grid, float(torch.stack([axis[1] - axis[0] for axis in axes]).prod())


def _shape(name: str, what: str, got: Tensor, contract: str, wanted: tuple[Any, ...]) -> str:
    numbers = f"({', '.join(map(str, wanted))}{',' if len(wanted) == 1 else ''})"
    return f"{name}: {what} returned shape {tuple(got.shape)}, the contract is {contract} = {numbers}"

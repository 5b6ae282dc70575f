"""What the checks share: one way to complain, seeds, small networks, and replicas of a round."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap

from ganzoo.dataset import Batch
from ganzoo.discriminator import Discriminator, Verdict
from ganzoo.engine.functional import Functional
from ganzoo.errors import DataError, IncompatibleError
from ganzoo.game import Draw, Round
from ganzoo.generator import Generator, TractableGenerator, Translator

REPLICAS: Final = 3
BATCH: Final = 8
CLASSES: Final = 3
TOLERANCE: Final = 1e-8

Make = Callable[[], nn.Module]
Loss = Callable[[Round], Tensor]


class ConformanceError(AssertionError):
    """A contract of ganzoo is not kept; the message says whose, which and how."""


def expect(condition: bool | Tensor, message: str) -> None:
    if not condition:
        raise ConformanceError(message)


@contextmanager
def attempt(what: str) -> Iterator[None]:
    """Whatever is raised inside breaks the contract: say what was tried. Incompatible parts are no breach, and neither
    are data that are not at hand."""
    try:
        yield
    except (ConformanceError, IncompatibleError, DataError):
        raise
    except Exception as error:
        raise ConformanceError(f"{what} raised {type(error).__name__}: {error}") from error


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global random states of torch and numpy seeded, and put back afterwards."""
    state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)


def leaves(value: Any) -> list[Any]:
    """The items of nested tuples."""
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, tuple) else [value]


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, tensor by tensor."""
    left, right = leaves(a), leaves(b)
    pairs = zip(left, right, strict=False)
    return len(left) == len(right) and all(
        torch.equal(p, q) if isinstance(p, Tensor) and isinstance(q, Tensor) else p is q for p, q in pairs
    )


def _random_states() -> tuple[Tensor, ...]:
    """The global ones, of torch and of numpy."""
    state: Any = np.random.get_state()
    return torch.get_rng_state(), torch.tensor([*state[1].tolist(), state[2]])


def check_pure(what: str, compute: Callable[[], Any]) -> Any:
    """``compute`` gives the same whatever the global random state is, and leaves that alone; its result."""
    results: list[Any] = []
    for seed in (1, 2):
        with seeded(seed), attempt(what):
            before = _random_states()
            results.append(compute())
            after = _random_states()
        expect(
            same(before, after),
            f"{what} draws from the global random state; all randomness must come from rng or a seed",
        )
    expect(same(*results), f"{what} gives two different results; it must be a function of its arguments and seed alone")
    return results[0]


def check_dataclass(thing: Any, name: str) -> None:
    """Frozen, compared by value, and printed as what makes it."""
    expect(
        getattr(type(thing), "__dataclass_params__", None) is not None and type(thing).__dataclass_params__.frozen,
        f"{name}: {type(thing).__name__} must be a frozen dataclass, so that recipes can hold, compare and print it",
    )
    expect(
        copy.deepcopy(thing) == thing, f"{name}: a copy of it is not equal to it; configuration must compare by value"
    )


class SmallGenerator(TractableGenerator):
    """Two dimensions, three labels, smooth, with a density: any term can ask it for anything."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(CLASSES, 2))
        self.log_scale = nn.Parameter(0.1 * torch.randn(2))

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        z = torch.randn(n, 2, generator=rng, device=rng.device)
        return z, torch.randint(CLASSES, (n,), generator=rng, device=rng.device) if label is None else label

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        assert c is not None
        return self.mean[c] + z * self.log_scale.exp()

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        assert c is not None
        z = (x - self.mean[c]) * (-self.log_scale).exp()
        return (-0.5 * z.square() - self.log_scale - 0.5 * np.log(2 * np.pi)).sum(1)


class SmallDiscriminator(Discriminator):
    """Its counterpart: smooth, reads the label, and has logits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.label = nn.Linear(2, 8), nn.Embedding(CLASSES, 8)
        self.last = nn.Linear(8, 1 + CLASSES)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        assert c is not None
        out = self.last(torch.tanh(self.first(x) + self.label(c)))
        return Verdict(out[:, 0], out[:, 1:])


class SmallImageGenerator(Generator):
    """The same of images, ``(3, 8, 8)``, without a density."""

    shape: Final = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.body = nn.Embedding(CLASSES, 192), nn.Linear(4, 192)

    def source(
        self, n: int, rng: torch.Generator, batch: Batch | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        z = torch.randn(n, 4, generator=rng, device=rng.device)
        return z, torch.randint(CLASSES, (n,), generator=rng, device=rng.device) if label is None else label

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        assert c is not None
        return torch.tanh(self.body(z) + self.mean(c)).unflatten(1, self.shape)


class SmallImageDiscriminator(Discriminator):
    """Its counterpart."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.label = nn.Conv2d(3, 4, 3, stride=2), nn.Embedding(CLASSES, 36)
        self.last = nn.Linear(36, 1 + CLASSES)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Verdict:
        assert c is not None
        out = self.last(torch.tanh(self.first(x).flatten(1) + self.label(c)))
        return Verdict(out[:, 0], out[:, 1:])


class SmallTranslator(Translator):
    """The same, from one sample to another."""

    shape = (2,)

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.body = nn.Parameter(torch.randn(CLASSES, 2)), nn.Linear(2, 2)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        assert c is not None
        return torch.tanh(self.body(z) + self.mean[c])


def steep_discriminator() -> SmallDiscriminator:
    """One whose input gradient is longer than 1, so that a one-sided penalty has something to say."""
    return _steep(SmallDiscriminator())


def steep_image_discriminator() -> SmallImageDiscriminator:
    return _steep(SmallImageDiscriminator())


def _steep(network: Any) -> Any:
    with torch.no_grad():
        network.last.weight.mul_(50)
    return network


SMALL: Final[Mapping[str, Make]] = {"generator": SmallGenerator, "discriminator": SmallDiscriminator}
STEEP: Final[Mapping[str, Make]] = {**SMALL, "discriminator": steep_discriminator}
SMALL_TRANSLATING: Final[Mapping[str, Make]] = {**SMALL, "generator": SmallTranslator}
SMALL_IMAGES: Final[Mapping[str, Make]] = {"generator": SmallImageGenerator, "discriminator": SmallImageDiscriminator}
STEEP_IMAGES: Final[Mapping[str, Make]] = {**SMALL_IMAGES, "discriminator": steep_image_discriminator}


def random_batch(seed: int, shape: tuple[int, ...] = (2,), n: int = BATCH) -> Batch:
    x = torch.rand(n, *shape, generator=rng(seed), dtype=torch.float64)
    return Batch(x, torch.randint(CLASSES, (n,), generator=rng(seed)))


@dataclass
class Replica:
    """All that one run brings to a round, in float64."""

    networks: dict[str, nn.Module]
    real: Batch
    sources: dict[str, tuple[Tensor, ...]]
    draws: dict[str, Tensor]

    @classmethod
    def of(cls, make: Mapping[str, Make], real: Batch, draws: Mapping[str, Draw], seed: int) -> Replica:
        with seeded(seed):
            networks = {player: each().double() for player, each in make.items()}
        x = real.x.double()
        generator = rng(seed)
        sources = {
            player: tuple(_double(t) for t in network.source(len(x), generator, real) if t is not None)
            for player, network in networks.items()
            if isinstance(network, Generator)
        }
        drawn = {name: draw(x, generator) for name, draw in draws.items()}
        return cls(networks, Batch(x, real.label), sources, drawn)

    def parameters(self) -> list[Tensor]:
        return [p for network in self.networks.values() for p in network.parameters()]

    def play(self, loss: Loss) -> Tensor:
        """The loss of one ordinary round."""
        functions = {player: Functional(network) for player, network in self.networks.items()}
        with Round(functions, self.real, _pairs(self.sources), self.draws) as round:
            return loss(round)

    def plain(self, loss: Loss) -> tuple[Tensor, list[Tensor]]:
        """The loss of one ordinary round and its gradient by parameter."""
        value = self.play(loss)
        return value, _gradients(value, self.parameters())


def stacked(loss: Loss, replicas: list[Replica]) -> tuple[Tensor, list[Tensor]]:
    """The losses of all replicas as one program under `torch.func.vmap`, and their gradients."""
    modules = replicas[0].networks
    states = {player: stack_module_state([r.networks[player] for r in replicas]) for player in modules}
    merged = {player: {**params, **buffers} for player, (params, buffers) in states.items()}
    real = tuple(torch.stack(each) for each in zip(*(_given(r.real) for r in replicas), strict=True))
    sources = {
        player: tuple(torch.stack(each) for each in zip(*(r.sources[player] for r in replicas), strict=True))
        for player in replicas[0].sources
    }
    draws = {name: torch.stack([r.draws[name] for r in replicas]) for name in replicas[0].draws}

    def one(state: Any, batch: Any, source: Any, drawn: Any) -> Tensor:
        functions = {player: Functional(module, state[player]) for player, module in modules.items()}
        with Round(functions, Batch(*batch), _pairs(source), drawn) as round:
            return loss(round)

    values = vmap(one, randomness="error")(merged, real, sources, draws)
    return values, _gradients(values.sum(), [p for params, _ in states.values() for p in params.values()])


def check_replicas(
    name: str, loss: Loss, make: Mapping[str, Make], batches: list[Batch], draws: Mapping[str, Draw]
) -> None:
    """One vmapped program for all replicas gives the losses and gradients of as many separate rounds."""
    replicas = [Replica.of(make, real, draws, seed) for seed, real in enumerate(batches)]
    with attempt(f"{name}: under torch.func.vmap over replicas it"):
        values, gradients = stacked(loss, [copy.deepcopy(r) for r in replicas])
    with attempt(f"{name}: in one plain round it"):
        separate = [r.plain(loss) for r in replicas]
    plain = torch.stack([value.detach() for value, _ in separate])
    expect(
        close(values, plain),
        f"{name}: under vmap its values are {values.tolist()}, in separate rounds {plain.tolist()}",
    )
    differ = len(set(plain.tolist())) > 1
    expect(differ, f"{name}: is {float(plain[0]):.6g} for every network and batch; it must keep nothing between rounds")
    for got, *wanted in zip(gradients, *(each for _, each in separate), strict=True):
        error = (got - torch.stack(wanted)).abs().max() if got.numel() else 0
        expect(
            close(got, torch.stack(wanted)), f"{name}: under vmap a parameter's gradient is off by {float(error):.1e}"
        )


def close(a: Tensor, b: Tensor, tolerance: float = TOLERANCE) -> bool:
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def finite(*tensors: Tensor) -> bool:
    return all(bool(t.isfinite().all()) for t in tensors)


def _gradients(value: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    if not value.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    return list(torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True))


def _double(t: Tensor) -> Tensor:
    return t.double() if t.is_floating_point() else t


def _given(batch: Batch) -> tuple[Tensor, ...]:
    return tuple(t for t in batch if t is not None)


def _pairs(sources: Mapping[str, tuple[Tensor, ...]]) -> dict[str, tuple[Tensor, Tensor | None]]:
    return {player: (z, rest[0] if rest else None) for player, (z, *rest) in sources.items()}

"""The meter: how far ``P_G`` is from ``P_data``, in the unit of a divergence, by fresh critics.

While training, a critic that is always a little late looks at training data. A meter freezes both sides: it fits
critics to one part of the samples, chooses between what it fitted on a second, and reads the value off a third that
they have not seen. What a critic says there is, in expectation, never more than the divergence, so a reading is a lower
bound that a better critic can only raise.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor, nn

from ganzoo import evaluate
from ganzoo.dataset import PARTS, Batch, Dataset, TractableDataset
from ganzoo.density import Density, Truth
from ganzoo.divergence import Divergence, SampleDivergence, Scores
from ganzoo.errors import IncompatibleError
from ganzoo.generator import Generator, TractableGenerator
from ganzoo.part import Part
from ganzoo.plugins import registry
from ganzoo.seeds import derive

#: Samples of a distribution that can be drawn from without end: to fit to, to choose by, to read off.
SIZES: Final = (100_000, 10_000, 50_000)
#: Dimensions up to which the critic is given waves of many lengths.
FEW: Final = 3
#: How often a fit looks for its best snapshot.
LOOKS: Final = 10
#: Log ratios may be cut at any of these on either side. A critic that is cut is a critic too, down to one that always
#: says 0; where samples are few it makes up large ones, which exponentials then blow up.
BOUNDS: Final = (math.inf, 10.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0)
#: Standard errors by which an estimate on the second part must be above another to be chosen instead.
CAUTION: Final = 2.0
#: Samples of each side that an estimate is taken over at a time: some look at all pairs of them.
PIECE: Final = 1_000
#: A reading that is at least this share of the most it can be says no more than that.
SATURATION: Final = 0.95
CHUNK: Final = 10_000


class Parts(NamedTuple):
    """Samples ``(n, *shape)`` of one side: to fit to, to choose by, and to read off."""

    fit: Tensor
    choose: Tensor
    read: Tensor

    def to(self, device: torch.device) -> Parts:
        return Parts(*(part.to(device) for part in self))


Draw = Callable[[int], Parts]
Json = dict[str, Any]


@final
@dataclass(frozen=True)
class Side:
    """One of the two distributions: ``draw(seed)`` gives samples, ``density`` is known or not.

    ``halves(seed)`` gives two independent sets of samples of it, for the control.
    """

    draw: Draw
    halves: Callable[[int], tuple[Parts, Parts]]
    density: Density | None = None


def of_density(density: Density, sizes: Sequence[int] = SIZES) -> Side:
    """A distribution that can be drawn from without end: every critic gets samples of its own, so many of each part."""

    def draw(seed: int, purpose: str = "one") -> Parts:
        rng = torch.Generator().manual_seed(derive(seed, purpose))
        return Parts(*(density.sample(n, rng).x for n in sizes))

    return Side(draw, lambda seed: (draw(seed), draw(seed, "two")), density)


def of_dataset(dataset: Dataset) -> Side:
    """The three parts of a dataset; those that are read off are redrawn with replacement for every critic, so that the
    spread between critics has in it that the data are few."""
    if isinstance(dataset, TractableDataset):
        return of_density(dataset)
    whole = Parts(*(dataset.part(name).x for name in PARTS))

    def halves(seed: int) -> tuple[Parts, Parts]:
        rng = torch.Generator().manual_seed(derive(seed, "halves"))
        orders = [torch.randperm(len(x), generator=rng) for x in whole]
        first, second = (
            Parts(*(x[order[start::2]] for x, order in zip(whole, orders, strict=True))) for start in (0, 1)
        )
        return _redrawn(first, seed), _redrawn(second, seed)

    return Side(lambda seed: _redrawn(whole, seed), halves)


def _redrawn(parts: Parts, seed: int) -> Parts:
    rng = torch.Generator().manual_seed(derive(seed, "redrawn"))
    return parts._replace(read=parts.read[torch.randint(len(parts.read), (len(parts.read),), generator=rng)])


def of_generator(generator: Generator, dataset: Dataset) -> Side:
    """As many samples of it as there are of the data; labels, where it reads them, come as often as in the data."""
    sizes = SIZES if isinstance(dataset, TractableDataset) else [len(dataset.part(name).x) for name in PARTS]

    def draw(seed: int, purpose: str = "one") -> Parts:
        def part(name: str, n: int) -> Tensor:
            own = derive(seed, f"{purpose} {name}")
            return evaluate.sample(generator, n, own, evaluate.labels(dataset, n, own)).x

        return Parts(*(part(name, n) for name, n in zip(PARTS, sizes, strict=True)))

    reads_labels = evaluate.sample(generator, 1, 0, evaluate.labels(dataset, 1, 0)).label is not None
    known = isinstance(generator, TractableGenerator) and not reads_labels
    density = _GeneratorDensity(generator, dataset.shape) if known else None
    return Side(draw, lambda seed: (draw(seed), draw(seed, "two")), density)


@final
@dataclass(frozen=True)
class _GeneratorDensity:
    generator: Any
    shape: tuple[int, ...]

    def log_prob(self, x: Tensor) -> Tensor:
        return evaluate.log_prob(self.generator, x.float())

    def sample(self, n: int, rng: torch.Generator) -> Batch:
        return evaluate.sample(self.generator, n, rng.initial_seed())


@final
@dataclass(frozen=True)
class Settings:
    """How critics are fitted: ``steps`` of Adam from ``rate`` down to 0, on ``batch_size`` samples of each side.

    ``critic`` is a discriminator, or none for one that suits the data's shape. With ``refine``, the log ratio is fitted
    on to each divergence's own loss; with ``control``, the real data are measured against themselves too. ``pieces`` of
    1,000 samples are looked at where there is no critic and all pairs count. The critics have the seeds from ``seed``
    on.
    """

    critics: int = 3
    steps: int = 1_000
    batch_size: int = 512
    rate: float = 2e-3
    critic: Part | None = None
    refine: bool = True
    control: bool = True
    pieces: int = 10
    seed: int = 0

    def network(self, shape: tuple[int, ...]) -> Part:
        octaves = {"octaves": 6 if math.prod(shape) <= FEW else 0}
        return (self.critic or Part("discriminator", "fourier-mlp", octaves)).resolved(shape=shape)


@final
@dataclass(frozen=True)
class Reading:
    """What the critics said of a divergence: ``values`` one for each, ``control`` the same between halves of the real
    data, where the truth is 0. ``resolution`` is the most that so many samples can show of a divergence in nats that
    has no bound: ``log n`` (McAllester & Stratos 2020)."""

    divergence: str
    unit: str
    supremum: float
    values: Sequence[float]
    control: Sequence[float]
    resolution: float
    truth: Truth | None = None

    @property
    def saturated(self) -> bool:
        """Whether it only says that the two sides hardly overlap, and no longer how far apart they are."""
        bounded = math.isfinite(self.supremum)
        limit = self.supremum if bounded else self.resolution if self.unit == "nats" else math.inf
        return math.fsum(self.values) / len(self.values) >= SATURATION * limit


def measure(
    divergences: Mapping[str, Divergence | SampleDivergence],
    p: Side,
    q: Side,
    settings: Settings,
    *,
    device: torch.device | None = None,
    heard: Callable[[str], None] = lambda what: None,
) -> tuple[list[Reading], Critic]:
    """Measure each divergence of ``p`` from ``q`` with ``settings.critics`` critics, and of ``p`` from itself.

    Returns the readings and the first critic of ``log p/q``. ``heard`` is told what is done before it is done.
    """
    device = device or torch.device("cpu")
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in divergences}
    shown: Critic | None = None
    smallest = math.inf
    for seed in range(settings.seed, settings.seed + settings.critics):
        sides = [(p.draw(seed), q.draw(derive(seed, "other side")))]
        if settings.control:
            sides.append(p.halves(derive(seed, "control")))
        for control, (real, fake) in enumerate(sides):
            bench = _Bench(real.to(device), fake.to(device), settings, seed)
            smallest = min(smallest, len(real.read), len(fake.read))
            for name, divergence in divergences.items():
                heard(f"critic {seed - settings.seed + 1} of {settings.critics}, {name}{', control' * control}")
                found[name][control].append(bench.read(divergence))
            shown = shown or bench.ratio
    assert shown is not None
    known = (p.density, q.density) if p.density is not None and q.density is not None else None
    readings = [
        Reading(
            name,
            divergence.unit,
            divergence.supremum if isinstance(divergence, Divergence) else math.inf,
            *found[name],
            resolution=math.log(smallest),
            truth=divergence.truth(*known) if known else None,
        )
        for name, divergence in divergences.items()
    ]
    return readings, shown


def matrix(real: Parts, fake: Parts, seed: int) -> dict[str, Json]:
    """Every registered divergence, each with its default options, in short: one critic of half the usual steps for all
    that are functions of ``log p/q``. Those that would each need a critic of their own are left out, but for those that
    bound its slope. One that fails says why; the others do not suffer."""
    bench, found = _Bench(real, fake, Settings(critics=1, steps=500, refine=False, pieces=2), seed), dict[str, Json]()
    for name in registry().names("divergence"):
        try:
            divergence: Divergence | SampleDivergence = Part("divergence", name).resolved().build()
            if isinstance(divergence, Divergence) and divergence.lipschitz is None and not _of_ratio(divergence):
                continue
            found[name] = {
                "unit": divergence.unit,
                "upper": divergence.supremum if isinstance(divergence, Divergence) else math.inf,
                "value": bench.read(divergence),
            }
        except Exception as error:
            found[name] = {"value": math.nan, "error": f"{type(error).__name__}: {error}"}
    return found


@final
class Critic(nn.Module):
    """A network on standardised samples."""

    def __init__(self, network: nn.Module, centre: Tensor, scale: Tensor, gain: float = 1.0) -> None:
        super().__init__()
        self.network, self.gain = network, gain
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.network((x - self.get_buffer("centre")) / self.get_buffer("scale")).score
        return self.gain * score

    @torch.no_grad()
    def score(self, x: Tensor) -> Tensor:
        """In pieces, and in float64: what follows may take exponentials of it."""
        return torch.cat([self(piece) for piece in x.split(CHUNK)]).double()


@final
class _Bench:
    """Two sides and the critics that were fitted to them."""

    def __init__(self, real: Parts, fake: Parts, settings: Settings, seed: int) -> None:
        self.real, self.fake, self.settings, self.seed = real, fake, settings, seed

    @cached_property
    def ratio(self) -> Critic:
        """``log p/q`` by logistic regression, whose loss is that of the Jensen–Shannon divergence."""
        critic = self._critic(self.settings.network(self.real.fit.shape[1:]))
        self._fit(critic, _logistic(), through=True, steps=self.settings.steps)
        return critic

    def read(self, divergence: Divergence | SampleDivergence) -> float:
        if isinstance(divergence, SampleDivergence):
            return self._over_pairs(divergence)
        if divergence.lipschitz is not None:
            return self._sloped(divergence)
        if _of_ratio(divergence):
            return self._through_ratio(divergence)
        critic = self._critic(self.settings.network(self.real.fit.shape[1:]))
        self._fit(critic, divergence, through=False, steps=self.settings.steps)
        return self._reading(critic, divergence)

    def _through_ratio(self, divergence: Divergence) -> float:
        """The best, on the second part, of the log ratio as it is and of one refined on the divergence's own loss, each
        with its bounds."""
        critics = [self.ratio]
        if self.settings.refine and divergence != _logistic():
            critics.append(copy.deepcopy(self.ratio))
            self._fit(critics[1], divergence, through=True, steps=self.settings.steps // 2, rate=0.25)
        choices: list[tuple[float, int, float, float]] = []
        for index, critic in enumerate(critics):
            real, fake = (critic.score(side.choose) for side in (self.real, self.fake))
            for low, high in product(BOUNDS, BOUNDS):
                cut = (divergence.optimal_critic(score.clamp(-low, high)) for score in (real, fake))
                choices.append((_merit(divergence, *cut), index, low, high))
        _, index, low, high = max(choices)
        cut = (critics[index].score(side.read).clamp(-low, high) for side in (self.real, self.fake))
        return _mean(divergence, *map(divergence.optimal_critic, cut))

    def _sloped(self, divergence: Divergence) -> float:
        """By a critic whose slope is bounded by construction: one scale for all coordinates keeps that bound."""
        x = torch.cat([self.real.fit, self.fake.fit])
        centre, scale = x.mean(0), x.std()
        network = Part("discriminator", "lipschitz-mlp").resolved(shape=x.shape[1:])
        critic = self._made(network, centre, scale, (divergence.lipschitz or 1.0) * float(scale))
        self._fit(critic, divergence, through=False, steps=self.settings.steps // 2)
        return self._reading(critic, divergence)

    def _over_pairs(self, divergence: SampleDivergence) -> float:
        sides = (side.read[: self.settings.pieces * PIECE].split(PIECE) for side in (self.real, self.fake))
        pieces = _whole(zip(*sides, strict=False))
        return math.fsum(float(divergence.loss(x, y)) for x, y in pieces) / len(pieces)

    def _critic(self, network: Part) -> Critic:
        x = torch.cat([self.real.fit, self.fake.fit])
        spread = x.std(0)
        return self._made(network, x.mean(0), torch.where(spread > 0, spread, 1.0))

    def _made(self, network: Part, centre: Tensor, scale: Tensor, gain: float = 1.0) -> Critic:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.seed, f"critic {network.name}"))
            return Critic(network.build(), centre, scale, gain).to(centre.device)

    def _fit(self, critic: Critic, divergence: Divergence, *, through: bool, steps: int, rate: float = 1.0) -> None:
        """Minimise the critic's loss on the first part; keep the snapshot with the best estimate on the second."""
        size, device = self.settings.batch_size, self.real.fit.device
        critic.requires_grad_(True)
        rng = torch.Generator().manual_seed(derive(self.seed, "order"))
        optimizer = torch.optim.Adam(critic.parameters(), lr=rate * self.settings.rate, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))

        def merit() -> float:
            scores = (_read_as(divergence, critic.score(side.choose), through) for side in (self.real, self.fake))
            return _merit(divergence, *scores)

        best, kept = merit(), None
        for step in range(1, steps + 1):
            x, y = (
                side.fit[torch.randint(len(side.fit), (size,), generator=rng).to(device)]
                for side in (self.real, self.fake)
            )
            scores = critic(torch.cat([x, y]))
            real, fake = _read_as(divergence, scores, through).split(size)
            optimizer.zero_grad()
            divergence.critic_loss(Scores.of(real, fake)).backward()
            nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % max(1, steps // LOOKS) == 0 and (now := merit()) > best:
                best, kept = now, copy.deepcopy(critic.state_dict())
        if kept is not None:
            critic.load_state_dict(kept)
        critic.requires_grad_(False)

    def _reading(self, critic: Critic, divergence: Divergence) -> float:
        return _mean(divergence, critic.score(self.real.read), critic.score(self.fake.read))


def _mean(divergence: Divergence, real: Tensor, fake: Tensor) -> float:
    values = _values(divergence, real, fake, PIECE)
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan


def _merit(divergence: Divergence, real: Tensor, fake: Tensor) -> float:
    """The estimate less some of its standard errors: a few huge terms are no good sign."""
    values = torch.tensor(_values(divergence, real, fake, max(2, min(PIECE, len(real) // 10, len(fake) // 10))))
    error = values.std() / math.sqrt(len(values)) if len(values) > 1 else values.new_zeros(())
    return float((values.mean() - CAUTION * error).nan_to_num(-math.inf, posinf=-math.inf))


def _values(divergence: Divergence, real: Tensor, fake: Tensor, size: int) -> list[float]:
    """The estimate over pieces of ``size`` scores, since some look at all pairs of them."""
    pieces = _whole(zip(real.split(size), fake.split(size), strict=False))
    return [float(divergence.estimate(Scores.of(*piece))) for piece in pieces]


def _whole(pieces: Iterable[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Both sides with as many samples, and without a last piece that is small: all pieces weigh the same."""
    pieces = list(pieces)
    return [(x, y) for x, y in pieces if len(x) == len(y) == len(pieces[0][0])] or pieces


def _of_ratio(divergence: Divergence) -> bool:
    try:
        divergence.optimal_critic(torch.zeros(1))
    except IncompatibleError:
        return False
    return True


@cache
def _logistic() -> Divergence:
    return Part("divergence", "js").build()


def _read_as(divergence: Divergence, scores: Tensor, through: bool) -> Tensor:
    """The critic's output as the divergence's score, or as a log ratio of which the score is a function."""
    return divergence.optimal_critic(scores) if through else scores

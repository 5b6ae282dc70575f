"""The meter: how far ``P_G`` is from ``P_data``, in the unit of a divergence, by fresh critics.

While training, a critic that is always a little late looks at training data. A meter freezes both sides: it fits
critics to one part of the samples, chooses between what it fitted on a second, and reads the value off a third that
they have not seen. What a critic says there is, in expectation, never more than the divergence, so a reading is a lower
bound that a better critic can only raise.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from ganzoo.density import Density, Truth
from ganzoo.divergence import Divergence, SampleDivergence, Scores
from ganzoo.errors import IncompatibleError
from ganzoo.part import Part
from ganzoo.plugins import registry
from ganzoo.seeds import derive
from ganzoo.sides import Parts, Side

#: Dimensions up to which the critic is given waves of many lengths.
FEW: Final = 3
#: How often a fit looks for its best snapshot.
LOOKS: Final = 10
#: Log ratios may be cut at any of these on either side. A critic that is cut is a critic too, down to one that always
#: says 0; beyond, it makes up what no number of samples could show, and exponentials blow it up.
BOUNDS: Final = (12.0, 10.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0)
#: Standard errors by which an estimate on the second part must be above another to be chosen instead.
CAUTION: Final = 2.0
#: Samples of each side that an estimate is taken over at a time: some look at all pairs of them.
PIECE: Final = 1_000
#: A reading that is at least this share of the most it can be says no more than that.
SATURATION: Final = 0.95
CHUNK: Final = 10_000


Json = dict[str, Any]


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

    def own_steps(self, divergence: Divergence) -> int:
        """Of a critic of its own; one of bounded slope is slow, and soon there."""
        return self.steps if divergence.lipschitz is None else max(1, self.steps // 2)

    def how(self, divergence: Divergence | SampleDivergence, shape: tuple[int, ...]) -> str:
        """By what a divergence is measured, in words."""
        if isinstance(divergence, SampleDivergence):
            return f"all pairs of {PIECE:,} samples, up to {self.pieces} times"
        if divergence.lipschitz is not None:
            return f"lipschitz-mlp, {self.own_steps(divergence):,} steps"
        network = self.network(shape)
        hidden = ("shape", "classes")
        inside = ", ".join(f"{name}={value}" for name, value in network.options.items() if name not in hidden)
        own = f"{network.name}({inside}), {self.steps:,} steps"
        return f"log p/q by {own}" if _of_ratio(divergence) else own


@final
@dataclass(frozen=True)
class Reading:
    """What the critics said of a divergence: ``values`` one for each, ``control`` the same between halves of the real
    data, where the truth is 0; ``how`` says by what. ``resolution`` is the most that so many samples can show of a
    divergence in nats that has no bound: ``log n`` (McAllester & Stratos 2020)."""

    divergence: str
    unit: str
    how: str
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
) -> tuple[list[Reading], Critic | None]:
    """Measure each divergence of ``p`` from ``q`` with ``settings.critics`` critics, and of ``p`` from itself.

    Returns the readings and the first critic of ``log p/q``, if there is one. ``heard`` is told what is done before it
    is done.
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
            fits = _Fits(real.to(device), fake.to(device), settings, seed)
            smallest = min(smallest, len(real.read), math.inf if control else len(fake.read))
            for name, divergence in divergences.items():
                heard(f"critic {seed - settings.seed + 1} of {settings.critics}, {name}{', control' * control}")
                found[name][control].append(fits.read(divergence))
            shown = shown or fits.fitted
    known = (p.density, q.density) if p.density is not None and q.density is not None else None
    readings = [
        Reading(
            name,
            divergence.unit,
            settings.how(divergence, p.shape),
            divergence.supremum if isinstance(divergence, Divergence) else math.inf,
            *found[name],
            resolution=math.log(smallest),
            truth=_truth(divergence, *known) if known else None,
        )
        for name, divergence in divergences.items()
    ]
    return readings, shown


def _truth(divergence: Divergence | SampleDivergence, p: Density, q: Density) -> Truth | None:
    try:
        found = divergence.truth(p, q)
    except IncompatibleError:  # a density that is not a number somewhere
        return None
    return None if found is None or math.isnan(found.value) else found


def matrix(real: Parts, fake: Parts, seed: int) -> dict[str, Json]:
    """Every registered divergence, each with its default options, in short: one critic of half the usual steps for all
    that are functions of ``log p/q``. Those that would each need a critic of their own are left out, but for those that
    bound its slope. One that fails says why; the others do not suffer."""
    fits, found = _Fits(real, fake, Settings(critics=1, steps=500, refine=False, pieces=2), seed), dict[str, Json]()
    for name in registry().names("divergence"):
        try:
            divergence: Divergence | SampleDivergence = Part("divergence", name).resolved().build()
            if isinstance(divergence, Divergence) and divergence.lipschitz is None and not _of_ratio(divergence):
                continue
            found[name] = {
                "unit": divergence.unit,
                "how": fits.settings.how(divergence, real.read.shape[1:]),
                "upper": divergence.supremum if isinstance(divergence, Divergence) else math.inf,
                "value": fits.read(divergence),
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
    def prepare(self) -> None:
        """What a discriminator does once before each of its turns."""
        self.network.prepare()  # pyright: ignore[reportCallIssue]

    @torch.no_grad()
    def score(self, x: Tensor) -> Tensor:
        """In pieces, and in float64: what follows may take exponentials of it."""
        self.eval()
        return torch.cat([self(piece) for piece in x.split(CHUNK)]).double()


@final
class _Fits:
    """Two sides and the critics that were fitted to them."""

    def __init__(self, real: Parts, fake: Parts, settings: Settings, seed: int) -> None:
        self.real, self.fake, self.settings, self.seed = real, fake, settings, seed

    @property
    def fitted(self) -> Critic | None:
        """The critic of ``log p/q``, if anything has asked for it."""
        return vars(self).get("ratio")

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
        return self._own(self._critic(self.settings.network(self.real.fit.shape[1:])), divergence)

    def _through_ratio(self, divergence: Divergence) -> float:
        """The best, on the second part, of the log ratio as it is and of one refined on the divergence's own loss, each
        with its bounds."""
        critics = [self.ratio]
        if self.settings.refine and divergence != _logistic() and _moves(divergence):
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
        centre, scale = x.mean(0), x.std().clamp_min(1e-12)
        network = Part("discriminator", "lipschitz-mlp").resolved(shape=x.shape[1:])
        critic = self._made(network, centre, scale, (divergence.lipschitz or 1.0) * float(scale))
        return self._own(critic, divergence)

    def _own(self, critic: Critic, divergence: Divergence) -> float:
        """By a critic of its own; 0, which one that always says the same reads, where it could not show more."""
        self._fit(critic, divergence, through=False, steps=self.settings.own_steps(divergence))
        if _merit(divergence, *(critic.score(side.choose) for side in (self.real, self.fake))) <= 0:
            return 0.0
        return _mean(divergence, *(critic.score(side.read) for side in (self.real, self.fake)))

    def _over_pairs(self, divergence: SampleDivergence) -> float:
        most = self.settings.pieces * PIECE
        pieces = _pieces(self.real.read[:most], self.fake.read[:most], PIECE)
        return math.fsum(float(divergence.loss(x, y)) for x, y in pieces) / len(pieces)

    def _critic(self, network: Part) -> Critic:
        x = torch.cat([self.real.fit, self.fake.fit])
        spread = x.std(0)
        return self._made(network, x.mean(0), torch.where(spread > 0, spread, 1.0))

    def _made(self, network: Part, centre: Tensor, scale: Tensor, gain: float = 1.0) -> Critic:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.seed, f"critic {network.name}"))
            critic = Critic(network.build(), centre, scale, gain).to(centre.device)
        try:
            shape = tuple(critic.score(self.real.choose[:2]).shape)
        except (ValueError, RuntimeError, IncompatibleError) as error:
            raise IncompatibleError(f"the critic {network.name} cannot judge these samples: {error}") from None
        if shape != (2,):
            raise IncompatibleError(
                f"the critic {network.name} gives two samples scores of shape {shape}, not one each"
            )
        return critic

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

        best, kept = merit(), copy.deepcopy(critic.state_dict())
        for step in range(1, steps + 1):
            x, y = (
                side.fit[torch.randint(len(side.fit), (size,), generator=rng).to(device)]
                for side in (self.real, self.fake)
            )
            critic.train()
            critic.prepare()
            scores = critic(torch.cat([x, y]))
            real, fake = _read_as(divergence, scores, through).split(size)
            optimizer.zero_grad()
            divergence.critic_loss(Scores.of(real, fake)).backward()
            nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if (step % max(1, steps // LOOKS) == 0 or step == steps) and (now := merit()) > best:
                best, kept = now, copy.deepcopy(critic.state_dict())
        critic.load_state_dict(kept)
        critic.requires_grad_(False)


def _mean(divergence: Divergence, real: Tensor, fake: Tensor) -> float:
    values = _values(divergence, real, fake, PIECE)
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan


def _merit(divergence: Divergence, real: Tensor, fake: Tensor) -> float:
    """The estimate less some of its standard errors: a few huge terms are no good sign."""
    values = torch.tensor(_values(divergence, real, fake, max(2, min(PIECE, len(real) // 10, len(fake) // 10))))
    error = values.std() / math.sqrt(len(values)) if len(values) > 1 else values.new_zeros(())
    return float((values.mean() - CAUTION * error).nan_to_num(-math.inf, posinf=-math.inf))


def _values(divergence: Divergence, real: Tensor, fake: Tensor, size: int) -> list[float]:
    """The estimate over pieces of ``size`` scores or less, since some look at all pairs of them."""
    return [float(divergence.estimate(Scores.of(*piece))) for piece in _pieces(real, fake, size)]


def _pieces(real: Tensor, fake: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Both sides in pieces of equal length, so that all weigh the same and pairs can be made."""
    n = min(len(real), len(fake))
    count = math.ceil(n / size)
    size = n // count
    return list(zip(*(side[: count * size].split(size) for side in (real, fake)), strict=True))


def _moves(divergence: Divergence) -> bool:
    """Whether its loss has a gradient in the log ratio; that of a sign has none."""
    ratio = torch.linspace(-2, 2, 8, requires_grad=True)
    score = divergence.optimal_critic(ratio)
    (slope,) = torch.autograd.grad(score.sum(), ratio) if score.requires_grad else (torch.zeros(1),)
    return bool(slope.any())


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

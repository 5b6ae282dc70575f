"""The game: a step is one pass over *turns*; a turn's player minimises a sum of weighted *terms* of the *round*."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, cast

import torch
from torch import Tensor

from ganzoo.dataset import Batch
from ganzoo.discriminator import Verdict
from ganzoo.divergence import Scores
from ganzoo.errors import UsageError
from ganzoo.part import Part, build
from ganzoo.update import Schedule

GENERATOR: Final = "generator"
DISCRIMINATOR: Final = "discriminator"


#: What a discriminator is shown in place of ``x``; that is ``"real"``, ``"fake"``, or ``"fresh"``, which is what a term
#: gives to `Round.discriminate`. Equal changes (frozen dataclasses, say) are taken for one.
Change = Callable[[Tensor, str], Tensor]


class Network(Protocol):
    """How a round reaches a player's network, whatever the engine keeps its parameters in."""

    def __call__(self, x: Tensor, c: Tensor | None = None, *, params: Mapping[str, Tensor] | None = None) -> Any:
        """The network's forward, with other parameters where ``params`` gives them."""
        ...

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor: ...

    def parameters(self) -> dict[str, Tensor]:
        """What it is called with where nothing else is given, by name."""
        ...


class Round:
    """All that the terms of one turn can ask for, computed lazily and at most once.

    It is written for ONE run, plain tensors ``(batch, …)``; an engine may call it under `torch.func.vmap` over
    replicas. After the turn it is closed: nothing it cached may outlive it, so asking it then raises.

    Args:
        networks: by player.
        real: the real batch.
        sources: ``(z, c)`` by generator, drawn outside.
        draws: the terms' named random draws, drawn outside.
        step, steps: now, and how many there will be.
        pairs: discriminators and generators whose two verdicts are wanted both, and may be given in one pass.
        rounded: the same networks as they are called for the samples and verdicts that terms share, where that is in a
            lower precision; what a term asks for afresh never is.
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        real: Batch,
        sources: Mapping[str, tuple[Tensor, Tensor | None]],
        draws: Mapping[str, Tensor] | None = None,
        step: int = 0,
        steps: int = 1,
        pairs: Collection[tuple[str, str]] = (),
        rounded: Mapping[str, Callable[[Tensor, Tensor | None], Any]] | None = None,
    ) -> None:
        self._step, self.steps, self._pairs = step, steps, pairs
        self.timed = False
        self._networks, self._real, self._sources, self._draws = networks, real, sources, draws or {}
        self._rounded = networks if rounded is None else rounded
        self._known: dict[tuple[Any, ...], Any] = {}
        self._open = True
        self._through: tuple[Round, str, Change] | None = None  # the round that it is a view of, whose verdicts, how

    def __enter__(self) -> Round:
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._known.clear()

    def _once(self, compute: Callable[[], Any], *key: Any) -> Any:
        self._check()
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def _shared(self, player: str, x: Tensor, c: Tensor | None) -> Any:
        made = self._rounded[player](x, c)
        return _full(made) if isinstance(made, Tensor) else Verdict(*(None if t is None else _full(t) for t in made))  # pyright: ignore[reportArgumentType]

    def _check(self) -> None:
        if self._through:
            self._through[0]._check()
        elif not self._open:
            raise RuntimeError("this round is over: what a term wants of it must be read while the term is called")

    @property
    def step(self) -> int:
        """Now. A term that reads it makes every step another program: what only weights a term is its `Schedule`."""
        self.timed = True
        return self._through[0].step if self._through else self._step

    @property
    def asked(self) -> frozenset[tuple[Any, ...]]:
        """What was computed so far."""
        views = (known for key, known in self._known.items() if key[0] == "through")
        return frozenset(self._known).union(*(view.asked for view in views))

    @property
    def real(self) -> Batch:
        """The real batch."""
        self._check()
        return self._real

    def fake(self, generator: str = GENERATOR) -> Batch:
        """Samples of a generator and the labels they were made for; gradients reach it in its own turn only."""
        if self._through:
            return self._through[0].fake(generator)
        z, c = self._sources[generator]
        return self._once(lambda: Batch(self._shared(generator, z, c), c), "fake", generator)

    def real_verdict(self, discriminator: str = DISCRIMINATOR) -> Verdict:
        def compute() -> Verdict:
            for pair in self._pairs:
                if pair[0] == discriminator:
                    return self._both(*pair)[0]
            x, c = self._real
            return self._shared(discriminator, self._shown(discriminator, x, "real"), c)

        if self._through and self._through[1] != discriminator:
            return self._through[0].real_verdict(discriminator)
        return self._once(compute, "real", discriminator)

    def fake_verdict(self, discriminator: str = DISCRIMINATOR, generator: str = GENERATOR) -> Verdict:
        def compute() -> Verdict:
            if (discriminator, generator) in self._pairs:
                return self._both(discriminator, generator)[1]
            x, c = self.fake(generator)
            return self._shared(discriminator, self._shown(discriminator, x, "fake"), c)

        if self._through and self._through[1] != discriminator:
            return self._through[0].fake_verdict(discriminator, generator)
        return self._once(compute, "fake", discriminator, generator)

    def _both(self, discriminator: str, generator: str) -> tuple[Verdict, Verdict]:
        """Of real and generated samples in one pass, for discriminators that judge each sample by itself."""

        def compute() -> tuple[Verdict, Verdict]:
            real, fake = self._real, self.fake(generator)
            c = None if real.label is None or fake.label is None else torch.cat([real.label, fake.label])
            x = [self._shown(discriminator, x, which) for x, which in ((real.x, "real"), (fake.x, "fake"))]
            verdict: Verdict = self._shared(discriminator, torch.cat(x), c)
            halves = [(None, None) if t is None else t.chunk(2) for t in verdict]
            one, other = (Verdict(*(half[side] for half in halves)) for side in (0, 1))  # pyright: ignore[reportArgumentType]
            return one, other

        return self._once(compute, "both", discriminator, generator)

    def scores(self, discriminator: str = DISCRIMINATOR, generator: str = GENERATOR) -> Scores:
        """Both scores, each computed only if read."""
        return Scores(
            lambda: self.real_verdict(discriminator).score,
            lambda: self.fake_verdict(discriminator, generator).score,
        )

    def discriminate(
        self,
        x: Tensor,
        c: Tensor | None = None,
        *,
        discriminator: str = DISCRIMINATOR,
        params: Mapping[str, Tensor] | None = None,
    ) -> Verdict:
        """A fresh verdict, never a cached one: what penalties must use, since a cached one has no gradient in ``x``."""
        self._check()
        return self._networks[discriminator](self._shown(discriminator, x, "fresh"), c, params=params)

    def through(self, player: str, change: Change) -> Round:
        """The same round but for one discriminator, which judges ``change(x, which)`` in place of ``x``.

        Samples, draws and parameters are shared with this round, and so are the verdicts of all others; that one's are
        not. Equal changes give the same round.
        """

        def view() -> Round:
            view = copy.copy(self)
            view._known, view._through = {}, (self, player, change)
            return view

        return self._once(view, "through", player, change)

    def _shown(self, discriminator: str, x: Tensor, which: str) -> Tensor:
        """What it judges in place of ``x``."""
        if self._through is None:
            return x
        whole, player, change = self._through
        return whole._shown(discriminator, change(x, which) if player == discriminator else x, which)

    def generate(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        generator: str = GENERATOR,
        params: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Fresh samples from a given source: a cycle back to where an image came from, say."""
        self._check()
        return self._networks[generator](z, c, params=params)

    def log_prob(self, generator: str = GENERATOR) -> Tensor:
        """``log p_G`` of the real batch, ``(n,)``."""
        if self._through:
            return self._through[0].log_prob(generator)
        x, c = self._real
        return self._once(lambda: self._networks[generator].log_prob(x, c), "log_prob", generator)

    def parameters(self, player: str) -> dict[str, Tensor]:
        """A player's parameters as they are now, by name: what `discriminate` and `generate` take as ``params``."""
        self._check()
        return self._networks[player].parameters()

    def noise(self, name: str) -> Tensor:
        """The draw that a term of this turn declared under ``name``."""
        self._check()
        return self._draws[name]


def _full(x: Tensor) -> Tensor:
    """Losses are computed in single precision at least."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


@dataclass(frozen=True)
class Draw:
    """A random draw that a term declares: ``like`` the ``"event"`` (shape ``(n, *shape)``) or one number a ``"sample"``
    (shape ``(n, 1, …)``)."""

    law: Literal["normal", "uniform"] = "normal"
    like: Literal["event", "sample"] = "event"

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        shape = x.shape if self.like == "event" else (x.shape[0], *(1 for _ in x.shape[1:]))
        draw = torch.randn if self.law == "normal" else torch.rand
        return draw(shape, generator=rng, device=rng.device, dtype=x.dtype)


@dataclass(frozen=True)
class Weighted:
    """``weight · term``. With ``every=k`` it is computed at each k-th step, k times as strong (lazy regularisation)."""

    term: Any  # a Part, or in Python any Callable[[Round], Tensor]
    weight: float | Any = 1.0  # or a Schedule, or a Part of that kind
    every: int = 1

    def strength(self, step: int, steps: int) -> float:
        weight = self.weight(step, steps) if isinstance(self.weight, Schedule) else self.weight
        return weight * self.every

    @property
    def label(self) -> str:
        """What logs call it."""
        return (
            getattr(self.term, "label", None)
            or getattr(self.term, "__name__", None)
            or type(self.term).__name__.lower()
        )

    def __rmul__(self, factor: float) -> Weighted:
        if not isinstance(self.weight, (int, float)):
            raise UsageError(f"the weight of {self.label} follows a schedule: scale the schedule instead")
        return replace(self, weight=factor * self.weight)

    def __add__(self, other: Any) -> Sum:
        return Sum.of(self) + other


@dataclass(frozen=True)
class Sum:
    """A sum of weighted terms: what a turn minimises."""

    terms: tuple[Weighted, ...]

    @classmethod
    def of(cls, losses: Any) -> Sum:
        """From a sum, a weighted term, a term, a part, or a sequence of them."""
        if isinstance(losses, Sum):
            return losses
        if isinstance(losses, (tuple, list)):
            return cls(tuple(term for each in cast("list[Any]", losses) for term in cls.of(each)))
        return cls((losses if isinstance(losses, Weighted) else Weighted(losses),))

    def __iter__(self) -> Iterator[Weighted]:
        return iter(self.terms)

    def __add__(self, other: Any) -> Sum:
        return Sum((*self.terms, *Sum.of(other).terms))

    @property
    def labels(self) -> list[str]:
        """What logs call each term; the second of a name is numbered, whether or not the first is due."""
        labels = [w.label for w in self.terms]
        return [f"{x}-{labels[:i].count(x) + 1}" if x in labels[:i] else x for i, x in enumerate(labels)]

    def __rmul__(self, factor: float) -> Sum:
        return Sum(tuple(factor * w for w in self.terms))

    def due(self, step: int) -> tuple[int, ...]:
        """Which terms are computed at ``step``."""
        return tuple(i for i, w in enumerate(self.terms) if step % w.every == 0)

    def strengths(self, step: int, steps: int) -> tuple[float, ...]:
        """The weights of those."""
        return tuple(self.terms[i].strength(step, steps) for i in self.due(step))

    def __call__(
        self, round: Round, due: Sequence[int] | None = None, strengths: Sequence[float | Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss ``Σ strength · term`` over the terms that are due, and each one's own value by its label.

        An engine whose program must not depend on the step says itself what is ``due`` and how strong it is.
        """
        due = self.due(round.step) if due is None else due
        strengths = self.strengths(round.step, round.steps) if strengths is None else strengths
        labels = self.labels
        values = {labels[i]: self.terms[i].term(round) for i in due}
        strong = [strength * value for strength, value in zip(strengths, values.values(), strict=True)]
        return functools.reduce(operator.add, strong), values


@dataclass(frozen=True)
class Turn:
    """``player`` updates its parameters ``repeats`` times, each time on a fresh round, to lower ``losses``."""

    player: str
    losses: Any  # anything `Sum.of` takes
    repeats: int = 1
    project: Any = None  # a Projection or a Part of that kind

    def __post_init__(self) -> None:
        object.__setattr__(self, "losses", Sum.of(self.losses))
        if all(w.every > 1 for w in self.losses):
            raise UsageError(f"the turn of {self.player} needs at least one term at every step")

    def built(self) -> Turn:
        """The same with every part made into what it refers to."""
        terms = tuple(Weighted(build(w.term), build(w.weight), w.every) for w in self.losses)
        return Turn(self.player, Sum(terms), self.repeats, build(self.project))

    def draws(self) -> dict[str, Draw]:
        """Every draw that a term of the turn declares; terms that declare the same one share it."""
        draws: dict[str, Draw] = {}
        for name, draw in ((n, d) for w in self.losses for n, d in getattr(w.term, "draws", {}).items()):
            if draws.setdefault(name, draw) != draw:
                raise UsageError(
                    f"two terms of the turn of {self.player} declare different draws under the name {name!r}"
                )
        return draws


def part(kind: str, name: str, **options: Any) -> Part:
    """``Part`` with its options as keywords."""
    return Part(kind, name, options)

"""What a run draws: real samples, what generators start from, the noise of terms. The same in every engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

import torch
from torch import Tensor

from ganzoo.dataset import Batch
from ganzoo.engine.sampler import Sampler
from ganzoo.game import Turn
from ganzoo.generator import Generator
from ganzoo.recipe import Recipe
from ganzoo.seeds import derive

#: What the terms of one turn are given, by name: ``x``, ``label``, ``z PLAYER``, ``c PLAYER``, ``draw NAME``.
Feed = dict[str, Tensor]

#: Many small draws cost more than a large one: as many steps are drawn at once as fit in this, at most so many.
CHUNK_BYTES: Final = 2**20
MOST_STEPS: Final = 32


@final
class Stream:
    """All randomness of one run, drawn in chunks of whole steps.

    A chunk has one shape, whatever the engine and however many runs there are, so that a run is the same in all of
    them. Its state is that of ``rng`` where the chunk began, and the step.

    Args:
        recipe, turns: what is played; of each turn, and of each repeat of it, everything is drawn anew.
        generators: by player; asked for their source.
        train: the samples of the train part as they are kept, where they are to stay.
        seed: of the run; data order and noise each have a stream of their own.
        device: of what is drawn.
        decoded: makes samples of what is kept.
    """

    def __init__(
        self,
        recipe: Recipe,
        turns: Sequence[Turn],
        generators: Mapping[str, Generator],
        train: Batch,
        seed: int,
        device: torch.device,
        decoded: Callable[[Batch, torch.Generator], Batch],
    ) -> None:
        self.recipe, self.generators, self.decoded = recipe, generators, decoded
        self._turns, self._train, self._device = turns, train, device
        self.sampler = Sampler(train, derive(seed, "data"), device)
        self.rng = torch.Generator(device).manual_seed(derive(seed, "noise"))
        self._repeats = [turn.repeats for turn in turns]
        self._draws = [turn.draws() for turn in turns]
        self._per_step = recipe.batch_size * sum(self._repeats)
        self.steps = max(1, min(MOST_STEPS, CHUNK_BYTES // self._bytes(train)))
        self._began = self.rng.get_state()

    def of_seed(self, seed: int) -> Stream:
        """The same of another run."""
        return Stream(self.recipe, self._turns, self.generators, self._train, seed, self._device, self.decoded)

    def _bytes(self, train: Batch) -> int:
        rng = torch.Generator(self._device).manual_seed(0)
        one = self.decoded(train.take(slice(1)).to(self._device), rng)
        sources = [source for g in self.generators.values() for source in g.source(1, rng, one) if source is not None]
        return sum(t[0].nbytes for t in (one.x, *sources)) * self._per_step

    def begins(self, step: int) -> bool:
        """Whether a chunk begins at ``step``."""
        return step % self.steps == 0

    def chunk(self, step: int) -> list[Feed]:
        """The chunk that ``step`` is in, the next one not drawn yet: of each turn, tensors ``(steps · repeats, n, …)``.

        Row ``(step − first step) · repeats + repeat`` is that of a step and a repeat.
        """
        self._began = self.rng.get_state()
        self.sampler.consumed = step // self.steps * self.steps * self._per_step
        n, count = self.recipe.batch_size, self.steps * sum(self._repeats)
        real = self.decoded(self.sampler.next(n * count), self.rng)
        sources = {name: g.source(n * count, self.rng, real) for name, g in self.generators.items()}
        everything = {"x": real.x, "label": real.label}
        everything |= {
            f"{part} {name}": t for name, pair in sources.items() for part, t in zip("zc", pair, strict=True)
        }
        each = {
            key: t.unflatten(0, (self.steps, -1, n)).split(self._repeats, 1)
            for key, t in everything.items()
            if t is not None
        }
        feeds = [{key: pieces[turn].flatten(0, 1) for key, pieces in each.items()} for turn in range(len(self._draws))]
        if self.recipe.shared_noise:
            self._share(feeds)
        for feed, draws in zip(feeds, self._draws, strict=True):
            x = feed["x"].flatten(0, 1)
            feed |= {f"draw {name}": draw(x, self.rng).unflatten(0, (-1, n)) for name, draw in draws.items()}
        return feeds

    def _share(self, feeds: Sequence[Feed]) -> None:
        """The first repeat of a turn starts from what the last one of the turn before started from."""
        for turn in range(1, len(feeds)):
            for key in (key for key in feeds[turn] if key[:2] in ("z ", "c ")):
                mine, before = (feeds[t][key].unflatten(0, (self.steps, -1)) for t in (turn, turn - 1))
                mine = torch.cat([before[:, -1:], mine[:, 1:]], 1)
                feeds[turn][key] = mine.flatten(0, 1)

    def row(self, turn: int, step: int, repeat: int) -> int:
        """Where in a chunk."""
        return step % self.steps * self._repeats[turn] + repeat

    def state(self, step: int) -> Tensor:
        """That of ``rng`` where the chunk of ``step``, the next one to be taken, begins."""
        return self.rng.get_state() if self.begins(step) else self._began

    def load(self, state: Tensor) -> None:
        """Go back to a state: the next chunk is drawn from there."""
        self.rng.set_state(state)
        self._began = self.rng.get_state()

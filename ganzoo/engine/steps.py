"""What a step is, however its turns are executed: so much of it that a graph of the device can be it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganzoo.engine.base import Engine, decay, labels
from ganzoo.engine.capture import Captured, Graphs, Recorder
from ganzoo.engine.rounds import Probe, probe, set_tf32
from ganzoo.engine.sampler import sent
from ganzoo.engine.stream import Feed, Stream
from ganzoo.game import Turn
from ganzoo.part import build
from ganzoo.recipe import Recipe
from ganzoo.update import Optimizer, Schedule

#: A number that a step depends on: a tensor without dimensions where the step is a program of the device.
Number = float | Tensor
#: Of each turn, which terms are computed.
Due = tuple[tuple[int, ...], ...]


class Controls(NamedTuple):
    """``strengths`` of the terms that are due, by turn; learning ``rates`` of the groups of parameters, by player;
    ``weight`` of a player's parameters in their average."""

    strengths: Sequence[Sequence[Number]]
    rates: Mapping[str, Sequence[Number]]
    weight: Number


class Steps(Engine):
    """Plays the turns in their order, and is told how by what depends on the step number alone.

    That is which rows of a chunk are its own, which terms are due, and its `Controls`. The rest, `_play`, reads tensors
    and writes into the state: on a CUDA device it is a graph (see `Captured`), and its controls are tensors there that
    were sent ahead, with each chunk. So the loop never waits for the device.

    Args:
        recipe: what is played.
        device: where everything lives.
        recorder: makes programs of steps; by default the device's own, where it has one.
    """

    #: All draws of every slot, made ahead.
    streams: Sequence[Stream]
    optimizers: Mapping[str, torch.optim.Optimizer]

    def __init__(self, recipe: Recipe, device: torch.device, recorder: Recorder | None) -> None:
        self.recipe, self.device = recipe, device
        self.turns = [turn.built() for turn in recipe.turns]
        self._labels = labels(self.turns)
        self._terms = [len(turn.losses.terms) for turn in self.turns]
        self._low = recipe.precision == "bfloat16"
        set_tf32(recipe)
        self._schedules: dict[str, Schedule | None] = {n: build(p.schedule) for n, p in recipe.players.items()}
        self._chunk: list[Feed] = []
        self._notes: list[str] = []
        recorder = recorder or (Graphs(device) if device.type == "cuda" else None)
        self._captured = recorder and Captured(recorder, self._everything, device, self._notes.append)

    def _prepared(self, networks: Mapping[str, nn.Module], trial: Sequence[Feed]) -> None:
        """The last part of the construction: ``trial`` is a chunk that is of no use otherwise."""
        self._rates = {
            name: [group["lr"] for group in optimizer.param_groups if "lr" in group]
            for name, optimizer in self.optimizers.items()
        }
        self._probes: list[Probe] = [
            probe(turn, networks, {key: t[0] for key, t in feed.items()})
            for turn, feed in zip(self.turns, trial, strict=True)
        ]
        if self._captured and (why := self._uncapturable()):
            self._notes.append(f"steps are not captured as a graph: {why}")
            self._captured = None

    def _optimizer(self, player: str, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        optimizer: Optimizer = self.recipe.players[player].optimizer.build()
        return optimizer.make(parameters)

    def _uncapturable(self) -> str:
        """Why no step can be a graph; where it can, optimizers henceforth read no number of the host."""
        for turn, known in zip(self.turns, self._probes, strict=True):
            if known.timed:
                return f"a term of the turn of {turn.player} reads the number of the step"
        for player, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                fields = [field for field in ("capturable", "fused") if field in group]
                if "lr" not in group or not fields:
                    return f"the {type(optimizer).__name__} of {player} has no form for that"
                group[fields[0]] = True
        return ""

    # A step -----------------------------------------------------------------------------------------------------------

    def step(self, step: int, *, observe: bool = False) -> dict[str, Tensor]:
        if not self._chunk or self.streams[0].begins(step):
            self._chunk = self._drawn(step)
            if self._captured:
                self._ahead = self._sent_ahead(step)
        due = tuple(turn.losses.due(step) for turn in self.turns)
        if self._captured is None:
            return self._play(self._rows(step), self._controls(due, self._numbers(step)), due, step, observe)

        def play(given: Sequence[Tensor]) -> dict[str, Tensor]:
            rows, numbers = self._taken(given)
            return self._play(rows, self._controls(due, numbers), due, step, observe)

        return self._captured((due, observe), self._given(step), play)

    def _play(self, rows: Iterator[Feed], controls: Controls, due: Due, step: int, observe: bool) -> dict[str, Tensor]:
        """All turns on their rows, the updates and the averages: the same whatever the ``step``, but for terms that ask
        for it."""
        seen: dict[str, Tensor] = {}
        for index, turn in enumerate(self.turns):
            for _ in range(turn.repeats):
                seen.update(self._descend(index, next(rows), due[index], controls.strengths[index], step, observe))
                if not self.recipe.simultaneous:
                    self._update(turn, controls.rates[turn.player])
        if self.recipe.simultaneous:
            for turn in self.turns:
                self._update(turn, controls.rates[turn.player])
        self._average(controls.weight)
        return seen

    def _update(self, turn: Turn, rates: Sequence[Number]) -> None:
        optimizer = self.optimizers[turn.player]
        for group, rate in zip(optimizer.param_groups, rates, strict=False):
            group["lr"] = rate
        optimizer.step()
        if turn.project is not None:
            with torch.no_grad():
                turn.project(self._trained(turn.player))

    @abstractmethod
    def _drawn(self, step: int) -> list[Feed]:
        """The chunk that ``step`` is in."""

    @abstractmethod
    def _descend(
        self, index: int, feed: Feed, due: tuple[int, ...], strengths: Sequence[Number], step: int, observe: bool
    ) -> dict[str, Tensor]:
        """The gradient of a turn's losses in its player's parameters, left in their ``grad``; its terms' values."""

    @abstractmethod
    def _average(self, weight: Number) -> None:
        """Move the averages: ``average + weight · (current − average)``, and buffers as they are."""

    @abstractmethod
    def _trained(self, player: str) -> list[Tensor]:
        """What its optimizer moves."""

    @abstractmethod
    def _everything(self) -> dict[str, Tensor]:
        """All tensors that a step changes, by name."""

    def _restarted(self) -> None:
        """The state is another one now, and may be in other tensors."""
        self._chunk = []
        if self._captured:
            self._captured.reset()

    def _slots(self) -> dict[str, Tensor]:
        """Those of the optimizers."""
        return {
            f"{slot} {i} of the optimizer of {player}": value
            for player, optimizer in self.optimizers.items()
            for i, held in enumerate(optimizer.state.values())
            for slot, value in held.items()
            if isinstance(value, Tensor)
        }

    def take_notes(self) -> list[str]:
        notes, self._notes[:] = list(dict.fromkeys(self._notes)), []
        return notes

    # What depends on the step number ----------------------------------------------------------------------------------

    def _rows(self, step: int) -> Iterator[Feed]:
        """What each turn and repeat is given."""
        for index, turn in enumerate(self.turns):
            first = self.streams[0].row(index, step, 0)
            for row in range(first, first + turn.repeats):
                yield {key: t[row] for key, t in self._chunk[index].items()}

    def _numbers(self, step: int) -> list[float]:
        """The controls of all terms, due or not, in a row."""
        steps = self.recipe.steps
        numbers = [weighted.strength(step, steps) for turn in self.turns for weighted in turn.losses]
        for player, rates in self._rates.items():
            schedule = self._schedules[player]
            numbers += rates if schedule is None else [rate * schedule(step, steps) for rate in rates]
        return [*numbers, 1 - decay(self.recipe, step)]

    def _controls(self, due: Due, numbers: Sequence[Any]) -> Controls:
        at = 0
        strengths: list[Sequence[Number]] = []
        for terms, mine in zip(self._terms, due, strict=True):
            strengths.append([numbers[at + i] for i in mine])
            at += terms
        rates: dict[str, Sequence[Number]] = {}
        for player, each in self._rates.items():
            rates[player] = numbers[at : at + len(each)]
            at += len(each)
        return Controls(strengths, rates, numbers[at])

    # The same on the device -------------------------------------------------------------------------------------------

    def _sent_ahead(self, step: int) -> Tensor:
        """The numbers of all steps of a chunk, ``(steps, k)``: sent one by one, each would have to be waited for."""
        chunk, last = self.streams[0].steps, self.recipe.steps - 1
        first = step // chunk * chunk
        return sent(torch.tensor([self._numbers(min(s, last)) for s in range(first, first + chunk)]), self.device)

    def _given(self, step: int) -> list[Tensor]:
        """All that a step is given: of each turn its rows, and its numbers."""
        given: list[Tensor] = []
        for index, turn in enumerate(self.turns):
            first = self.streams[0].row(index, step, 0)
            given += [t[first : first + turn.repeats] for t in self._chunk[index].values()]
        return [*given, self._ahead[step % self.streams[0].steps]]

    def _taken(self, given: Sequence[Tensor]) -> tuple[Iterator[Feed], Sequence[Tensor]]:
        """The rows and the numbers, from there."""
        *feeds, numbers = given
        left = iter(feeds)
        turns = [(turn.repeats, {key: next(left) for key in self._chunk[i]}) for i, turn in enumerate(self.turns)]
        rows = [{key: t[row] for key, t in feed.items()} for repeats, feed in turns for row in range(repeats)]
        return iter(rows), numbers.unbind()


@torch.no_grad()
def move(held: list[Tensor], current: list[Tensor], weight: Number) -> None:
    """``held + weight · (current − held)``, in place."""
    if isinstance(weight, Tensor):  # one weight of all, on the device, is what foreach_lerp does not take
        way = torch._foreach_sub(current, held)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_mul_(way, weight)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_add_(held, way)  # pyright: ignore[reportPrivateImportUsage]
    else:
        torch._foreach_lerp_(held, current, weight)  # pyright: ignore[reportPrivateImportUsage]

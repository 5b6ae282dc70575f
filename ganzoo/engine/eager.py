"""The plain engine: one run, ordinary modules, ordinary autograd."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from ganzoo.dataset import Batch
from ganzoo.engine.base import Seen, initialised, kept, under, unkept
from ganzoo.engine.capture import Recorder
from ganzoo.engine.functional import Functional
from ganzoo.engine.rounds import autocast, opened
from ganzoo.engine.sampler import resident
from ganzoo.engine.steps import Number, Steps, move
from ganzoo.engine.stream import Feed, Stream
from ganzoo.game import Round, Turn
from ganzoo.generator import Generator
from ganzoo.recipe import Recipe
from ganzoo.seeds import derive

SINGLE: Final = "single"


@final
class Eager(Steps):
    """The players of one run and how they move.

    Args:
        recipe: what is played.
        train: the samples of the train part.
        seed: of this run; initial weights, data order and noise each have a stream of their own.
        device: where everything lives.
        recorder: makes programs of steps; by default the device's own, where it has one.
    """

    def __init__(
        self, recipe: Recipe, train: Batch, seed: int, device: torch.device, *, recorder: Recorder | None = None
    ) -> None:
        super().__init__(recipe, device, recorder)
        self.seeds = (seed,)
        # Terms and layers may use torch's global random state: it belongs to the run, like every other stream.
        torch.manual_seed(derive(seed, "global"))
        dataset = recipe.dataset.build()
        seen = Seen(dataset, train)
        self.networks = {name: _laid_out(initialised(recipe, name, seed, seen).to(device)) for name in recipe.players}
        generators = {n: g for n, g in self.networks.items() if isinstance(g, Generator)}
        self.ema = {name: copy.deepcopy(g).eval().requires_grad_(False) for name, g in generators.items()}
        train = resident(train, device)
        self.stream = Stream(recipe, self.turns, generators, train, seed, device, dataset.decoded)
        self.streams = (self.stream,)
        self._parameters: dict[str, list[Tensor]] = {
            name: [p for p in network.parameters() if p.requires_grad] for name, network in self.networks.items()
        }
        self.optimizers = {name: self._optimizer(name, self._parameters[name]) for name in recipe.players}
        self._callable = {name: Functional(network) for name, network in self.networks.items()}
        self._rounded = {n: autocast(f, device) for n, f in self._callable.items()} if self._low else None
        # Walking a module tree costs as much as a small layer, so what every step needs is listed once.
        self._averages: list[tuple[list[Tensor], list[Tensor]]] = [
            (list(average.parameters()), list(self.networks[name].parameters())) for name, average in self.ema.items()
        ]
        self._buffers = [
            pair
            for n, average in self.ema.items()
            for pair in zip(average.buffers(), self.networks[n].buffers(), strict=True)
        ]
        self._moving = ""
        self._prepared(self.networks, self.stream.of_seed(0).chunk(0))

    @property
    def name(self) -> str:
        return SINGLE

    def _drawn(self, step: int) -> list[Feed]:
        return self.stream.chunk(step)

    def _descend(
        self, index: int, feed: Feed, due: tuple[int, ...], strengths: Sequence[Number], step: int, observe: bool
    ) -> dict[str, Tensor]:
        turn, pairs = self.turns[index], self._probes[index].pairs
        self._focus(turn.player)
        self._callable[turn.player].prepare()
        with opened(self._callable, feed, step, self.recipe.steps, pairs, self._rounded) as round:
            loss, values = turn.losses(round, due, strengths)
            seen = {f"{self._labels[index]}/{label}": value.detach() for label, value in values.items()}
            if observe:
                seen.update(observations(turn, round))
        for parameter in self._parameters[turn.player]:
            parameter.grad = None
        loss.backward()
        return seen

    def _focus(self, player: str) -> None:
        """Only the parameters of whose turn it is ask for gradients."""
        if player == self._moving:
            return
        self._moving = player
        for name, parameters in self._parameters.items():
            for parameter in parameters:
                parameter.requires_grad_(name == player)

    def _average(self, weight: Number) -> None:
        for held, current in self._averages:
            move(held, current, weight)
        with torch.no_grad():
            for held, current in self._buffers:
                held.copy_(current)

    def _trained(self, player: str) -> list[Tensor]:
        return self._parameters[player]

    def _everything(self) -> dict[str, Tensor]:
        networks = {**self.networks, **{f"average {name}": average for name, average in self.ema.items()}}
        held = {
            f"{name}.{key}": t
            for name, network in networks.items()
            for key, t in (*network.named_parameters(), *network.named_buffers())
        }
        return {**held, **self._slots()}

    def finite(self) -> list[bool]:
        with torch.no_grad():
            each = [p.isfinite().all() for parameters in self._parameters.values() for p in parameters]
            return [bool(torch.stack(each).all())]

    def freeze(self, run: int, step: int, tensors: Mapping[str, Tensor]) -> None:
        self.load(run, step, tensors)  # there are no others that would go on

    def generator(self, run: int = 0) -> Generator:
        return self.ema[self.recipe.model]

    def network(self, run: int, player: str) -> nn.Module:
        return self.networks[player]

    def tensors(self, run: int, step: int) -> dict[str, Tensor]:
        state = {f"network.{n}.{k}": v for n, net in self.networks.items() for k, v in net.state_dict().items()}
        state |= {f"ema.{n}.{k}": v for n, net in self.ema.items() for k, v in net.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                state |= {
                    f"optimizer.{name}.{index}.{slot}": kept(name, v) for slot, v in slots.items() if v is not None
                }
        state["rng.noise"] = self.stream.state(step)
        state["rng.global"] = torch.get_rng_state()
        if self.device.type == "cuda":
            state["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load(self, run: int, step: int, tensors: Mapping[str, Tensor]) -> None:
        for group, networks in (("network", self.networks), ("ema", self.ema)):
            for name, network in networks.items():
                network.load_state_dict(under(tensors, f"{group}.{name}."))
        for name, optimizer in self.optimizers.items():
            slots: dict[int, dict[str, Any]] = {}
            for key, value in under(tensors, f"optimizer.{name}.").items():
                index, _, slot = key.partition(".")
                slots.setdefault(int(index), {})[slot] = _like(self._parameters[name][int(index)], unkept(value))
            optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        self._restarted()
        self.stream.load(tensors["rng.noise"])
        torch.set_rng_state(tensors["rng.global"])
        if "rng.cuda" in tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)


def _laid_out(network: nn.Module) -> nn.Module:
    """Convolutions are faster where the channels of a pixel lie together."""
    images = any(parameter.ndim == 4 for parameter in network.parameters())
    return network.to(memory_format=torch.channels_last) if images else network  # pyright: ignore[reportCallIssue]


def _like(parameter: Tensor, value: Any) -> Any:
    """An optimizer's state laid out as its parameter: fused optimizers walk through both in the order of memory."""
    if not isinstance(value, Tensor) or not value.ndim or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def observations(turn: Turn, round: Round) -> dict[str, Tensor]:
    """What the terms report besides their values."""
    with torch.no_grad():
        reports = [weighted.term.observe(round) for weighted in turn.losses if hasattr(weighted.term, "observe")]
    return {name: value for report in reports for name, value in report.items()}
